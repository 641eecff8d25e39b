package sni

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/sni/pgwire"
	"github.com/tapis-project/podway/sni/snitest"
	"github.com/tapis-project/podway/tests/parts"
)

// postgresTLS asks for TLS the way PostgreSQL clients do, and begins it.
func (e *edge) postgresTLS(t *testing.T, host string) *tls.Conn {
	t.Helper()
	c := e.dial(t)
	if _, err := io.WriteString(c, sslRequest); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if host == "" {
		return tls.Client(c, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{ALPNPostgres}})
	}
	return e.client(c, host, ALPNPostgres)
}

func TestPostgresClientsAreToldWhy(t *testing.T) {
	e := startEdge(t, nil)
	route := func(host string, change func(*routes.Route)) routes.Route {
		r := snitest.Route(host, routes.Postgres, "127.0.0.1:1")
		change(&r)
		return r
	}
	in := func(s routes.State) func(*routes.Route) { return func(r *routes.Route) { r.State = s } }
	snitest.Set(t, e.table,
		route("starting.pods.test", in(routes.Starting)), route("stopped.pods.test", in(routes.Stopped)),
		route("error.pods.test", in(routes.Error)), route("finished.pods.test", in(routes.Finished)),
		route("deleting.pods.test", in(routes.Deleting)), route("down.pods.test", in(routes.Live)),
		route("denied.pods.test", func(r *routes.Route) { r.IPAllow = []string{"192.0.2.1"} }),
		route("web.pods.test", func(r *routes.Route) { r.Protocol = routes.HTTP }))
	for _, tt := range []struct{ host, code, message string }{
		{"starting.pods.test", "57P03", "this pod is starting"},
		{"stopped.pods.test", "57P03", "this pod is stopped"},
		{"error.pods.test", "57P03", "this pod failed to start"},
		{"finished.pods.test", "57P03", "this pod has finished"},
		{"deleting.pods.test", "57P03", "this pod is shutting down"},
		{"down.pods.test", "57P03", "the pod did not accept the connection"},
		{"denied.pods.test", "28000", "this pod does not accept connections from your address"},
		{"web.pods.test", "08004", "this pod does not speak PostgreSQL"},
		{"none.pods.test", "08004", "there is no pod at this address"},
	} {
		t.Run(tt.host, func(t *testing.T) {
			c := e.dial(t)
			if _, err := io.WriteString(c, sslRequest); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			tc := e.client(c, tt.host, ALPNPostgres)
			if _, err := io.WriteString(tc, startup); err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(tc)
			if err != nil {
				t.Fatal(err)
			}
			got, err := pgwire.ParseErrorResponse(b)
			if err != nil || got.Severity != "FATAL" || got.Code != tt.code || got.Message != tt.message || got.Hint == "" {
				t.Errorf("got %+v, %v, want FATAL %s %q with a hint", got, err, tt.code, tt.message)
			}
		})
	}
	t.Run("a cancel gets no answer", func(t *testing.T) {
		tc := e.connect(t, "stopped.pods.test", ALPNPostgres)
		if _, err := io.WriteString(tc, cancel); err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(tc); len(b) > 0 || err != nil {
			t.Errorf("got %q, %v, want a clean close", b, err)
		}
	})
	e.quiet(t)
}

// memoryStore is what edges of one process share.
type memoryStore struct {
	mu   sync.Mutex
	byID map[string]CancelTarget
}

func newMemoryStore() *memoryStore { return &memoryStore{byID: map[string]CancelTarget{}} }

func (s *memoryStore) Put(id string, t CancelTarget) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byID[id] = t
}

func (s *memoryStore) Remove(id string, _ CancelTarget) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byID, id)
}

func (s *memoryStore) Get(_ context.Context, id string) (CancelTarget, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.byID[id]
	return t, ok, nil
}

func (s *memoryStore) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.byID)
}

// testKey is the cancel key that keyServer gives out.
const (
	testPID = 4711
	testKey = "0123456789abcdef0123456789abcdef" // of protocol 3.2
)

// keyServer is the start of a PostgreSQL server: it gives each session the same
// key, reports the cancel requests it gets, and echoes everything else.
func keyServer(t *testing.T) (addr string, cancels <-chan pgwire.Startup) {
	got := make(chan pgwire.Startup, 100)
	s := snitest.Serve(t, func(c *net.TCPConn) {
		s, err := pgwire.ReadStartup(c)
		if err != nil {
			return
		}
		if s.Code == pgwire.CancelRequest {
			got <- s
			return
		}
		if _, err := io.WriteString(c, keyStart); err == nil {
			_, _ = io.Copy(c, c)
		}
	})
	return s.Addr, got
}

