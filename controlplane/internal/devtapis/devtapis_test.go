package devtapis_test

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tapis-project/podway/controlplane/internal/devtapis"
	"github.com/tapis-project/podway/controlplane/internal/devtapis/devtokens"
)

// keys is a folder with the keys of dev and other, which are slow to make.
var keys = sync.OnceValue(func() map[string][]byte {
	dir, err := os.MkdirTemp("", "devtapis")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if _, err := devtapis.New(options(dir)); err != nil {
		panic(err)
	}
	files := map[string][]byte{}
	for _, name := range []string{"dev.key", "other.key"} {
		if files[name], err = os.ReadFile(filepath.Join(dir, name)); err != nil {
			panic(err)
		}
	}
	return files
})

func options(dir string) devtapis.Options {
	return devtapis.Options{
		Dir:      dir,
		Others:   []devtapis.Tenant{{ID: "other", BaseURL: "http://other.localhost:8000"}},
		Services: map[string]string{"pods": "service-secret"},
		Logger:   slog.New(slog.DiscardHandler),
	}
}

func newDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, b := range keys() {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func newServer(t *testing.T, dir string) *devtapis.Server {
	t.Helper()
	s, err := devtapis.New(options(dir))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// answer is what came back from a request.
type answer struct {
	status  int
	Message string          `json:"message"`
	Result  json.RawMessage `json:"result"`
	Status  string          `json:"status"`
}

// into decodes the result.
func (a answer) into(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal(a.Result, v); err != nil {
		t.Fatalf("decoding result %s: %v", a.Result, err)
	}
}

// call makes a request; a body that starts with { is JSON, any other a form.
func call(t *testing.T, s *devtapis.Server, method, target, body string, edits ...func(*http.Request)) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if strings.HasPrefix(body, "{") {
			r.Header.Set("Content-Type", "application/json")
		}
	}
	for _, f := range edits {
		f(r)
	}
	resp, err := s.InProcess().RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got := resp.Header.Values("Content-Type"); len(got) != 1 || got[0] != "application/json" {
		t.Errorf("got Content-Type %q, want application/json alone", got)
	}
	a := answer{status: resp.StatusCode}
	if err := json.Unmarshal(b, &a); err != nil {
		t.Fatalf("decoding %s: %v", b, err)
	}
	if want := map[bool]string{true: "success", false: "error"}[a.status == http.StatusOK]; a.Status != want {
		t.Errorf("got status %q in the envelope of a %d, want %q", a.Status, a.status, want)
	}
	return a
}

func token(v string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("X-Tapis-Token", v) }
}

func basic(user, password string) func(*http.Request) {
	return func(r *http.Request) { r.SetBasicAuth(user, password) }
}

// want checks the status and, of an error, the message.
func (a answer) want(t *testing.T, status int, message string) {
	t.Helper()
	if a.status != status {
		t.Fatalf("got status %d (%s), want %d", a.status, a.Message, status)
	}
	if status != http.StatusOK && a.Message != message {
		t.Errorf("got message %q, want %q", a.Message, message)
	}
}

const base = "http://dev.localhost:8000"

type tenantResult struct {
	TenantID       string `json:"tenant_id"`
	BaseURL        string `json:"base_url"`
	SiteID         string `json:"site_id"`
	PublicKey      string `json:"public_key"`
	TokenService   string `json:"token_service"`
	SecurityKernel string `json:"security_kernel"`
}

func TestBaseURLIsShownAsTyped(t *testing.T) {
	s := newServer(t, newDir(t))
	for typed, want := range map[string]string{
		"http://localhost:8000":       "http://localhost:8000",
		"http://LOCALHOST:8000":       "http://LOCALHOST:8000",
		"http://127.0.0.1:8000":       "http://127.0.0.1:8000",
		"http://[::1]:8000":           "http://[::1]:8000",
		"http://127.0.0.1":            "http://127.0.0.1",
		"http://172.17.0.1:9":         "http://172.17.0.1:9",
		"http://dev.localhost:8000":   base,
		"http://other.localhost:8000": base,
		"http://somewhere.test":       base,
	} {
		var list []tenantResult
		a := call(t, s, http.MethodGet, typed+"/v3/tenants", "")
		a.want(t, http.StatusOK, "")
		a.into(t, &list)
		if len(list) != 2 || list[0].TenantID != "dev" || list[1].TenantID != "other" {
			t.Fatalf("got %+v, want dev and other", list)
		}
		if list[0].BaseURL != want || list[0].TokenService != want+"/v3/tokens" || list[0].SecurityKernel != want+"/v3/security" {
			t.Errorf("%s: got %+v, want base URL %s", typed, list[0], want)
		}
		if list[1].BaseURL != "http://other.localhost:8000" {
			t.Errorf("%s: got base URL %s of other, want its own", typed, list[1].BaseURL)
		}
	}
}

