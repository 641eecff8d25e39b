package pods

import (
	"cmp"
	"slices"
	"strings"

	"github.com/tapis-project/podway/routes"
)

// HealthchecksDef is a sparse [Healthchecks]. A null probe clears the one that a
// template gives.
type HealthchecksDef struct {
	Liveness                Opt[Probe] `json:"liveness,omitzero"`
	Readiness               Opt[Probe] `json:"readiness,omitzero"`
	Startup                 Opt[Probe] `json:"startup,omitzero"`
	NetworkingRequiresReady Opt[bool]  `json:"networking_requires_ready,omitzero"`
}

// Healthchecks are how the cluster finds out how a pod is. The JSON tags are the
// wire form of the API.
type Healthchecks struct {
	// Liveness ends a pod that does not answer any more. Nil: nothing does.
	Liveness *Probe `json:"liveness"`

	// Readiness decides whether the pod gets traffic. Nil: it does as soon as it
	// runs and its first port accepts connections.
	Readiness *Probe `json:"readiness"`

	// Startup holds the others back until it has succeeded once. Nil: nothing does.
	Startup *Probe `json:"startup"`

	// NetworkingRequiresReady keeps routes from going live before the pod is ready.
	NetworkingRequiresReady bool `json:"networking_requires_ready"`
}

// Probe is one way to ask a container how it is. Exactly one of HTTPGetPath,
// ExecCommand and TCPSocketPort is set.
type Probe struct {
	HTTPGetPath   string   `json:"http_get_path,omitempty"`
	HTTPGetPort   int      `json:"http_get_port,omitempty"`   // 0: that of the entry "default"
	HTTPGetScheme string   `json:"http_get_scheme,omitempty"` // "HTTP" or "HTTPS"
	ExecCommand   []string `json:"exec_command,omitempty"`    // argv, no shell
	TCPSocketPort int      `json:"tcp_socket_port,omitempty"`

	InitialDelaySeconds int `json:"initial_delay_seconds"` // before the first try
	PeriodSeconds       int `json:"period_seconds"`        // between tries
	TimeoutSeconds      int `json:"timeout_seconds"`       // of one try
	FailureThreshold    int `json:"failure_threshold"`     // failures in a row that count as one
	SuccessThreshold    int `json:"success_threshold"`     // successes in a row that count as one
}

// Limits of a probe.
const (
	maxProbeSeconds   = 3600
	maxProbeThreshold = 1000
	maxProbePath      = 1024
	maxProbeCommand   = 100 // words
)

// defaultPort is the port of a networking entry that names none.
const defaultPort = 5000

// completeHealthchecks returns nil if d sets nothing.
func completeHealthchecks(d Opt[HealthchecksDef], networking map[string]Networking) *Healthchecks {
	def, ok := d.Get()
	if !ok {
		return nil
	}
	return &Healthchecks{
		Liveness:                completeProbe(def.Liveness, networking),
		Readiness:               completeProbe(def.Readiness, networking),
		Startup:                 completeProbe(def.Startup, networking),
		NetworkingRequiresReady: def.NetworkingRequiresReady.Or(true),
	}
}

func completeProbe(o Opt[Probe], networking map[string]Networking) *Probe {
	p, ok := o.Get()
	if !ok {
		return nil
	}
	p.ExecCommand = slices.Clone(p.ExecCommand)
	if p.HTTPGetPath != "" {
		p.HTTPGetPort = cmp.Or(p.HTTPGetPort, networking[routes.DefaultNet].Port, defaultPort)
	}
	return &p
}

func overHealthchecks(lower, upper Opt[HealthchecksDef]) Opt[HealthchecksDef] {
	below, ok := lower.Get()
	above, set := upper.Get()
	if !ok || !set {
		return over(lower, upper)
	}
	return Set(HealthchecksDef{
		Liveness:                over(below.Liveness, above.Liveness),
		Readiness:               over(below.Readiness, above.Readiness),
		Startup:                 over(below.Startup, above.Startup),
		NetworkingRequiresReady: over(below.NetworkingRequiresReady, above.NetworkingRequiresReady),
	})
}

// clone returns a deep copy; nil for nil.
func (h *Healthchecks) clone() *Healthchecks {
	if h == nil {
		return nil
	}
	c := *h
	for _, p := range []**Probe{&c.Liveness, &c.Readiness, &c.Startup} {
		if *p != nil {
			probe := **p
			probe.ExecCommand = slices.Clone(probe.ExecCommand)
			*p = &probe
		}
	}
	return &c
}

func readHealthchecks(parent *object, where loc, v any) (HealthchecksDef, bool) {
	o, ok := readObject(parent, where, v)
	if !ok {
		return HealthchecksDef{}, false
	}
	var d HealthchecksDef
	takeNullable(o, "liveness", &d.Liveness, readProbe)
	takeNullable(o, "readiness", &d.Readiness, readProbe)
	takeNullable(o, "startup", &d.Startup, readProbe)
	take(o, "networking_requires_ready", &d.NetworkingRequiresReady, readBool)
	o.done()
	return d, true
}

