package storetest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// DomainStore is what [RunDomains] needs: claims belong to pods.
type DomainStore interface {
	pods.Store
	pods.DomainStore
}

// RunDomains checks that a store keeps every promise of pods.DomainStore. open is
// as that of [Run].
func RunDomains(t *testing.T, open func(t *testing.T) DomainStore) {
	for _, tt := range domainTests {
		t.Run(tt.name, func(t *testing.T) {
			store := open(t)
			tt.run(domainSuite{&suite{T: t, Store: store}, store})
		})
	}
}

type domainSuite struct {
	*suite
	domains pods.DomainStore
}

// claiming names custom domains in entries of a pod, as networking key, domain.
func claiming(pairs ...string) func(*pods.Pod) {
	return func(p *pods.Pod) {
		nets := map[string]pods.NetDef{}
		for i := 0; i < len(pairs); i += 2 {
			nets[pairs[i]] = pods.NetDef{CustomDomain: pods.Set(pairs[i+1])}
		}
		p.Definition.Networking = pods.Set(nets)
	}
}

func (s domainSuite) claims(q pods.DomainQuery) []pods.DomainClaim {
	s.Helper()
	all, err := s.domains.Domains(s.Context(), q)
	if err != nil {
		s.Fatal(err)
	}
	return all
}

// claim returns the one claim of a pod.
func (s domainSuite) claim(k pods.Key) pods.DomainClaim {
	s.Helper()
	all := s.claims(pods.DomainQuery{Tenant: k.Tenant, Pod: k.ID})
	if len(all) != 1 {
		s.Fatalf("got %d claims of %s, want 1", len(all), k)
	}
	return all[0]
}

// proven is a claim after a check that found everything.
func proven(c pods.DomainClaim) pods.DomainClaim {
	c.State, c.Reason, c.Failures = pods.DomainVerified, "", 0
	c.LastChecked, c.Confirmed, c.NextCheck = new(t0.Add(time.Minute)), new(t0.Add(time.Minute)), new(t0.Add(time.Hour))
	return c
}

func (s domainSuite) save(c pods.DomainClaim, events ...pods.Event) []pods.Key {
	s.Helper()
	changed, err := s.domains.SaveDomainCheck(s.Context(), c, events...)
	if err != nil {
		s.Fatal(err)
	}
	return changed
}