func TestTenantsAndSites(t *testing.T) {
	s := newServer(t, newDir(t))
	var one tenantResult
	call(t, s, http.MethodGet, base+"/v3/tenants/other", "").into(t, &one)
	if one.TenantID != "other" || one.SiteID != "dev" || one.PublicKey != s.PublicKey("other") || one.PublicKey == s.PublicKey("dev") {
		t.Errorf("got %+v, want other with its own key", one)
	}
	call(t, s, http.MethodGet, base+"/v3/tenants/nowhere", "").want(t, http.StatusNotFound, "Tenant nowhere not found.")

	type site struct {
		SiteID   string `json:"site_id"`
		Primary  bool   `json:"primary"`
		BaseURL  string `json:"base_url"`
		Template string `json:"tenant_base_url_template"`
		Admin    string `json:"site_admin_tenant_id"`
	}
	want := site{SiteID: "dev", Primary: true, BaseURL: base, Template: "http://${tenant_id}.localhost:8000", Admin: "dev"}
	var sites []site
	call(t, s, http.MethodGet, base+"/v3/sites", "").into(t, &sites)
	if len(sites) != 1 || sites[0] != want {
		t.Errorf("got %+v, want %+v", sites, want)
	}
	var got site
	call(t, s, http.MethodGet, base+"/v3/sites/dev", "").into(t, &got)
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	call(t, s, http.MethodGet, base+"/v3/sites/x", "").want(t, http.StatusNotFound, "Site x not found.")
	call(t, s, http.MethodGet, base+"/v3/systems", "").want(t, http.StatusNotFound, "The development Tapis has no GET /v3/systems.")
	call(t, s, http.MethodDelete, base+"/v3/sites", "").want(t, http.StatusNotFound, "The development Tapis has no DELETE /v3/sites.")
}

type issued struct {
	Token     string `json:"access_token"`
	Refresh   string `json:"refresh_token"`
	ExpiresAt string `json:"expires_at"`
	ExpiresIn int    `json:"expires_in"`
	JTI       string `json:"jti"`
}

type tokens struct {
	Access  issued  `json:"access_token"`
	Refresh *issued `json:"refresh_token"`
}

// claims reads a token that tenant signed.
func claims(t *testing.T, s *devtapis.Server, tenant, token string) jwt.MapClaims {
	t.Helper()
	key, err := jwt.ParseRSAPublicKeyFromPEM([]byte(s.PublicKey(tenant)))
	if err != nil {
		t.Fatal(err)
	}
	c := jwt.MapClaims{}
	if _, err := jwt.ParseWithClaims(token, c, func(*jwt.Token) (any, error) { return key, nil }, jwt.WithValidMethods([]string{"RS256"})); err != nil {
		t.Fatal(err)
	}
	return c
}

