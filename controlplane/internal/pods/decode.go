package pods

import (
	"maps"
	"slices"
)

// NewPod is the decoded body of a create request.
type NewPod struct {
	ID         ID
	Requested  Requested // On if the body does not say
	Definition Definition
	Older      OlderForms
}

// PodPatch is the decoded body of an update request: only fields that are
// present change, each replacing the whole stored value.
type PodPatch struct {
	Requested  *Requested // nil: unchanged
	Definition Definition
}

// DecodeNewPod decodes and validates the body of a create request. The error is
// an [*Error] with code Invalid and one message per problem, in the order shape
// of the body ("body, port: ..."), rules of a field ("pod_id: ..."), rules of the
// whole ("__root__: ...").
//
// Null is accepted where it means something: for fields that may be null, and,
// if the body names a template, for every field of the definition, where it
// clears what the template gives.
//
// Three older forms are accepted: routing_port for the port of the default
// networking entry, and those of [OlderForms], which the caller has to settle.
//
// What depends on more than the body is left to [Resolve] (rules about values
// that templates may give), [CheckNames], [CheckApproval] and [AllowImage].
func DecodeNewPod(body []byte, s Settings) (NewPod, error) {
	var p problems
	fields, ok := parseBody(body, &p)
	if !ok {
		return NewPod{}, p.err()
	}
	o := &object{where: at(bodyLoc), fields: fields, problems: &p}
	o.nulls = o.given("template") || o.given("pod_template")
	imageGiven := o.given("image")

	var n NewPod
	n.Older = takeOlderForms(o, &n.Definition)
	takeDefinition(o, &n.Definition)
	n.Requested = takeRequested(o, false).Or(On)
	n.ID = takeID(o, s.shortestPodID())
	o.done()
	checkPodSecrets(&p, n.Definition)

	v := validator{problems: &p, settings: s, nested: at(bodyLoc)}
	e := complete(n.Definition, s)
	v.values(e)
	if e.Template == "" && n.Older.PodTemplate == "" {
		v.whole(e)
		checkOverrides(&p, n.Definition, nil)
		wrongType := imageGiven && !n.Definition.Image.IsSet()
		if e.Image == "" && !wrongType {
			p.add(at(rootLoc), "image is required if template is not provided.")
		}
	}
	if err := p.err(); err != nil {
		return NewPod{}, err
	}
	return n, nil
}

// DecodePodPatch decodes and validates the body of an update request. Null is
// accepted for every field and means that the pod shall not set it: the value
// comes from a default then, not from a template. The error is as that of
// [DecodeNewPod].
func DecodePodPatch(body []byte, s Settings) (PodPatch, error) {
	var p problems
	fields, ok := parseBody(body, &p)
	if !ok {
		return PodPatch{}, p.err()
	}
	o := &object{where: at(bodyLoc), fields: fields, problems: &p, nulls: true}

	var patch PodPatch
	takeDefinition(o, &patch.Definition)
	if r, ok := takeRequested(o, true).Get(); ok {
		patch.Requested = &r
	}
	o.done()
	checkPodSecrets(&p, patch.Definition)

	v := validator{problems: &p, settings: s, nested: at(bodyLoc)}
	v.values(complete(patch.Definition, s))
	if err := p.err(); err != nil {
		return PodPatch{}, err
	}
	return patch, nil
}

// DecodeGrant decodes the body of a request that sets a permission. Whether the
// grant is allowed is decided by [Permissions.SetLevel]. The error has code
// Invalid and one message per problem.
func DecodeGrant(body []byte) (Grant, error) {
	var p problems
	fields, ok := parseBody(body, &p)
	if !ok {
		return Grant{}, p.err()
	}
	o := &object{where: at(bodyLoc), fields: fields, problems: &p}
	g := Grant{User: takeRequired(o, "user"), Level: Level(takeRequired(o, "level"))}
	o.done()
	return g, p.err()
}

// Apply returns d with the fields of the patch that are present replaced. It
// shares values with both; neither is changed.
func (p PodPatch) Apply(d Definition) Definition {
	d.Image = over(d.Image, p.Definition.Image)
	d.Template = over(d.Template, p.Definition.Template)
	d.Description = over(d.Description, p.Definition.Description)
	d.Command = over(d.Command, p.Definition.Command)
	d.Arguments = over(d.Arguments, p.Definition.Arguments)
	d.EnvironmentVariables = over(d.EnvironmentVariables, p.Definition.EnvironmentVariables)
	d.SecretMap = over(d.SecretMap, p.Definition.SecretMap)
	d.VolumeMounts = over(d.VolumeMounts, p.Definition.VolumeMounts)
	d.TemplateOverrides = over(d.TemplateOverrides, p.Definition.TemplateOverrides)
	d.TimeToStopDefault = over(d.TimeToStopDefault, p.Definition.TimeToStopDefault)
	d.TimeToStopInstance = over(d.TimeToStopInstance, p.Definition.TimeToStopInstance)
	d.Networking = over(d.Networking, p.Definition.Networking)
	d.Resources = over(d.Resources, p.Definition.Resources)
	d.ComputeQueue = over(d.ComputeQueue, p.Definition.ComputeQueue)
	d.Healthchecks = over(d.Healthchecks, p.Definition.Healthchecks)
	return d
}

