package pods

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// maxShownChanges bounds the leaves that an action-log text names.
const maxShownChanges = 8

// maxShownLeaf bounds the characters that it shows of one value.
const maxShownLeaf = 64

// Change is one leaf in which two versions of a pod differ.
type Change struct {
	Path string // "networking.default.port"
	Text string // "5000→8080", "added", "removed", or "changed (hidden)"
}

// Diff lists the leaves in which a pod after an update differs from the one
// before, sorted by path. Empty means that the update has no effect. Values that
// may be secret (environment, command, arguments, headers) are never shown.
func Diff(before, after Effective, was, now Requested) []Change {
	var d differ
	d.object(nil, diffTree(before, was), diffTree(after, now))
	return d.changes
}

// UpdateText returns the action-log text of an update:
//
//	'testuser' updated pod: description: old→new, networking.default.port: 5000→8080
//
// It names 8 leaves at most and counts the others. Without a change, which can be
// an update that sets what a template gives, it names none.
func UpdateText(user string, changes []Change) string {
	text := "'" + user + "' updated pod"
	if len(changes) == 0 {
		return text
	}
	shown := changes[:min(len(changes), maxShownChanges)]
	parts := make([]string, 0, len(shown))
	for _, c := range shown {
		parts = append(parts, c.Path+": "+c.Text)
	}
	text += ": " + strings.Join(parts, ", ")
	if more := len(changes) - len(shown); more > 0 {
		text += fmt.Sprintf(" (+%d more)", more)
	}
	return text
}

// diffTree returns the fields that a user can set, as their JSON form is
// decoded: objects are map[string]any.
func diffTree(e Effective, r Requested) map[string]any {
	v := NewView(Pod{Requested: r}, e)
	return map[string]any{
		"image":                 v.Image,
		"template":              v.Template,
		"description":           v.Description,
		"command":               v.Command,
		"arguments":             v.Arguments,
		"environment_variables": tree(v.EnvironmentVariables),
		"secret_map":            tree(e.SecretMap), // not the view's, in which all are alike
		"status_requested":      string(v.StatusRequested),
		"volume_mounts":         tree(v.VolumeMounts),
		"template_overrides":    overridesTree(e.TemplateOverrides),
		"time_to_stop_default":  v.TimeToStopDefault,
		"time_to_stop_instance": v.TimeToStopInstance,
		"networking":            tree(v.Networking),
		"resources":             tree(v.Resources),
		"compute_queue":         v.ComputeQueue,
		"healthchecks":          healthcheckTree(v.Healthchecks),
	}
}

// healthcheckTree is [tree] without the probes that are not there.
func healthcheckTree(h *Healthchecks) map[string]any {
	if h == nil {
		return nil
	}
	probes := tree(h)
	maps.DeleteFunc(probes, func(_ string, v any) bool { return v == nil })
	return probes
}

// tree returns the JSON form of a struct or map as nested maps.
func tree(v any) map[string]any {
	b, err := json.Marshal(v)
	if err != nil {
		return nil // strings, numbers and lists always have a JSON form
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	var m map[string]any
	_ = dec.Decode(&m) // it was encoded just now
	return m
}

// differ collects the changes of two trees.
type differ struct{ changes []Change }

func (d *differ) object(path []string, before, after map[string]any) {
	keys := slices.Collect(maps.Keys(before))
	for key := range after {
		if _, ok := before[key]; !ok {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		a, had := before[key]
		b, has := after[key]
		d.value(append(slices.Clip(path), key), a, b, had, has)
	}
}

func (d *differ) value(path []string, before, after any, had, has bool) {
	hidden := hiddenPath(path)
	switch {
	case !has:
		d.add(path, "removed")
	case !had && hidden:
		d.add(path, "added (hidden)")
	case !had:
		d.add(path, "added")
	case reflect.DeepEqual(before, after):
	case hidden && !isObject(before):
		d.add(path, "changed (hidden)")
	case isObject(before):
		d.object(path, before.(map[string]any), after.(map[string]any))
	default:
		d.add(path, leafText(before)+"→"+leafText(after))
	}
}

func (d *differ) add(path []string, text string) {
	d.changes = append(d.changes, Change{Path: strings.Join(path, "."), Text: text})
}

// isObject reports whether v is one. A field is an object in both versions or in
// none: the trees are made of the same types.
func isObject(v any) bool {
	_, ok := v.(map[string]any)
	return ok
}

// hiddenPath reports whether the value at path, or those below it, may be secret.
func hiddenPath(path []string) bool {
	switch path[0] {
	case "environment_variables", "secret_map", "command", "arguments":
		return true
	case "template_overrides":
		return len(path) > 1 && path[1] == "secret_map" || path[len(path)-1] == "config_content"
	case "volume_mounts":
		return path[len(path)-1] == "config_content"
	case "networking":
		return len(path) > 2 && (path[2] == "tapis_auth_response_headers" || path[2] == "client_ca") // the one may be secret, the other is long
	case "healthchecks":
		return path[len(path)-1] == "exec_command"
	default:
		return false
	}
}

// plainLeaf is a string that can stand in a log line without quotes.
var plainLeaf = regexp.MustCompile(`^[\w./:@*-]+(?: [\w./:@*-]+)*$`)

func leafText(v any) string {
	if s, ok := v.(string); ok && plainLeaf.MatchString(s) {
		return clipRunes(s)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return "?" // not reached: see tree
	}
	return clipRunes(strings.TrimSpace(b.String()))
}

func clipRunes(s string) string {
	if r := []rune(s); len(r) > maxShownLeaf {
		return string(r[:maxShownLeaf]) + "..."
	}
	return s
}
