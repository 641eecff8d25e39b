package tapis_test

import (
	"encoding/base64"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/devtapis/devtokens"
	"github.com/tapis-project/podway/controlplane/internal/pods"
)

func TestAuthenticateTokens(t *testing.T) {
	const (
		noToken    = "No Tapis access token found in the request."
		unparsable = "Could not parse the Tapis access token."
		invalid    = "Invalid Tapis token."
		unexpected = "Unable to process Tapis token; unexpected tenant_id."
	)
	s := dev()
	good := devtokens.User(t, s, "dev", "testuser")
	header, rest, _ := strings.Cut(good, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	b64 := base64.RawURLEncoding.EncodeToString

	cases := []struct {
		name  string
		token string
		code  pods.Code
		text  string
	}{
		{name: "a good token", token: good},
		{name: "no token", token: "", code: pods.Unauthorized, text: noToken},
		{name: "a word", token: "secret", code: pods.Unauthorized, text: unparsable},
		{name: "one part", token: header, code: pods.Unauthorized, text: unparsable},
		{name: "two parts", token: header + "." + payload, code: pods.Unauthorized, text: unparsable},
		{name: "four parts", token: good + ".x", code: pods.Unauthorized, text: unparsable},
		{name: "only dots", token: "..", code: pods.Unauthorized, text: unparsable},
		{name: "a huge token", token: strings.Repeat("a.", 1<<20), code: pods.Unauthorized, text: unparsable},
		{name: "huge claims", token: header + "." + strings.Repeat("A", 1<<20) + "." + signature, code: pods.Unauthorized, text: unparsable},
		{name: "claims that are not base64", token: header + ".%%%." + signature, code: pods.Unauthorized, text: unparsable},
		{name: "claims that are not JSON", token: header + "." + b64([]byte("hello")) + "." + signature, code: pods.Unauthorized, text: unparsable},
		{name: "claims that are null", token: header + "." + b64([]byte("null")) + "." + signature, code: pods.Unauthorized, text: unexpected},
		{name: "a user name that is a number", token: devtokens.User(t, s, "dev", "u", devtokens.Set("tapis/username", 7)), code: pods.Unauthorized, text: unparsable},
		{name: "an unknown algorithm", token: b64([]byte(`{"alg":"XX256"}`)) + "." + payload + "." + signature, code: pods.Unauthorized, text: invalid},
		{name: "no algorithm", token: b64([]byte(`{}`)) + "." + payload + "." + signature, code: pods.Unauthorized, text: invalid},
		{name: "a token in front of which stands Bearer", token: "Bearer " + good, code: pods.Unauthorized, text: unparsable},

		{name: "expired", token: devtokens.Expired(t, s, "dev", "testuser"), code: pods.Unauthorized, text: invalid},
		{name: "without expiry", token: devtokens.User(t, s, "dev", "testuser", devtokens.Drop("exp")), code: pods.Unauthorized, text: invalid},
		{name: "not valid yet", token: devtokens.User(t, s, "dev", "testuser", devtokens.Set("nbf", time.Now().Add(time.Hour).Unix())), code: pods.Unauthorized, text: invalid},
		{name: "signed by another key", token: devtokens.OtherKey(t, s, "dev", "testuser"), code: pods.Unauthorized, text: invalid},
		{name: "unsigned, algorithm none", token: devtokens.None(t, s, "dev", "testuser"), code: pods.Unauthorized, text: invalid},
		{name: "HS256 with the public key as secret", token: devtokens.HMAC(t, s, "dev", "testuser"), code: pods.Unauthorized, text: invalid},
		{name: "without signature", token: header + "." + payload + ".", code: pods.Unauthorized, text: invalid},
		{name: "another user's claims under the signature", token: header + "." + strings.Split(devtokens.User(t, s, "dev", "testadmin"), ".")[1] + "." + signature, code: pods.Unauthorized, text: invalid},
		{name: "the tenant's claims signed by another tenant", token: devtokens.User(t, s, "other", "testuser", devtokens.Set("tapis/tenant_id", "dev")), code: pods.Unauthorized, text: invalid},
		{name: "a refresh token", token: devtokens.Refresh(t, s, "dev", "testuser"), code: pods.Unauthorized, text: invalid},
		{name: "without a type", token: devtokens.User(t, s, "dev", "testuser", devtokens.Drop("tapis/token_type")), code: pods.Unauthorized, text: invalid},
		{name: "an unknown account type", token: devtokens.User(t, s, "dev", "testuser", devtokens.Set("tapis/account_type", "robot")), code: pods.Unauthorized, text: invalid},
		{name: "an audience", token: devtokens.User(t, s, "dev", "testuser", devtokens.Set("aud", "https://elsewhere")), code: pods.Unauthorized, text: invalid},
		{name: "two audiences", token: devtokens.User(t, s, "dev", "testuser", devtokens.Set("aud", []string{"a", "b"})), code: pods.Unauthorized, text: invalid},
		{name: "an audience that is null", token: devtokens.User(t, s, "dev", "testuser", devtokens.Set("aud", nil))},
		{name: "without a user", token: devtokens.User(t, s, "dev", ""), code: pods.Unauthorized, text: invalid},
		{name: "a user named like everyone", token: devtokens.User(t, s, "dev", "*"), code: pods.Unauthorized, text: invalid},
		{name: "a user named like the tenant", token: devtokens.User(t, s, "dev", "TENANT"), code: pods.Unauthorized, text: invalid},
		{name: "a user named like another tenant", token: devtokens.User(t, s, "dev", "tenant.other"), code: pods.Unauthorized, text: invalid},
		{name: "a user with a line break", token: devtokens.User(t, s, "dev", "a\nb"), code: pods.Unauthorized, text: invalid},
		{name: "a user with a very long name", token: devtokens.User(t, s, "dev", strings.Repeat("a", 129)), code: pods.Unauthorized, text: invalid},

		{name: "an unknown tenant", token: devtokens.User(t, s, "dev", "testuser", devtokens.Set("tapis/tenant_id", "nowhere")), code: pods.Unauthorized, text: unexpected},
		{name: "without a tenant", token: devtokens.User(t, s, "dev", "testuser", devtokens.Drop("tapis/tenant_id")), code: pods.Unauthorized, text: unexpected},
		{
			name: "another tenant than the host's", token: devtokens.User(t, s, "other", "testuser"), code: pods.Forbidden,
			text: "The tenant_id claim in the token, other does not match the URL tenant, dev.",
		},
		{name: "a service without headers", token: devtokens.Service(t, s, "dev", "workflows"), code: pods.Unauthorized, text: "Invalid service request; X-Tapis-Tenant header missing."},
	}
	id, _ := newIdentity(t)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for range 2 { // from the token, and from what is remembered of it
				p, err := id.Authenticate(t.Context(), at(c.token))
				wantError(t, err, c.code, c.text)
				if err != nil {
					if c.token != "" && strings.Contains(err.Error(), c.token) {
						t.Errorf("the error holds the token: %v", err)
					}
					continue
				}
				if p.User != "testuser" || p.Tenant.ID != "dev" || p.Tenant.Site != "dev" || p.Tenant.BaseURL != "https://dev.tapis.test" || p.Service != "" {
					t.Errorf("got %+v, want testuser of dev", p)
				}
			}
		})
	}
}

