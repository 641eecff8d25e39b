package blackbox

import (
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/tapis-project/podway/tests/parts"
	"github.com/tapis-project/podway/tests/system"
)

// The control plane is killed: what runs goes on and can be reached anew; after
// its restart the state is as before.
func TestControlPlaneKilled(t *testing.T) {
	parts.Require(t, "/usr/lib/postgresql/*/bin/initdb")
	s := start(t)
	u := s.login("testuser")
	u.create(webPod, 5*time.Second)
	u.create(echoPod, 5*time.Second)
	u.create(dbPod, 60*time.Second)
	password := u.password("db")

	ws := s.openWebSocket("web")
	echo := s.mustEcho("echo")
	web := s.web(true)
	parts.Eventually(t, liveWithin, func() error { return wantOK(s.get(web, "web", "/")) })
	parts.Eventually(t, liveWithin, func() error { _, err := s.psql("db", password, "select 1"); return err })
	db := s.openPSQL("db", password)
	if err := db.query("select 'before'", "before"); err != nil {
		t.Fatal(err)
	}
	before := u.pod("web")

	s.Control.Kill()

	if err := ws.echo("after the kill"); err != nil {
		t.Errorf("open WebSocket: %v", err)
	}
	if err := echoLine(echo, "after the kill"); err != nil {
		t.Errorf("open TLS-TCP: %v", err)
	}
	if err := db.query("select 'after'", "after"); err != nil {
		t.Errorf("open psql session: %v", err)
	}
	if err := wantOK(s.get(web, "web", "/")); err != nil {
		t.Errorf("open https connection: %v", err)
	}
	if err := wantOK(s.get(s.web(false), "web", "/")); err != nil {
		t.Errorf("new https connection: %v", err)
	}
	if err := s.openWebSocket("web").echo("new"); err != nil {
		t.Errorf("new WebSocket: %v", err)
	}
	if out, err := s.psql("db", password, "select 2"); err != nil || out != "2" {
		t.Errorf("new psql: got %q, %v", out, err)
	}

	s.StartControl()
	u = s.login("testuser")
	parts.Eventually(t, 10*time.Second, func() error {
		after := u.pod("web")
		if after.Status != "AVAILABLE" || after.StartInstanceTS == nil || *after.StartInstanceTS != *before.StartInstanceTS {
			return fmt.Errorf("after the restart: got %+v, want %+v", after, before)
		}
		return nil
	})
	// The built-in Redis died too and came back empty: nothing may be cut while
	// the routes are published anew, and changes must arrive again.
	u.create(`{"pod_id":"later","image":"podway/hello"}`, 5*time.Second)
	parts.Eventually(t, 10*time.Second, func() error { return s.wantStatus("later", http.StatusOK) })
	if err := ws.echo("after the restart"); err != nil {
		t.Errorf("WebSocket from before the kill: %v", err)
	}
	if err := db.query("select 'later'", "later"); err != nil {
		t.Errorf("psql session from before the kill: %v", err)
	}
	u.Call(http.MethodGet, "/v3/pods/web/stop", "")
	if _, err := ws.closedWithin(2 * time.Second); err != nil {
		t.Errorf("stop after the restart: %v", err)
	}
}

// The edge is killed while Redis is gone: it starts from its snapshot.
func TestEdgeKilledWhileRedisIsGone(t *testing.T) {
	s := start(t)
	u := s.login("testuser")
	u.create(webPod, 5*time.Second)
	parts.Eventually(t, liveWithin, func() error { return s.wantStatus("web", http.StatusOK) })
	// The snapshot is written once the table has been quiet for a moment.
	parts.Eventually(t, 10*time.Second, func() error { return fileContains(s.Dir+"/edge/routes.snap", system.Host("web")) })

	s.Control.Kill() // and the built-in Redis with it
	s.Edge.Kill()
	s.StartEdge()
	if err := s.wantStatus("web", http.StatusOK); err != nil {
		t.Errorf("edge started without Redis: %v", err)
	}
}

func fileContains(path, text string) error {
	out, err := exec.Command("grep", "-c", "-a", "-F", text, path).CombinedOutput()
	if err != nil {
		return fmt.Errorf("looking for %q in %s: %w %s", text, path, err, out)
	}
	return nil
}

func wantOK(resp *http.Response, _ string, err error) error {
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("got %s, want 200", resp.Status)
	}
	return nil
}

// psqlSession is a psql that stays connected.
type psqlSession struct {
	in  io.Writer
	out chan string
}

func (s *podway) openPSQL(pod, password string) psqlSession {
	s.t.Helper()
	conninfo := fmt.Sprintf("host=%s hostaddr=127.0.0.1 port=%d sslmode=verify-full sslrootcert=%s user=%s dbname=postgres",
		system.Host(pod), s.EdgePort, s.CAFile(), pod)
	cmd := exec.Command(parts.Require(s.t, "psql"), conninfo, "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1")
	cmd.Env = append(cmd.Environ(), "PGPASSWORD="+password)
	in, err := cmd.StdinPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	p := psqlSession{in: in, out: make(chan string, 16)}
	go func() {
		defer close(p.out)
		b := make([]byte, 4096)
		for {
			n, err := out.Read(b)
			if n > 0 {
				p.out <- string(b[:n])
			}
			if err != nil {
				return
			}
		}
	}()
	s.t.Cleanup(func() { in.Close(); _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return p
}

func (p psqlSession) query(sql, want string) error {
	if _, err := fmt.Fprintln(p.in, sql+";"); err != nil {
		return err
	}
	select {
	case got, ok := <-p.out:
		if !ok {
			return io.ErrUnexpectedEOF
		}
		if strings.TrimSpace(got) != want {
			return fmt.Errorf("got %q, want %q", got, want)
		}
		return nil
	case <-time.After(10 * time.Second):
		return fmt.Errorf("no answer to %q within 10 s", sql)
	}
}
