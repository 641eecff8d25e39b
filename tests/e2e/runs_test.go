//go:build e2e

package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tapis-project/podway/tests/parts"
	"github.com/tapis-project/podway/tests/system"
)

// Logs can be followed while they are written, and are kept after the end.
func TestLogsAreFollowedOnKubernetes(t *testing.T) {
	s := start(t, "follow")
	u := s.Login("testuser")
	create(t, u, busybox("talker", `n=0; while true; do echo "line $n"; n=$((n+1)); sleep 0.1; done & exec httpd -f -p 5000 -h /tmp`))
	body := follow(t, s, u, "talker")
	lines := bufio.NewScanner(body)
	for want := range 20 {
		if !lines.Scan() {
			t.Fatalf("the stream ended before line %d: %v", want, lines.Err())
		}
		if got := lines.Text(); got != fmt.Sprintf("line %d", want) {
			t.Fatalf("got %q, want line %d", got, want)
		}
	}
	u.Call(http.MethodGet, "/v3/pods/talker/stop", "")
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, body) // the end may be an error
	}()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Error("the stream did not end with the pod")
	}
	u.WaitStatus("talker", "STOPPED")
	if got, _ := logs(t, u, "talker"); !strings.HasPrefix(got, "line 0\nline 1\n") {
		t.Errorf("after the stop: got the logs %.100q, want those of the run", got)
	}
	remove(t, u, "talker")
}

// follow opens the stream of a pod's logs.
func follow(t *testing.T, s *system.System, u system.User, id string) io.Reader {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL("/v3/pods/"+id+"/logs?follow=true"), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Tapis-Token", u.Token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("following the logs: got %s", resp.Status)
	}
	return resp.Body
}

// Whatever ends a pod, its owner reads why.
func TestFailuresAreToldOnKubernetes(t *testing.T) {
	s := start(t, "failures")
	u := s.Login("testuser")
	for _, c := range []struct{ id, body, message, logs string }{
		{"nosuch", `{"pod_id":"nosuch","image":"podway/hello:nosuchtag"}`, "image", ""},
		{"hungry", busybox("hungry", "tail /dev/zero"), "mem_limit", ""},
		{"broken", busybox("broken", "echo no licence; exit 3"), "exit code 3", "no licence\n"},
		{"nocommand", `{"pod_id":"nocommand","image":"busybox","command":["/no/such/program"]}`, "/no/such/program", ""},
	} {
		u.Call(http.MethodPost, "/v3/pods", c.body)
		u.WaitStatus(c.id, "ERROR")
		parts.Eventually(t, 30*time.Second, func() error {
			output, _ := logs(t, u, c.id)
			if got := read(t, u, c.id).StatusContainer.Message; !strings.Contains(got, c.message) || output != c.logs {
				return fmt.Errorf("%s: got the message %q and the logs %q, want %q in it and %q", c.id, got, output, c.message, c.logs)
			}
			return nil
		})
		t.Logf("%s: %s", c.id, read(t, u, c.id).StatusContainer.Message)
		remove(t, u, c.id)
	}
}

// A program that ended well is COMPLETE, and is not started again.
func TestAProgramThatEndsOnKubernetes(t *testing.T) {
	s := start(t, "ends")
	u := s.Login("testuser")
	u.Call(http.MethodPost, "/v3/pods", busybox("job", "echo done"))
	u.WaitStatus("job", "COMPLETE")
	if got, _ := logs(t, u, "job"); got != "done\n" {
		t.Errorf("got the logs %q, want done", got)
	}
	remove(t, u, "job")
}

// busybox returns the definition of a pod that runs a shell script.
func busybox(id, script string) string {
	return fmt.Sprintf(`{"pod_id":%q,"image":"busybox","command":["sh","-c",%q],"resources":{"mem_limit":256}}`, id, script)
}