func TestAuthenticateOnBehalfOfUsers(t *testing.T) {
	const invalidSite = "Invalid service token; target_site claim does not match this service's site_id."
	s := dev()
	service := devtokens.Service(t, s, "dev", "workflows")
	cases := []struct {
		name, token, tenant, user string
		code                      pods.Code
		text                      string
	}{
		{name: "a listed service acts for a user of its tenant", token: service, tenant: "dev", user: "jane"},
		{name: "a listed service acts for a user of another tenant of the site", token: service, tenant: "other", user: "jane"},
		{
			name: "a user token with a tenant", token: devtokens.User(t, s, "dev", "testuser"), tenant: "dev",
			code: pods.Unauthorized, text: "Invalid request; cannot set OBO headers with a user token.",
		},
		{
			name: "a user token with a user", token: devtokens.User(t, s, "dev", "testuser"), user: "jane",
			code: pods.Unauthorized, text: "Invalid request; cannot set OBO headers with a user token.",
		},
		{name: "no tenant", token: service, user: "jane", code: pods.Unauthorized, text: "Invalid service request; X-Tapis-Tenant header missing."},
		{name: "no user", token: service, tenant: "dev", code: pods.Unauthorized, text: "Invalid service request; X-Tapis-User header missing."},
		{name: "everyone as user", token: service, tenant: "dev", user: "*", code: pods.Unauthorized, text: "Invalid service request; X-Tapis-User is not the name of a user."},
		{name: "an unknown tenant", token: service, tenant: "nowhere", user: "jane", code: pods.Unauthorized, text: "Invalid service request; unexpected X-Tapis-Tenant."},
		{
			name: "a service that is not listed", token: devtokens.Service(t, s, "dev", "actors"), tenant: "dev", user: "jane",
			code: pods.Forbidden, text: "The service 'actors' is not allowed to act for users.",
		},
		{
			name: "a token for another site", token: devtokens.Service(t, s, "dev", "workflows", devtokens.Set("tapis/target_site", "tacc")), tenant: "dev", user: "jane",
			code: pods.Unauthorized, text: invalidSite,
		},
		{
			name: "a token for no site", token: devtokens.Service(t, s, "dev", "workflows", devtokens.Drop("tapis/target_site")), tenant: "dev", user: "jane",
			code: pods.Unauthorized, text: invalidSite,
		},
		{
			name:  "a service that a tenant made up with its own key",
			token: devtokens.Service(t, s, "other", "workflows", devtokens.Set("tapis/tenant_id", "other")), tenant: "dev", user: "jane",
			code: pods.Forbidden, text: "Services of the tenant 'other' are not allowed to act for users of the tenant 'dev'.",
		},
		{
			name: "an expired service token", token: devtokens.Service(t, s, "dev", "workflows", devtokens.Set("exp", 1)), tenant: "dev", user: "jane",
			code: pods.Unauthorized, text: "Invalid Tapis token.",
		},
	}
	id, _ := newIdentity(t)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p, err := id.Authenticate(t.Context(), pods.Credential{
				Token: c.token, OnBehalfOfTenant: c.tenant, OnBehalfOfUser: c.user,
				Host: "pods.internal", // services call by other names
			})
			wantError(t, err, c.code, c.text)
			if err == nil && (p.User != c.user || p.Tenant.ID != c.tenant || p.Service != "workflows") {
				t.Errorf("got %+v, want %s of %s, acted for by workflows", p, c.user, c.tenant)
			}
		})
	}
}