// keyStart is what keyServer sends: AuthenticationOk, BackendKeyData, ReadyForQuery.
var keyStart = func() string {
	k := binary.BigEndian.AppendUint32([]byte{'K'}, uint32(8+len(testKey)))
	k = append(binary.BigEndian.AppendUint32(k, testPID), testKey...)
	return "R\x00\x00\x00\x08\x00\x00\x00\x00" + string(k) + "Z\x00\x00\x00\x05I"
}()

// openSession begins a session and reads the server's start.
func openSession(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := io.WriteString(c, startup); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, len(keyStart))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != keyStart {
		t.Fatalf("got %q, %v, want %q", b, err, keyStart)
	}
}

func TestCancelRequests(t *testing.T) {
	addr, cancels := keyServer(t)
	other, foreign := keyServer(t)
	store := newMemoryStore()
	a := startEdge(t, func(e *edge) { e.demux.Cancels.Share(store) })
	b := startEdge(t, func(e *edge) { e.demux.Cancels.Share(store) })
	alone := startEdge(t, nil)
	db := snitest.Route("db.pods.test", routes.Postgres, addr)
	for _, e := range []*edge{a, b, alone} {
		snitest.Set(t, e.table, db, snitest.Route("other.pods.test", routes.Postgres, other))
	}
	session := a.postgresTLS(t, "db.pods.test")
	openSession(t, session)
	// A pod that sends another pod's key does not become its owner.
	thief := a.postgresTLS(t, "other.pods.test")
	openSession(t, thief)
	thief.Close()
	parts.Eventually(t, limit, func() error {
		if n := a.sessions.Len(); n != 1 {
			return fmt.Errorf("got %d sessions, want 1", n)
		}
		return nil
	})

	request := func(pid uint32, key string) string {
		return string(pgwire.Startup{Code: pgwire.CancelRequest, PID: pid, Key: []byte(key)}.Append(nil))
	}
	send := func(t *testing.T, c net.Conn, request string) {
		t.Helper()
		if _, err := io.WriteString(c, request); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(c); len(got) > 0 || err != nil {
			t.Errorf("got %q, %v, want a close without an answer", got, err)
		}
	}
	for _, tt := range []struct {
		name    string
		edge    *edge
		tls     bool
		request string
		arrives bool
	}{
		{"in plain text", a, false, request(testPID, testKey), true},
		{"in TLS", a, true, request(testPID, testKey), true},
		{"in plain text at another edge", b, false, request(testPID, testKey), true},
		{"in TLS at another edge", b, true, request(testPID, testKey), true},
		{"at an edge that shares nothing", alone, false, request(testPID, testKey), false},
		{"with another pid", a, false, request(testPID+1, testKey), false},
		{"with a part of the key", a, false, request(testPID, testKey[:4]), false},
		{"with another key, at another edge", b, true, request(testPID, strings.Repeat("k", 256)), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var c net.Conn = tt.edge.dial(t)
			if tt.tls {
				c = tt.edge.postgresTLS(t, "db.pods.test")
			}
			send(t, c, tt.request)
			if !tt.arrives {
				return // what does not arrive is counted at the end
			}
			if s := <-cancels; s.PID != testPID || string(s.Key) != testKey {
				t.Errorf("got %+v", s)
			}
		})
	}
	t.Run("a client that is not allowed at the pod any more", func(t *testing.T) {
		r := db
		r.IPAllow = []string{"192.0.2.1"}
		snitest.Set(t, b.table, r)
		send(t, b.dial(t), request(testPID, testKey))
	})
	t.Run("the pod was started again", func(t *testing.T) {
		r := db
		r.Instance = "2"
		snitest.Set(t, b.table, r)
		send(t, b.dial(t), request(testPID, testKey))
	})
	t.Run("the session has ended", func(t *testing.T) {
		session.Close()
		parts.Eventually(t, limit, func() error {
			if n, m := store.len(), len(a.demux.Cancels.All()); n != 0 || m != 0 {
				return fmt.Errorf("got %d and %d keys, want none", n, m)
			}
			return nil
		})
		send(t, a.dial(t), request(testPID, testKey))
	})
	if len(cancels) > 0 || len(foreign) > 0 {
		t.Errorf("got %d cancel requests too many, and %d at another pod, want none", len(cancels), len(foreign))
	}
	a.outcome(t, CancelForwarded, 2)
	b.outcome(t, CancelForwarded, 2)
	a.quiet(t)
	b.quiet(t)
}

