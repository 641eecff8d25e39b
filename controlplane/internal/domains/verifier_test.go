package domains

import (
	"context"
	"log/slog"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/controlplane/internal/store"
	"github.com/tapis-project/podway/controlplane/internal/store/tempstore"
)

// bench is a verifier with a real store and a DNS that the test fills.
type bench struct {
	*Verifier

	t     *testing.T
	store *store.Store
	dns   *fakeDNS

	mu      sync.Mutex
	now     time.Time
	changed []pods.Key
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, store: tempstore.New(t), dns: newFakeDNS(), now: noon}
	b.Verifier = b.verifier()
	return b
}

// verifier returns one of several on the same store.
func (b *bench) verifier() *Verifier {
	return New(Deps{
		Store: b.store, Tenants: fakeTenants{}, DNS: b.dns, Logger: slog.New(slog.DiscardHandler),
		Now: func() time.Time { b.mu.Lock(); defer b.mu.Unlock(); return b.now },
		Changed: func(k pods.Key) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.changed = append(b.changed, k)
		},
	})
}

// fakeTenants knows every tenant, at <id>.tapis.io.
type fakeTenants struct{}

func (fakeTenants) Tenant(_ context.Context, id string) (pods.Tenant, error) {
	return pods.Tenant{ID: id, BaseURL: "https://" + id + ".tapis.io"}, nil
}

// claim creates a pod that claims the domain.
func (b *bench) claim(tenant string, id pods.ID) pods.Key {
	b.t.Helper()
	p := pods.Pod{
		Key: pods.Key{Tenant: tenant, ID: id}, UID: "uid-" + string(id), Site: "site", Owner: "ann", Requested: pods.On,
		Definition: pods.Definition{Networking: pods.Set(map[string]pods.NetDef{"default": {CustomDomain: pods.Set(domain)}})},
		CreatedAt:  b.Verifier.now(), UpdatedAt: b.Verifier.now(), State: pods.State{Status: pods.StatusRequested, Since: noon},
	}
	if err := b.store.CreatePod(b.t.Context(), p, pods.Credentials{}, pods.Event{At: noon, Text: "created"}); err != nil {
		b.t.Fatal(err)
	}
	return p.Key
}

func (b *bench) get(k pods.Key) pods.DomainClaim {
	b.t.Helper()
	claims, err := b.store.Domains(b.t.Context(), pods.DomainQuery{Tenant: k.Tenant, Pod: k.ID})
	if err != nil || len(claims) != 1 {
		b.t.Fatalf("got %v, %v, want one claim", claims, err)
	}
	return claims[0]
}

// publish makes the owner of the domain create these TXT records, and a CNAME.
func (b *bench) publish(host string, tokens ...string) {
	b.dns.set(func(d *fakeDNS) {
		d.texts[record] = tokens
		d.targets[domain] = Target{Aliases: []string{host}}
	})
}