func TestVerifyToken(t *testing.T) {
	s := dev()
	cases := []struct {
		name, token string
		code        pods.Code
		text        string
	}{
		{name: "a user of the tenant", token: devtokens.User(t, s, "dev", "testuser")},
		{
			name: "a user of another tenant", token: devtokens.User(t, s, "other", "testuser"), code: pods.Forbidden,
			text: "The tenant_id claim in the token, other does not match the URL tenant, dev.",
		},
		{name: "a service", token: devtokens.Service(t, s, "dev", "workflows"), code: pods.Unauthorized, text: "Invalid Tapis token."},
		{name: "an expired token", token: devtokens.Expired(t, s, "dev", "testuser"), code: pods.Unauthorized, text: "Invalid Tapis token."},
	}
	id, _ := newIdentity(t)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			tok, err := id.VerifyToken(t.Context(), c.token, "dev")
			wantError(t, err, c.code, c.text)
			if err != nil {
				return
			}
			if left := time.Until(tok.Expires); tok.User != "testuser" || tok.Tenant != "dev" || tok.Service || left < time.Hour || left > 4*time.Hour {
				t.Errorf("got %+v, want testuser of dev for 4h", tok)
			}
		})
	}
}

func TestRememberedTokenExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		id, _ := newIdentity(t)
		token := devtokens.User(t, dev(), "dev", "testuser")
		for _, step := range []struct {
			wait time.Duration
			code pods.Code
		}{{0, ""}, {4*time.Hour - 2*time.Second, ""}, {2 * time.Second, pods.Unauthorized}} {
			time.Sleep(step.wait)
			synctest.Wait()
			if _, err := id.Authenticate(t.Context(), at(token)); pods.ErrorCode(err) != step.code {
				t.Fatalf("got %v, want code %q", err, step.code)
			}
		}
	})
}