var domainTests = []struct {
	name string
	run  func(s domainSuite)
}{
	{"a pod claims what its definition names, and gives up what it names no longer", func(s domainSuite) {
		p := s.create("web", claiming("default", "a.example.org"))
		c := s.claim(p.Key)
		if len(c.Token) < 26 {
			s.Errorf("got token %q, want one that nobody can guess", c.Token)
		}
		wantEqual(s, "claim", c, pods.DomainClaim{
			Pod: p.Key, Net: "default", Domain: "a.example.org", State: pods.DomainPending, Token: c.Token, Since: t0, NextCheck: new(t0),
		})

		claiming("other", "a.example.org", "more", "b.example.org")(&p)
		p = s.update(p)
		all := s.claims(pods.DomainQuery{Pod: "web", Tenant: tenant})
		wantEqual(s, "claims", len(all), 2)
		wantEqual(s, "moved claim", []string{all[0].Net, all[0].Token, all[1].Domain}, []string{"other", c.Token, "b.example.org"})

		p.Definition.Networking = pods.Opt[map[string]pods.NetDef]{}
		p = s.update(p)
		wantEqual(s, "claims", len(s.claims(pods.DomainQuery{})), 0)
		claiming("default", "a.example.org")(&p)
		s.update(p)
		if got := s.claim(p.Key); got.Token == c.Token {
			s.Error("got the token of the claim that was given up, want a new one")
		}
		s.delete(p.Key)
		wantEqual(s, "claims after the pod", len(s.claims(pods.DomainQuery{})), 0)
	}},
	{"claims are found by tenant, pod, name and state", func(s domainSuite) {
		s.create("one", claiming("default", "a.example.org"))
		two := s.create("two", claiming("default", "a.example.org", "more", "b.example.org"))
		s.save(proven(s.claim(key("one"))))
		for _, tt := range []struct {
			q    pods.DomainQuery
			want int
		}{
			{pods.DomainQuery{}, 3},
			{pods.DomainQuery{Tenant: tenant, Pod: "two"}, 2},
			{pods.DomainQuery{Domain: "a.example.org"}, 2},
			{pods.DomainQuery{State: pods.DomainVerified}, 1},
			{pods.DomainQuery{Tenant: "other"}, 0},
			{pods.DomainQuery{Domain: "\x00"}, 0},
		} {
			if got := len(s.claims(tt.q)); got != tt.want {
				s.Errorf("%+v: got %d claims, want %d", tt.q, got, tt.want)
			}
		}
		wantEqual(s, "order", s.claims(pods.DomainQuery{Tenant: tenant, Pod: two.ID})[1].Domain, "b.example.org")
	}},
	{"a check is stored whole, with its events", func(s domainSuite) {
		p := s.create("web", claiming("default", "a.example.org"))
		c := s.claim(p.Key)
		c.Reason, c.Failures, c.LastChecked, c.NextCheck = "no record", 3, new(t0.Add(1000)), nil
		wantEqual(s, "changed", len(s.save(c)), 0)
		wantEqual(s, "claim", s.claim(p.Key), c)
		c = proven(c)
		wantEqual(s, "changed", s.save(c, event("verified")), []pods.Key{p.Key})
		wantEqual(s, "claim", s.claim(p.Key), c)
		s.wantTexts(p.Key, "created", "verified")
		wantEqual(s, "changed", len(s.save(c)), 0)
		c.State = pods.DomainFailed
		wantEqual(s, "changed", s.save(c), []pods.Key{p.Key})
	}},
	{"a check of a claim that is gone or was challenged anew is refused", func(s domainSuite) {
		p := s.create("web", claiming("default", "a.example.org"))
		c := s.claim(p.Key)
		old := c
		old.Token = "another"
		_, err := s.domains.SaveDomainCheck(s.Context(), proven(old))
		s.wantCode(err, pods.Conflict)
		s.delete(p.Key)
		_, err = s.domains.SaveDomainCheck(s.Context(), proven(c))
		s.wantCode(err, pods.Conflict)
	}},
	{"a proof takes the domain from who had it, and makes all other challenges new", func(s domainSuite) {
		first := s.create("one", claiming("default", "a.example.org"))
		rival := s.create("two", claiming("default", "a.example.org"))
		bystander := s.create("three", claiming("default", "b.example.org"))
		mine, his, other := s.claim(first.Key), s.claim(rival.Key), s.claim(bystander.Key)

		wantEqual(s, "changed", s.save(proven(mine)), []pods.Key{first.Key})
		again := s.claim(rival.Key)
		if again.State != pods.DomainPending || again.Token == his.Token || again.Reason == "" {
			s.Errorf("got %+v, want pending with a new token and a reason", again)
		}
		wantEqual(s, "next check", again.NextCheck, new(t0.Add(time.Minute)))
		_, err := s.domains.SaveDomainCheck(s.Context(), proven(his)) // found by a check that began before
		s.wantCode(err, pods.Conflict)

		wantEqual(s, "changed", s.save(proven(again)), []pods.Key{first.Key, rival.Key})
		lost := s.claim(first.Key)
		if lost.State != pods.DomainFailed || lost.Token == mine.Token || lost.Reason == "" || lost.Confirmed != nil {
			s.Errorf("got %+v, want failed with a new token and a reason", lost)
		}
		s.wantTexts(first.Key, "created", "custom domain a.example.org was proven by another pod, its route is withdrawn")
		wantEqual(s, "bystander", s.claim(bystander.Key), other)
	}},
	{"of pods that prove one domain at once, one has it", func(s domainSuite) {
		const n = 6
		var claims []pods.DomainClaim
		for i := range n {
			p := s.create(pods.ID(fmt.Sprint("pod", i)), claiming("default", "a.example.org"))
			claims = append(claims, s.claim(p.Key))
		}
		var wg sync.WaitGroup
		won := make([]bool, n)
		for i, c := range claims {
			wg.Go(func() {
				_, err := s.domains.SaveDomainCheck(s.Context(), proven(c))
				won[i] = err == nil
				if err != nil && pods.ErrorCode(err) != pods.Conflict {
					s.Errorf("got %v, want a conflict", err)
				}
			})
		}
		wg.Wait()
		verified := s.claims(pods.DomainQuery{State: pods.DomainVerified})
		wantEqual(s, "verified claims", len(verified), 1)
		winners := 0
		for _, w := range won {
			if w {
				winners++
			}
		}
		wantEqual(s, "winners", winners, 1)
	}},
	{"claims that are due are taken once, the longest due first", func(s domainSuite) {
		for i, id := range []pods.ID{"late", "soon", "later"} {
			s.create(id, claiming("default", string(id)+".example.org"), func(p *pods.Pod) {
				p.CreatedAt = t0.Add(time.Duration([]int{1, 0, 60}[i]) * time.Second)
			})
		}
		take := func(limit int) []pods.DomainClaim {
			taken, err := s.domains.TakeDueDomains(s.Context(), t0.Add(time.Second), t0.Add(time.Minute), limit)
			if err != nil {
				s.Fatal(err)
			}
			return taken
		}
		first := take(1)
		if len(first) != 1 || first[0].Pod.ID != "soon" {
			s.Fatalf("got %+v, want that of soon", first)
		}
		if rest := take(10); len(rest) != 1 || rest[0].Pod.ID != "late" {
			s.Fatalf("got %+v, want that of late", rest)
		}
		wantEqual(s, "taken", len(take(10)), 0)
	}},
	{"many who take what is due get each claim once", func(s domainSuite) {
		const n = 12
		for i := range n {
			s.create(pods.ID(fmt.Sprint("pod", i)), claiming("default", fmt.Sprintf("d%d.example.org", i)))
		}
		var wg sync.WaitGroup
		var mu sync.Mutex
		seen := map[string]int{}
		for range 4 {
			wg.Go(func() {
				for range n {
					taken, err := s.domains.TakeDueDomains(s.Context(), t0, t0.Add(time.Hour), 2)
					if err != nil {
						s.Error(err)
					}
					mu.Lock()
					for _, c := range taken {
						seen[c.Domain]++
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		for domain, times := range seen {
			if times != 1 {
				s.Errorf("%s: taken %d times, want once", domain, times)
			}
		}
		wantEqual(s, "taken", len(seen), n)
	}},
	{"claims that were checked a moment ago are not asked for again", func(s domainSuite) {
		p := s.create("web", claiming("default", "a.example.org"))
		ask := func(now, since time.Time) int {
			n, err := s.domains.AskDomainChecks(s.Context(), p.Key, now, since)
			if err != nil {
				s.Fatal(err)
			}
			return n
		}
		c := s.claim(p.Key)
		c.LastChecked, c.NextCheck = new(t0), nil
		s.save(c)
		wantEqual(s, "asked", ask(t0.Add(time.Hour), t0.Add(-1000)), 0)
		wantEqual(s, "asked", ask(t0.Add(time.Hour), t0), 1)
		c = s.claim(p.Key)
		wantEqual(s, "next check", *c.NextCheck, t0.Add(time.Hour))
		wantEqual(s, "new patience", c.Since, t0.Add(time.Hour))
	}},
	{"the pods of an owner have a bound of custom domains", func(s domainSuite) {
		var p pods.Pod
		for i := range pods.MaxDomains {
			p = s.create(pods.ID(fmt.Sprint("pod", i)), claiming("default", fmt.Sprintf("d%d.example.org", i)))
		}
		over := newPod("over")
		claiming("default", "more.example.org")(&over)
		s.wantCode(s.CreatePod(s.Context(), over, newCredentials("over"), event("created")), pods.Invalid)
		_, err := s.Pod(s.Context(), over.Key)
		s.wantCode(err, pods.NotFound)
		s.delete(p.Key)
		s.create("over", claiming("default", "more.example.org"))
	}},
}
