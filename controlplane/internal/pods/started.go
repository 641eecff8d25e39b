package pods

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"slices"
)

// Fingerprints returns a short text for each field of a pod that only a start
// applies, which changes with the field. What can be secret can't be told from it
// by who does not hold the key of the store: values of a secret_map are
// fingerprinted as they are sealed.
func Fingerprints(p Pod, e Effective) map[string]string {
	ports := make(map[string]Port, len(e.Networking))
	for key, n := range e.Networking {
		ports[key] = Port{Protocol: n.Protocol, Number: n.Port}
	}
	fields := map[string]any{
		"image":                 e.Image,
		"command":               e.Command,
		"arguments":             e.Arguments,
		"environment_variables": e.EnvironmentVariables,
		"secret_map":            e.SecretMap,
		"volume_mounts":         unclaimed(Set(e.VolumeMounts)).Or(nil),
		"networking":            ports, // the rest applies at once
		"resources":             e.Resources,
		"compute_queue":         e.ComputeQueue,
		"healthchecks":          e.Healthchecks,
	}
	prints := make(map[string]string, len(fields))
	for name, value := range fields {
		b, err := json.Marshal(value)
		if err != nil {
			continue // not reached: they were decoded from JSON
		}
		sum := sha256.Sum256(append([]byte(p.UID+" "+name+" "), b...))
		prints[name] = base64.RawURLEncoding.EncodeToString(sum[:12])
	}
	return prints
}

// PendingRestart lists, in order, the fields in which a pod that runs differs from
// what it was started with. Empty if it does not run: the next start applies all.
// Fields that started does not know are left out.
func PendingRestart(p Pod, e Effective, started map[string]string) []string {
	pending := []string{}
	if !slices.Contains([]Status{StatusSpawnerSetup, StatusCreating, StatusAvailable}, p.State.Status) {
		return pending
	}
	for name, now := range Fingerprints(p, e) {
		if then, ok := started[name]; ok && then != now {
			pending = append(pending, name)
		}
	}
	slices.Sort(pending)
	return pending
}