func TestHostDecidesTenant(t *testing.T) {
	const mismatch = "The tenant_id claim in the token, dev does not match the URL tenant, other."
	unknown := func(host string) string {
		return "The host '" + host + "' is not that of a tenant; use the base URL of the tenant 'dev'."
	}
	cases := []struct {
		name, host string
		code       pods.Code
		text       string
	}{
		{name: "the tenant's host", host: "dev.tapis.test"},
		{name: "with a port", host: "dev.tapis.test:443"},
		{name: "in other case", host: "DEV.Tapis.Test"},
		{name: "with a trailing dot", host: "dev.tapis.test."},
		{name: "with everything", host: "Dev.tapis.TEST.:8443"},
		{name: "a development host", host: "localhost:8000"},
		{name: "a development host without port", host: "LOCALHOST"},
		{name: "a development address", host: "127.0.0.1:8000"},
		{name: "a development address of version 6", host: "[::1]:8000"},
		{name: "a development address of version 6 without port", host: "[::1]"},
		{name: "another tenant's host", host: "other.example.org", code: pods.Forbidden, text: mismatch},
		{name: "another tenant's host at the primary site", host: "other.tapis.test", code: pods.Forbidden, text: mismatch},
		{name: "no host", host: "", code: pods.Forbidden, text: unknown("")},
		{name: "a host that ends like the tenant's", host: "evil-dev.tapis.test", code: pods.Forbidden, text: unknown("evil-dev.tapis.test")},
		{name: "a host that starts like the tenant's", host: "dev.tapis.test.evil.org", code: pods.Forbidden, text: unknown("dev.tapis.test.evil.org")},
		{name: "a host with the tenant's as user", host: "dev.tapis.test@evil.org", code: pods.Forbidden, text: unknown("dev.tapis.test@evil.org")},
		{name: "a host that only a pod has", host: "web.pods.dev.tapis.test", code: pods.Forbidden, text: unknown("web.pods.dev.tapis.test")},
		{name: "two dots at the end", host: "dev.tapis.test..", code: pods.Forbidden, text: unknown("dev.tapis.test..")},
		{name: "two ports", host: "dev.tapis.test:1:2", code: pods.Forbidden, text: unknown("dev.tapis.test:1:2")},
		{name: "a development host as part of a name", host: "localhost.evil.org", code: pods.Forbidden, text: unknown("localhost.evil.org")},
	}
	id, _ := newIdentity(t)
	token := devtokens.User(t, dev(), "dev", "testuser")
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p, err := id.Authenticate(t.Context(), pods.Credential{Token: token, Host: c.host})
			wantError(t, err, c.code, c.text)
			if err == nil && p.Tenant.ID != "dev" {
				t.Errorf("got tenant %q, want dev", p.Tenant.ID)
			}
		})
	}
	t.Run("a tenant is found by its name at the primary site too", func(t *testing.T) {
		token := devtokens.User(t, dev(), "other", "testuser")
		p, err := id.Authenticate(t.Context(), pods.Credential{Token: token, Host: "other.tapis.test"})
		if err != nil || p.Tenant.ID != "other" || p.Tenant.Domain() != "other.example.org" {
			t.Errorf("got %+v, %v, want tenant other with its own domain", p, err)
		}
	})
	t.Run("at a development host each token has its own tenant", func(t *testing.T) {
		token := devtokens.User(t, dev(), "other", "testuser")
		p, err := id.Authenticate(t.Context(), pods.Credential{Token: token, Host: "localhost"})
		if err != nil || p.Tenant.ID != "other" {
			t.Errorf("got %+v, %v, want tenant other", p, err)
		}
	})
}
