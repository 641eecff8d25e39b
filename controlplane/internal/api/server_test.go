package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/tests/parts"
)

// patience is how long a test waits for what should happen at once.
const patience = 30 * time.Second

// brokenStore fails to find pods.
type brokenStore struct{ Store }

func (brokenStore) Pod(context.Context, pods.Key) (pods.Pod, error) {
	return pods.Pod{}, errors.New("disk on fire")
}

func TestRepeatedSlashesAreRedirected(t *testing.T) {
	f := newFixture(t)
	for _, c := range []struct{ path, want string }{
		{"/v3//pods", "/v3/pods"},
		{"//v3/pods//web///stop?x=1&y=%2F", "/v3/pods/web/stop?x=1&y=%2F"},
		{"/v3/pods//a%2Fb//", "/v3/pods/a%2Fb/"},
		{"//evil.example/pods", "/evil.example/pods"},
		{"///", "/"},
		{`//%5Cevil.example`, `/%5Cevil.example`},
	} {
		for _, method := range []string{"GET", "POST", "DELETE"} {
			r := f.want(http.StatusTemporaryRedirect, method, "http://dev.example.org"+c.path, "owner", "")
			if got := r.header.Get("Location"); got != c.want {
				t.Errorf("%s %s: got Location %q, want %q", method, c.path, got, c.want)
			}
		}
	}
}

func TestPathParametersAreDecoded(t *testing.T) {
	f := newFixture(t)
	p := f.put("web", func(p *pods.Pod) {
		p.Permissions["some@mail.example"] = pods.LevelRead
		p.Permissions["other@mail.example"] = pods.LevelRead
	})
	f.want(http.StatusOK, "DELETE", "/v3/pods/web/permissions/some@mail.example", "owner", "")
	f.want(http.StatusOK, "DELETE", "/v3/pods/web/permissions/other%40mail%2Eexample", "owner", "")
	if got := len(f.pod(p.Key).Permissions); got != 1 {
		t.Errorf("got %d permissions, want 1", got)
	}
	for _, path := range []string{"/v3/pods/%00", "/v3/pods/a%2Fb", "/v3/pods/%2e%2e", "/v3/pods/%FF", "/v3/pods/web%0A"} {
		f.want(http.StatusNotFound, "GET", path, "owner", "")
	}
}

func TestRequestIDs(t *testing.T) {
	f := newFixture(t)
	for _, c := range []struct {
		name, id string
		kept     bool
	}{
		{"a plain id is kept", "a-B_9.c", true},
		{"none", "", false},
		{"one that could forge a line of the log", "a\tb", false},
		{"one that is too long", strings.Repeat("a", 65), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := f.call("GET", "/healthcheck", "", "", "X-Request-ID", c.id).header.Get("X-Request-ID")
			if got == "" || (got == c.id) != c.kept {
				t.Errorf("got id %q for %q, want it kept: %v", got, c.id, c.kept)
			}
		})
	}
}

func TestPanicsAreAnswered(t *testing.T) {
	f := newFixture(t)
	f.put("web")
	f.cluster.admit = func(pods.Workload) error { panic("secret of the service") }
	r := f.want(http.StatusInternalServerError, "POST", "/v3/pods", "owner", `{"pod_id":"new","image":"podway/hello"}`)
	if e := r.envelope(t); !strings.HasPrefix(e.text(), "Unexpected.") || strings.Contains(r.body, "secret of the service") {
		t.Errorf("got %s", r.body)
	}
	if !strings.Contains(f.log.String(), "secret of the service") || !strings.Contains(f.log.String(), "server_test.go") {
		t.Errorf("got log %s, want the panic and where it was", f.log)
	}
}

func TestPanicInAStreamCutsTheConnection(t *testing.T) {
	f := newFixture(t)
	f.cluster.run(f.put("web"))
	f.cluster.logs = func(context.Context, pods.Key, bool) (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(strings.NewReader("first line\n"), panicReader{})), nil
	}
	srv := httptest.NewServer(New(f.deps))
	defer srv.Close()
	res := f.get(srv, "/v3/pods/web/logs?follow=true")
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if string(got) != "first line\n" || err == nil {
		t.Errorf("got %q and error %v, want the first line and an error", got, err)
	}
	parts.Eventually(t, patience, func() error {
		if !strings.Contains(f.log.String(), "reader broke") {
			return fmt.Errorf("got log %s, want the panic", f.log)
		}
		return nil
	})
}

type panicReader struct{}

func (panicReader) Read([]byte) (int, error) { panic("reader broke") }

// get makes a request as the owner to a running server.
func (f *fixture) get(srv *httptest.Server, path string) *http.Response {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	f.t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, srv.URL+path, http.NoBody)
	if err != nil {
		f.t.Fatal(err)
	}
	r.Header.Set("X-Tapis-Token", "owner")
	res, err := srv.Client().Do(r)
	if err != nil {
		f.t.Fatal(err)
	}
	return res
}

func TestSlowRequestsEnd(t *testing.T) {
	f := newFixture(t, func(d *Deps) { d.Timeout = time.Millisecond })
	f.put("web")
	f.deps.Store = slowStore{f.store}
	r := f.want(http.StatusServiceUnavailable, "GET", "/v3/pods/web", "owner", "")
	if got := r.envelope(t).text(); got != "The request took too long. Please try again." {
		t.Errorf("got message %q", got)
	}
}

