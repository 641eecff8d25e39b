package gate

import (
	"bufio"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tapis-project/podway/routes"
)

func TestReturnPaths(t *testing.T) {
	lines := corpus(t, "redirects.txt")
	if len(lines) < 40 {
		t.Fatalf("got %d lines, want 40", len(lines))
	}
	for _, line := range lines {
		in, err := strconv.Unquote(line[0])
		if err != nil {
			t.Fatalf("%s: %v", line[0], err)
		}
		want := line[1]
		if want == "same" {
			want = in
		}
		if got := safePath(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
		r := &http.Request{Host: host}
		if got := location(r, in); got != "https://"+host+want {
			t.Errorf("%q: got %q, want another path of the host", in, got)
		}
	}
	if got := safePath("/" + strings.Repeat("a", maxReturnPath)); got != "/" {
		t.Errorf("long path: got %q, want /", got)
	}
}

func FuzzSafePath(f *testing.F) {
	for _, line := range corpus(f, "redirects.txt") {
		in, _ := strconv.Unquote(line[0])
		f.Add(in)
	}
	f.Fuzz(func(t *testing.T, in string) {
		got := safePath(in)
		if !strings.HasPrefix(got, "/") || strings.HasPrefix(got, "//") || strings.ContainsAny(got, "\\\r\n\t ") {
			t.Errorf("%q: got %q", in, got)
		}
		if safePath(got) != got {
			t.Errorf("%q: got %q, which is not safe itself", in, got)
		}
	})
}

func quoted(t testing.TB, s string) []string {
	t.Helper()
	var lines []string
	for part := range strings.SplitSeq(s, "|") {
		line, err := strconv.Unquote(part)
		if err != nil {
			t.Fatalf("%s: %v", part, err)
		}
		lines = append(lines, line)
	}
	return lines
}

func TestPodsGetNoCookieOfTheEdge(t *testing.T) {
	lines := corpus(t, "cookies.txt")
	if len(lines) < 25 {
		t.Fatalf("got %d lines, want 25", len(lines))
	}
	for _, line := range lines {
		in, want := quoted(t, line[0]), quoted(t, line[1])
		if slices.Equal(want, []string{""}) {
			want = nil
		}
		h := http.Header{"Cookie": slices.Clone(in)}
		before := h["Cookie"]
		own := takeCookies(h)
		if got := h["Cookie"]; !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
		if !slices.Equal(before, in) {
			t.Errorf("%q: the client's own header was written to", in)
		}
		for _, v := range own.session.list() {
			if !slices.Contains([]string{"S", "T", "S=", `"S"`, `S"`, "\tS", ""}, v) {
				t.Errorf("%q: got the session %q", in, v)
			}
		}
	}
}

func TestTakeCookiesReturnsTheEdgesOwn(t *testing.T) {
	h := http.Header{"Cookie": {"a=b; __Host-pods_session=1; __Host-pods_session=2", "__Host-pods_share=3; __Host-pods_login=4; __HOST-PODS_SESSION=5"}}
	own := takeCookies(h)
	if !slices.Equal(own.session.list(), []string{"1", "2"}) || !slices.Equal(own.share.list(), []string{"3"}) || !slices.Equal(own.login.list(), []string{"4"}) {
		t.Errorf("got %+v", own)
	}
	h = http.Header{"Cookie": {strings.Repeat("__Host-pods_session=x; ", 100)}}
	if own := takeCookies(h); own.session.n != maxSame || h["Cookie"] != nil {
		t.Errorf("got %d sessions and %q, want %d and nothing", own.session.n, h["Cookie"], maxSame)
	}
}

func FuzzTakeCookies(f *testing.F) {
	for _, line := range corpus(f, "cookies.txt") {
		f.Add(quoted(f, line[0])[0])
	}
	f.Fuzz(func(t *testing.T, line string) {
		h := http.Header{"Cookie": {line}}
		takeCookies(h)
		for _, got := range h["Cookie"] {
			if strings.Contains(strings.ToLower(got), reserved) {
				t.Errorf("%q: got %q", line, got)
			}
			if !hasOwn(line) && got != line {
				t.Errorf("got %q, want %q as it was", got, line)
			}
		}
	})
}

// requestFor reads a request with a target, as a server does.
func requestFor(t *testing.T, target string) (*http.Request, bool) {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET " + target + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n")))
	return r, err == nil
}

func TestExcludedPaths(t *testing.T) {
	route := gated(host, "ada")
	route.Gate.ExcludedPaths = []string{"/static", "/open/", "/caf%C3%A9"}
	route.Gate.ExcludedPathRegex = []string{"^/public/[0-9]+$"}
	e, err := routes.Compile(route)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range corpus(t, "paths.txt") {
		r, ok := requestFor(t, line[0])
		if !ok {
			continue // the server refuses it
		}
		got := "gated"
		switch {
		case ownPath(r.URL) != "":
			got = "own"
		case excluded(e, r.URL):
			got = "open"
		}
		if got != line[1] {
			t.Errorf("%s: got %s, want %s", line[0], got, line[1])
		}
	}
	noGate, err := routes.Compile(shared(host))
	if err != nil {
		t.Fatal(err)
	}
	if r, _ := requestFor(t, "/static"); excluded(noGate, r.URL) {
		t.Error("a share's pod has open paths")
	}
}

func TestClientsCannotSayWhoTheyAre(t *testing.T) {
	route := gated(host, "ada")
	route.Gate.ResponseHeaders = map[string]string{"X-User": "a", "OAUTH2_USERNAME_KEY": "username", "Remote-Name": "b"}
	e, err := routes.Compile(route)
	if err != nil {
		t.Fatal(err)
	}
	h := http.Header{"Accept": {"a"}, "X-Userx": {"b"}, "Xuser": {"c"}, "X-Tapi": {"d"}, "Connection": {"keep-alive, X-User", "x_tapis_username"}}
	want := len(h)
	for _, line := range corpus(t, "headers.txt") {
		h[line[0]] = []string{"forged"}
	}
	dropClaims(h, e, []string{"X-Webauth-User"})
	if len(h) != want || h["Xuser"] == nil || !slices.Equal(h["Connection"], []string{"keep-alive"}) {
		t.Errorf("got %v", h)
	}
}
