package devtapis_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/tapis-project/podway/controlplane/internal/devtapis"
)

const callback = "http://dev.localhost:8000/v3/pods/auth/callback"

// browser follows no redirects, and keeps cookies.
func browser(t *testing.T, s *devtapis.Server) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Transport: s.InProcess(), Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// page is what a browser got.
type page struct {
	status   int
	header   http.Header
	body     string
	location *url.URL // nil if there is none
}

func visit(t *testing.T, c *http.Client, method, target string, form url.Values, header ...string) page {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, target, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	to, _ := resp.Location()
	return page{resp.StatusCode, resp.Header, string(b), to}
}

var hiddenField = regexp.MustCompile(`<input type="hidden" name="([^"]+)" value="([^"]*)">`)

// fields returns the hidden fields of a form.
func (p page) fields() url.Values {
	v := url.Values{}
	for _, m := range hiddenField.FindAllStringSubmatch(p.body, -1) {
		v.Set(m[1], strings.NewReplacer("&amp;", "&", "&#43;", "+").Replace(m[2]))
	}
	return v
}

func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// serviceToken is the token of the service account, with on whose behalf.
func asService(t *testing.T, s *devtapis.Server) func(*http.Request) {
	t.Helper()
	token, err := s.Mint("dev", s.ServiceClaims("pods"))
	if err != nil {
		t.Fatal(err)
	}
	return func(r *http.Request) {
		r.Header.Set("X-Tapis-Token", token)
		r.Header.Set("X-Tapis-Tenant", "dev")
		r.Header.Set("X-Tapis-User", "_tapis_pods")
	}
}

func withClient(t *testing.T, s *devtapis.Server) (key string) {
	t.Helper()
	var made struct {
		Key string `json:"client_key"`
	}
	call(t, s, http.MethodPost, base+"/v3/oauth2/clients", `{"client_id":"gate","callback_url":"`+callback+`","display_name":"Pods"}`, asService(t, s)).into(t, &made)
	return made.Key
}

func authorizeURL(state, challenge string) string {
	return base + "/v3/oauth2/authorize?" + url.Values{
		"client_id": {"gate"}, "redirect_uri": {callback}, "response_type": {"code"}, "state": {state},
		"code_challenge": {challenge}, "code_challenge_method": {"S256"},
	}.Encode()
}

// login goes from the client to the question for consent, as a user.
func login(t *testing.T, c *http.Client, start, user string) page {
	t.Helper()
	p := visit(t, c, http.MethodGet, start, nil)
	if p.status != http.StatusFound || p.location.Path != "/v3/oauth2/login" {
		t.Fatalf("without a session: got %d to %v, want the login", p.status, p.location)
	}
	form := visit(t, c, http.MethodGet, p.location.String(), nil)
	v := form.fields()
	v.Set("username", user)
	v.Set("password", user)
	p = visit(t, c, http.MethodPost, base+"/v3/oauth2/login", v)
	if p.status != http.StatusSeeOther || p.location.Path != "/v3/oauth2/authorize" {
		t.Fatalf("after the login: got %d to %v: %s", p.status, p.location, p.body)
	}
	return visit(t, c, http.MethodGet, p.location.String(), nil)
}

func TestLoginByBrowser(t *testing.T) {
	s := newServer(t, newDir(t))
	key := withClient(t, s)
	c := browser(t, s)
	const state, verifier = `a+b&"c`, "a verifier of at least 43 characters, as the RFC asks"

	consent := login(t, c, authorizeURL(state, challengeOf(verifier)), "testuser")
	if consent.status != http.StatusOK || !strings.Contains(consent.body, "<strong>Pods</strong> asks to know that you are <strong>testuser</strong>") {
		t.Fatalf("got no question for consent: %d %s", consent.status, consent.body)
	}
	v := consent.fields()
	v.Set("client_state", state)
	v.Set("approve", "true")
	back := visit(t, c, http.MethodPost, base+"/v3/oauth2/authorize", v)
	if back.status != http.StatusFound || !strings.HasPrefix(back.location.String(), callback+"?") || back.location.Query().Get("state") != state {
		t.Fatalf("after consent: got %d to %v", back.status, back.location)
	}
	code := back.location.Query().Get("code")
	if len(code) != 40 {
		t.Errorf("got a code of %d characters, want 40", len(code))
	}

	basic := func(r *http.Request) { r.SetBasicAuth("gate", key) }
	exchange := func(code, verifier string) answer {
		return call(t, s, http.MethodPost, base+"/v3/oauth2/tokens", url.Values{
			"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback}, "code_verifier": {verifier},
		}.Encode(), basic)
	}
	first := exchange(code, verifier)
	first.want(t, http.StatusOK, "")
	var got struct {
		Access  struct{ Access_token string } `json:"access_token"` //nolint:revive // as on the wire
		Refresh json.RawMessage               `json:"refresh_token"`
	}
	first.into(t, &got)
	if got.Access.Access_token == "" || len(got.Refresh) == 0 {
		t.Errorf("got %s, want both tokens", first.Result)
	}
	exchange(code, verifier).want(t, http.StatusBadRequest, "Invalid authorization code.")

	t.Run("a session needs no second login, and a code only its verifier", func(t *testing.T) {
		p := visit(t, c, http.MethodGet, authorizeURL("x", challengeOf(verifier)), nil)
		v := p.fields()
		v.Set("approve", "true")
		p = visit(t, c, http.MethodPost, base+"/v3/oauth2/authorize", v)
		exchange(p.location.Query().Get("code"), "another").want(t, http.StatusBadRequest, "Invalid authorization code.")
	})
	t.Run("who denies goes back without a code", func(t *testing.T) {
		p := visit(t, c, http.MethodPost, base+"/v3/oauth2/authorize", visit(t, c, http.MethodGet, authorizeURL("x", ""), nil).fields())
		if q := p.location.Query(); q.Get("error") != "access_denied" || q.Get("code") != "" || q.Get("state") != "x" {
			t.Errorf("got %v", p.location)
		}
	})
	t.Run("a form of another site does nothing", func(t *testing.T) {
		p := visit(t, c, http.MethodPost, base+"/v3/oauth2/authorize", v, "Sec-Fetch-Site", "cross-site")
		if p.status != http.StatusForbidden {
			t.Errorf("got %d, want %d", p.status, http.StatusForbidden)
		}
	})
	t.Run("a logout ends the session", func(t *testing.T) {
		visit(t, c, http.MethodPost, base+"/v3/oauth2/logout", url.Values{"logout": {"true"}})
		if p := visit(t, c, http.MethodGet, authorizeURL("x", ""), nil); p.status != http.StatusFound {
			t.Errorf("got %d, want the login again", p.status)
		}
	})
}

