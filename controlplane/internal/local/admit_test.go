package local

import (
	"errors"
	"strings"
	"testing"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

func TestAdmit(t *testing.T) {
	tests := []struct {
		name   string
		change func(w *pods.Workload)
		want   []string // parts of the messages, one for each; nil: admitted
	}{
		{"hello is admitted", func(*pods.Workload) {}, nil},
		{"a tag is accepted", func(w *pods.Workload) { w.Image = "postgres:15" }, nil},
		{"the long form of a name is accepted", func(w *pods.Workload) { w.Image = "docker.io/library/redis:7-alpine" }, nil},
		{"a digest can't be run", func(w *pods.Workload) { w.Image = "postgres@sha256:" + strings.Repeat("0", 64) }, []string{"Use 'postgres'"}},
		{"an unknown image is told what there is", func(w *pods.Workload) { w.Image = "nginx:1" }, []string{"Use one of: podway/hello, postgres, redis"}},
		{"another registry is another image", func(w *pods.Workload) { w.Image = "ghcr.io/podway/hello" }, []string{"catalogue"}},
		{"an unreadable image", func(w *pods.Workload) { w.Image = "A B" }, []string{"image: "}},
		{"a command", func(w *pods.Workload) { w.Command = []string{"sh"} }, []string{"command can't be overridden on the local cluster"}},
		{"arguments are accepted", func(w *pods.Workload) { w.Arguments = []string{"-exit-after", "1s"} }, nil},
		{"GPUs", func(w *pods.Workload) { w.Resources.GPUs = 1 }, []string{"resources.gpus: "}},
		{"a claim is accepted", func(w *pods.Workload) { w.VolumeMounts = mount("data", "pvc", "sub/path") }, nil},
		{"an absolute sub_path is below the volume too", func(w *pods.Workload) { w.VolumeMounts = mount("data", "pvc", "/sub") }, nil},
		{"a sub_path that leads out", func(w *pods.Workload) { w.VolumeMounts = mount("data", "pvc", "../../..") }, []string{"volume_mounts.data.sub_path: "}},
		{"a volume", func(w *pods.Workload) { w.VolumeMounts = mount("data", "tapisvolume", "") }, []string{"volume_mounts.data.type: "}},
		{"a volume name that is a path", func(w *pods.Workload) { w.VolumeMounts = mount("../x", "pvc", "") }, []string{"volume_mounts.../x: "}},
		{"a tenant that is a path", func(w *pods.Workload) { w.Tenant = "../dev" }, []string{"pod_id: "}},
		{"an id that is hidden", func(w *pods.Workload) { w.ID = ".web" }, []string{"pod_id: "}},
		{"postgres with two ports", func(w *pods.Workload) {
			w.Image = "postgres"
			w.Ports["db"] = pods.Port{Protocol: pods.NetPostgres, Number: 5432}
		}, []string{"networking.default: image postgres listens on one port, which is taken to be 5432, of networking.db"}},
		{"hello with one port for two protocols", func(w *pods.Workload) {
			w.Ports["raw"] = pods.Port{Protocol: pods.NetTCP, Number: 5000}
		}, []string{"networking.raw: another entry uses port 5000"}},
		{"several problems are told at once", func(w *pods.Workload) {
			w.Image, w.Command, w.Resources.GPUs = "nginx", []string{"sh"}, 1
		}, []string{"image: ", "command: ", "resources.gpus: "}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := workload("web", "podway/hello")
			test.change(&w)
			err := new(Cluster).admit(w)
			if test.want == nil {
				if err != nil {
					t.Fatalf("got %v, want nil", err)
				}
				return
			}
			e, ok := errors.AsType[*pods.Error](err)
			if !ok || e.Code != pods.Invalid || len(e.Messages) != len(test.want) {
				t.Fatalf("got %v, want an error with code invalid and %d messages", err, len(test.want))
			}
			for i, want := range test.want {
				if !strings.Contains(e.Messages[i], want) {
					t.Errorf("got message %q, want %q in it", e.Messages[i], want)
				}
			}
		})
	}
}

func mount(name, kind, sub string) map[string]pods.VolumeMount {
	return map[string]pods.VolumeMount{name: {Type: kind, MountPath: "/data", SubPath: sub}}
}

func TestServedKey(t *testing.T) {
	i := image{name: "postgres", port: 5432}
	tests := []struct {
		name  string
		ports map[string]pods.Port
		want  string
	}{
		{"there is none", nil, ""},
		{"the only one, whatever it is", map[string]pods.Port{"default": {Protocol: pods.NetHTTP, Number: 5000}}, "default"},
		{"the usual port before all", map[string]pods.Port{
			"inside": {Protocol: pods.NetLocalOnly, Number: 5432}, "db": {Protocol: pods.NetPostgres, Number: 6000},
		}, "inside"},
		{"the protocol before the key", map[string]pods.Port{
			"aaa": {Protocol: pods.NetHTTP, Number: 5000}, "db": {Protocol: pods.NetPostgres, Number: 6000},
		}, "db"},
		{"the first key if nothing tells them apart", map[string]pods.Port{
			"b": {Protocol: pods.NetTCP, Number: 5000}, "a": {Protocol: pods.NetTCP, Number: 6000},
		}, "a"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := i.servedKey(test.ports); got != test.want {
				t.Fatalf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestImagesAreCanonical(t *testing.T) {
	for _, name := range Images() {
		if got, err := pods.CanonicalImage(name); err != nil || got != name {
			t.Errorf("got %q, want %q, its canonical form (%v)", name, got, err)
		}
	}
	if got := Images()[0]; got != "docker.io/podway/hello" {
		t.Errorf("got %q first, want podway/hello", got)
	}
}

func TestQuoting(t *testing.T) {
	if got, want := quoteSQL(`a"b'c`, `"`), `"a""b'c"`; got != want {
		t.Errorf("identifier: got %s, want %s", got, want)
	}
	if got, want := quoteSQL(`a"b'c`, `'`), `'a"b''c'`; got != want {
		t.Errorf("string: got %s, want %s", got, want)
	}
	if got, want := quoteRedis("a\"b\\c\nd"), `"a\x22b\x5cc\x0ad"`; got != want {
		t.Errorf("redis: got %s, want %s", got, want)
	}
}

func TestNewestVersionIsFound(t *testing.T) {
	if compareVersions("/usr/lib/postgresql/9.6/bin/x", "/usr/lib/postgresql/15/bin/x") >= 0 {
		t.Error("9.6 is not older than 15")
	}
	if compareVersions("/usr/lib/postgresql/17/bin/x", "/usr/lib/postgresql/15/bin/x") <= 0 {
		t.Error("17 is not newer than 15")
	}
}