var expiresAt = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00$`)

func TestPasswordGrant(t *testing.T) {
	s := newServer(t, newDir(t))
	form := url.Values{"username": {"testuser"}, "password": {"testuser"}, "grant_type": {"password"}}.Encode()
	for name, body := range map[string]string{
		"as JSON":   `{"username":"testuser","password":"testuser","grant_type":"password"}`,
		"as a form": form,
	} {
		t.Run(name, func(t *testing.T) {
			a := call(t, s, http.MethodPost, "http://localhost:8000/v3/oauth2/tokens", body)
			a.want(t, http.StatusOK, "")
			var got tokens
			a.into(t, &got)
			if !expiresAt.MatchString(got.Access.ExpiresAt) || got.Access.ExpiresIn != 14400 || got.Access.JTI == "" || got.Refresh != nil {
				t.Errorf("got %+v, want an access token of 4h and no refresh token", got)
			}
			c := claims(t, s, "dev", got.Access.Token)
			for claim, want := range map[string]any{
				"sub": "testuser@dev", "iss": base + "/v3/tokens", "jti": got.Access.JTI,
				"tapis/tenant_id": "dev", "tapis/username": "testuser",
				"tapis/token_type": "access", "tapis/account_type": "user", "tapis/delegation": false,
			} {
				if c[claim] != want {
					t.Errorf("claim %s: got %v, want %v", claim, c[claim], want)
				}
			}
		})
	}
	t.Run("the host decides the tenant", func(t *testing.T) {
		a := call(t, s, http.MethodPost, "http://other.localhost:8000/v3/oauth2/tokens", form)
		a.want(t, http.StatusOK, "")
		var got tokens
		a.into(t, &got)
		if c := claims(t, s, "other", got.Access.Token); c["tapis/tenant_id"] != "other" {
			t.Errorf("got tenant %v, want other", c["tapis/tenant_id"])
		}
	})
	const wrong = "Invalid username/password combination."
	for name, c := range map[string]struct{ body, message string }{
		"a wrong password":     {`{"username":"testuser","password":"x","grant_type":"password"}`, wrong},
		"another's password":   {`{"username":"testuser","password":"otheruser","grant_type":"password"}`, wrong},
		"an unknown user":      {`{"username":"x","password":"x","grant_type":"password"}`, wrong},
		"no password":          {`{"username":"testuser","grant_type":"password"}`, wrong},
		"another grant":        {`{"grant_type":"implicit"}`, `Invalid grant_type "implicit"; use password, authorization_code or refresh_token.`},
		"a refresh, no client": {`{"grant_type":"refresh_token"}`, "A client is required for grant_type refresh_token."},
	} {
		t.Run(name, func(t *testing.T) {
			call(t, s, http.MethodPost, base+"/v3/oauth2/tokens", c.body).want(t, http.StatusBadRequest, c.message)
		})
	}
	t.Run("half a body", func(t *testing.T) {
		if a := call(t, s, http.MethodPost, base+"/v3/oauth2/tokens", `{"user`); a.status != http.StatusBadRequest || !strings.HasPrefix(a.Message, "Invalid request body") {
			t.Errorf("got %d %q, want a 400 about the body", a.status, a.Message)
		}
	})
	t.Run("a huge body", func(t *testing.T) {
		if a := call(t, s, http.MethodPost, base+"/v3/oauth2/tokens", `{"username":"`+strings.Repeat("a", 2<<20)+`"}`); a.status != http.StatusBadRequest {
			t.Errorf("got %d %q, want a 400", a.status, a.Message)
		}
	})
}

func TestClientGetsRefreshTokens(t *testing.T) {
	s := newServer(t, newDir(t))
	user := devtokens.User(t, s, "dev", "testuser")
	for _, id := range []string{"mine", "second"} {
		call(t, s, http.MethodPost, base+"/v3/oauth2/clients", `{"client_id":"`+id+`","client_key":"k"}`, token(user)).want(t, http.StatusOK, "")
	}
	login := func(client func(*http.Request), body string) answer {
		return call(t, s, http.MethodPost, base+"/v3/oauth2/tokens", body, client)
	}
	const password = `{"username":"testuser","password":"testuser","grant_type":"password"}`
	var first, second tokens
	login(basic("mine", "k"), password).into(t, &first)
	if first.Refresh == nil || first.Refresh.ExpiresIn != 31536000 || !expiresAt.MatchString(first.Refresh.ExpiresAt) {
		t.Fatalf("got %+v, want a refresh token of a year", first.Refresh)
	}
	c := claims(t, s, "dev", first.Refresh.Refresh)
	if _, has := c["tapis/username"]; has || c["tapis/token_type"] != "refresh" || c["tapis/initial_ttl"] != 31536000.0 {
		t.Errorf("got claims %v, want those of a refresh token", c)
	}
	refresh := `{"grant_type":"refresh_token","refresh_token":"` + first.Refresh.Refresh + `"}`
	a := login(basic("mine", "k"), refresh)
	a.want(t, http.StatusOK, "")
	a.into(t, &second)
	got := claims(t, s, "dev", second.Access.Token)
	if got["tapis/username"] != "testuser" || got["tapis/refresh_count"] != 1.0 || got["tapis/client_id"] != "mine" || got["tapis/grant_type"] != "refresh_token" {
		t.Errorf("got claims %v, want those of the first renewal", got)
	}

	const invalid = "Invalid refresh token."
	login(basic("second", "k"), refresh).want(t, http.StatusBadRequest, invalid)
	login(basic("mine", "k"), `{"grant_type":"refresh_token","refresh_token":"x"}`).want(t, http.StatusBadRequest, invalid)
	login(basic("mine", "k"), `{"grant_type":"refresh_token","refresh_token":"`+first.Access.Token+`"}`).want(t, http.StatusBadRequest, invalid)
	for _, client := range []func(*http.Request){basic("mine", "x"), basic("x", "k"), basic("mine", "")} {
		login(client, password).want(t, http.StatusBadRequest, "Invalid client credentials.")
	}
}

