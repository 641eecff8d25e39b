package operations

import (
	"archive/tar"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/tapis-project/podway/deploy/cluster/debian"
	"github.com/tapis-project/podway/tests/parts"
	"github.com/tapis-project/podway/tests/toolcache"
)

// rule is an alert of Prometheus.
type rule struct {
	Alert       string            `json:"alert"`
	Expr        string            `json:"expr"`
	For         string            `json:"for"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

func alertRules(t *testing.T) []rule {
	t.Helper()
	var file struct {
		Groups []struct {
			Name  string `json:"name"`
			Rules []rule `json:"rules"`
		} `json:"groups"`
	}
	if err := yaml.UnmarshalStrict(read(t, "deploy/alerts/podway.rules.yaml"), &file); err != nil {
		t.Fatal(err)
	}
	var all []rule
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(parts.Repo(), path))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var metricRE = regexp.MustCompile(`\bpodway_[a-z_]+\b`)

// Every metric of a rule is one that edges serve, and every alert has its entry in
// the runbook.
func TestAlertsAreOfMetricsThatExist(t *testing.T) {
	described, runbook := string(read(t, "docs/observability.md")), string(read(t, "docs/operations/alerts.md"))
	source := string(read(t, "caddymodules/podway/metrics.go")) + string(read(t, "caddymodules/certs/metrics.go"))
	rules := alertRules(t)
	if len(rules) == 0 {
		t.Fatal("there are no rules")
	}
	for _, r := range rules {
		names := metricRE.FindAllString(r.Expr, -1)
		if len(names) == 0 {
			t.Errorf("%s: no metric in %q", r.Alert, r.Expr)
		}
		for _, name := range names {
			if !strings.Contains(described, "`"+name+"`") {
				t.Errorf("%s: docs/observability.md has no metric %s", r.Alert, name)
			}
			if short := strings.TrimPrefix(name, "podway_edge_"); !strings.Contains(source, `"`+short+`"`) && !strings.Contains(source, `"`+name+`"`) {
				t.Errorf("%s: edges serve no metric %s", r.Alert, name)
			}
		}
		if r.Annotations["summary"] == "" || r.Annotations["description"] == "" || r.Labels["severity"] == "" {
			t.Errorf("%s: got %v and %v, want a summary, a description and a severity", r.Alert, r.Annotations, r.Labels)
		}
		if !strings.Contains(runbook, "`"+r.Alert+"`") {
			t.Errorf("docs/operations/alerts.md does not mention %s", r.Alert)
		}
	}
}

// promtool returns the program with which Prometheus checks rules: the machine's, or that
// of Debian's package, which is not installed: it would start a Prometheus.
func promtool(t *testing.T) string {
	t.Helper()
	if installed, err := exec.LookPath("promtool"); err == nil {
		return installed
	}
	parts.Require(t, "dpkg-deb")
	dir := toolcache.Make(t, "promtool", []byte("prometheus"), func(dir string) {
		debs, err := debian.Cache{Dir: filepath.Join(dir, "packages")}.Fetch(t.Context(), debian.Query{Packages: []string{"prometheus"}, Alone: true})
		if err != nil {
			t.Fatal(err)
		}
		var program []byte
		err = debian.Walk(t.Context(), debs, func(h *tar.Header, content io.Reader) (err error) {
			if h.Name == "./usr/bin/promtool" {
				program, err = io.ReadAll(content)
			}
			return err
		})
		if err != nil || len(program) == 0 {
			t.Fatalf("the package has no promtool: %v", err)
		}
		if err := os.WriteFile(filepath.Join(dir, "promtool"), program, 0o755); err != nil {
			t.Fatal(err)
		}
	})
	return filepath.Join(dir, "promtool")
}

// Prometheus itself says when each alert fires and when it does not.
func TestAlertsFireWhenTheyShall(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), promtool(t), "test", "rules", "podway.rules.test.yaml")
	cmd.Dir = filepath.Join(parts.Repo(), "deploy/alerts")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	var file struct {
		Tests []struct {
			Alerts []struct {
				Name string           `json:"alertname"`
				Want []map[string]any `json:"exp_alerts"`
			} `json:"alert_rule_test"`
		} `json:"tests"`
	}
	if err := yaml.Unmarshal(read(t, "deploy/alerts/podway.rules.test.yaml"), &file); err != nil {
		t.Fatal(err)
	}
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, c := range file.Tests {
		for _, a := range c.Alerts {
			if len(a.Want) > 0 {
				fires[a.Name] = true
			} else {
				silent[a.Name] = true
			}
		}
	}
	for _, r := range alertRules(t) {
		if !fires[r.Alert] || !silent[r.Alert] {
			t.Errorf("%s: it has a case in which it fires: %v, in which it is silent: %v; want both", r.Alert, fires[r.Alert], silent[r.Alert])
		}
	}
}
