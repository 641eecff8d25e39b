// Package chart tests the Helm chart with Helm's own library: with the program in the
// folder helm, which is built for it.
package chart

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/tapis-project/podway/tests/parts"
)

// tapis is the value that has no default.
const tapis = "controlPlane.tapisUrl=https://tapis.example.org"

// object is what is read of a rendered object.
type object struct {
	Kind     string
	Metadata struct{ Name, Namespace string }
	Spec     struct {
		Template struct{ Spec podSpec }
	}
	Rules []struct {
		APIGroups, Resources, Verbs []string
	}
}

type podSpec struct {
	AutomountServiceAccountToken *bool `yaml:"automountServiceAccountToken"`
	Containers                   []container
	InitContainers               []container `yaml:"initContainers"`
	Volumes                      []struct {
		Name   string
		Secret struct {
			Items []struct{ Key string }
		}
	}
}

type container struct {
	Name            string
	SecurityContext struct {
		AllowPrivilegeEscalation *bool `yaml:"allowPrivilegeEscalation"`
		ReadOnlyRootFilesystem   bool  `yaml:"readOnlyRootFilesystem"`
		RunAsNonRoot             bool  `yaml:"runAsNonRoot"`
		Capabilities             struct{ Drop, Add []string }
		SeccompProfile           struct{ Type string } `yaml:"seccompProfile"`
	} `yaml:"securityContext"`
	Env []struct {
		Name, Value string
	}
}

var (
	binDir string // of the program, "" if no test has needed it

	// program returns Helm, built once.
	program = sync.OnceValues(func() (string, error) {
		var err error
		if binDir, err = os.MkdirTemp("", "podway-helm-"); err != nil {
			return "", err
		}
		bin := filepath.Join(binDir, "helm")
		cmd := exec.Command("go", "build", "-C", "helm", "-o", bin)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as `make build`, so that its cache serves
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("building helm: %w\n%s", err, out)
		}
		return bin, nil
	})
)

func TestMain(m *testing.M) {
	if err := parts.DependsOn("."); err != nil {
		panic(err)
	}
	code := m.Run()
	if binDir != "" {
		_ = os.RemoveAll(binDir)
	}
	os.Exit(code)
}

// helm runs a command of Helm for the chart and returns what it prints.
func helm(t *testing.T, command, name string, flags ...string) (string, error) {
	t.Helper()
	bin, err := program()
	if err != nil {
		t.Fatal(err)
	}
	args := append([]string{command, "-kube-version", "1.33.0"}, flags...)
	out, err := exec.CommandContext(t.Context(), bin, append(args, name, ".")...).CombinedOutput()
	return string(out), err
}

func render(t *testing.T, set ...string) []object {
	t.Helper()
	flags := []string{"-namespace", "ns", "-set", tapis}
	for _, s := range set {
		flags = append(flags, "-set", s)
	}
	out, err := helm(t, "template", "rel", flags...)
	if err != nil {
		t.Fatalf("rendering: %v\n%s", err, out)
	}
	return decode(t, out)
}

func decode(t *testing.T, text string) []object {
	t.Helper()
	var all []object
	for d := yaml.NewDecoder(strings.NewReader(text)); ; {
		var o object
		err := d.Decode(&o)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("reading what was rendered: %v", err)
		}
		if o.Kind != "" {
			all = append(all, o)
		}
	}
}

func kinds(all []object) map[string]int {
	n := map[string]int{}
	for _, o := range all {
		n[o.Kind+"/"+o.Metadata.Name]++
	}
	return n
}

func TestLint(t *testing.T) {
	for _, set := range []string{"edge.kind=Deployment", "edge.kind=DaemonSet", "edge.kind=None", "trial.enabled=true"} {
		if out, err := helm(t, "lint", "rel", "-set", tapis, "-set", set); err != nil {
			t.Errorf("%s: %v\n%s", set, err, out)
		}
	}
}

func TestWhatIsRendered(t *testing.T) {
	for _, tt := range []struct {
		name, set string
		have      []string
		not       []string
	}{
		{
			"by default", "rbac.create=true",
			[]string{"Deployment/rel", "Deployment/rel-edge", "Service/rel-edge", "PodDisruptionBudget/rel", "PodDisruptionBudget/rel-edge", "NetworkPolicy/rel", "ClusterRole/rel", "RoleBinding/rel-leader"},
			[]string{"Deployment/rel-redis", "Secret/rel-trial", "PodMonitor/rel-edge"},
		},
		{"without an edge", "edge.kind=None", []string{"Deployment/rel"}, []string{"Deployment/rel-edge", "ConfigMap/rel-edge", "Service/rel-edge", "NetworkPolicy/rel-edge"}},
		{"an edge on each node", "edge.kind=DaemonSet", []string{"DaemonSet/rel-edge"}, []string{"Deployment/rel-edge", "PodDisruptionBudget/rel-edge"}},
		{"a trial", "trial.enabled=true", []string{"Deployment/rel-redis", "Deployment/rel-postgres", "Secret/rel-trial", "NetworkPolicy/rel-redis"}, nil},
		{"with rights of your own", "rbac.create=false", nil, []string{"ClusterRole/rel", "ServiceAccount/rel"}},
		{"with Prometheus", "podMonitor.enabled=true", []string{"PodMonitor/rel-edge"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := kinds(render(t, tt.set))
			for _, name := range tt.have {
				if got[name] != 1 {
					t.Errorf("%s: got %d, want 1", name, got[name])
				}
			}
			for _, name := range tt.not {
				if got[name] != 0 {
					t.Errorf("%s: got %d, want none", name, got[name])
				}
			}
		})
	}
}

