package gate

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tapis-project/podway/routes/redisgate"
)

// tokenWith returns a token that differs in one thing from a good one.
func tokenWith(t *testing.T, difference string) string {
	c := goodClaims("Ada")
	keys := issuerKeys()
	var method jwt.SigningMethod = jwt.SigningMethodRS256
	var key any = keys["dev"]
	switch difference {
	case "signed by the tenant's other key":
		key = keys["dev2"]
	case "of a guest tenant, signed by it":
		c["tapis/tenant_id"], c["iss"], key = "tacc", "https://tacc.test/v3/tokens", keys["tacc"]
	case "expired":
		c["exp"] = time.Now().Add(-time.Second).Unix()
	case "without an end":
		delete(c, "exp")
	case "not valid yet":
		c["nbf"] = time.Now().Add(time.Hour).Unix()
	case "signed by another key":
		key = keys["evil"]
	case "signed by the key of a guest tenant":
		key = keys["tacc"]
	case "of a tenant that is unknown":
		c["tapis/tenant_id"] = "evil"
	case "of a tenant that is no guest here":
		c["tapis/tenant_id"], c["iss"], key = "other", "https://other.test/v3/tokens", keys["evil"]
	case "alg none", "alg none without signature":
		method, key = jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType
	case "HS256 with the public key as secret":
		method, key = jwt.SigningMethodHS256, []byte(publicPEM("dev"))
	case "HS256 with an empty secret":
		method, key = jwt.SigningMethodHS256, []byte{}
	case "RS384":
		method = jwt.SigningMethodRS384
	case "RS512":
		method = jwt.SigningMethodRS512
	case "PS256":
		method = jwt.SigningMethodPS256
	case "a service account":
		c["tapis/account_type"] = "service"
	case "no account type":
		delete(c, "tapis/account_type")
	case "a refresh token":
		c["tapis/token_type"] = "refresh"
	case "no token type":
		delete(c, "tapis/token_type")
	case "with an audience":
		c["aud"] = host
	case "of another issuer":
		c["iss"] = "https://evil.test/v3/tokens"
	case "no issuer":
		delete(c, "iss")
	case "no user":
		c["tapis/username"] = ""
	case "a user with a line break":
		c["tapis/username"] = "ada\r\nX-Admin: 1"
	case "a user called *":
		c["tapis/username"] = "*"
	case "a user called tenant.x":
		c["tapis/username"] = "tenant.x"
	case "a user with a colon":
		c["tapis/username"] = "share:1"
	case "a user beyond ASCII":
		c["tapis/username"] = "ad\u0430"
	case "a user who is not listed":
		c["tapis/username"] = "bob"
	}
	token := signed(t, method, key, c)
	parts := strings.Split(token, ".")
	switch difference {
	case "alg none without signature", "two parts":
		return parts[0] + "." + parts[1]
	case "changed after it was signed":
		return parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(decode(t, parts[1]), "Ada", "ada", 1))) + "." + parts[2]
	case "cut off":
		return token[:len(token)-10]
	case "one part":
		return parts[1]
	case "four parts":
		return token + ".x"
	case "empty":
		return ""
	case "huge":
		return token + strings.Repeat("A", maxTokenBytes)
	case "no JSON":
		return parts[0] + ".AAAA." + parts[2]
	}
	return token
}

