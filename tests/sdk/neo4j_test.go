//go:build clients

package sdk

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tapis-project/podway/tests/javaenv"
	"github.com/tapis-project/podway/tests/parts"
	"github.com/tapis-project/podway/tests/pythonenv"
	"github.com/tapis-project/podway/tests/system"
)

// startsWithin bounds the start of Neo4j on a machine that has much to do.
const startsWithin = 5 * time.Minute

// TestNeo4jSnippet starts Neo4j with APOC as a pod of the template neo4j sets them
// up, and runs what the documents print. The way through an edge is that of
// tests/clients.
func TestNeo4jSnippet(t *testing.T) {
	classpath := javaenv.Make(t, filepath.Join("java", "neo4j", "pom.xml"))
	python := pythonenv.Make(t, "requirements-databases.txt")
	s := system.Start(t)
	u := s.Login("testuser")
	u.Call(http.MethodPost, "/v3/pods", `{"pod_id":"docpod","template":"neo4j","status_requested":"OFF"}`)
	var derived struct {
		EnvironmentVariables map[string]string `json:"environment_variables"`
	}
	u.Call(http.MethodGet, "/v3/pods/docpod/derived?resolve_secrets=true", "").Into(t, &derived)

	addr := startNeo4j(t, classpath, derived.EnvironmentVariables)
	_, blocks := snippets(t, "neo4j.py",
		replacement{"bolt+s://podId.pods.tacc.tapis.io:443", "bolt://" + addr, "TLS and the name are the edge's"},
		replacement{"podId", "docpod", "the pod is another one"},
		replacement{"autoRandomizedPassword", password(t, u, "docpod"), "so is the password"},
	)
	program := strings.Join(append(blocks, "neo.close()", "print('done')"), "\n")
	parts.Eventually(t, startsWithin, func() error { // until APOC has made the user
		out, err := exec.CommandContext(t.Context(), python, "-W", "ignore", "-c", program).CombinedOutput()
		if err == nil && !strings.HasSuffix(string(out), "done\n") {
			t.Fatalf("got %q, want the snippet's output", out)
		}
		return err
	})
}

// startNeo4j starts Neo4j with the environment of a pod, and returns its address.
func startNeo4j(t *testing.T, classpath string, env map[string]string) string {
	t.Helper()
	home := t.TempDir()
	conf := filepath.Join(home, "conf")
	if err := os.Mkdir(conf, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(conf, "apoc.conf"), []byte(apocConfig(env)), 0o600); err != nil {
		t.Fatal(err)
	}
	_, adminPassword, _ := strings.Cut(env["NEO4J_AUTH"], "/")
	cmd := exec.CommandContext(t.Context(), javaenv.Java(t), "-Xmx512m", "-cp", classpath,
		filepath.Join("..", "clients", "java", "neo4j", "Neo4j.java"), home, adminPassword)
	cmd.Env = append(os.Environ(), "NEO4J_CONF="+conf)
	stdin, err := cmd.StdinPipe() // it ends with that
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.WaitDelay = time.Minute
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("Neo4j ended before it served: %v", err)
	}
	return strings.TrimSpace(line)
}

// apocConfig returns the settings of APOC that the entry point of Neo4j's image
// makes of a pod's environment: NEO4J_ is cut off, __ means _ and _ means a dot.
func apocConfig(env map[string]string) string {
	var b strings.Builder
	for name, value := range env {
		setting, ok := strings.CutPrefix(name, "NEO4J_apoc_")
		if !ok {
			continue
		}
		fmt.Fprintf(&b, "apoc.%s=%s\n", strings.NewReplacer("__", "_", "_", ".").Replace(setting), value)
	}
	return b.String()
}