func TestAuthorizeSendsNobodyToAnUnknownPlace(t *testing.T) {
	s := newServer(t, newDir(t))
	withClient(t, s)
	for name, q := range map[string]url.Values{
		"an unknown client":          {"client_id": {"x"}, "redirect_uri": {callback}, "response_type": {"code"}},
		"another redirect_uri":       {"client_id": {"gate"}, "redirect_uri": {callback + "/"}, "response_type": {"code"}},
		"no redirect_uri":            {"client_id": {"gate"}, "response_type": {"code"}},
		"another response_type":      {"client_id": {"gate"}, "redirect_uri": {callback}, "response_type": {"token"}},
		"a challenge that is spoken": {"client_id": {"gate"}, "redirect_uri": {callback}, "response_type": {"code"}, "code_challenge": {"x"}, "code_challenge_method": {"plain"}},
	} {
		p := visit(t, browser(t, s), http.MethodGet, base+"/v3/oauth2/authorize?"+q.Encode(), nil)
		if p.status != http.StatusBadRequest || p.location != nil {
			t.Errorf("%s: got %d to %v, want %d", name, p.status, p.location, http.StatusBadRequest)
		}
	}
}

func TestPagesAllowNothingFromElsewhere(t *testing.T) {
	s := newServer(t, newDir(t))
	p := visit(t, browser(t, s), http.MethodPost, base+"/v3/oauth2/login", url.Values{"username": {`"><script>`}, "password": {"x"}})
	if p.status != http.StatusUnauthorized || strings.Contains(p.body, "<script>") {
		t.Errorf("got %d: %s", p.status, p.body)
	}
	_, after, _ := strings.Cut(p.body, "<style>")
	css, _, _ := strings.Cut(after, "</style>")
	sum := sha256.Sum256([]byte(css))
	policy := p.header.Get("Content-Security-Policy")
	if !strings.HasPrefix(policy, "default-src 'none'; ") || !strings.Contains(policy, "'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'") {
		t.Errorf("got the policy %q, which does not fit the page", policy)
	}
}

func TestServicesKeepClientsForAUser(t *testing.T) {
	s := newServer(t, newDir(t))
	withClient(t, s)
	call(t, s, http.MethodPost, base+"/v3/oauth2/clients", `{"client_id":"gate"}`, asService(t, s)).
		want(t, http.StatusBadRequest, "This change would violate uniqueness constraints: client_id gate is taken.")
	call(t, s, http.MethodGet, base+"/v3/oauth2/clients/gate", "", asService(t, s)).want(t, http.StatusOK, "")
	call(t, s, http.MethodPut, base+"/v3/oauth2/clients/gate", `{"description":"x"}`, asService(t, s)).want(t, http.StatusBadRequest, `Invalid request body: json: unknown field "description".`)
	user, err := s.Mint("dev", s.AccessClaims("dev", "testuser"))
	if err != nil {
		t.Fatal(err)
	}
	call(t, s, http.MethodGet, base+"/v3/oauth2/clients/gate", "", token(user)).want(t, http.StatusNotFound, "Client gate not found.")
	call(t, s, http.MethodGet, base+"/v3/oauth2/clients/gate", "", token(user), func(r *http.Request) {
		r.Header.Set("X-Tapis-Tenant", "dev")
		r.Header.Set("X-Tapis-User", "_tapis_pods")
	}).want(t, http.StatusUnauthorized, "Invalid Tapis token.")
}