// takeRequired takes a string that must be there.
func takeRequired(o *object, name string) string {
	if !o.given(name) {
		o.problems.add(o.where.in(name), "field required")
	}
	var s Opt[string]
	takeAs(o, name, &s, readString, false)
	return s.Or("")
}

func takeID(o *object, shortest int) ID {
	given := o.given("pod_id")
	var s Opt[string]
	takeAs(o, "pod_id", &s, readString, false)
	id, ok := s.Get()
	switch {
	case !given:
		o.problems.add(o.where.in("pod_id"), "field required")
	case ok:
		checkID(o.problems, id, shortest)
	}
	return ID(id)
}

func takeRequested(o *object, null bool) Opt[Requested] {
	var s Opt[Requested]
	takeAs(o, "status_requested", &s, func(o *object, where loc, v any) (Requested, bool) {
		text, ok := readString(o, where, v)
		if ok {
			checkRequested(o.problems, Requested(text))
		}
		return Requested(text), ok
	}, null)
	return s
}

func takeDefinition(o *object, d *Definition) {
	take(o, "image", &d.Image, readString)
	take(o, "template", &d.Template, readString)
	take(o, "description", &d.Description, readString)
	takeNullable(o, "command", &d.Command, readStrings)
	takeNullable(o, "arguments", &d.Arguments, readStrings)
	take(o, "environment_variables", &d.EnvironmentVariables, readEnvironment)
	take(o, "secret_map", &d.SecretMap, secretMapReader(at("secret_map")))
	take(o, "volume_mounts", &d.VolumeMounts, readVolumeMounts)
	takeNullable(o, "template_overrides", &d.TemplateOverrides, readOverrides)
	take(o, "time_to_stop_default", &d.TimeToStopDefault, readInt)
	takeNullable(o, "time_to_stop_instance", &d.TimeToStopInstance, readInt)
	take(o, "networking", &d.Networking, readNetworking)
	take(o, "resources", &d.Resources, readResources)
	take(o, "compute_queue", &d.ComputeQueue, readString)
	takeNullable(o, "healthchecks", &d.Healthchecks, readHealthchecks)
}

// readEnvironment has messages of its own: they are about values of a field, not
// about the shape of the body, and never show a value.
func readEnvironment(o *object, where loc, v any) (map[string]string, bool) {
	inner, ok := readObject(o, where, v)
	if !ok {
		return nil, false
	}
	env := make(map[string]string, len(inner.fields))
	for _, name := range slices.Sorted(maps.Keys(inner.fields)) {
		value, isString := inner.fields[name].(string)
		if !isString {
			o.problems.add(at("environment_variables", name), "environment_variable val must be str. Got %s.",
				typeName(inner.fields[name]))
			ok = false
		}
		env[name] = value
	}
	return env, ok
}

// readVolumeMounts reads mounts; one that is null removes what a template gives.
func readVolumeMounts(parent *object, where loc, v any) (map[string]VolumeMount, bool) {
	o, ok := readObject(parent, where, v)
	if !ok {
		return nil, false
	}
	out := make(map[string]VolumeMount, len(o.fields))
	for _, key := range slices.Sorted(maps.Keys(o.fields)) {
		if o.fields[key] == nil {
			validator{problems: o.problems}.volumeKey(key)
			out[key] = VolumeMount{}
			continue
		}
		m, read := readVolumeMount(o, where.in(key), o.fields[key], key)
		out[key] = m
		ok = ok && read
	}
	return out, ok
}

func readVolumeMount(parent *object, where loc, v any, key string) (VolumeMount, bool) {
	o, ok := readObject(parent, where, v)
	if !ok {
		return VolumeMount{}, false
	}
	var kind, mountPath, source, subPath, mountedBy Opt[string]
	var readOnly Opt[bool]
	take(o, "type", &kind, readLower)
	take(o, "mount_path", &mountPath, readString)
	take(o, "source_id", &source, readString)
	take(o, "sub_path", &subPath, readString)
	take(o, "read_only", &readOnly, readBool)
	takeAs(o, "mounted_by", &mountedBy, readString, true) // the service's to set; dropped
	config := takeConfig(o)
	o.done()
	m := VolumeMount{
		Type: kind.Or(""), MountPath: mountPath.Or(defaultMountPath), SourceID: source.Or(""), SubPath: subPath.Or(""), ReadOnly: readOnly.Or(false),
	}
	switch given := mountPath.Or(key); {
	case !isPath(key) && m.SourceID == key:
		m.SourceID = "" // it says the same twice
	case !isPath(key) && m.SourceID != "":
		o.problems.add(where.in("source_id"), "volumemount.source_id differs from the key. Use the path as key, or leave source_id out.")
	case isPath(key) && given != key:
		o.problems.add(where.in("mount_path"), "volumemount.mount_path differs from the key. Leave it out if the key is a path.")
	case isPath(key):
		m.MountPath = key
	}
	m = config.applied(m)
	if m.IsConfig() && m.ConfigPermissions == "" {
		m.ConfigPermissions = defaultConfigMode
	}
	return m, true
}