func TestGuessingCancelKeysIsSlow(t *testing.T) {
	e := startEdge(t, nil)
	burstOnly(e.demux.Cancels.rates)
	for range cancelBurst + 5 {
		c := e.dial(t)
		if _, err := io.WriteString(c, cancel); err != nil {
			t.Fatal(err)
		}
		wantClosed(t, c, limit)
	}
	e.outcome(t, PostgresCancel, cancelBurst)
	e.outcome(t, ClientRate, 5)
	e.quiet(t)
}

// Ctrl-C of a real psql, whose request does not reach the edge of its session.
func TestPsqlCancels(t *testing.T) {
	pg := parts.StartPostgres(t)
	psql := parts.Require(t, "psql", "/usr/lib/postgresql/*/bin/psql")
	store := newMemoryStore()
	var edges [2]*edge
	for i := range edges {
		edges[i] = startEdge(t, func(e *edge) { e.demux.Cancels.Share(store) })
		snitest.Set(t, edges[i].table, snitest.Route("db.pods.test", routes.Postgres, fmt.Sprintf("127.0.0.1:%d", pg.Port)))
	}
	// A load balancer that takes turns.
	var turn atomic.Int64
	balancer := snitest.Serve(t, func(c *net.TCPConn) {
		up, err := net.Dial("tcp", edges[(turn.Add(1)-1)%2].addr)
		if err != nil {
			return
		}
		defer up.Close()
		go func() { _, _ = io.Copy(up, c); _ = up.(*net.TCPConn).CloseWrite() }()
		_, _ = io.Copy(c, up)
	})
	_, port, _ := net.SplitHostPort(balancer.Addr)
	cmd := exec.CommandContext(withTimeout(t, 2*limit), psql, "-X", "-c", "select pg_sleep(600)",
		"host=db.pods.test hostaddr=127.0.0.1 user=postgres dbname=postgres sslmode=require port="+port)
	cmd.Env = []string{"HOME=" + t.TempDir(), "PGCONNECT_TIMEOUT=20"}
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	active := exec.Command(psql, "-X", "-A", "-t", "-c", "select count(*) from pg_stat_activity where state = 'active' and query like '%pg_sleep(600)' and wait_event = 'PgSleep'", pg.DSN)
	parts.Eventually(t, limit, func() error {
		b, err := exec.Command(active.Path, active.Args[1:]...).Output()
		if err == nil && strings.TrimSpace(string(b)) != "1" {
			err = fmt.Errorf("got %q sleeping, want 1", b)
		}
		return err
	})
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it fails, as its statement does
	if !strings.Contains(out.String(), "canceling statement due to user request") {
		t.Errorf("got %q", out.String())
	}
	edges[1].outcome(t, CancelForwarded, 1)
}