func readProbe(parent *object, where loc, v any) (Probe, bool) {
	o, ok := readObject(parent, where, v)
	if !ok {
		return Probe{}, false
	}
	o.nulls = true // clients send every field of a probe; null means that it is not set
	var path, scheme Opt[string]
	var command Opt[[]string]
	var httpPort, tcpPort, delay, period, timeout, failures, successes Opt[int]
	take(o, "http_get_path", &path, readString)
	take(o, "http_get_port", &httpPort, readInt)
	take(o, "http_get_scheme", &scheme, readString)
	take(o, "exec_command", &command, readStrings)
	take(o, "tcp_socket_port", &tcpPort, readInt)
	take(o, "initial_delay_seconds", &delay, readInt)
	take(o, "period_seconds", &period, readInt)
	take(o, "timeout_seconds", &timeout, readInt)
	take(o, "failure_threshold", &failures, readInt)
	take(o, "success_threshold", &successes, readInt)
	o.done()
	p := Probe{
		HTTPGetPath: path.Or(""), ExecCommand: command.Or(nil), TCPSocketPort: tcpPort.Or(0),
		InitialDelaySeconds: delay.Or(10), PeriodSeconds: period.Or(10), TimeoutSeconds: timeout.Or(5),
		FailureThreshold: failures.Or(3), SuccessThreshold: successes.Or(1),
	}
	if p.HTTPGetPath != "" { // the other two have no meaning without it
		p.HTTPGetPort, p.HTTPGetScheme = httpPort.Or(0), strings.ToUpper(scheme.Or("HTTP"))
	}
	return p, true
}

func (v validator) healthchecks(h *Healthchecks) {
	if h == nil {
		return
	}
	v.probe("liveness", h.Liveness)
	v.probe("readiness", h.Readiness)
	v.probe("startup", h.Startup)
}

func (v validator) probe(name string, p *Probe) {
	if p == nil {
		return
	}
	c := probeCheck{validator: v, where: v.nested.in("healthchecks", name), prefix: "healthchecks." + name}
	c.action(*p)
	c.bounds("initial_delay_seconds", p.InitialDelaySeconds, 0, maxProbeSeconds)
	c.bounds("period_seconds", p.PeriodSeconds, 1, maxProbeSeconds)
	c.bounds("timeout_seconds", p.TimeoutSeconds, 1, maxProbeSeconds)
	c.bounds("failure_threshold", p.FailureThreshold, 1, maxProbeThreshold)
	c.bounds("success_threshold", p.SuccessThreshold, 1, maxProbeThreshold)
	if name != "readiness" && p.SuccessThreshold > 1 {
		c.bad("success_threshold", "must be 1, except for readiness. Got %d", p.SuccessThreshold)
	}
}

// probeCheck checks one probe.
type probeCheck struct {
	validator
	where  loc
	prefix string
}

func (c probeCheck) bad(field, format string, args ...any) {
	c.problems.add(c.where.in(field), c.prefix+"."+field+" "+format, args...)
}

func (c probeCheck) bounds(field string, n, lo, hi int) {
	if n < lo || n > hi {
		c.bad(field, "must be between %d and %d. Got %d", lo, hi, n)
	}
}

// action checks that there is exactly one way to ask.
func (c probeCheck) action(p Probe) {
	actions := 0
	if p.HTTPGetPath != "" {
		actions++
		c.httpGet(p)
	}
	if len(p.ExecCommand) > 0 {
		actions++
		if len(p.ExecCommand) > maxProbeCommand || p.ExecCommand[0] == "" {
			c.bad("exec_command", "must be a list of 1 to %d words that starts with a program", maxProbeCommand)
		}
	}
	if p.TCPSocketPort != 0 {
		actions++
		c.bounds("tcp_socket_port", p.TCPSocketPort, 1, maxPort)
	}
	if actions != 1 {
		c.problems.add(c.where, "%s must have exactly one of http_get_path, exec_command and tcp_socket_port. Got %d of them.", c.prefix, actions)
	}
}

func (c probeCheck) httpGet(p Probe) {
	if !strings.HasPrefix(p.HTTPGetPath, "/") || len(p.HTTPGetPath) > maxProbePath || hasControl(p.HTTPGetPath) {
		c.bad("http_get_path", "must start with / and have at most %d characters", maxProbePath)
	}
	c.bounds("http_get_port", p.HTTPGetPort, 1, maxPort)
	if p.HTTPGetScheme != "HTTP" && p.HTTPGetScheme != "HTTPS" {
		c.bad("http_get_scheme", "must be HTTP or HTTPS. Got %s", clip(p.HTTPGetScheme))
	}
}
