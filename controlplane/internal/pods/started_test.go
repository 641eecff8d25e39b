package pods

import (
	"reflect"
	"strings"
	"testing"
)

func TestPendingRestart(t *testing.T) {
	define := func(change func(*Definition)) Effective {
		d := Definition{Image: Set("podway/hello"), EnvironmentVariables: Set(map[string]string{"A": "canary"})}
		change(&d)
		e, err := Resolve("web", "dev.localhost", DefaultSettings(), d)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	p := Pod{Key: Key{Tenant: "dev", ID: "web"}, UID: "uid", State: State{Status: StatusAvailable}}
	before := define(func(*Definition) {})
	started := Fingerprints(p, before)
	for _, c := range []struct {
		name   string
		change func(*Definition)
		want   []string
	}{
		{"nothing", func(*Definition) {}, []string{}},
		{"what is told only", func(d *Definition) { d.Description = Set("x") }, []string{}},
		{"what applies at once", func(d *Definition) {
			d.Networking = Set(map[string]NetDef{"default": {TapisAuth: Set(true)}})
		}, []string{}},
		{"the port", func(d *Definition) { d.Networking = Set(map[string]NetDef{"default": {Port: Set(8080)}}) }, []string{"networking"}},
		{"several fields", func(d *Definition) {
			d.Image, d.Command = Set("postgres"), Set([]string{"x"})
			d.EnvironmentVariables = Set(map[string]string{"A": "other"})
		}, []string{"command", "environment_variables", "image"}},
		{"a mount", func(d *Definition) {
			d.VolumeMounts = Set(map[string]VolumeMount{"data": {Type: MountPVC, MountPath: "/data"}})
		}, []string{"volume_mounts"}},
		{"a secret", func(d *Definition) { d.SecretMap = Set(map[string]string{"A": "${pods:url}"}) }, []string{"secret_map"}},
		{"a probe", func(d *Definition) {
			d.Healthchecks = Set(HealthchecksDef{Readiness: Set(Probe{HTTPGetPath: "/", HTTPGetScheme: "HTTP", PeriodSeconds: 1, TimeoutSeconds: 1, FailureThreshold: 1, SuccessThreshold: 1})})
		}, []string{"healthchecks"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			after := define(c.change)
			if got := PendingRestart(p, after, started); !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
			if got := PendingRestart(p, after, nil); len(got) > 0 {
				t.Errorf("got %v of a pod whose start is not known, want nothing", got)
			}
			stopped := p
			stopped.State.Status = StatusStopped
			if got := PendingRestart(stopped, after, started); len(got) > 0 {
				t.Errorf("got %v of a pod that does not run, want nothing", got)
			}
		})
	}
	for name, print := range started {
		if strings.Contains(print, "canary") || len(print) != 16 {
			t.Errorf("%s: got %q, want a fingerprint", name, print)
		}
	}
}
