package pods

import (
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tapis-project/podway/routes/routestest"
)

func TestDiff(t *testing.T) {
	base := Definition{
		Image: Set("nginx"), Description: Set("old text"), Command: Set([]string{"run"}),
		EnvironmentVariables: Set(map[string]string{"A": "1", "B": "2"}),
		VolumeMounts:         Set(map[string]VolumeMount{"data": {Type: "pvc", MountPath: "/data"}}),
		Networking: Set(map[string]NetDef{
			"default": {TapisAuthResponseHeaders: Set(map[string]string{"X-User": "a"})}, "browser": {},
		}),
	}
	for _, c := range []struct {
		name  string
		patch Definition
		now   Requested
		want  []Change
	}{
		{"nothing", Definition{}, On, nil},
		{"what is the default anyway", Definition{TimeToStopDefault: Set(43200), Networking: Set(map[string]NetDef{
			"default": {Port: Set(5000), TapisAuthResponseHeaders: Set(map[string]string{"X-User": "a"})}, "browser": {},
		})}, On, nil},
		{"a wish", Definition{}, Off, []Change{{"status_requested", "ON→OFF"}}},
		{"plain fields", Definition{Image: Set("podway/hello:1"), Description: Set("new text"), TimeToStopInstance: Set(600)}, On, []Change{
			{"description", "old text→new text"}, {"image", "nginx→podway/hello:1"}, {"time_to_stop_instance", "null→600"},
		}},
		{"texts that could be mistaken", Definition{Description: Set("a, b -> c\nd")}, On, []Change{{"description", `old text→"a, b -> c\nd"`}}},
		{"an empty text", Definition{Description: Set("")}, On, []Change{{"description", `old text→""`}}},
		{"a long text", Definition{Description: Set(strings.Repeat("x", 100))}, On, []Change{{"description", "old text→" + strings.Repeat("x", 64) + "..."}}},
		{"the environment", Definition{EnvironmentVariables: Set(map[string]string{"B": "3", "C": "4"})}, On, []Change{
			{"environment_variables.A", "removed"}, {"environment_variables.B", "changed (hidden)"}, {"environment_variables.C", "added (hidden)"},
		}},
		{"command and arguments", Definition{Command: Null[[]string](), Arguments: Set([]string{"--password=x"})}, On, []Change{
			{"arguments", "changed (hidden)"}, {"command", "changed (hidden)"},
		}},
		{"networking", Definition{Networking: Set(map[string]NetDef{
			"default": {Port: Set(8080), IPAllowList: Set([]string{"::1"}), ClientCA: Set(routestest.Authority), TapisAuthResponseHeaders: Set(map[string]string{"X-User": "b", "X-More": "c"})},
			"metrics": {},
		})}, On, []Change{
			{"networking.browser", "removed"},
			{"networking.default.client_ca", "changed (hidden)"},
			{"networking.default.ip_allow_list", `[]→["::1"]`},
			{"networking.default.port", "5000→8080"},
			{"networking.default.tapis_auth_response_headers.X-More", "added (hidden)"},
			{"networking.default.tapis_auth_response_headers.X-User", "changed (hidden)"},
			{"networking.metrics", "added"},
		}},
		{"resources and mounts", Definition{
			Resources:    Set(ResourcesDef{GPUs: Set(1)}),
			VolumeMounts: Set(map[string]VolumeMount{"data": {Type: "pvc", MountPath: "/else"}}),
		}, On, []Change{{"resources.gpus", "0→1"}, {"volume_mounts.data.mount_path", "/data→/else"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			before, after := mustResolve(t, base), mustResolve(t, PodPatch{Definition: c.patch}.Apply(base))
			if got := Diff(before, after, On, c.now); !reflect.DeepEqual(got, c.want) {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

func mustResolve(t *testing.T, d Definition) Effective {
	t.Helper()
	e, err := Resolve("mypod", "dev.localhost", DefaultSettings(), d)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestUpdateText(t *testing.T) {
	changes := func(n int) []Change {
		var list []Change
		for _, name := range strings.Split("a b c d e f g h i j", " ")[:n] {
			list = append(list, Change{name, "1→2"})
		}
		return list
	}
	for _, c := range []struct {
		name string
		n    int
		want string
	}{
		{"no leaf", 0, "'alice' updated pod"},
		{"one leaf", 1, "'alice' updated pod: a: 1→2"},
		{"eight leaves", 8, "'alice' updated pod: a: 1→2, b: 1→2, c: 1→2, d: 1→2, e: 1→2, f: 1→2, g: 1→2, h: 1→2"},
		{"ten leaves", 10, "'alice' updated pod: a: 1→2, b: 1→2, c: 1→2, d: 1→2, e: 1→2, f: 1→2, g: 1→2, h: 1→2 (+2 more)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := UpdateText("alice", changes(c.n)); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestDiffOfAPodWithItselfIsEmpty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := anyDefinition.Draw(t, "definition")
		a, _ := Resolve("mypod", "dev.localhost", DefaultSettings(), d)
		b, _ := Resolve("mypod", "dev.localhost", DefaultSettings(), d)
		if got := Diff(a, b, On, On); len(got) != 0 {
			t.Fatalf("got %v, want nothing", got)
		}
	})
}

func TestDiffNeverShowsSecrets(t *testing.T) {
	const secret = "swordfish"
	value := rapid.Map(rapid.StringMatching(`[a-z0-9]{0,8}`), func(s string) string { return secret + s })
	env := rapid.MapOfN(oneOf("A", "B", "command"), value, 0, 3)
	draw := func(t *rapid.T, label string) Effective {
		d := anyDefinition.Draw(t, label)
		d.EnvironmentVariables = Set(env.Draw(t, label))
		d.Command = Set([]string{value.Draw(t, label)})
		d.Arguments = Set([]string{value.Draw(t, label)})
		d.Networking = Set(map[string]NetDef{"default": {TapisAuthResponseHeaders: Set(env.Draw(t, label))}})
		e, _ := Resolve("mypod", "dev.localhost", DefaultSettings(), d)
		return e
	}
	rapid.Check(t, func(t *rapid.T) {
		before, after := draw(t, "before"), draw(t, "after")
		changes := Diff(before, after, On, Off)
		for _, c := range changes {
			if strings.Contains(c.Path+c.Text, secret) {
				t.Fatalf("got %q with a secret", c)
			}
		}
		if len(changes) == 0 {
			t.Fatal("got no changes, want that of status_requested at least")
		}
	})
}
