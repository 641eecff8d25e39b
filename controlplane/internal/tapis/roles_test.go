package tapis_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/controlplane/internal/tapis"
)

const rolesPath = "/v3/security/user/roles/"

func principal(user string) pods.Principal {
	return pods.Principal{User: user, Tenant: pods.Tenant{ID: "dev"}}
}

func TestAdmin(t *testing.T) {
	id, n := newIdentity(t)
	for user, want := range map[string]bool{
		"testadmin": true, "oldadmin": true, "testuser": false, "almost": false, "nobody": false,
		"a/b?c": true, // arrives at the kernel as one name
	} {
		if got := id.Admin(t.Context(), principal(user)); got != want {
			t.Errorf("user %q: got %v, want %v", user, got, want)
		}
	}
	if got := id.Admin(t.Context(), pods.Principal{User: "testadmin", Tenant: pods.Tenant{ID: "nowhere"}}); got {
		t.Error("got an admin of a tenant that is not there")
	}
	for _, r := range n.seen(rolesPath) {
		if got := r.URL.Query().Get("tenant"); got != "dev" {
			t.Errorf("asked for tenant %q, want dev", got)
		}
		if r.Header.Get("X-Tapis-Token") != "" {
			t.Error("a token was shown without a service account")
		}
	}
}

func TestRolesAreRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		id, n := newIdentity(t)
		for _, step := range []struct {
			wait  time.Duration
			calls int
		}{{0, 1}, {59 * time.Second, 1}, {2 * time.Second, 2}} {
			time.Sleep(step.wait)
			if !id.Admin(t.Context(), principal("testadmin")) {
				t.Fatal("got false, want true")
			}
			if got := n.count(rolesPath); got != step.calls {
				t.Errorf("got %d questions, want %d", got, step.calls)
			}
		}
	})
}

func TestNobodyIsAdminDuringAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		id, n := newIdentity(t)
		admin := func() bool { return id.Admin(t.Context(), principal("testadmin")) }
		if !admin() {
			t.Fatal("got false, want true")
		}
		n.set(func(n *fakeNet) { n.cut = true })
		if !admin() {
			t.Error("got false, want true while the roles are remembered")
		}
		time.Sleep(time.Minute)
		for range 20 {
			if admin() {
				t.Fatal("got true, want false while the kernel is away")
			}
		}
		if got := n.count(rolesPath); got != 2 {
			t.Errorf("got %d questions, want 2: a failure counts for some seconds", got)
		}
		n.set(func(n *fakeNet) { n.cut = false })
		time.Sleep(5 * time.Second)
		if !admin() {
			t.Error("got false, want true when the kernel is back")
		}
	})
}

func TestSlowKernel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		id, n := newIdentity(t)
		if _, err := id.Tenant(t.Context(), "dev"); err != nil {
			t.Fatal(err)
		}
		n.set(func(n *fakeNet) { n.hold = make(chan struct{}) })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() {
			if id.Admin(ctx, principal("testadmin")) {
				t.Error("got true, want false without an answer")
			}
			if got := time.Since(start); got != time.Second {
				t.Errorf("waited %v, want to end with the request, after 1s", got)
			}
		})
		wg.Go(func() {
			if id.Admin(t.Context(), principal("testadmin")) {
				t.Error("got true, want false without an answer")
			}
			if got := time.Since(start); got != 10*time.Second {
				t.Errorf("waited %v, want 10s", got)
			}
		})
		wg.Wait()
		if got := n.count(rolesPath); got != 1 {
			t.Errorf("got %d questions, want 1 that both share", got)
		}
	})
}

func TestServiceAccountAsksForRoles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		id, n := newIdentity(t, func(o *tapis.Options) {
			o.Service = &tapis.ServiceAccount{Tenant: "dev", Name: "pods", Password: "service-secret"}
			o.Services = []string{"pods"}
		})
		for range 5 * 60 { // five hours
			if !id.Admin(t.Context(), principal("testadmin")) {
				t.Fatal("got false, want true")
			}
			time.Sleep(time.Minute)
		}
		if got := n.count("/v3/tokens"); got != 2 {
			t.Errorf("got %d service tokens in 5h, want 2", got)
		}
		for _, r := range n.seen(rolesPath) {
			if r.Header.Get("X-Tapis-Tenant") != "dev" || r.Header.Get("X-Tapis-User") != "pods" {
				t.Fatalf("asked with headers %v, want ours", r.Header)
			}
		}
		// What was shown is a service token that we would take ourselves.
		asked := n.seen(rolesPath)
		p, err := id.Authenticate(t.Context(), pods.Credential{
			Token: asked[len(asked)-1].Header.Get("X-Tapis-Token"), OnBehalfOfTenant: "dev", OnBehalfOfUser: "jane",
		})
		if err != nil || p.Service != "pods" {
			t.Errorf("got %+v, %v, want a token of the service pods", p, err)
		}
	})
}

// refusingKernel answers 401 to questions for roles, as after a change of keys.
type refusingKernel struct{ next http.RoundTripper }

func (k refusingKernel) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := k.next.RoundTrip(r)
	if err == nil && strings.HasPrefix(r.URL.Path, rolesPath) {
		resp.StatusCode = http.StatusUnauthorized
	}
	return resp, err
}

func TestRefusedServiceTokenIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		id, n := newIdentity(t, func(o *tapis.Options) {
			o.Service = &tapis.ServiceAccount{Tenant: "dev", Name: "pods", Password: "service-secret"}
		})
		n.set(func(n *fakeNet) { n.to = refusingKernel{n.to} })
		if id.Admin(t.Context(), principal("testadmin")) {
			t.Error("got true, want false from a kernel that refuses our token")
		}
		n.set(func(n *fakeNet) { n.to = dev().InProcess() })
		time.Sleep(5 * time.Second)
		if !id.Admin(t.Context(), principal("testadmin")) {
			t.Error("got false, want true")
		}
		if got := n.count("/v3/tokens"); got != 2 {
			t.Errorf("got %d service tokens, want 2", got)
		}
	})
}

func TestWrongServicePasswordMakesNoAdmin(t *testing.T) {
	id, n := newIdentity(t, func(o *tapis.Options) {
		o.Service = &tapis.ServiceAccount{Tenant: "dev", Name: "pods", Password: "wrong"}
	})
	if id.Admin(t.Context(), principal("testadmin")) {
		t.Error("got true, want false")
	}
	if got := n.count(rolesPath); got != 0 {
		t.Errorf("got %d questions without a token, want 0", got)
	}
}

func TestNewRefusesWrongOptions(t *testing.T) {
	account := func(a tapis.ServiceAccount) *tapis.ServiceAccount { return &a }
	for name, o := range map[string]tapis.Options{
		"no URL":                    {},
		"a URL without scheme":      {TenantsURL: "tacc.tapis.io"},
		"a URL with a password":     {TenantsURL: "https://a:b@tacc.tapis.io"},
		"a URL of a file":           {TenantsURL: "file:///etc"},
		"an account without secret": {TenantsURL: "https://x.test", Site: "dev", Service: account(tapis.ServiceAccount{Tenant: "dev", Name: "pods"})},
		"an account without site":   {TenantsURL: "https://x.test", Service: account(tapis.ServiceAccount{Tenant: "dev", Name: "pods", Password: "x"})},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := tapis.New(o); err == nil {
				t.Error("got no error")
			}
		})
	}
}