// Every container passes the Pod Security level "restricted", and an edge gets no
// right in the cluster and never sees the key of the store.
func TestContainersAreConfined(t *testing.T) {
	for _, o := range render(t, "trial.enabled=true") {
		spec := o.Spec.Template.Spec
		for _, c := range append(spec.Containers, spec.InitContainers...) {
			s := c.SecurityContext
			if s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation || !s.ReadOnlyRootFilesystem || !s.RunAsNonRoot ||
				strings.Join(s.Capabilities.Drop, "") != "ALL" || len(s.Capabilities.Add) > 0 || s.SeccompProfile.Type != "RuntimeDefault" {
				t.Errorf("%s/%s: got %+v, want a container with no rights", o.Metadata.Name, c.Name, s)
			}
			for _, e := range c.Env {
				if e.Value != "" && (strings.Contains(e.Name, "REDIS_URL") || strings.Contains(e.Name, "STORE") || strings.Contains(e.Name, "PASSWORD")) {
					t.Errorf("%s/%s: %s is not from a Secret", o.Metadata.Name, c.Name, e.Name)
				}
			}
		}
		if o.Metadata.Name != "rel-edge" || o.Kind != "Deployment" {
			continue
		}
		if spec.AutomountServiceAccountToken == nil || *spec.AutomountServiceAccountToken {
			t.Error("an edge gets a token of the cluster")
		}
		for _, v := range spec.Volumes {
			for _, item := range v.Secret.Items {
				if item.Key == "store.key" {
					t.Error("an edge sees the key of the store")
				}
			}
		}
	}
}

// The rights are those of deploy/rbac.yaml under other names.
func TestRightsAreThoseOfOneFile(t *testing.T) {
	text, err := os.ReadFile("../rbac.yaml")
	if err != nil {
		t.Fatal(err)
	}
	rules := func(all []object) string {
		var b bytes.Buffer
		for _, o := range all {
			if len(o.Rules) > 0 {
				if err := json.NewEncoder(&b).Encode(o.Rules); err != nil {
					t.Fatal(err)
				}
			}
		}
		return b.String()
	}
	all := render(t)
	if got, want := rules(all), rules(decode(t, string(text))); got != want || want == "" {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, o := range all {
		if o.Metadata.Namespace != "" && o.Metadata.Namespace != "ns" {
			t.Errorf("%s %s: got namespace %s, want ns", o.Kind, o.Metadata.Name, o.Metadata.Namespace)
		}
	}
}

func TestWrongValuesAreRefused(t *testing.T) {
	for _, set := range []string{
		"edge.knid=Deployment", "edge.kind=Sidecar", "controlPlane.replicas=0", "controlPlane.tapisUrl=tapis", "controlPlane.tapisUrl=",
		"controlPlane.env.path=x", "edge.upstreams={anywhere}", "image.pullPolicy=Sometimes", "edge.graceSeconds=-1",
	} {
		if out, err := helm(t, "template", "rel", "-set", tapis, "-set", set); err == nil {
			t.Errorf("%s was accepted:\n%.200s", set, out)
		}
	}
}

// values.schema.json describes each value, and no others.
func TestSchemaDescribesEveryValue(t *testing.T) {
	var schema map[string]any
	text, err := os.ReadFile("values.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	var values map[string]any
	if text, err = os.ReadFile("values.yaml"); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &values); err != nil {
		t.Fatal(err)
	}
	values["global"] = map[string]any{}
	compare(t, "", schema, values)
}

func compare(t *testing.T, path string, schema, values map[string]any) {
	t.Helper()
	properties, _ := schema["properties"].(map[string]any)
	for name, p := range properties {
		property, _ := p.(map[string]any)
		if property["description"] == nil {
			t.Errorf("%s.%s has no description", path, name)
		}
		value, there := values[name]
		if !there {
			t.Errorf("%s.%s is not in values.yaml", path, name)
		}
		if inner, ok := value.(map[string]any); ok && property["properties"] != nil {
			compare(t, path+"."+name, property, inner)
		}
	}
}

// The base for kustomize is the chart.
func TestKustomizeBaseIsRendered(t *testing.T) {
	want, err := helm(t, "template", "podway", "-namespace", "podway", "-values", "../kustomize/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../kustomize/podway.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if _, rendered, _ := strings.Cut(string(got), "\n"); rendered != want {
		t.Error("deploy/kustomize/podway.yaml is not what the chart renders: run make chart")
	}
}