func TestPostgresWithoutServerName(t *testing.T) {
	e := startEdge(t, nil)
	got := make(chan pgwire.Startup, 1)
	up := snitest.Serve(t, func(c *net.TCPConn) {
		if s, err := pgwire.ReadStartup(c); err == nil {
			got <- s
		}
	})
	asking := snitest.Route("asking.pods.test", routes.Postgres, up.Addr)
	authority, _ := snitest.Certificate(t, "clients")
	asking.ClientCA = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.Certificate[0]}))
	snitest.Set(t, e.table, snitest.Route("db.pods.test", routes.Postgres, up.Addr),
		snitest.Route("web.pods.test", routes.HTTP, up.Addr), snitest.Route("db.pods.other", routes.Postgres, up.Addr), asking)
	for _, tt := range []struct {
		name, options string
		forwarded     string // the options that reach the pod
		message, hint string // of the refusal
	}{
		{"by the pod's id", "pod=db", "", "", ""},
		{"by the pod's host", "pod=db.pods.test", "", "", ""},
		{"beside other options", `-c search_path=a\ b pod=db -c geqo=off`, `-c search_path=a\ b -c geqo=off`, "", ""},
		{"no options", "", "", "your client does not say which pod it wants", "options=pod%3D<pod id>"},
		{"other options only", "-c geqo=off", "", "there is no pod at this address", "options=pod%3D<pod id>"},
		{"a pod that is not there", "pod=none", "", "there is no pod at this address", "options=pod%3D<pod id>"},
		{"a pod of another tenant", "pod=db.pods.other", "", "there is no pod at this address", "options=pod%3D<pod id>"},
		{"no name at all", "pod=", "", "there is no pod at this address", "options=pod%3D<pod id>"},
		{"a wildcard", "pod=*", "", "there is no pod at this address", "options=pod%3D<pod id>"},
		{"a web pod", "pod=web", "", "this pod does not speak PostgreSQL", "https"},
		{"a pod that asks for a certificate", "pod=asking", "", "this pod asks clients for a certificate", "Connect by host name"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := pgwire.Startup{Code: pgwire.Protocol30, Params: []pgwire.Param{{Name: "user", Value: "alice"}}}
			if tt.options != "" {
				s.Params = append(s.Params, pgwire.Param{Name: "options", Value: tt.options})
			}
			c := e.postgresTLS(t, "")
			if _, err := c.Write(s.Append(nil)); err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(c)
			if err != nil {
				t.Fatal(err)
			}
			if tt.message == "" {
				if s := <-got; s.Param("user") != "alice" || s.Param("options") != tt.forwarded {
					t.Errorf("got %+v at the pod, want options %q", s, tt.forwarded)
				}
				return
			}
			r, err := pgwire.ParseErrorResponse(b)
			if err != nil || r.Message != tt.message || !strings.Contains(r.Hint, tt.hint) {
				t.Errorf("got %+v, %v, want %q, %q", r, err, tt.message, tt.hint)
			}
		})
	}
	t.Run("in TLS from the start", func(t *testing.T) {
		s := pgwire.Startup{Code: pgwire.Protocol30, Params: []pgwire.Param{{Name: "options", Value: "pod=db"}}}
		c := tls.Client(e.dial(t), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{ALPNPostgres}})
		if _, err := c.Write(s.Append(nil)); err != nil {
			t.Fatal(err)
		}
		<-got
	})
	e.quiet(t)
}

// A client that speaks something else at a PostgreSQL pod is told so, and never
// left waiting.
func TestWrongProtocolAtPostgres(t *testing.T) {
	e := startEdge(t, func(e *edge) { e.preface.OpenTimeout = 2 * time.Second })
	snitest.Set(t, e.table, snitest.Route("db.pods.test", routes.Postgres, snitest.Echo(t).Addr))
	for _, send := range []string{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", sslRequest, "\x00\x00\x27\x11\x00\x03\x00\x00", ""} {
		c := e.connect(t, "db.pods.test")
		if _, err := io.WriteString(c, send); err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(c)
		if err != nil {
			t.Fatalf("%q: %v", send, err)
		}
		if r, err := pgwire.ParseErrorResponse(b); err != nil || r.Code != pgwire.ProtocolViolation {
			t.Errorf("%q: got %+v, %v, want a protocol violation", send, r, err)
		}
	}
	e.quiet(t)
}

func TestPostgresGoodbye(t *testing.T) {
	addr, _ := keyServer(t)
	for _, tt := range []struct {
		name, message string
		busy          bool // in the middle of an answer
		end           func(*edge)
	}{
		{"the edge shuts down", "the connection ends because of maintenance", false, func(e *edge) { e.sessions.Drain(stopped()) }},
		{"the pod is removed", "the pod was stopped or changed", false, func(e *edge) { e.table.Remove("db.pods.test") }},
		{"the edge shuts down during an answer", "", true, func(e *edge) { e.sessions.Drain(stopped()) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := startEdge(t, nil)
			snitest.Set(t, e.table, snitest.Route("db.pods.test", routes.Postgres, addr))
			c := e.postgresTLS(t, "db.pods.test")
			openSession(t, c)
			if tt.busy {
				if err := echo(c, "D\x00\x00\x00\x10"); err != nil {
					t.Fatal(err)
				}
			}
			start := time.Now()
			tt.end(e)
			b, err := io.ReadAll(c)
			if err != nil || time.Since(start) > soon {
				t.Errorf("got %v after %v, want a clean end, soon", err, time.Since(start))
			}
			r, err := pgwire.ParseErrorResponse(b)
			if tt.message == "" && len(b) == 0 {
				return
			}
			if err != nil || r.Code != pgwire.AdminShutdown || r.Message != tt.message {
				t.Errorf("got %q, %v, want %q", b, err, tt.message)
			}
			e.quiet(t)
		})
	}
}

// stopped returns a context that has ended.
func stopped() context.Context {
	ctx, stop := context.WithCancel(context.Background())
	stop()
	return ctx
}
