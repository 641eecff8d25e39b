package pods

import (
	"regexp"
)

// Placeholders maps the names that may stand in <<TAPIS_name>> to their values.
// Some values are secret.
type Placeholders map[string]string

// placeholderPattern matches <<TAPIS_name>>, its synonym <<tapissecret_name>>
// and <TAPIS_name>, the form that the public documentation prints.
var placeholderPattern = regexp.MustCompile(`<<(?:TAPIS_|tapissecret_)(\w+)>>|<TAPIS_(\w+)>`)

// NewPlaceholders returns the placeholders of a pod.
func NewPlaceholders(p Pod, c Credentials) Placeholders {
	return Placeholders{
		"user_username":  c.UserUsername,
		"user_password":  c.UserPassword,
		"admin_username": c.AdminUsername,
		"admin_password": c.AdminPassword,
		"pod_id":         string(p.ID),
		"tenant_id":      p.Tenant,
		"site_id":        p.Site,
	}
}

// Replace fills in the placeholders in s. Unknown names become empty. Values
// are not searched again, so a value that looks like a placeholder stays.
func (m Placeholders) Replace(s string) string {
	return placeholderPattern.ReplaceAllStringFunc(s, func(match string) string {
		names := placeholderPattern.FindStringSubmatch(match)
		return m[names[1]+names[2]] // one of the two is empty
	})
}

// replaceAll returns a copy of list with the placeholders of each element
// filled in; nil if list is empty.
func (m Placeholders) replaceAll(list []string) []string {
	var out []string
	for _, s := range list {
		out = append(out, m.Replace(s))
	}
	return out
}

// FillPlaceholders returns e with the placeholders in its environment and its
// configuration files filled in. It shares neither map with e.
func FillPlaceholders(p Pod, e Effective, c Credentials) Effective {
	fill := NewPlaceholders(p, c)
	env := make(map[string]string, len(e.EnvironmentVariables))
	for name, value := range e.EnvironmentVariables {
		env[name] = fill.Replace(value)
	}
	mounts := make(map[string]VolumeMount, len(e.VolumeMounts))
	for key, m := range e.VolumeMounts {
		m.ConfigContent = fill.Replace(m.ConfigContent)
		mounts[key] = m
	}
	e.EnvironmentVariables, e.VolumeMounts = env, mounts
	return e
}

// BuildWorkload returns what the cluster shall run for p: its effective
// definition e with the placeholders in environment, command, arguments and
// configuration files filled in. It shares no memory with its arguments.
func BuildWorkload(p Pod, e Effective, c Credentials) Workload {
	fill := NewPlaceholders(p, c)
	e = FillPlaceholders(p, e, c)
	ports := make(map[string]Port, len(e.Networking))
	for key, n := range e.Networking {
		ports[key] = Port{Protocol: n.Protocol, Number: n.Port}
	}
	return Workload{
		Key:          p.Key,
		UID:          p.UID,
		Site:         p.Site,
		Image:        e.Image,
		Command:      fill.replaceAll(e.Command),
		Arguments:    fill.replaceAll(e.Arguments),
		Env:          e.EnvironmentVariables,
		Ports:        ports,
		Resources:    e.Resources,
		ComputeQueue: e.ComputeQueue,
		VolumeMounts: workloadMounts(e.VolumeMounts),
		Healthchecks: e.Healthchecks.clone(),
		Credentials:  c,
	}
}