// after moves the clock and checks what is due then.
func (b *bench) after(d time.Duration) {
	b.t.Helper()
	b.mu.Lock()
	b.now = b.now.Add(d)
	b.mu.Unlock()
	if err := b.checkDue(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) want(k pods.Key, want pods.DomainState) {
	b.t.Helper()
	if c := b.get(k); c.State != want {
		b.t.Fatalf("%s: got %s (%s), want %s", k, c.State, c.Reason, want)
	}
}

// news returns the pods that were told of since the last call.
func (b *bench) news() []pods.Key {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := b.changed
	b.changed = nil
	return list
}

func (b *bench) wantNews(want ...pods.Key) {
	b.t.Helper()
	if got := b.news(); !reflect.DeepEqual(got, want) {
		b.t.Errorf("got news of %v, want %v", got, want)
	}
}

func TestADomainIsProvenKeptAndLost(t *testing.T) {
	b := newBench(t)
	k := b.claim("dev", "web")
	b.after(0)
	b.want(k, pods.DomainPending)
	b.wantNews()

	b.publish(host, b.get(k).Token)
	b.after(9 * time.Second) // not due yet
	b.want(k, pods.DomainPending)
	b.after(time.Second)
	b.want(k, pods.DomainVerified)
	b.wantNews(k)
	b.after(time.Hour)
	b.want(k, pods.DomainVerified)
	b.wantNews()

	b.publish(host) // the TXT record is gone, the CNAME dangles
	b.after(time.Hour)
	b.after(5 * time.Minute)
	b.want(k, pods.DomainVerified)
	b.after(5 * time.Minute)
	b.want(k, pods.DomainFailed)
	b.wantNews(k)

	b.publish(host, b.get(k).Token)
	b.after(10 * time.Second)
	b.want(k, pods.DomainVerified)
	b.wantNews(k)
}

func TestADeadNameServerTakesNothingAway(t *testing.T) {
	b := newBench(t)
	k := b.claim("dev", "web")
	b.publish(host, b.get(k).Token)
	b.after(0)
	b.want(k, pods.DomainVerified)
	b.dns.set(func(d *fakeDNS) { d.silent[record] = true })
	for range 71 {
		b.after(time.Hour)
	}
	b.want(k, pods.DomainVerified)
	b.after(time.Hour)
	b.want(k, pods.DomainFailed)
}

func TestOfTwoClaimsTheProvenOneWins(t *testing.T) {
	b := newBench(t)
	owner, squatter := b.claim("dev", "web"), b.claim("evil", "web")
	b.publish(host, b.get(owner).Token)
	b.after(0)
	b.want(owner, pods.DomainVerified)
	b.want(squatter, pods.DomainPending)
	b.wantNews(owner)
	for range 5 {
		b.after(2 * time.Hour)
	}
	b.want(owner, pods.DomainVerified)
	b.want(squatter, pods.DomainPending)
}

func TestADomainChangesHandsOnAFreshChallengeOnly(t *testing.T) {
	b := newBench(t)
	first, second := b.claim("dev", "web"), b.claim("dev", "web2")
	old := b.get(second).Token
	b.publish(host, b.get(first).Token)
	b.after(0)
	b.want(first, pods.DomainVerified)

	// A record for the second that was made before the first had its proof.
	b.publish("web2.pods.dev.tapis.io", b.get(first).Token, old)
	for range 3 {
		b.after(time.Hour)
	}
	b.want(second, pods.DomainPending)

	stale := b.get(first).Token
	b.publish("web2.pods.dev.tapis.io", stale, b.get(second).Token)
	b.news()
	b.after(2 * time.Hour)
	b.want(second, pods.DomainVerified)
	b.want(first, pods.DomainFailed)

	// The first one's record is still there and gives nothing back.
	b.publish(host, stale)
	b.after(time.Second)
	b.want(first, pods.DomainFailed)
	if b.get(first).Token == stale {
		t.Error("got the old token, want a fresh challenge")
	}
}

func TestVerifiersOfOneStoreShareTheWork(t *testing.T) {
	b := newBench(t)
	for _, id := range []pods.ID{"a", "b", "c", "d", "e", "f"} {
		b.claim("dev", id)
	}
	var wg sync.WaitGroup
	for range 4 {
		v := b.verifier()
		wg.Go(func() {
			if err := v.checkDue(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	b.dns.set(func(d *fakeDNS) {
		if d.asked != 6 {
			t.Errorf("got %d questions, want one for each claim", d.asked)
		}
	})
}

func TestAClaimThatChangedDuringItsCheckIsLeftAlone(t *testing.T) {
	b := newBench(t)
	k := b.claim("dev", "web")
	c := b.get(k)
	b.publish(host, c.Token)
	if err := b.store.DeletePod(t.Context(), k); err != nil {
		t.Fatal(err)
	}
	b.checkOne(t.Context(), c)
	b.wantNews()
}

func TestRunEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := &countingStore{}
		done := make(chan error)
		go func() { done <- New(Deps{Store: s, Tenants: fakeTenants{}, DNS: newFakeDNS()}).Run(ctx) }()
		time.Sleep(9 * time.Second)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("got %v, want nil", err)
		}
		if s.looks != 5 {
			t.Errorf("got %d looks in 9 seconds, want 5", s.looks)
		}
	})
}

// countingStore is a fake store without claims.
type countingStore struct {
	pods.DomainStore

	looks int
}

func (s *countingStore) TakeDueDomains(context.Context, time.Time, time.Time, int) ([]pods.DomainClaim, error) {
	s.looks++
	return nil, nil
}
