package pages

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// full has everything a page can have, and text that must be escaped.
var full = Page{
	Status: http.StatusUnauthorized, Kind: Ask, Title: "Log in <b>", Text: "Text & more", Host: "web.pods.test",
	Problem: `"wrong"`, Note: "A note",
	Forms: []Form{{Action: "/.podway/share", Hidden: []Field{{"t", `"><script>`}}, Password: "Password", Button: "Open"}},
	Links: []Link{{"/.podway/login", "Log in", false}, {"javascript:alert(1)", "Elsewhere", true}},
}

func write(p Page, method string, accept ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "/", nil)
	r.Header["Accept"] = accept
	w := httptest.NewRecorder()
	p.Write(w, r)
	return w
}

func TestPageForPeople(t *testing.T) {
	w := write(full, http.MethodGet, "text/html,application/xhtml+xml")
	body := w.Body.String()
	for _, want := range []string{
		"<title>Log in &lt;b&gt;</title>", `class="ask"`, "Text &amp; more", `role="alert"`, "web.pods.test",
		`<label for="password">Password</label>`, `value="&#34;&gt;&lt;script&gt;"`, `href="/.podway/login"`, "A note",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("%q is missing in\n%s", want, body)
		}
	}
	if strings.Contains(body, "<script>") || strings.Contains(body, "javascript:") {
		t.Errorf("got what could run:\n%s", body)
	}
	csp := w.Header().Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'", "form-action 'self'", "style-src 'sha256-"} {
		if !strings.Contains(csp, want) {
			t.Errorf("policy %q lacks %q", csp, want)
		}
	}
	for name, want := range map[string]string{"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY"} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func TestPageWithoutFormsAllowsNone(t *testing.T) {
	w := write(Page{Status: 503, Kind: Wait, Title: "a", Refresh: RefreshSeconds}, http.MethodGet, "text/html")
	if csp := w.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "form-action 'none'") {
		t.Errorf("got %q", csp)
	}
	if got := w.Header().Get("Retry-After"); got != "10" {
		t.Errorf("Retry-After: got %q, want 10", got)
	}
}

func TestPageForPrograms(t *testing.T) {
	for name, accept := range map[string][]string{
		"no Accept": nil, "anything": {"*/*"}, "JSON": {"application/json"}, "no HTML": {"text/html;q=0, */*"},
	} {
		w := write(full, http.MethodGet, accept...)
		var got envelope
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if w.Code != 401 || got.Message != `"wrong"` || got.Status != "error" || got.Version != Version {
			t.Errorf("%s: got %d %+v", name, w.Code, got)
		}
	}
}

func TestHeadHasNoBody(t *testing.T) {
	w := write(full, http.MethodHead, "text/html")
	if w.Body.Len() != 0 || w.Header().Get("Content-Length") == "0" {
		t.Errorf("got %d bytes, length %q", w.Body.Len(), w.Header().Get("Content-Length"))
	}
}

func TestAcceptsHTML(t *testing.T) {
	for accept, want := range map[string]bool{
		"text/html": true,
		"text/html,application/xml;q=0.9,*/*;q=8": true,
		"application/json, TEXT/HTML;q=0.1":       true,
		"application/json":                        false,
		"*/*":                                     false,
		"text/*":                                  false,
		"":                                        false,
		"text/html;q=0":                           false,
		"text/html; level=1; q=0.0":               false,
		"text/htmlx":                              false,
	} {
		if got := AcceptsHTML([]string{accept}); got != want {
			t.Errorf("%q: got %v, want %v", accept, got, want)
		}
	}
	if !AcceptsHTML([]string{"application/json", "text/html"}) {
		t.Error("a second Accept line is not read")
	}
}
