package client

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// fakeService answers every request in the same way and remembers the last one.
type fakeService struct {
	status int
	header http.Header
	body   string

	method, path string
	got          http.Header
	sent         []byte
	length       int64
}

func (f *fakeService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.method, f.path, f.got, f.length = r.Method, r.URL.RequestURI(), r.Header, r.ContentLength
	f.sent, _ = io.ReadAll(r.Body)
	w.Header().Set("Content-Type", "application/json")
	maps.Copy(w.Header(), f.header)
	if f.status != 0 {
		w.WriteHeader(f.status)
	}
	_, _ = io.WriteString(w, f.body)
}

func start(t *testing.T, f *fakeService) *Client {
	t.Helper()
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	return New(s.URL+"/", "tok")
}

func TestCall(t *testing.T) {
	f := &fakeService{body: `{"message":"Pod created successfully.","metadata":{"a":1},"result":{"pod_id":"web","status":"REQUESTED"},"status":"success","version":"1"}`}
	p, err := start(t, f).CreatePod(t.Context(), NewPod{PodID: "web", Image: "podway/hello"})
	if err != nil {
		t.Fatal(err)
	}
	if p.PodID != "web" || p.Status != "REQUESTED" {
		t.Errorf("got %+v", p)
	}
	if got, want := f.method+" "+f.path+" "+string(f.sent), `POST /v3/pods {"pod_id":"web","image":"podway/hello"}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if f.got.Get("X-Tapis-Token") != "tok" || f.got.Get("Content-Type") != "application/json" || f.got.Get("X-Pods-Admin") != "" {
		t.Errorf("got headers %v", f.got)
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		name    string
		service fakeService
		want    Error
		text    string
	}{
		{
			name:    "one message",
			service: fakeService{status: 404, body: `{"message":"Pod with identifier pod_id: 'x' not found","status":"error"}`},
			want:    Error{Status: 404}, text: "Pod with identifier pod_id: 'x' not found",
		},
		{
			name:    "a list of messages",
			service: fakeService{status: 400, body: `{"message":["body, a: wrong","body, b: wrong"]}`},
			want:    Error{Status: 400}, text: "body, a: wrong\nbody, b: wrong",
		},
		{
			name:    "a time to wait and an id",
			service: fakeService{status: 429, body: `{"message":"Too many changes"}`, header: http.Header{"Retry-After": {"7"}, "X-Request-Id": {"abc"}}},
			want:    Error{Status: 429, RetryAfter: 7 * time.Second, RequestID: "abc"}, text: "Too many changes",
		},
		{
			name:    "a page of a proxy",
			service: fakeService{status: 502, body: `<html>`, header: http.Header{"Content-Type": {"text/html"}}},
			want:    Error{Status: 502}, text: "the service answered 502 Bad Gateway",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := start(t, &c.service).Pod(t.Context(), "x")
			e, ok := errors.AsType[*Error](err)
			if !ok {
				t.Fatalf("got %v, want an *Error", err)
			}
			if e.Status != c.want.Status || e.RetryAfter != c.want.RetryAfter || e.RequestID != c.want.RequestID {
				t.Errorf("got %+v, want %+v", e, c.want)
			}
			if e.Error() != c.text || StatusOf(err) != c.want.Status {
				t.Errorf("got %q and status %d, want %q", e.Error(), StatusOf(err), c.text)
			}
		})
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	f := &fakeService{body: `<html>`, header: http.Header{"Content-Type": {"text/html"}}}
	if _, err := start(t, f).Pods(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "is the address right?") {
		t.Errorf("got %v", err)
	}
	if _, err := New("http://127.0.0.1:1", "").Pods(t.Context(), ""); err == nil || strings.Count(err.Error(), "127.0.0.1:1") > 2 {
		t.Errorf("got %v", err)
	}
}

func TestPathsAreEscaped(t *testing.T) {
	f := &fakeService{body: `{"result":[]}`}
	c := start(t, f)
	for _, tc := range []struct {
		call func() error
		want string
	}{
		{func() error { _, err := c.Pod(t.Context(), "a/../b"); return err }, "/v3/pods/a%2F..%2Fb"},
		{func() error { _, err := c.Pods(t.Context(), "x & y"); return err }, "/v3/pods?search=x+%26+y"},
		{func() error { _, err := c.Files(t.Context(), "v", "a b/c"); return err }, "/v3/pods/volumes/v/list?path=a+b%2Fc"},
		{func() error { _, _, err := c.Download(t.Context(), "v", "/a b/c?", true); return err }, "/v3/pods/volumes/v/contents/a%20b/c%3F?zip=true"},
	} {
		_ = tc.call() // some of them expect another result
		if f.path != tc.want {
			t.Errorf("got path %s, want %s", f.path, tc.want)
		}
	}
}

func TestUploadIsSentAsItIsRead(t *testing.T) {
	f := &fakeService{body: `{"message":"Volume file upload successful.","result":"None"}`}
	content := bytes.Repeat([]byte("0123456789"), 1000)
	if err := start(t, f).Upload(t.Context(), "data", "a b/c.txt", bytes.NewReader(content), int64(len(content))); err != nil {
		t.Fatal(err)
	}
	if f.path != "/v3/pods/volumes/data/upload/a%20b/c.txt" || f.length != int64(len(f.sent)) {
		t.Errorf("got path %s, length %d for %d bytes", f.path, f.length, len(f.sent))
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "/", bytes.NewReader(f.sent))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = f.got
	file, header, err := r.FormFile("file")
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(file)
	if err != nil || !bytes.Equal(got, content) || header.Filename != "c.txt" {
		t.Errorf("got %d bytes of %q, %v; want %d of c.txt", len(got), header.Filename, err, len(content))
	}
}

func TestFollowLogsEndsWithItsContext(t *testing.T) {
	written := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "line\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	out := writerFunc(func(b []byte) (int, error) {
		if string(b) == "line\n" {
			close(written)
		}
		return len(b), nil
	})
	go func() {
		<-written
		cancel()
	}()
	if err := New(s.URL, "").FollowLogs(ctx, "web", out); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