func TestUserinfoAndProfiles(t *testing.T) {
	s := newServer(t, newDir(t))
	get := func(path string, edits ...func(*http.Request)) answer {
		return call(t, s, http.MethodGet, base+path, "", edits...)
	}
	good := token(devtokens.User(t, s, "dev", "testuser"))
	var info struct {
		Username string `json:"username"`
		Email    string `json:"email"`
	}
	get("/v3/oauth2/userinfo", good).into(t, &info)
	if info.Username != "testuser" || info.Email == "" {
		t.Errorf("got %+v, want testuser", info)
	}
	get("/v3/oauth2/profiles/otheruser", good).into(t, &info)
	if info.Username != "otheruser" {
		t.Errorf("got %+v, want otheruser", info)
	}
	get("/v3/oauth2/profiles/x", good).want(t, http.StatusNotFound, "Profile of user x not found.")
	var list []any
	get("/v3/oauth2/profiles", good).into(t, &list)
	if len(list) != 3 {
		t.Errorf("got %d profiles, want 3", len(list))
	}
	for name, tok := range map[string]string{
		"expired": devtokens.Expired(t, s, "dev", "testuser"), "none": devtokens.None(t, s, "dev", "testuser"),
		"hmac": devtokens.HMAC(t, s, "dev", "testuser"), "other key": devtokens.OtherKey(t, s, "dev", "testuser"),
		"refresh": devtokens.Refresh(t, s, "dev", "testuser"), "other tenant": devtokens.User(t, s, "other", "testuser"),
	} {
		t.Run(name, func(t *testing.T) {
			get("/v3/oauth2/userinfo", token(tok)).want(t, http.StatusUnauthorized, "Invalid Tapis token.")
		})
	}
	for _, path := range []string{"/v3/oauth2/userinfo", "/v3/oauth2/profiles", "/v3/oauth2/profiles/testuser", "/v3/oauth2/clients"} {
		get(path).want(t, http.StatusUnauthorized, "No Tapis access token found in the request.")
	}
}

func TestRoles(t *testing.T) {
	s := newServer(t, newDir(t))
	for user, want := range map[string]string{"testadmin": `{"names":["pods_admin"]}`, "testuser": `{"names":[]}`, "x": `{"names":[]}`} {
		if got := call(t, s, http.MethodGet, base+"/v3/security/user/roles/"+user+"?tenant=dev", ""); string(got.Result) != want {
			t.Errorf("%s: got %s, want %s", user, got.Result, want)
		}
	}
	call(t, s, http.MethodGet, base+"/v3/security/user/roles/testadmin", "").
		want(t, http.StatusBadRequest, "The query parameter tenant must name a tenant.")
}

func TestServiceTokens(t *testing.T) {
	s := newServer(t, newDir(t))
	body := func(tenant, user, kind, site string) string {
		return `{"token_tenant_id":"` + tenant + `","token_username":"` + user + `","account_type":"` + kind + `","target_site_id":"` + site + `","access_token_ttl":60}`
	}
	good := body("dev", "pods", "service", "dev")
	create := func(body string, client func(*http.Request)) answer {
		return call(t, s, http.MethodPost, base+"/v3/tokens", body, client)
	}
	a := create(good, basic("pods", "service-secret"))
	a.want(t, http.StatusOK, "")
	var got tokens
	a.into(t, &got)
	c := claims(t, s, "dev", got.Access.Token)
	if got.Access.ExpiresIn != 60 || c["tapis/account_type"] != "service" || c["tapis/target_site"] != "dev" || c["tapis/username"] != "pods" {
		t.Errorf("got %+v with claims %v, want a service token of 60s", got.Access, c)
	}
	create(good, basic("pods", "x")).want(t, http.StatusUnauthorized, "Invalid service/password combination.")
	create(good, basic("", "")).want(t, http.StatusUnauthorized, "Invalid service/password combination.")
	pods := basic("pods", "service-secret")
	create(body("dev", "pods", "user", "dev"), pods).want(t, http.StatusBadRequest, "account_type must be service.")
	create(body("other", "pods", "service", "dev"), pods).want(t, http.StatusForbidden, "pods can get tokens for pods@dev only.")
	create(body("dev", "files", "service", "dev"), pods).want(t, http.StatusForbidden, "pods can get tokens for pods@dev only.")
	create(body("dev", "pods", "service", "tacc"), pods).want(t, http.StatusBadRequest, "target_site_id must be dev.")
}

type oauthClient struct {
	ID       string `json:"client_id"`
	Key      string `json:"client_key"`
	Owner    string `json:"owner"`
	Callback string `json:"callback_url"`
	Name     string `json:"display_name"`
	Tenant   string `json:"tenant_id"`
	Active   bool   `json:"active"`
}

