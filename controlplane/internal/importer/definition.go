package importer

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// definition makes the fields of a definition, as clients send them, of what the
// source holds. Its methods add to the body and to the notes.
type definition struct {
	body  fields
	notes []string
}

func (d *definition) note(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(d.notes, text) {
		d.notes = append(d.notes, text)
	}
}

// ledger says which fields of a pod are its user's choice, and not defaults that
// were written out.
type ledger struct {
	modified  texts // the names that the source has noted
	templated bool
}

// own reports whether a field counts. In a pod without a template everything does
// that is not the default; beside a template only what was noted, for the source
// ignores the rest, or, in rows from before there were notes, what is not the
// default.
func (l ledger) own(name string, isDefault bool) bool {
	if slices.Contains(l.modified, name) {
		return true
	}
	return !isDefault && (!l.templated || len(l.modified) == 0)
}

// podDefinition makes the definition of a pod.
func podDefinition(r podRow, s pods.Settings) definition {
	d := definition{body: fields{}}
	l := ledger{modified: r.ModifiedFields, templated: r.Template != ""}
	set := func(name string, value any, isDefault bool) {
		if l.own(name, isDefault) {
			d.body[name] = value
		}
	}
	if r.Template != "" {
		d.body["template"] = r.Template
	}
	set("image", r.Image, r.Image == "")
	set("description", r.Description, r.Description == "")
	set("command", r.Command, r.Command == nil)
	set("arguments", r.Arguments, r.Arguments == nil)
	set("environment_variables", d.environment(r.EnvironmentVariables), len(r.EnvironmentVariables) == 0)
	set("secret_map", withoutNulls(r.SecretMap), len(r.SecretMap) == 0)
	set("volume_mounts", d.mounts(r.VolumeMounts), len(r.VolumeMounts) == 0)
	set("template_overrides", withoutNulls(r.TemplateOverrides), len(withoutNulls(r.TemplateOverrides)) == 0)
	set("healthchecks", withoutNulls(r.Healthchecks), len(withoutNulls(r.Healthchecks)) == 0)
	if r.TimeToStopDefault != nil {
		set("time_to_stop_default", *r.TimeToStopDefault, *r.TimeToStopDefault == defaultTimeToStop)
	}
	if r.TimeToStopInstance != nil {
		set("time_to_stop_instance", *r.TimeToStopInstance, false)
	}
	if r.ComputeQueue != "" {
		set("compute_queue", r.ComputeQueue, r.ComputeQueue == "default")
	}
	if networking := d.networking(r.Networking); len(networking) > 0 {
		set("networking", networking, isDefaultNetworking(r.Networking))
	}
	if resources := d.resources(r.Resources, l, s.Default); len(resources) > 0 {
		d.body["resources"] = resources
	}
	return d
}

// defaultTimeToStop is that of both services, in seconds.
const defaultTimeToStop = 43200

// tagDefinition makes the definition of a version of a template tag.
func tagDefinition(given fields) definition {
	d := definition{body: fields{}}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		value := given[name]
		inner, isObject := value.(map[string]any)
		switch {
		case value == nil || isObject && len(inner) == 0:
		case !known[pods.Definition]()[name]:
			d.unknown(name)
		case name == "environment_variables":
			d.body[name] = d.environment(inner)
		case name == "volume_mounts":
			d.body[name] = d.mounts(inner)
		case name == "networking":
			d.body[name] = d.networking(inner)
		case name == "resources":
			d.body[name] = d.only(name, known[pods.ResourcesDef](), withoutNulls(inner))
		default:
			d.body[name] = value
		}
	}
	return d
}

// environment makes every value a text, which all are where they count.
func (d *definition) environment(given fields) fields {
	env := fields{}
	for name, value := range given {
		switch value := value.(type) {
		case string:
			env[name] = value
		case nil:
			env[name] = ""
		default:
			b, _ := json.Marshal(value) // it was decoded from JSON
			env[name] = string(b)
			d.note("environment_variables: %s is no text in the source; it is now.", name)
		}
	}
	return env
}

