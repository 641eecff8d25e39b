package tapis_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/controlplane/internal/tapis"
)

func withService(o *tapis.Options) {
	o.Service = &tapis.ServiceAccount{Tenant: "dev", Name: "pods", Password: "service-secret"}
}

func TestEnsureClient(t *testing.T) {
	id, n := newIdentity(t, withService)
	want := pods.OAuthClient{ID: "PODS-" + t.Name(), CallbackURL: "https://dev.tapis.test/a", DisplayName: "Pods"}
	made, err := id.EnsureClient(t.Context(), "dev", want)
	if err != nil || made.Key == "" {
		t.Fatalf("got %+v, %v", made, err)
	}
	if again, err := id.EnsureClient(t.Context(), "dev", want); err != nil || again != made {
		t.Errorf("a second time: got another client and %v", err)
	}
	want.CallbackURL = "https://dev.tapis.test/b"
	moved, err := id.EnsureClient(t.Context(), "dev", want)
	if err != nil || moved.Key != made.Key || moved.CallbackURL != want.CallbackURL {
		t.Errorf("with another callback: got %v and %v, want the same client there", moved.CallbackURL, err)
	}
	for _, r := range n.seen("/v3/oauth2/clients") {
		if r.Header.Get("X-Tapis-User") != "_tapis_pods" || r.Header.Get("X-Tapis-Tenant") != "dev" {
			t.Errorf("%s was on behalf of %s@%s", r.Method, r.Header.Get("X-Tapis-User"), r.Header.Get("X-Tapis-Tenant"))
		}
	}
}

// hidesClients answers as an authenticator that shows a client only once it was
// tried to be made.
type hidesClients struct {
	http.RoundTripper

	tried bool
}

func (h *hidesClients) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasPrefix(r.URL.Path, "/v3/oauth2/clients") {
		h.tried = h.tried || r.Method == http.MethodPost
		if !h.tried {
			r = r.Clone(r.Context())
			r.URL.Path += "-none"
		}
	}
	return h.RoundTripper.RoundTrip(r)
}

func TestEnsureClientTakesOverOneThatIsThere(t *testing.T) {
	id, _ := newIdentity(t, withService)
	want := pods.OAuthClient{ID: "PODS-" + t.Name(), CallbackURL: "https://dev.tapis.test/a", DisplayName: "Pods"}
	made, err := id.EnsureClient(t.Context(), "dev", want)
	if err != nil {
		t.Fatal(err)
	}
	other, _ := newIdentity(t, withService, func(o *tapis.Options) { o.Transport = &hidesClients{RoundTripper: dev().InProcess()} })
	if got, err := other.EnsureClient(t.Context(), "dev", want); err != nil || got != made {
		t.Errorf("got %v, want the client that is there", err)
	}
}

func TestEnsureClientNeedsAServiceAccount(t *testing.T) {
	id, n := newIdentity(t)
	if _, err := id.EnsureClient(t.Context(), "dev", pods.OAuthClient{ID: "x"}); pods.ErrorCode(err) != pods.Unavailable {
		t.Errorf("got %v", err)
	}
	if n.count("/v3/oauth2") != 0 {
		t.Error("Tapis was asked")
	}
}

func TestExchangeCodeTellsARefusalFromAnOutage(t *testing.T) {
	id, n := newIdentity(t, withService)
	c := pods.OAuthClient{ID: "none", Key: "very secret", CallbackURL: "https://dev.tapis.test/a"}
	_, err := id.ExchangeCode(t.Context(), "dev", c, "c0de", "the verifier")
	if pods.ErrorCode(err) != pods.Invalid {
		t.Errorf("got %v", err)
	}
	n.set(func(n *fakeNet) { n.cut = true })
	_, cut := id.ExchangeCode(t.Context(), "dev", c, "c0de", "the verifier")
	if cut == nil || pods.ErrorCode(cut) == pods.Invalid {
		t.Errorf("got %v", cut)
	}
	for _, e := range []error{err, cut} {
		if strings.Contains(e.Error(), "secret") || strings.Contains(e.Error(), "c0de") {
			t.Errorf("an error holds a secret: %v", e)
		}
	}
}

func TestAuthorizeURLIsTheTenants(t *testing.T) {
	id, _ := newIdentity(t)
	got, err := id.AuthorizeURL(t.Context(), "dev", url.Values{"state": {"a b"}})
	if err != nil || !strings.HasSuffix(got, "/v3/oauth2/authorize?state=a+b") {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := id.AuthorizeURL(t.Context(), "none", nil); pods.ErrorCode(err) != pods.NotFound {
		t.Errorf("got %v", err)
	}
}
