package operations

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/tapis-project/podway/tests/system"
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
	b, err := os.ReadFile(filepath.Join(system.Repo(), path))
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