func readResources(parent *object, where loc, v any) (ResourcesDef, bool) {
	o, ok := readObject(parent, where, v)
	if !ok {
		return ResourcesDef{}, false
	}
	var d ResourcesDef
	take(o, "cpu_request", &d.CPURequest, readQuantity("millicores"))
	take(o, "cpu_limit", &d.CPULimit, readQuantity("millicores"))
	take(o, "mem_request", &d.MemRequest, readQuantity("MiB"))
	take(o, "mem_limit", &d.MemLimit, readQuantity("MiB"))
	take(o, "gpus", &d.GPUs, readInt)
	o.done()
	return d, true
}

// readQuantity reads a whole number and names its unit if it is none: people
// write "250m" or "1Gi" as they do for Kubernetes.
func readQuantity(unit string) reader[int] {
	return func(o *object, where loc, v any) (int, bool) {
		if _, ok := v.(string); ok {
			o.problems.add(where, "value is not a valid integer; give a number of %s without quotes and unit", unit)
			return 0, false
		}
		return readInt(o, where, v)
	}
}

// readNetworking refuses a wrong number of entries before it reads any: each
// takes far more memory than its JSON.
func readNetworking(o *object, where loc, v any) (map[string]NetDef, bool) {
	if entries, ok := v.(map[string]any); ok {
		if len(entries) == 0 {
			o.problems.add(at("networking"), "networking dictionary must contain at least 1 stanza. "+
				"Leave networking out for http on port 5000, or use protocol 'local_only' for a pod without a host name.")
			return nil, false
		}
		if !checkStanzas(o.problems, len(entries)) {
			return nil, false
		}
	}
	return readMap(readNetDef)(o, where, v)
}

func readNetDef(parent *object, where loc, v any) (NetDef, bool) {
	o, ok := readObject(parent, where, v)
	if !ok {
		return NetDef{}, false
	}
	var n NetDef
	take(o, "protocol", &n.Protocol, readLower)
	take(o, "port", &n.Port, readInt)
	take(o, "ip_allow_list", &n.IPAllowList, readStrings)
	take(o, "client_ca", &n.ClientCA, readString)
	take(o, "tapis_auth", &n.TapisAuth, readBool)
	take(o, "tapis_auth_response_headers", &n.TapisAuthResponseHeaders, readMap(readString))
	take(o, "tapis_auth_allowed_users", &n.TapisAuthAllowedUsers, readStrings)
	take(o, "tapis_auth_return_path", &n.TapisAuthReturnPath, readString)
	take(o, "tapis_auth_excluded_paths", &n.TapisAuthExcludedPaths, readStrings)
	take(o, "tapis_auth_excluded_path_regex", &n.TapisAuthExcludedPathRegex, readStrings)
	take(o, "access_gate", &n.AccessGate, readBool)
	take(o, "access_gate_return_path", &n.AccessGateReturnPath, readString)
	take(o, "cors_allow_origins", &n.CORSAllowOrigins, readStrings)
	take(o, "cors_allow_methods", &n.CORSAllowMethods, readStrings)
	take(o, "cors_allow_headers", &n.CORSAllowHeaders, readStrings)
	take(o, "cors_allow_credentials", &n.CORSAllowCredentials, readBool)
	take(o, "cors_max_age", &n.CORSMaxAge, readInt)
	take(o, "proxy_compression", &n.ProxyCompression, readBool)
	take(o, "proxy_compression_encodings", &n.ProxyCompressionEncodings, readStrings)
	take(o, "proxy_compression_excluded_content_types", &n.ProxyCompressionExcludedContent, readStrings)
	take(o, "proxy_compression_min_response_body_bytes", &n.ProxyCompressionMinResponseBodySize, readInt)
	take(o, "custom_domain", &n.CustomDomain, readDomain)
	take(o, "tapis_ui_uri", &n.TapisUIURI, readString)
	take(o, "tapis_ui_uri_redirect", &n.TapisUIURIRedirect, readBool)
	take(o, "tapis_ui_uri_description", &n.TapisUIURIDescription, readString)

	// Clients send back what they were shown. These are the service's to set, so
	// they are checked and dropped.
	var url Opt[string]
	take(o, "url", &url, readURL)
	var shown Opt[bool]
	take(o, "custom_domain_verified", &shown, readBool)
	take(o, "cert_ready", &shown, readBool)
	var text Opt[string]
	take(o, "cert_state", &text, readString)
	takeNullable(o, "cert_provisioning_started_at", &text, readString)
	takeNullable(o, "cert_ready_at", &text, readString)
	o.done()
	return n, true
}

func readURL(o *object, where loc, v any) (string, bool) {
	s, ok := readString(o, where, v)
	if ok && s != "" && (len(s) > maxURL || !urlPattern.MatchString(s)) {
		o.problems.add(where, "networking.url must be a host name of at most %d characters; it is set by the service, leave it out", maxURL)
	}
	return s, ok
}