func TestClients(t *testing.T) {
	dir := newDir(t)
	s := newServer(t, dir)
	mine, theirs := token(devtokens.User(t, s, "dev", "testuser")), token(devtokens.User(t, s, "dev", "otheruser"))
	const path = base + "/v3/oauth2/clients"

	var made oauthClient
	a := call(t, s, http.MethodPost, path, `{"callback_url":"https://a/b","display_name":"A"}`, mine)
	a.want(t, http.StatusOK, "")
	a.into(t, &made)
	if made.ID == "" || len(made.Key) < 40 || made.Owner != "testuser" || made.Tenant != "dev" || !made.Active {
		t.Errorf("got %+v, want a client of testuser with a generated id and key", made)
	}
	call(t, s, http.MethodPost, path, `{"client_id":"`+made.ID+`"}`, theirs).
		want(t, http.StatusBadRequest, "This change would violate uniqueness constraints: client_id "+made.ID+" is taken.")
	call(t, s, http.MethodPost, path, `{"client_id":"a:b"}`, mine).
		want(t, http.StatusBadRequest, "client_id must be 1 to 128 letters, digits, dots, dashes or underscores.")
	call(t, s, http.MethodPost, "http://other.localhost:8000/v3/oauth2/clients", `{"client_id":"`+made.ID+`"}`,
		token(devtokens.User(t, s, "other", "testuser"))).want(t, http.StatusOK, "") // ids are the tenant's

	gone := "Client " + made.ID + " not found."
	call(t, s, http.MethodGet, path+"/"+made.ID, "", theirs).want(t, http.StatusNotFound, gone)
	call(t, s, http.MethodDelete, path+"/"+made.ID, "", theirs).want(t, http.StatusNotFound, gone)

	call(t, s, http.MethodPut, path+"/"+made.ID, `{"callback_url":"https://c/d"}`, mine).want(t, http.StatusOK, "")
	if a := call(t, s, http.MethodPut, path+"/"+made.ID, `{"description":"x"}`, mine); a.status != http.StatusBadRequest {
		t.Errorf("got %d for a change of the description, want 400", a.status)
	}

	s = newServer(t, dir) // a restart
	var list []oauthClient
	call(t, s, http.MethodGet, path, "", mine).into(t, &list)
	want := made
	want.Callback = "https://c/d"
	if len(list) != 1 || list[0] != want {
		t.Errorf("got %+v, want %+v", list, want)
	}
	call(t, s, http.MethodDelete, path+"/"+made.ID, "", mine).want(t, http.StatusOK, "")
	call(t, s, http.MethodGet, path+"/"+made.ID, "", mine).want(t, http.StatusNotFound, gone)
	if a := call(t, s, http.MethodGet, path, "", theirs); string(a.Result) != "[]" {
		t.Errorf("got %s, want []", a.Result)
	}
}

func TestTokensSurviveARestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	before := newServer(t, dir)
	tok := devtokens.User(t, before, "dev", "testuser")
	after := newServer(t, dir)
	call(t, after, http.MethodGet, base+"/v3/oauth2/userinfo", "", token(tok)).want(t, http.StatusOK, "")
	for _, name := range []string{"dev.key", "other.key"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != 0o600 {
			t.Errorf("%s: got mode %o, want 600", name, got)
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 2 {
		t.Errorf("got files %v, %v, want the two keys", files, err)
	}
}

func TestNewRefusesWrongOptions(t *testing.T) {
	broken := newDir(t)
	if err := os.WriteFile(filepath.Join(broken, "dev.key"), []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string]func(*devtapis.Options){
		"a tenant that is no file name":      func(o *devtapis.Options) { o.Tenant = "../dev" },
		"two tenants of one id":              func(o *devtapis.Options) { o.Tenant = "other" },
		"a base URL with a slash at the end": func(o *devtapis.Options) { o.BaseURL = "http://dev.localhost:8000/" },
		"a base URL that is a name":          func(o *devtapis.Options) { o.BaseURL = "dev.localhost" },
		"a key file that is none":            func(o *devtapis.Options) { o.Dir = broken },
		"a folder that is a file":            func(o *devtapis.Options) { o.Dir = filepath.Join(broken, "dev.key") },
	} {
		t.Run(name, func(t *testing.T) {
			o := options(newDir(t))
			edit(&o)
			if _, err := devtapis.New(o); err == nil {
				t.Error("got no error")
			}
		})
	}
}
