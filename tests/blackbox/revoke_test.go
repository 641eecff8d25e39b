package blackbox

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tapis-project/podway/tests/parts"
	"github.com/tapis-project/podway/tests/system"
)

// Stopping a pod closes its connections at once and no others; start brings it
// back.
func TestStopClosesItsOwnConnectionsOnly(t *testing.T) {
	s := start(t)
	u := s.login("testuser")
	u.create(webPod, 5*time.Second)
	u.create(echoPod, 5*time.Second)
	u.create(`{"pod_id":"other","image":"podway/hello"}`, 5*time.Second)
	u.create(`{"pod_id":"otherecho","image":"podway/hello","networking":{"default":{"protocol":"tcp","port":7000}}}`, 5*time.Second)

	webWS, otherWS := s.openWebSocket("web"), s.openWebSocket("other")
	echo, otherEcho := s.mustEcho("echo"), s.mustEcho("otherecho")

	for _, pod := range []string{"web", "echo"} {
		u.Call(http.MethodGet, "/v3/pods/"+pod+"/stop", "")
	}
	stopped := time.Now()
	if _, err := webWS.closedWithin(time.Second); err != nil {
		t.Error(err)
	}
	if err := closedBy(echo, stopped.Add(time.Second)); err != nil {
		t.Errorf("TLS-TCP of the stopped pod: %v", err)
	}
	t.Logf("both connections were closed %v after the answer to stop", time.Since(stopped))

	parts.Eventually(t, time.Second, func() error { return s.wantStatus("web", http.StatusServiceUnavailable) })
	u.waitStatus("web", "STOPPED", 15*time.Second)
	if err := otherWS.echo("still here"); err != nil {
		t.Errorf("WebSocket of another pod: %v", err)
	}
	if err := echoLine(otherEcho, "still here"); err != nil {
		t.Errorf("TLS-TCP of another pod: %v", err)
	}

	u.Call(http.MethodGet, "/v3/pods/web/start", "")
	u.waitStatus("web", "AVAILABLE", 5*time.Second)
	parts.Eventually(t, liveWithin, func() error { return s.wantStatus("web", http.StatusOK) })
}

// Deleting a pod leaves nothing of it: no connection, process, file or key.
func TestDeleteLeavesNothingBehind(t *testing.T) {
	s := start(t)
	u := s.login("testuser")
	u.create(`{"pod_id":"doomedpod","image":"podway/hello"}`, 5*time.Second)
	u.create(webPod, 5*time.Second)
	ws, otherWS := s.openWebSocket("doomedpod"), s.openWebSocket("web")
	if len(traces(t, s, "doomedpod")) == 0 {
		t.Fatal("found no trace of a running pod: this test looks in the wrong places")
	}

	u.Call(http.MethodDelete, "/v3/pods/doomedpod", "")
	if _, err := ws.closedWithin(time.Second); err != nil {
		t.Error(err)
	}
	if e, err := u.Try(http.MethodGet, "/v3/pods/doomedpod", ""); err != nil || e.Code != http.StatusNotFound {
		t.Errorf("get after delete: got %d, %v, want 404", e.Code, err)
	}
	parts.Eventually(t, 15*time.Second, func() error {
		if left := traces(t, s, "doomedpod"); len(left) > 0 {
			return fmt.Errorf("left behind: %v", left)
		}
		return nil
	})
	if err := s.wantStatus("doomedpod", http.StatusNotFound); err != nil {
		t.Error(err)
	}
	if err := otherWS.echo("still here"); err != nil {
		t.Errorf("WebSocket of another pod: %v", err)
	}
}

// traces lists what exists of a pod: processes, files and Redis keys that name
// it. Logs of the two programs, the route log and free pages of the database
// may remember it.
func traces(t *testing.T, s *podway, pod string) []string {
	t.Helper()
	var found []string
	cmdlines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range cmdlines {
		b, _ := os.ReadFile(f)
		env, _ := os.ReadFile(filepath.Join(filepath.Dir(f), "environ"))
		if bytes.Contains(b, []byte(s.Dir)) && bytes.Contains(b, []byte(pod)) || bytes.Contains(env, []byte("PODWAY_POD_ID="+pod+"\x00")) {
			found = append(found, "process "+strings.ReplaceAll(string(b), "\x00", " "))
		}
	}
	_ = filepath.WalkDir(s.Dir, func(path string, _ fs.DirEntry, _ error) error {
		if strings.Contains(filepath.Base(path), pod) {
			found = append(found, "file "+path)
		}
		return nil
	})
	return append(found, redisTraces(t, s, pod)...)
}

func redisTraces(t *testing.T, s *podway, pod string) []string {
	t.Helper()
	password, err := os.ReadFile(filepath.Join(s.Dir, "redis.password"))
	if err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(&redis.Options{Addr: fmt.Sprintf("127.0.0.1:%d", s.RedisPort), Password: strings.TrimSpace(string(password))})
	defer c.Close()
	ctx := context.Background()
	keys, err := c.Keys(ctx, "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, k := range keys {
		if strings.Contains(k, pod) {
			found = append(found, "key "+k)
		}
		if fields, err := c.HGetAll(ctx, k).Result(); err == nil {
			for f, v := range fields {
				if strings.Contains(f+v, pod) {
					found = append(found, "field "+f+" of key "+k)
				}
			}
		}
	}
	return found
}

// wantStatus asks the pod's front page.
func (s *podway) wantStatus(pod string, want int) error {
	resp, _, err := s.get(s.web(true), pod, "/")
	if err != nil {
		return err
	}
	if resp.StatusCode != want {
		return fmt.Errorf("https of %s: got %s, want %d", pod, resp.Status, want)
	}
	return nil
}

// mustEcho opens a TLS-TCP connection to an echo pod and uses it once.
func (s *podway) mustEcho(pod string) *tls.Conn {
	s.t.Helper()
	var c *tls.Conn
	parts.Eventually(s.t, liveWithin, func() (err error) {
		if c, err = s.DialTLS(system.Host(pod)); err != nil {
			return err
		}
		if err = echoLine(c, "first"); err != nil {
			c.Close()
		}
		return err
	})
	s.t.Cleanup(func() { c.Close() })
	return c
}

// closedBy reports whether the far side ends a connection before a time.
func closedBy(c *tls.Conn, deadline time.Time) error {
	if err := c.SetReadDeadline(deadline); err != nil {
		return err
	}
	_, err := c.Read(make([]byte, 1))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errors.New("it is still open")
	}
	if err == nil {
		return errors.New("it sent data")
	}
	return nil
}
