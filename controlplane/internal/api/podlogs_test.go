package api

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

func TestLogs(t *testing.T) {
	kept := "kept at the last stop"
	live := func(text string) func(context.Context, pods.Key, bool) (io.ReadCloser, error) {
		return func(context.Context, pods.Key, bool) (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader(text)), nil
		}
	}
	failing := func(err error) func(context.Context, pods.Key, bool) (io.ReadCloser, error) {
		return func(context.Context, pods.Key, bool) (io.ReadCloser, error) { return nil, err }
	}
	for _, c := range []struct {
		name   string
		uid    string // of what runs; "" for nothing
		logs   func(context.Context, pods.Key, bool) (io.ReadCloser, error)
		status int
		want   string
	}{
		{"those of the container while there is one", "uid-of-web", live("hello\n"), http.StatusOK, "hello\n"},
		{"those that were kept when there is none", "", live("must not be asked"), http.StatusOK, kept},
		{"those that were kept while the container is being made", "uid-of-web", failing(pods.Errorf(pods.NotFound, "none")), http.StatusOK, kept},
		{"never those of an earlier pod with the same id", "uid-of-another", live("secret of someone else"), http.StatusOK, kept},
		{"bytes that are no text are replaced", "uid-of-web", live("a\xff\x00b<&>"), http.StatusOK, "a\uFFFD\x00b<&>"},
		{"a cluster that is away is told", "uid-of-web", failing(pods.Errorf(pods.Unavailable, "away")), http.StatusServiceUnavailable, "away"},
		{"another failure is not", "uid-of-web", failing(errors.New("tls: bad certificate")), http.StatusInternalServerError, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			p := f.put("web")
			if err := f.store.SaveLogs(t.Context(), p.Key, p.UID, []byte(kept)); err != nil {
				t.Fatal(err)
			}
			if c.uid != "" {
				p.UID = c.uid
				f.cluster.run(p)
			}
			f.cluster.logs = c.logs
			r := f.want(c.status, "GET", "/v3/pods/web/logs", "owner", "")
			if c.status == http.StatusOK {
				if got := result[podLogs](t, r).Logs; got != c.want {
					t.Errorf("got logs %q, want %q", got, c.want)
				}
			}
			f.want(c.status, "GET", "/v3/pods/web/logs?follow=True", "owner", "")
		})
	}
}

// TestFollowLogs reads each line before the next one is written.
func TestFollowLogs(t *testing.T) {
	f := newFixture(t)
	f.cluster.run(f.put("web"))
	reader, writer := io.Pipe()
	followed := make(chan bool, 1)
	f.cluster.logs = func(_ context.Context, _ pods.Key, follow bool) (io.ReadCloser, error) {
		followed <- follow
		return reader, nil
	}
	srv := httptest.NewServer(New(f.deps))
	defer srv.Close()
	res := f.get(srv, "/v3/pods/web/logs?follow=true")
	defer res.Body.Close()
	if got := res.Header.Get("Content-Type"); got != "text/plain; charset=utf-8" || res.StatusCode != http.StatusOK {
		t.Fatalf("got status %d and Content-Type %q", res.StatusCode, got)
	}
	if !<-followed {
		t.Error("the cluster was not asked to follow")
	}
	lines := bufio.NewReader(res.Body)
	for _, want := range []string{"first\n", "second\n"} {
		if _, err := io.WriteString(writer, want); err != nil {
			t.Fatal(err)
		}
		if got, err := lines.ReadString('\n'); got != want || err != nil {
			t.Fatalf("got %q, error %v, want %q", got, err, want)
		}
	}
	_ = writer.Close()
	if rest, err := io.ReadAll(lines); len(rest) > 0 || err != nil {
		t.Errorf("got %q, error %v at the end of the container", rest, err)
	}
}

// A container that goes away between the opening of its log and the first read.
func TestFollowedLogsThatAreGone(t *testing.T) {
	f := newFixture(t)
	p := f.put("web")
	f.cluster.run(p)
	if err := f.store.SaveLogs(t.Context(), p.Key, p.UID, []byte("kept")); err != nil {
		t.Fatal(err)
	}
	f.cluster.logs = func(context.Context, pods.Key, bool) (io.ReadCloser, error) {
		return io.NopCloser(iotest.ErrReader(pods.Errorf(pods.NotFound, "none"))), nil
	}
	if got := f.want(http.StatusOK, "GET", "/v3/pods/web/logs?follow=true", "owner", "").body; got != "kept" {
		t.Errorf("got %q, want the kept logs", got)
	}
}

// TestFollowEndsWithTheClient checks that nothing goes on when nobody listens.
func TestFollowEndsWithTheClient(t *testing.T) {
	f := newFixture(t)
	f.cluster.run(f.put("web"))
	ended := make(chan struct{})
	f.cluster.logs = func(ctx context.Context, _ pods.Key, _ bool) (io.ReadCloser, error) {
		return ctxReader{ctx, ended}, nil
	}
	srv := httptest.NewServer(New(f.deps))
	defer srv.Close()
	res := f.get(srv, "/v3/pods/web/logs?follow=1")
	res.Body.Close()
	select {
	case <-ended:
	case <-time.After(patience):
		t.Error("the stream goes on without a client")
	}
}

// ctxReader is a container that says nothing until ctx ends.
type ctxReader struct {
	ctx    context.Context //nolint:containedctx // the stream lives as long as the request
	closed chan struct{}
}

func (r ctxReader) Read([]byte) (int, error) { <-r.ctx.Done(); return 0, r.ctx.Err() }
func (r ctxReader) Close() error             { close(r.closed); return nil }
