//go:build certs

package certs

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tapis-project/podway/tests/parts"
)

// rotation is how often the keys of session tickets change in this test.
const rotation = 5 * time.Second

func TestSessionsAreResumedAtAnyEdge(t *testing.T) {
	w := newWorld(t, long)
	w.tenants("tacc")
	w.routes("web.pods.tacc.test", "api.pods.tacc.test")
	tickets := func(s *settings) { s.Tickets = "session_tickets " + rotation.String() }
	one, other := w.edge(tickets), w.edge(tickets, w.elsewhere)
	for _, e := range []*edge{one, other} {
		e.awaitState("*.pods.tacc.test", "valid")
	}

	t.Run("openssl", func(t *testing.T) {
		openssl := parts.Require(t, "openssl")
		for _, version := range []string{"-tls1_3", "-tls1_2"} {
			session := filepath.Join(t.TempDir(), "session.pem")
			if out := sClient(t, openssl, one, "web.pods.tacc.test", version, "-sess_out", session); !strings.Contains(out, "New, TLSv1.") {
				t.Errorf("%s: got no new session of\n%s", version, out)
			}
			for name, e := range map[string]*edge{"the edge that gave the ticket": one, "another one": other} {
				if out := sClient(t, openssl, e, "web.pods.tacc.test", version, "-sess_in", session); !strings.Contains(out, "Reused, TLSv1.") {
					t.Errorf("%s: %s: the session was not resumed:\n%s", version, name, out)
				}
			}
			if out := sClient(t, openssl, other, "api.pods.tacc.test", version, "-sess_in", session); strings.Contains(out, "Reused, TLSv1.") {
				t.Errorf("%s: the session was resumed with another host", version)
			}
		}
	})
	t.Run("keys are replaced", func(t *testing.T) {
		kept := new(oneTicket)
		if err := one.visit(kept, "web.pods.tacc.test"); err != nil || kept.state == nil || kept.resumed {
			t.Fatalf("got %v, ticket %v, resumed %v", err, kept.state, kept.resumed)
		}
		got := time.Now()
		for i := 0; ; i++ {
			if err := other.visit(kept, "web.pods.tacc.test"); err != nil {
				t.Fatal(err)
			}
			if kept.resumed {
				if i == 0 {
					t.Logf("resumed at the other edge")
				}
				if time.Since(got) > limit {
					t.Fatalf("the ticket is good after %v, want its key to be gone", time.Since(got))
				}
				continue
			}
			// Three newer keys came before its own went.
			if old := time.Since(got); i == 0 || old < 3*rotation-time.Second {
				t.Errorf("the ticket is not good any more after %v", old)
			}
			return
		}
	})
}

// sClient has openssl visit a host, and returns what it says.
func sClient(t *testing.T, openssl string, e *edge, host string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), openssl, append([]string{"s_client", "-connect", e.addr, "-servername", host, "-alpn", "http/1.1", "-ign_eof"}, args...)...)
	cmd.Stdin = strings.NewReader(fmt.Sprintf("GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host))
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "200 OK") {
		t.Fatalf("got %v\n%s", err, out)
	}
	return string(out)
}

// oneTicket is a client's cache that keeps the first ticket it is given.
type oneTicket struct {
	state   *tls.ClientSessionState
	resumed bool // the last session
}

// Get implements [tls.ClientSessionCache].
func (o *oneTicket) Get(string) (*tls.ClientSessionState, bool) { return o.state, o.state != nil }

// Put implements [tls.ClientSessionCache].
func (o *oneTicket) Put(_ string, s *tls.ClientSessionState) {
	if o.state == nil {
		o.state = s
	}
}

// visit asks a host for its page, and has the cache keep the ticket that comes with
// it.
func (e *edge) visit(cache *oneTicket, host string) error {
	cfg := &tls.Config{ServerName: host, RootCAs: e.roots, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, ClientSessionCache: cache}
	c, err := tls.Dial("tcp", e.addr, cfg)
	if err != nil {
		return err
	}
	defer c.Close()
	cache.resumed = c.ConnectionState().DidResume
	_ = c.SetDeadline(time.Now().Add(limit))
	if _, err := fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host); err != nil {
		return err
	}
	b, err := io.ReadAll(c)
	if err == nil && !strings.HasSuffix(string(b), "pod") {
		err = errors.New("got another page")
	}
	return err
}
