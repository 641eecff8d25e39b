package tapis_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/devtapis/devtokens"
	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/controlplane/internal/tapis"
)

const tenantsPath = "/v3/tenants"

func TestTenant(t *testing.T) {
	id, _ := newIdentity(t)
	got, err := id.Tenant(t.Context(), "other")
	want := pods.Tenant{ID: "other", Site: "dev", BaseURL: "https://other.example.org"}
	if err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	_, err = id.Tenant(t.Context(), "nowhere")
	wantError(t, err, pods.NotFound, "Tenant with identifier tenant_id: 'nowhere' not found")
}

func TestKeyRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		id, n := newIdentity(t)
		before, after := devtokens.User(t, dev(), "dev", "testuser"), devtokens.User(t, rotated(), "dev", "testuser")
		try := func(token string, code pods.Code) {
			t.Helper()
			if _, err := id.Authenticate(t.Context(), at(token)); pods.ErrorCode(err) != code {
				t.Errorf("got %v, want code %q", err, code)
			}
		}
		try(before, "")
		n.set(func(n *fakeNet) { n.to = rotated().InProcess() })

		try(after, pods.Unauthorized) // read too recently
		try(before, "")               // remembered
		time.Sleep(90 * time.Second)
		try(after, "")                 // read again, and tried again at once
		try(before, pods.Unauthorized) // remembered, but its key is gone
		if got := n.count(tenantsPath); got != 2 {
			t.Errorf("got %d reads of the tenants, want 2", got)
		}
	})
}

func TestForgedTokensDoNotFloodTapis(t *testing.T) {
	forged := map[string]string{
		"of another key": devtokens.OtherKey(t, dev(), "dev", "testuser"),
		"of no tenant":   devtokens.User(t, dev(), "dev", "testuser", devtokens.Set("tapis/tenant_id", "nowhere"), devtokens.Set("exp", 4e9)),
	}
	for name, token := range forged {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				id, n := newIdentity(t)
				for range 10 * 6 { // ten minutes
					var wg sync.WaitGroup
					for range 20 {
						wg.Go(func() {
							if _, err := id.Authenticate(t.Context(), at(token)); pods.ErrorCode(err) != pods.Unauthorized {
								t.Errorf("got %v, want code %q", err, pods.Unauthorized)
							}
						})
					}
					wg.Wait()
					time.Sleep(10 * time.Second)
				}
				if got := n.count(tenantsPath); got < 6 || got > 7 {
					t.Errorf("got %d reads of the tenants in 10m, want one per 90s", got)
				}
			})
		})
	}
}

func TestAlgorithmsThatNoKeyHelpsCauseNoRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		id, n := newIdentity(t)
		if _, err := id.Tenant(t.Context(), "dev"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		for _, token := range []string{
			devtokens.None(t, dev(), "dev", "u"), devtokens.HMAC(t, dev(), "dev", "u"), devtokens.Expired(t, dev(), "dev", "u"),
		} {
			if _, err := id.Authenticate(t.Context(), at(token)); pods.ErrorCode(err) != pods.Unauthorized {
				t.Errorf("got %v, want code %q", err, pods.Unauthorized)
			}
		}
		if got := n.count(tenantsPath); got != 1 {
			t.Errorf("got %d reads of the tenants, want 1", got)
		}
	})
}

func TestOutageServesLastTenants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		id, n := newIdentity(t)
		if _, err := id.Tenant(t.Context(), "dev"); err != nil {
			t.Fatal(err)
		}
		n.set(func(n *fakeNet) { n.cut = true })
		for range 24 {
			time.Sleep(time.Hour)
			token := devtokens.User(t, dev(), "dev", "testuser")
			if _, err := id.Authenticate(t.Context(), at(token)); err != nil {
				t.Fatalf("got %v, want the last tenants to serve", err)
			}
		}
		_, err := id.Authenticate(t.Context(), at(devtokens.OtherKey(t, dev(), "dev", "testuser")))
		wantError(t, err, pods.Unauthorized, "Invalid Tapis token.")

		n.set(func(n *fakeNet) { n.cut, n.to = false, rotated().InProcess() })
		time.Sleep(2 * time.Minute)
		if _, err := id.Authenticate(t.Context(), at(devtokens.User(t, rotated(), "dev", "testuser"))); err != nil {
			t.Errorf("got %v, want the new tenants to serve after the outage", err)
		}
	})
}

func TestSlowTapisDelaysNobodyWhileTenantsAreKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		id, n := newIdentity(t)
		if _, err := id.Tenant(t.Context(), "dev"); err != nil {
			t.Fatal(err)
		}
		n.set(func(n *fakeNet) { n.hold = make(chan struct{}) }) // for ever
		time.Sleep(20 * time.Minute)                             // older than MaxAge
		start := time.Now()
		if _, err := id.Authenticate(t.Context(), at(devtokens.User(t, dev(), "dev", "testuser"))); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(start); waited != 0 {
			t.Errorf("waited %v for Tapis, want 0", waited)
		}
		synctest.Wait()
		if got := n.count(tenantsPath); got != 2 {
			t.Errorf("got %d reads of the tenants, want 2", got)
		}
		time.Sleep(11 * time.Second) // the held read gives up
	})
}

func TestWithdrawnKeyIsForgottenInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		id, n := newIdentity(t)
		token := devtokens.User(t, dev(), "dev", "testuser")
		if _, err := id.Authenticate(t.Context(), at(token)); err != nil {
			t.Fatal(err)
		}
		n.set(func(n *fakeNet) { n.to = rotated().InProcess() })
		time.Sleep(16 * time.Minute)
		if _, err := id.Authenticate(t.Context(), at(token)); err != nil { // served, and starts a read
			t.Fatal(err)
		}
		synctest.Wait()
		_, err := id.Authenticate(t.Context(), at(token))
		wantError(t, err, pods.Unauthorized, "Invalid Tapis token.")
	})
}

func TestNoTenantsKnownYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		id, n := newIdentity(t)
		n.set(func(n *fakeNet) { n.cut = true })
		token := devtokens.User(t, dev(), "dev", "testuser")
		for range 3 {
			_, err := id.Authenticate(t.Context(), at(token))
			wantError(t, err, pods.Unavailable, "The list of Tapis tenants is not available. Please try again.")
		}
		if got := n.count(tenantsPath); got != 1 {
			t.Errorf("got %d reads of the tenants, want 1", got)
		}
		n.set(func(n *fakeNet) { n.cut = false })
		time.Sleep(2 * time.Second)
		if _, err := id.Authenticate(t.Context(), at(token)); err != nil {
			t.Errorf("got %v, want success once Tapis is back", err)
		}
	})
}

func TestFirstRequestsShareOneRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		id, n := newIdentity(t)
		hold := make(chan struct{})
		n.set(func(n *fakeNet) { n.hold = hold })
		token := devtokens.User(t, dev(), "dev", "testuser")
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if _, err := id.Authenticate(t.Context(), at(token)); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		close(hold)
		wg.Wait()
		if got := n.count(tenantsPath); got != 1 {
			t.Errorf("got %d reads of the tenants, want 1", got)
		}
	})
}

func TestReadGoesOnWhenItsRequestEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		id, n := newIdentity(t)
		hold := make(chan struct{})
		n.set(func(n *fakeNet) { n.hold = hold })
		ctx, cancel := context.WithCancel(t.Context())
		token := devtokens.User(t, dev(), "dev", "testuser")
		done := make(chan error)
		go func() {
			_, err := id.Authenticate(ctx, at(token))
			done <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-done; pods.ErrorCode(err) != pods.Unavailable {
			t.Errorf("got %v, want code %q", err, pods.Unavailable)
		}
		close(hold)
		synctest.Wait()
		if _, err := id.Authenticate(t.Context(), at(token)); err != nil {
			t.Error(err)
		}
		if got := n.count(tenantsPath); got != 1 {
			t.Errorf("got %d reads of the tenants, want 1", got)
		}
	})
}

func TestBadRecordsHurtOnlyThemselves(t *testing.T) {
	key, err := json.Marshal(dev().PublicKey("dev"))
	if err != nil {
		t.Fatal(err)
	}
	record := func(id, base, pem string) string {
		return fmt.Sprintf(`{"tenant_id":%q,"base_url":%q,"site_id":"dev","public_key":%s}`, id, base, pem)
	}
	records := []string{
		`7`, `{"tenant_id":[]}`, `{}`,
		record("noscheme", "noscheme.test", string(key)),
		record("badscheme", "ftp://badscheme.test", string(key)),
		record("nohost", "https://", string(key)),
		record("nokey", "https://nokey.test", `"-----BEGIN PUBLIC KEY-----"`),
		`{"tenant_id":"gone","base_url":"https://gone.test","site_id":"dev","status":"inactive","public_key":` + string(key) + `}`,
		record("dev", "https://dev.tapis.test/", string(key)),
		record("dev", "https://second.test", `""`),
		record("twin", "https://DEV.tapis.test", string(key)),
	}
	id, _ := newIdentity(t, func(o *tapis.Options) {
		o.Transport = jsonTransport{
			"/v3/tenants": `{"result":[` + strings.Join(records, ",") + `]}`,
			"/v3/sites":   `{"result":[null,7,{"site_id":"dev","primary":true,"tenant_base_url_template":"%%${tenant_id}"}]}`,
		}
	})
	for tenant, code := range map[string]pods.Code{
		"dev": "", "noscheme": pods.Unauthorized, "badscheme": pods.Unauthorized, "nohost": pods.Unauthorized,
		"nokey": pods.Unavailable, "gone": pods.Unauthorized, "twin": pods.Forbidden,
	} {
		token := devtokens.User(t, dev(), "dev", "testuser", devtokens.Set("tapis/tenant_id", tenant))
		if _, err := id.Authenticate(t.Context(), at(token)); pods.ErrorCode(err) != code {
			t.Errorf("tenant %s: got %v, want code %q", tenant, err, code)
		}
	}
}

func TestAnswersThatAreNoTenants(t *testing.T) {
	for name, body := range map[string]string{
		"an empty list":        `{"result":[]}`,
		"no result":            `{"message":"hello"}`,
		"a null result":        `{"result":null}`,
		"a page":               `<html>`,
		"an object":            `{"result":{}}`,
		"more than a megabyte": `{"result":[` + strings.Repeat(" ", 1<<20) + `]}`,
	} {
		t.Run(name, func(t *testing.T) {
			id, _ := newIdentity(t, func(o *tapis.Options) {
				o.Transport = jsonTransport{"/v3/tenants": body, "/v3/sites": `{"result":[]}`}
			})
			_, err := id.Tenant(t.Context(), "dev")
			wantError(t, err, pods.Unavailable, "The list of Tapis tenants is not available. Please try again.")
		})
	}
}
