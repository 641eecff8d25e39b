// Package podctl runs the command line client against a whole Podway.
package podctl

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tapis-project/podway/tests/parts"
	"github.com/tapis-project/podway/tests/system"
)

func TestMain(m *testing.M) { system.Main(m) }

// terminal is where somebody who is logged in runs commands.
type terminal struct {
	t    *testing.T
	s    *system.System
	bin  string
	home string
}

func login(t *testing.T, s *system.System, user string) terminal {
	t.Helper()
	p := terminal{t: t, s: s, bin: system.Program(t, "podctl"), home: t.TempDir()}
	_, err := p.try(user+"\n", "login", "--url", s.BaseURL(), "--user", user, "--password-stdin",
		"--edge-port", strconv.Itoa(s.EdgePort), "--edge-ca", s.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// try runs a command and returns what it wrote to standard output.
func (p terminal) try(input string, args ...string) (string, error) {
	p.t.Helper()
	cmd := exec.CommandContext(p.t.Context(), p.bin, args...)
	cmd.Env = append(os.Environ(), "PODCTL_CONFIG="+filepath.Join(p.home, "login.json"), "PODCTL_URL=", "PODCTL_TOKEN=")
	cmd.Dir = p.home
	cmd.Stdin = strings.NewReader(input)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	if err != nil {
		p.t.Logf("podctl %s: %v\n%s", strings.Join(args, " "), err, errOut.String())
	}
	return out.String(), err
}

// run is try for a command that must succeed.
func (p terminal) run(args ...string) string {
	p.t.Helper()
	out, err := p.try("", args...)
	if err != nil {
		p.t.Fatal(err)
	}
	return out
}

func (p terminal) want(want string, args ...string) {
	p.t.Helper()
	if got := p.run(args...); !strings.Contains(got, want) {
		p.t.Errorf("podctl %s: got %q, want %q in it", strings.Join(args, " "), got, want)
	}
}

func TestALifeOfAPod(t *testing.T) {
	s := system.Start(t)
	p := login(t, s, "testuser")

	p.want("web AVAILABLE", "create", "web", "--image", "podway/hello", "--env", "A=b", "--network", "default=http:5000",
		"--network", "echo=tcp:5001", "--wait")
	p.want("web", "list", "--search", "hello")
	p.want("AVAILABLE", "get", "web")
	p.want("hi there\n", "exec", "web", "--", "echo", "hi there")
	if _, err := p.try("", "exec", "web", "--", "sh", "-c", "exit 7"); err == nil || err.Error() != "exit status 7" {
		t.Errorf("got %v, want the exit code of the command", err)
	}
	p.want("Pod object created by 'testuser'", "logs", "web", "--actions")
	port := ":" + strconv.Itoa(s.EdgePort)
	p.want("https://web.pods.dev.localhost"+port+"\ntls://web-echo.pods.dev.localhost"+port+"\n", "connect-string", "web")

	p.want("web AVAILABLE", "restart", "web", "--wait")
	p.want("web STOPPED", "stop", "web", "--wait")
	p.want("web AVAILABLE", "start", "web", "--wait")
	var list []map[string]any
	if err := json.Unmarshal([]byte(p.run("list", "--json")), &list); err != nil || len(list) != 1 || list[0]["pod_id"] != "web" {
		t.Errorf("got %v, %v", list, err)
	}
	p.want("web deleted", "delete", "web")
	if _, err := p.try("", "get", "web"); err == nil {
		t.Error("got no error for a pod that was deleted")
	}
	p.want("podway/hello", "images")
}

func TestLogsAreFollowed(t *testing.T) {
	s := system.Start(t)
	p := login(t, s, "testuser")
	p.run("create", "web", "--image", "podway/hello", "--wait")

	cmd := exec.CommandContext(t.Context(), p.bin, "logs", "-f", "web")
	cmd.Env = append(os.Environ(), "PODCTL_CONFIG="+filepath.Join(p.home, "login.json"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	// The stream ends with the container.
	p.run("stop", "web", "--wait")
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("following the logs: %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("the logs of a stopped pod are still followed")
	}
}

func TestConnectStringIsWhatPsqlTakes(t *testing.T) {
	psql := parts.Require(t, "psql")
	parts.Require(t, "/usr/lib/postgresql/*/bin/initdb")
	s := system.Start(t)
	s.StartEdge()
	p := login(t, s, "testuser")
	p.want("db AVAILABLE", "create", "db", "--image", "postgres", "--network", "default=postgres:5432", "--wait")
	for _, form := range []string{"url", "psql"} {
		address := strings.TrimSpace(p.run("connect-string", "db", "--form", form, "--password"))
		parts.Eventually(t, time.Minute, func() error {
			return exec.CommandContext(t.Context(), psql, address, "-X", "-c", "select 1").Run()
		})
		out, err := exec.CommandContext(t.Context(), psql, address, "-X", "-A", "-t", "-c", "select current_user").CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != "db" {
			t.Errorf("%s: got %s, %v", form, out, err)
		}
	}
	if got := p.run("connect-string", "db"); strings.Contains(got, "password") || !strings.HasPrefix(got, "postgresql://db@db.pods.dev.localhost:") {
		t.Errorf("got %s, want it without password", got)
	}
}

func TestTemplatesAreListed(t *testing.T) {
	s := system.Start(t)
	p := login(t, s, "testuser")
	u := s.Login("testuser")
	u.Call("POST", "/v3/pods/templates", `{"template_id":"mine","description":"for tests"}`)
	u.Call("POST", "/v3/pods/templates/mine/tags", `{"pod_definition":{"image":"podway/hello"},"commit_message":"first"}`)
	p.want("for tests", "templates")
	p.want("mine:latest@", "templates", "mine")
	p.want("web AVAILABLE", "create", "web", "--template", "mine", "--wait")
}

func TestVolumesCarryFiles(t *testing.T) {
	s := system.Start(t)
	p := login(t, s, "testuser")
	p.want("data AVAILABLE", "volumes", "create", "data", "--size-limit", "20")
	content := strings.Repeat("0123456789abcdef", 1<<16) // 1 MiB
	file := filepath.Join(p.home, "a file.txt")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	p.want("data:in/a file.txt 1.0 MiB", "volumes", "up", "data", file, "in/")
	p.want("in", "volumes", "files", "data")
	p.want("1.0 MiB", "volumes", "files", "data", "in")
	p.want("1.0 MiB", "volumes", "download", "data", "in/a file.txt", "-o", "copy")
	if got, err := os.ReadFile(filepath.Join(p.home, "copy")); err != nil || string(got) != content {
		t.Errorf("got %d bytes, %v, want %d", len(got), err, len(content))
	}
	p.run("volumes", "download", "data", "in", "--zip")
	if _, err := os.Stat(filepath.Join(p.home, "in.zip")); err != nil {
		t.Error(err)
	}
	p.want("data", "volumes", "list")
	p.want("data deleted", "volumes", "delete", "data")
}