// mounts takes mounts of both shapes: by volume, and by path.
func (d *definition) mounts(given fields) fields {
	mounts := fields{}
	for key, value := range given {
		m, ok := value.(map[string]any)
		if !ok {
			mounts[key] = value // null takes away what a template mounts
			continue
		}
		mounts[key] = d.only("volume_mounts", known[pods.VolumeMount](), withoutNulls(m))
		if m["type"] == pods.MountPVC {
			d.note("volume_mounts: the files of %s are in a claim of the earlier cluster; copy them after the first start.", key)
		}
	}
	return mounts
}

// setByService are fields of networking that clients can't set.
var setByService = []string{"url", "custom_domain_verified", "cert_state", "cert_ready", "cert_provisioning_started_at", "cert_ready_at"}

func (d *definition) networking(given fields) fields {
	networking := fields{}
	for key, value := range given {
		n, ok := value.(map[string]any)
		if !ok {
			networking[key] = value
			continue
		}
		entry := withoutNulls(n)
		maps.DeleteFunc(entry, func(name string, _ any) bool { return slices.Contains(setByService, name) })
		networking[key] = d.only("networking", known[pods.NetDef](), entry)
		if domain, _ := n["custom_domain"].(string); domain != "" {
			d.note("networking: %s has to be proven anew, see its domains.", domain)
		}
	}
	return networking
}

// isDefaultNetworking reports whether networking says nothing but the default.
func isDefaultNetworking(given fields) bool {
	if len(given) == 0 {
		return true
	}
	only, ok := given["default"].(map[string]any)
	if !ok || len(given) > 1 {
		return false
	}
	for name, value := range only {
		if value != nil && !slices.Contains(setByService, name) && !isNetDefault(name, value) {
			return false
		}
	}
	return true
}

// netDefaults are the defaults of networking that are not empty, as JSON has them,
// of all releases.
var netDefaults = map[string][]any{
	"protocol":                    {"http"},
	"port":                        {5000.0},
	"tapis_auth_allowed_users":    {[]any{"*"}, []any{"AUTHORIZED_USERS"}},
	"tapis_auth_return_path":      {"/"},
	"access_gate_return_path":     {"/"},
	"cors_max_age":                {100.0},
	"proxy_compression":           {true},
	"proxy_compression_encodings": {[]any{"zstd", "br", "gzip"}},
	"proxy_compression_min_response_body_bytes": {1024.0},
}

func isNetDefault(name string, value any) bool {
	if defaults, ok := netDefaults[name]; ok {
		return slices.ContainsFunc(defaults, func(d any) bool { return reflect.DeepEqual(d, value) })
	}
	return isEmpty(value)
}

func isEmpty(value any) bool {
	v := reflect.ValueOf(value)
	return !v.IsValid() || v.IsZero() || (v.Kind() == reflect.Map || v.Kind() == reflect.Slice) && v.Len() == 0
}

// resources takes those that are the pod's own.
func (d *definition) resources(given fields, l ledger, defaults pods.Resources) fields {
	standard := fields{
		"cpu_request": defaults.CPURequest, "cpu_limit": defaults.CPULimit,
		"mem_request": defaults.MemRequest, "mem_limit": defaults.MemLimit, "gpus": defaults.GPUs,
	}
	resources := fields{}
	for name, value := range withoutNulls(given) {
		isDefault := fmt.Sprint(value) == fmt.Sprint(standard[name])
		if l.own("resources."+name, isDefault) || slices.Contains(l.modified, "resources") {
			resources[name] = value
		}
	}
	return d.only("resources", known[pods.ResourcesDef](), resources)
}

// only returns the fields that we have, and notes the others.
func (d *definition) only(where string, names map[string]bool, given fields) fields {
	kept := fields{}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		switch {
		case names[name]:
			kept[name] = given[name]
		case !isEmpty(given[name]):
			d.unknown(where + "." + name)
		}
	}
	return kept
}

func (d *definition) unknown(name string) { d.note("%s is left out: there is no such field.", name) }

// known returns the names of the JSON fields of a model.
func known[T any]() map[string]bool {
	names := map[string]bool{}
	for f := range reflect.TypeFor[T]().Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		names[name] = true
	}
	return names
}

func withoutNulls(given fields) fields {
	kept := fields{}
	for name, value := range given {
		if value != nil {
			kept[name] = value
		}
	}
	return kept
}