// slowStore finds pods when nobody waits any more.
type slowStore struct{ Store }

func (slowStore) Pod(ctx context.Context, _ pods.Key) (pods.Pod, error) {
	<-ctx.Done()
	return pods.Pod{}, fmt.Errorf("reading pod: %w", ctx.Err())
}

// TestLargeBodiesAreNotRead sends a body that never ends.
func TestLargeBodiesAreNotRead(t *testing.T) {
	f := newFixture(t)
	srv := httptest.NewServer(New(f.deps))
	defer srv.Close()
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	go func() {
		_, _ = io.WriteString(conn, "POST /v3/pods HTTP/1.1\r\nHost: dev.example.org\r\nX-Tapis-Token: owner\r\n"+
			"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
		chunk := fmt.Sprintf("%x\r\n%s\r\n", 64<<10, strings.Repeat(" ", 64<<10))
		for {
			if _, err := io.WriteString(conn, chunk); err != nil {
				return
			}
		}
	}()
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("got status %d, want %d", res.StatusCode, http.StatusRequestEntityTooLarge)
	}
}

func TestContentTypes(t *testing.T) {
	f := newFixture(t)
	f.put("web")
	for _, c := range []struct {
		contentType string
		want        int
	}{
		{"application/json", http.StatusOK},
		{"application/json; charset=utf-8", http.StatusOK},
		{"Application/JSON", http.StatusOK},
		{"text/plain", http.StatusBadRequest},
		{"application/jsonp", http.StatusBadRequest},
		{"application/json;;;=", http.StatusBadRequest},
		{"multipart/form-data; boundary=x", http.StatusBadRequest},
	} {
		f.want(c.want, "PUT", "/v3/pods/web", "owner", `{"description":"same"}`, "Content-Type", c.contentType)
	}
}

func TestCORS(t *testing.T) {
	const ui, evil = "https://ui.example", "https://evil.example"
	for _, c := range []struct {
		name            string
		origins         []string
		origin          string
		allow, withCred string
	}{
		{"a listed origin may send credentials", []string{ui}, ui, ui, "true"},
		{"another origin may not", []string{ui}, evil, "", ""},
		{"a longer name is another origin", []string{ui}, ui + ".evil.example", "", ""},
		{"any origin may call, without credentials", []string{"*"}, evil, "*", ""},
		{"a listed origin beside the star may send them", []string{"*", ui}, ui, ui, "true"},
		{"no page at all is the default", nil, ui, "", ""},
		{"no page asks", []string{ui}, "", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t, func(d *Deps) { d.CORSOrigins = c.origins })
			for _, r := range []response{
				f.want(http.StatusOK, "GET", "/v3/pods", "owner", "", "Origin", c.origin),
				f.want(http.StatusUnauthorized, "GET", "/v3/pods", "expired", "", "Origin", c.origin),
				f.want(http.StatusNotFound, "GET", "/nothing", "", "", "Origin", c.origin),
				f.want(http.StatusNoContent, "OPTIONS", "/v3/pods/web", "", "", "Origin", c.origin,
					"Access-Control-Request-Method", "PUT", "Access-Control-Request-Headers", "x-tapis-token, x-new"),
			} {
				if got := r.header.Get("Access-Control-Allow-Origin"); got != c.allow {
					t.Errorf("got Access-Control-Allow-Origin %q, want %q", got, c.allow)
				}
				if got := r.header.Get("Access-Control-Allow-Credentials"); got != c.withCred {
					t.Errorf("got Access-Control-Allow-Credentials %q, want %q", got, c.withCred)
				}
			}
		})
	}
}

func TestPreflight(t *testing.T) {
	f := newFixture(t, func(d *Deps) { d.CORSOrigins = []string{"https://ui.example"} })
	r := f.want(http.StatusNoContent, "OPTIONS", "/v3/pods/any/thing", "", "", "Origin", "https://ui.example",
		"Access-Control-Request-Method", "DELETE", "Access-Control-Request-Headers", "x-tapis-token, x-new")
	for name, want := range map[string]string{
		"Access-Control-Allow-Methods": "DELETE, GET, OPTIONS, POST, PUT",
		"Access-Control-Allow-Headers": "x-tapis-token, x-new",
		"Access-Control-Max-Age":       "600",
		"Vary":                         "Origin",
	} {
		if got := r.header.Get(name); got != want {
			t.Errorf("got %s %q, want %q", name, got, want)
		}
	}
	r = f.want(http.StatusNoContent, "OPTIONS", "/v3/pods", "", "", "Origin", "https://ui.example")
	if got := r.header.Get("Access-Control-Allow-Headers"); !strings.Contains(got, "X-Tapis-Token") {
		t.Errorf("got Access-Control-Allow-Headers %q, want X-Tapis-Token in it", got)
	}
	r = f.want(http.StatusOK, "GET", "/healthcheck", "", "", "Origin", "https://ui.example")
	if got := r.header.Get("Access-Control-Expose-Headers"); !strings.Contains(got, "x-tapis-token") {
		t.Errorf("got Access-Control-Expose-Headers %q, want x-tapis-token in it", got)
	}
}
