package pods

import (
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits of a definition.
const (
	minID          = 3
	maxID          = 64
	maxDescription = 255
	maxVolumeKey   = 128
	maxMountPath   = 512
	minTimeToStop  = 300                // seconds
	maxTimeToStop  = 100 * 365 * 86_400 // seconds; more does not fit into a time.Duration
)

var (
	idPattern        = regexp.MustCompile(`^[a-z][a-z0-9]*$`)
	volumeKeyPattern = regexp.MustCompile(`^[a-z][a-z0-9]+$`)
	queuePattern     = regexp.MustCompile(`^[a-z0-9]+$`)
	// What every Kubernetes version accepts as the name of a variable.
	envNamePattern = regexp.MustCompile(`^[-._a-zA-Z][-._a-zA-Z0-9]*$`)
)

// volumeTypes are the kinds of storage that a mount may name.
var volumeTypes = []string{MountVolume, MountSnapshot, MountPVC, MountEphemeral}

// reservedIDs can't name a pod: most stand where an id stands in a path of the
// API, the last ones would make host names that look like the service's own.
var reservedIDs = []ID{
	"catalog", "catalogs", "snapshots", "snapshot", "volumes", "volume", "admin",
	"image", "images", "template", "templates",
	"jupyter", "secrets", "secret", "stacks", "stack", "nodes", "node", "routes", "metrics", "gallery", "docs",
	"traefik-config", "healthcheck", "error-handler",
	"www", "api", "auth", "login",
}

// checkID checks a pod id of at least shortest characters.
func checkID(p *problems, id string, shortest int) {
	where := at("pod_id")
	switch n := utf8.RuneCountInString(id); {
	case slices.Contains(reservedIDs, ID(id)):
		p.add(where, "pod_id overlaps with reserved pod ids: %s", quoteList(reservedIDs))
	case id != "" && !idPattern.MatchString(id):
		p.add(where, "pod_id must be lowercase alphanumeric. First character must be alpha.")
	case n < shortest || n > maxID:
		p.add(where, "pod_id length must be between %d-%d characters. Inputted length: %d", shortest, maxID, n)
	}
}

func checkRequested(p *problems, r Requested) {
	allowed := []Requested{On, Off, Restart}
	if !slices.Contains(allowed, r) {
		p.add(at("status_requested"), "status_requested must be one of the following: %s. Got '%s'.",
			quoteList(allowed), clip(string(r)))
	}
}

// validateEffective reports everything that is wrong with a resolved definition.
func validateEffective(p *problems, e Effective, s Settings) {
	v := validator{problems: p, settings: s}
	v.values(e)
	v.whole(e)
	if e.Image == "" && e.Template != "" {
		p.add(at("template"), "Could not find image or template on template that the user specified.")
	}
	if e.Image == "" && e.Template == "" {
		p.add(at(rootLoc), "image is required if template is not provided.")
	}
}

// validator checks definitions with all defaults filled in. Defaults are valid,
// so a problem is always with what somebody set.
type validator struct {
	problems *problems
	settings Settings

	// nested is put before the location of rules about parts of a field: "body"
	// while a request is decoded. Rules about a whole field have none.
	nested loc

	// template says that the definition is a template's, which may leave open
	// what the pod has to give.
	template bool
}

// values checks each value for itself.
func (v validator) values(e Effective) {
	v.image(e.Image)
	if e.Template != "" {
		parseTemplateRef(v.problems, e.Template)
	}
	checkDescription(v.problems, at("description"), "description", e.Description)
	v.environment(e.EnvironmentVariables)
	v.timeToStop("time_to_stop_default", e.TimeToStopDefault)
	if e.TimeToStopInstance != nil {
		v.timeToStop("time_to_stop_instance", *e.TimeToStopInstance)
	}
	v.networking(e.Networking)
	v.resources(e.Resources)
	v.volumeMounts(e.VolumeMounts)
	v.queue(e.ComputeQueue)
	v.healthchecks(e.Healthchecks)
}

// whole checks what depends on several values, which templates may give.
func (v validator) whole(e Effective) {
	for key, n := range e.Networking {
		v.stanzaWhole(v.nested.in("networking", key), n)
	}
	v.requestWithinLimit("cpu", e.Resources.CPURequest, e.Resources.CPULimit, v.settings.Min.CPULimit)
	v.requestWithinLimit("mem", e.Resources.MemRequest, e.Resources.MemLimit, v.settings.Min.MemLimit)
	v.distinctMountPaths(e.VolumeMounts)
	v.configTotal(e.VolumeMounts)
}

func (v validator) image(image string) {
	if image == "" {
		return // whether it may be is a rule of the whole
	}
	if _, err := ParseImage(image); err != nil {
		v.problems.add(at("image"), "%v", err)
	}
}

// checkDescription checks a text for people.
func checkDescription(p *problems, where loc, field, text string) {
	checkText(p, where, field, text, maxDescription)
}

// checkText checks a text for people of at most limit characters.
func checkText(p *problems, where loc, field, text string, limit int) {
	if strings.ContainsFunc(text, func(r rune) bool { return r > 0x7f }) {
		p.add(where, "%s field may only contain ASCII characters.", field)
	}
	if n := utf8.RuneCountInString(text); n > limit {
		p.add(where, "%s field must be less than %d characters. Inputted length: %d", field, limit, n)
	}
}

func (v validator) environment(env map[string]string) {
	for name := range env {
		if !envNamePattern.MatchString(name) {
			v.problems.add(at("environment_variables", name),
				"environment_variable name must consist of letters, digits, '_', '-' and '.' and must not start with a digit.")
		}
	}
}

func (v validator) timeToStop(field string, seconds int) {
	switch {
	case seconds != -1 && seconds < minTimeToStop:
		v.problems.add(at(field), "Pod %s must be -1 or be greater than %d seconds.", field, minTimeToStop)
	case seconds > maxTimeToStop:
		v.problems.add(at(field), "Pod %s must be at most %d seconds. Use -1 for no limit. Got %d.", field, maxTimeToStop, seconds)
	}
}

func (v validator) queue(queue string) {
	if !queuePattern.MatchString(queue) || !slices.Contains(v.settings.ComputeQueues, queue) {
		v.problems.add(at("compute_queue"),
			"compute_queue must be in compute_queues list in cluster configuration. Choose one of %s.",
			quoteList(v.settings.ComputeQueues))
	}
}

func (v validator) resources(r Resources) {
	lo, hi := v.settings.Min, v.settings.Max
	v.bounds("cpu_request", "cpu_x", r.CPURequest, lo.CPURequest, hi.CPURequest)
	v.bounds("cpu_limit", "cpu_x", r.CPULimit, lo.CPULimit, hi.CPULimit)
	v.bounds("mem_request", "mem_x", r.MemRequest, lo.MemRequest, hi.MemRequest)
	v.bounds("mem_limit", "mem_x", r.MemLimit, lo.MemLimit, hi.MemLimit)
	v.bounds("gpus", "gpus", r.GPUs, lo.GPUs, hi.GPUs)
}

// bounds names the pair of a request and a limit as clients know it: cpu_x.
func (v validator) bounds(field, name string, value, lo, hi int) {
	if value < lo || value > hi {
		v.problems.add(v.nested.in("resources", field),
			"resources.%s out of bounds. Received: %d. Maximum: %d. Minimum: %d. "+
				"User requires extra role to break bounds. Contact admin.", name, value, hi, lo)
	}
}

// requestWithinLimit says nothing about a limit below lo, which is out of bounds
// for itself.
func (v validator) requestWithinLimit(kind string, request, limit, lo int) {
	if request > limit && limit >= lo {
		v.problems.add(v.nested.in("resources", kind+"_request"),
			"resources.%[1]s_x found %[1]s_request(%[2]d) > %[1]s_limit(%[3]d). Request must be less than or equal to limit.",
			kind, request, limit)
	}
}

func (v validator) volumeMounts(mounts map[string]VolumeMount) {
	for key, m := range mounts {
		v.volumeKey(key)
		where := v.nested.in("volume_mounts", key)
		v.volumeSource(where.in("source_id"), key, m)
		v.configProblems(where, m)
		if !slices.Contains(volumeTypes, m.Type) {
			v.problems.add(where.in("type"), "volumemount.type must be one of the following: %s.", quoteList(volumeTypes))
		}
		if !cleanMountPath(m.MountPath) {
			v.problems.add(where.in("mount_path"),
				"volumemount.mount_path must be an absolute path below / without '..' and ':'. Got %s.", clip(m.MountPath))
		}
		if !cleanSubPath(m.SubPath) {
			v.problems.add(where.in("sub_path"),
				"volumemount.sub_path must be a path inside the volume, without '..' and without a leading '/'. Got %s.", clip(m.SubPath))
		}
	}
}

func (v validator) volumeKey(key string) {
	switch where := at("volume_mounts"); {
	case isPath(key):
		if !cleanMountPath(key) {
			v.problems.add(where, "volume_mounts key that is a path must be absolute, below / and without '..' and ':'. Got %s.", clip(key))
		}
	case !volumeKeyPattern.MatchString(key):
		v.problems.add(where, "volume_mounts key must be lowercase alphanumeric. First character must be alpha. Got '%s'.", clip(key))
	case len(key) > maxVolumeKey:
		v.problems.add(where, "volume_mounts key length must be at most %d characters. Inputted length: %d", maxVolumeKey, len(key))
	}
}

// volumeSource checks what is mounted. A key that is a path does not tell it.
func (v validator) volumeSource(where loc, key string, m VolumeMount) {
	switch r := wholeRef(m.SourceID); {
	case r.kind == refRequired && v.template:
	case r.kind == refDefault && v.template:
	case r.kind == refRequired:
		v.problems.add(where, "a volume is required: %s. Name it in template_overrides.volume_mounts as source_id.", clip(r.description))
	case m.SourceID == "" && m.Type == MountEphemeral: // it needs no name
	case m.SourceID == "" && isPath(key):
		v.problems.add(where, "volumemount.source_id is required if the key is a path: the id of the volume or snapshot, or the name of the claim.")
	case m.SourceID != "" && (!volumeKeyPattern.MatchString(m.SourceID) || len(m.SourceID) > maxVolumeKey):
		v.problems.add(where, "volumemount.source_id must be lowercase alphanumeric. First character must be alpha. Got '%s'.", clip(m.SourceID))
	}
}

// cleanMountPath reports whether p can be mounted on: a container runtime takes
// a colon for a separator, and mounting on / hides the image.
func cleanMountPath(p string) bool {
	return len(p) <= maxMountPath && strings.HasPrefix(p, "/") && path.Clean(p) != "/" &&
		!strings.Contains(p, ":") && !hasDotDot(p) && !hasControl(p)
}

func cleanSubPath(p string) bool {
	return len(p) <= maxMountPath && !strings.HasPrefix(p, "/") && !hasDotDot(p) && !hasControl(p)
}

func hasDotDot(p string) bool { return slices.Contains(strings.Split(p, "/"), "..") }

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

func (v validator) distinctMountPaths(mounts map[string]VolumeMount) {
	taken := make(map[string]string, len(mounts))
	for _, key := range slices.Sorted(maps.Keys(mounts)) {
		p := mounts[key].place()
		if other, ok := taken[p]; ok {
			v.problems.add(v.nested.in("volume_mounts", key, "mount_path"),
				"volumemount.mount_path %s is taken by '%s' already. Give each mount a path of its own.", clip(p), clip(other))
		}
		taken[p] = key
	}
}
