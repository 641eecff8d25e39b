// Package arch keeps the arrows between the packages as docs/architecture.md
// draws them.
package arch

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/tapis-project/podway/tests/parts"
)

const module = "github.com/tapis-project/podway/"

// rules say which packages of this module the packages below a folder may
// import, tests included. A folder may always import what is below itself. The
// first rule whose folder fits counts.
var rules = []struct {
	folder string
	allow  []string
	why    string
}{
	{"routes/redisroutes", []string{"routes", "tests/parts"}, "both halves use it, so it knows neither"},
	{"routes/redisgate", []string{"routes", "tests/parts"}, "both halves use it, so it knows neither"},
	{"routes/keytext", nil, "reads text, nothing else"},
	{"routes", nil, "the contract of the two halves is a leaf"},
	{"sni/connectwire", nil, "clients build with it"},
	{"sni", []string{"routes", "tests/parts"}, "wire code knows neither Caddy nor Redis"},
	{"caddymodules", []string{"routes", "routes/redisroutes", "sni", "tests/parts", "edge"}, "the edge needs nothing of the control plane"},
	{"edge", []string{"caddymodules", "routes", "sni/snitest", "sni/pgwire", "tests/parts"}, "the program is two import lines, and its tests drive it from outside"},
	{"controlplane/internal/pods", []string{"routes", "tests/parts"}, "the domain knows no adapter"},
	{"controlplane/internal/config", nil, "reads the environment, nothing else"},
	{"controlplane/internal/devtapis", []string{"controlplane/internal/tapis", "controlplane/internal/pods", "routes/pagelook"}, "it is tested with the verification code of production"},
	{"controlplane/internal/login", []string{"controlplane/internal/pods", "controlplane/internal/tapis", "controlplane/internal/devtapis", "controlplane/internal/store", "routes", "tests/parts"}, "adapters meet in pods; its tests use the real store and the dev Tapis"},
	{"controlplane/internal/tapis", []string{"controlplane/internal/pods", "controlplane/internal/devtapis"}, "adapters meet in pods; its tests use the dev Tapis"},
	{"controlplane/internal/seed", []string{"controlplane/internal/pods", "controlplane/internal/store", "controlplane/internal/kube", "controlplane/internal/local", "routes/keytext", "tests/kubetest", "tests/parts"}, "its tests make pods of what is built in, on every cluster"},
	{"controlplane/internal/doctor", []string{"controlplane/internal/config", "controlplane/internal/store", "controlplane/internal/kube", "controlplane/internal/pods", "podctl/diagnose", "routes", "tests/parts", "tests/kubetest"}, "it looks at everything from outside"},
	{"controlplane/internal", []string{"controlplane/internal/pods", "controlplane/internal/store", "controlplane/internal/files", "controlplane/internal/reconcile", "routes", "tests/parts", "tests/kubetest"}, "adapters meet in pods; tests may use the real store and files"},
	{"controlplane", []string{"controlplane/internal", "podctl/diagnose", "routes", "routes/redisroutes", "tests/parts"}, "main wires everything of its half"},
	{"podctl/diagnose", nil, "both programs use it, so it knows neither"},
	{"podctl", []string{"podctl/diagnose", "sni/connectwire", "sni/snitest", "routes", "tests/parts"}, "a client knows the public API and what it says to an edge; its tests have pods and certificates"},
	{"deploy", []string{"tests/parts"}, "what is deployed is built from outside; tests say what they depend on"},
	{"tests/bench/edge", []string{"routes", "routes/redisroutes", "routes/redisgate", "caddymodules/certs/redisstorage", "tests", "sni/snitest"}, "it fills what an edge reads, faster than edges would"},
	{"tests", []string{"routes", "routes/redisroutes", "routes/redisgate", "sni/snitest", "sni/connectwire", "tests", "deploy/cluster"}, "black-box tests use public surfaces only, and the certificates and servers that tests of sni are made with"},
}

type goPackage struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
}

func TestImportsFollowTheArchitecture(t *testing.T) {
	for _, p := range list(t) {
		from := strings.TrimPrefix(p.ImportPath, module)
		for _, imported := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			to, ours := strings.CutPrefix(imported, module)
			if !ours || to == from || strings.HasPrefix(to, from+"/") {
				continue
			}
			check(t, from, to)
		}
	}
}

// Store implementations are wired by main; only tests of adapters may import it.
func TestNoAdapterImportsAnotherOutsideOfTests(t *testing.T) {
	adapters := []string{"api", "store", "local", "kube", "reconcile", "tapis", "devtapis", "files", "domains", "login", "certificates"}
	for _, p := range list(t) {
		from := adapterOf(p.ImportPath, adapters)
		if from == "" {
			continue
		}
		for _, imported := range p.Imports {
			if to := adapterOf(imported, adapters); to != "" && to != from {
				t.Errorf("%s imports %s: adapters meet in internal/pods and are wired in controlplane/", p.ImportPath, imported)
			}
		}
	}
}

func adapterOf(path string, adapters []string) string {
	rest, ok := strings.CutPrefix(path, module+"controlplane/internal/")
	if !ok {
		return ""
	}
	first, _, _ := strings.Cut(rest, "/")
	for _, a := range adapters {
		if a == first {
			return a
		}
	}
	return ""
}

func check(t *testing.T, from, to string) {
	t.Helper()
	for _, r := range rules {
		if !below(from, r.folder) {
			continue
		}
		if below(to, r.folder) {
			return
		}
		for _, a := range r.allow {
			if to == a || below(to, a) {
				return
			}
		}
		t.Errorf("%s must not import %s: %s", from, to, r.why)
		return
	}
	t.Errorf("%s is in no rule; add one to this test", from)
}

func below(path, folder string) bool { return path == folder || strings.HasPrefix(path, folder+"/") }

func list(t *testing.T) []goPackage {
	t.Helper()
	if err := parts.DependsOn(append(parts.Product(), "..", "../../docs")...); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports,TestImports,XTestImports", "./...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("listing packages: %v", err)
	}
	var all []goPackage
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}
