package operations

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tapis-project/podway/tests/parts"
	"github.com/tapis-project/podway/tests/system"
)

// desk is where a user runs podctl.
type desk struct {
	t   *testing.T
	env []string
}

func (d desk) podctl(args ...string) (string, int) {
	d.t.Helper()
	cmd := exec.CommandContext(d.t.Context(), system.Program(d.t, "podctl"), args...)
	cmd.Env, cmd.Stdin = d.env, strings.NewReader("testuser\n")
	var out bytes.Buffer
	cmd.Stdout = &out
	_ = cmd.Run() // the exit code tells
	return out.String(), cmd.ProcessState.ExitCode()
}

// faults are those that podctl doctor finds. It ends with 1 if there are any.
func (d desk) faults(args ...string) ([]string, error) {
	d.t.Helper()
	out, code := d.podctl(append([]string{"doctor", "--json", "--edge", "127.0.0.1"}, args...)...)
	var report struct {
		Findings []struct{ Fault, Remedy string }
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		return nil, fmt.Errorf("reading the report: %w\n%s", err, out)
	}
	var names []string
	for _, f := range report.Findings {
		if f.Fault == "" {
			continue
		}
		names = append(names, f.Fault)
		if f.Remedy == "" {
			d.t.Errorf("%s: the report does not say what to do", f.Fault)
		}
	}
	if (code == 1) != (len(names) > 0) {
		return names, fmt.Errorf("got exit code %d with faults %v", code, names)
	}
	return names, nil
}

// podctl doctor names what is wrong on the way to a pod.
func TestPodctlDoctor(t *testing.T) {
	s := system.Start(t)
	s.StartEdge()
	u := s.Login("testuser")
	for _, pod := range []string{"web", "off"} {
		u.Call(http.MethodPost, "/v3/pods", fmt.Sprintf(`{"pod_id":%q,"image":"podway/hello"}`, pod))
		u.WaitStatus(pod, "AVAILABLE")
	}
	s.WaitLive("web", "off")
	u.Call(http.MethodGet, "/v3/pods/off/stop", "")
	u.WaitStatus("off", "STOPPED")

	home := t.TempDir()
	d := desk{t, append(os.Environ(), "PODCTL_CONFIG="+filepath.Join(home, "login.json"), "PODCTL_URL=", "PODCTL_TOKEN=")}
	if out, code := d.podctl("login", "--url", s.BaseURL(), "--user", "testuser", "--password-stdin",
		"--edge-port", strconv.Itoa(s.EdgePort), "--edge-ca", s.CAFile()); code != 0 {
		t.Fatalf("logging in: got exit code %d\n%s", code, out)
	}
	stranger := filepath.Join(home, "other.crt")
	if err := os.WriteFile(stranger, otherRoot(t), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		args []string
		want []string
	}{
		{"nothing is wrong", []string{"web"}, nil},
		{"the pod is stopped", []string{"off"}, []string{"pod", "greeting"}},
		{"nothing listens at the port", []string{"web", "--port", strconv.Itoa(parts.FreePort(t))}, []string{"port"}},
		{"it is no TLS server", []string{"web", "--port", strconv.Itoa(s.APIPort)}, []string{"no_tls"}},
		{"the authority is another one", []string{"web", "--ca", stranger}, []string{"certificate_untrusted"}},
		{"the client speaks something else", []string{"web", "--protocol", "postgres"}, []string{"tls"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			parts.Eventually(t, limit, func() error {
				got, err := d.faults(tt.args...)
				if err == nil && !slices.Equal(got, tt.want) {
					err = fmt.Errorf("got faults %v, want %v", got, tt.want)
				}
				return err
			})
		})
	}
}

// otherRoot is the certificate of an authority that has nothing to do with the edge.
func otherRoot(t *testing.T) []byte {
	t.Helper()
	file := parts.StartRedisTLS(t).CA
	pem, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return pem
}