func decode(t *testing.T, part string) string {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestTokens(t *testing.T) {
	s := newSite(t)
	r := gated(host, "ada", "ada@tacc", "share:1", "tenant.x")
	r.Gate.Tenants = []string{"tacc"}
	s.route(r)
	s.check(s.client.HSet(t.Context(), "podway:{default}:gate:tenants", "other", `{"tenant":"other","issuer":"https://other.test/v3/tokens","public_keys":[`+quote(publicPEM("evil"))+`]}`).Err())
	s.h.guard.tenants.reload(t.Context())
	b := s.browser()
	for _, line := range corpus(t, "tokens.txt") {
		token := tokenWith(t, line[0])
		headers := map[string]string{"in its header": "X-Tapis-Token: " + token}
		if looksTapis(token) {
			headers["as a bearer"] = "Authorization: Bearer " + token
		}
		for way, h := range headers {
			for range 2 { // it may be remembered
				a := b.do(http.MethodGet, web+"/", "", h, "Accept: text/html")
				want := http.StatusForbidden
				if line[1] == "yes" {
					want = http.StatusOK
				}
				if a.StatusCode != want || len(a.Cookies()) > 0 {
					t.Errorf("%s, %s: got %d %v, want %d", line[0], way, a.StatusCode, a.Cookies(), want)
				}
			}
		}
	}
	for _, got := range s.received() {
		if got.header["X-Tapis-Token"] != nil || got.header["Authorization"] != nil {
			t.Errorf("the pod got %v", got.header)
		}
	}
	if log := s.log.String(); strings.Contains(log, "eyJ") {
		t.Error("a token is in the log")
	}
}

func quote(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

func TestBearerTokensOfPodsPass(t *testing.T) {
	s := newSite(t)
	b := s.browser()
	b.open(web + "/")
	s.received()
	own := signed(t, jwt.SigningMethodHS256, []byte("pod's own"), jwt.MapClaims{"sub": "x"})
	for _, value := range []string{"Bearer " + own, "Bearer abc", "Basic YTpi", "token 123", "Bearer a.b.c"} {
		b.do(http.MethodGet, web+"/", "", "Authorization: "+value)
		if got := s.received(); len(got) != 1 || got[0].header.Get("Authorization") != value {
			t.Errorf("%s: got %v", value, got)
		}
	}
}

// A key that a tenant replaced is found when a token needs it, but at most once a
// minute.
func TestTenantsAreReadAgainWhenATokenFails(t *testing.T) {
	s := newSite(t)
	b := s.browser()
	g := s.h.guard
	token := "X-Tapis-Token: " + signed(t, jwt.SigningMethodRS256, issuerKeys()["evil"], goodClaims("ada"))
	ask := func() int { return b.do(http.MethodGet, web+"/", "", token).StatusCode }
	// The record changes without a message.
	s.check(s.client.HSet(t.Context(), "podway:{default}:gate:tenants", "dev",
		`{"tenant":"dev","issuer":"https://dev.test/v3/tokens","public_keys":[`+quote(publicPEM("evil"))+`]}`).Err())
	if got := ask(); got != 403 {
		t.Errorf("just after the last time: got %d, want 403", got)
	}
	g.tenants.mu.Lock()
	g.tenants.tried = time.Now().Add(-2 * reloadEvery)
	g.tenants.mu.Unlock()
	if got := ask(); got != 200 {
		t.Errorf("a minute later: got %d, want 200", got)
	}
	// And what the old key signed is over.
	if a := b.do(http.MethodGet, web+"/", "", "X-Tapis-Token: "+tokenOf(t, "ada")); a.StatusCode != http.StatusForbidden {
		t.Errorf("old key: got %d, want 403", a.StatusCode)
	}
}

func TestTokensCountUntilTheyEnd(t *testing.T) {
	s := newSite(t)
	token := tokenOf(t, "ada")
	b := s.browser()
	b.do(http.MethodGet, web+"/", "", "X-Tapis-Token: "+token).want(t, 200, "pod")
	v, ok := s.h.guard.tokens.get(redisgate.Hash(token))
	if !ok {
		t.Fatal("the token is not remembered")
	}
	v.expires = time.Now()
	v.told.Store(nil)
	// It is looked at again, and is still good by itself.
	b.do(http.MethodGet, web+"/", "", "X-Tapis-Token: "+token).want(t, 200, "pod")
}

func TestPodsAreToldWhoTheVisitorIs(t *testing.T) {
	s := newSite(t)
	r := gated(host, "ada")
	r.Gate.ExcludedPaths = []string{"/open"}
	r.Gate.ResponseHeaders = map[string]string{
		"X-Tapis-Username": "<<tapisusername>>@tapis.io", "x-where": "<<tapistenantid>>/<<tapissiteid>>", "OAUTH2_USERNAME_KEY": "username",
		"Host": "evil", "Connection": "close, X-Where", "X-Tapis-Token": "t", "X-Pods-Assertion": "forged", "X-Long": strings.Repeat("a", maxValue+1), "X-Odd": "caf\u00e9",
	}
	s.route(r)
	b := s.browser()
	b.open(web + "/")
	s.received()
	forged := []string{"X-Tapis-Username: root", "X_tapis_username: root", "X-Where: root", "X_WHERE: root", "Oauth2_Username_Key: root", "X-Pods-Assertion: root", "Connection: X-Where"}
	for name, path := range map[string]string{"gated": "/", "excluded": "/open"} {
		b.do(http.MethodGet, web+path, "", forged...)
		got := s.received()
		if len(got) != 1 {
			t.Fatalf("%s: got %d requests", name, len(got))
		}
		h := got[0].header
		for key, values := range h {
			if strings.Contains(strings.Join(values, " "), "root") {
				t.Errorf("%s: the pod got %s: %q", name, key, values)
			}
		}
		if name == "excluded" {
			if h.Get("X-Where") != "" || h.Get(assertionHeader) != "" {
				t.Errorf("excluded: got %v", h)
			}
			continue
		}
		for key, want := range map[string]string{
			"X-Tapis-Username": "ada@tapis.io", "X-Where": "dev/site1", "Oauth2_username_key": "username",
			"X-Long": "", "X-Odd": "", "X-Tapis-Token": "",
		} {
			if v := h.Get(key); v != want && strings.Join(h[key], "") != want {
				t.Errorf("%s: got %q, want %q", key, v, want)
			}
		}
	}
}

// verifyAssertion is what a pod does, by the keys that it is given.
func verifyAssertion(t *testing.T, s *site, at, token string) (jwt.MapClaims, error) {
	t.Helper()
	var set struct{ Keys []jwk }
	if err := json.Unmarshal([]byte(s.browser().do(http.MethodGet, "https://"+at+jwksPath, "").body), &set); err != nil {
		t.Fatal(err)
	}
	c := jwt.MapClaims{}
	_, err := jwt.ParseWithClaims(token, c, func(tok *jwt.Token) (any, error) {
		for _, k := range set.Keys {
			if k.ID == tok.Header["kid"] {
				return publicKey(decode(t, k.X)), nil
			}
		}
		return nil, jwt.ErrTokenUnverifiable
	}, jwt.WithValidMethods([]string{"EdDSA"}), jwt.WithAudience(at), jwt.WithExpirationRequired())
	return c, err
}

func TestAssertionsAreForOnePodAndAMinute(t *testing.T) {
	s := newSite(t)
	b := s.browser()
	b.open(web + "/")
	b.open(web + "/")
	got := s.received()
	first, second := got[0].header.Get(assertionHeader), got[1].header.Get(assertionHeader)
	if first != second {
		t.Error("an assertion is made for each request")
	}
	c, err := verifyAssertion(t, s, host, first)
	s.check(err)
	if c["sub"] != "ada" || c["tapis/tenant_id"] != "dev" || c["tapis/site_id"] != "site1" {
		t.Errorf("got %v", c)
	}
	if life := c["exp"].(float64) - c["iat"].(float64); life != 60 {
		t.Errorf("got a life of %v s, want 60", life)
	}
	if _, err := verifyAssertion(t, s, host2, first); err == nil {
		t.Error("another pod takes it for its own")
	}
	s.h.guard.sessions.removeFunc(func(v *visitor) bool { v.told.Load().until = time.Now(); return false })
	b.open(web + "/")
	if again := s.received()[0].header.Get(assertionHeader); again == "" || again == first {
		// The same second makes the same assertion; what counts is that it was made.
		if c, err := verifyAssertion(t, s, host, again); err != nil || c["sub"] != "ada" {
			t.Errorf("got %q: %v", again, err)
		}
	}
}

func publicKey(raw string) ed25519.PublicKey { return ed25519.PublicKey(raw) }
