package redisgate

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/tapis-project/podway/routes/keytext"
	"github.com/tapis-project/podway/tests/parts"
)

const host = "web.pods.test"

func TestNewNeedsAClientAKeyringAndANamespace(t *testing.T) {
	client := newClient(t, "127.0.0.1:1")
	for name, o := range map[string]Options{
		"no client":     {Keyring: ring(t, keytext.New())},
		"no keyring":    {Client: client},
		"bad namespace": {Client: client, Keyring: ring(t, keytext.New()), Namespace: "a}b"},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

func TestHandoffIsTakenOnce(t *testing.T) {
	onServers(t, func(t *testing.T, s *Store, client *redis.Client) {
		want := Handoff{Host: host, Attempt: Hash("a"), Username: "ada", Tenant: "dev", TokenExpires: time.Now().Add(time.Hour).Round(0)}
		code, err := s.PutHandoff(t.Context(), want)
		check(t, err)
		if ttl := client.TTL(t.Context(), s.key("handoff", Hash(code))).Val(); ttl <= 0 || ttl > HandoffTTL {
			t.Errorf("got a time to live of %v, want at most %v", ttl, HandoffTTL)
		}

		// Of many who come at once, one gets it.
		var got atomic.Int32
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				h, err := s.TakeHandoff(t.Context(), code)
				switch {
				case err == nil && h.TokenExpires.Equal(want.TokenExpires) && h.Username == "ada" && h.Attempt == want.Attempt:
					got.Add(1)
				case !errors.Is(err, ErrNotFound):
					t.Errorf("got %+v, %v", h, err)
				}
			})
		}
		wg.Wait()
		if got.Load() != 1 {
			t.Errorf("taken %d times, want once", got.Load())
		}
		if _, err := s.TakeHandoff(t.Context(), "nonsense"); !errors.Is(err, ErrNotFound) {
			t.Errorf("unknown code: got %v", err)
		}

		// What another installation's key sealed is nothing.
		code, err = newStore(t, client, keytext.New()).PutHandoff(t.Context(), want)
		check(t, err)
		if _, err := s.TakeHandoff(t.Context(), code); !errors.Is(err, ErrNotFound) {
			t.Errorf("foreign key: got %v", err)
		}
	})
}

func TestStateIsUsedOnce(t *testing.T) {
	onServers(t, func(t *testing.T, s *Store, _ *redis.Client) {
		for i, want := range []bool{true, false, false} {
			if got, err := s.UseState(t.Context(), "state"); got != want || err != nil {
				t.Errorf("use %d: got %v, %v, want %v", i+1, got, err, want)
			}
		}
	})
}

func TestSessions(t *testing.T) {
	onServers(t, func(t *testing.T, s *Store, client *redis.Client) {
		ctx := t.Context()
		now := time.Now()
		x := Session{Host: host, Pod: "web", Username: "ada", Tenant: "dev", Created: now, Expires: now.Add(time.Hour)}
		id, err := s.CreateSession(ctx, x, 10*time.Minute)
		check(t, err)
		got, err := s.Session(ctx, id, host, "web")
		check(t, err)
		if got.Username != "ada" || got.Tenant != "dev" || !got.Expires.Equal(x.Expires) {
			t.Errorf("got %+v, want %+v", got, x)
		}
		for name, err := range map[string]error{
			"another host":  second(s.Session(ctx, id, "db.pods.test", "web")),
			"another pod":   second(s.Session(ctx, id, host, "web2")),
			"a changed id":  second(s.Session(ctx, "A"+id[1:], host, "web")),
			"a made-up id":  second(s.Session(ctx, NewSecret(), host, "web")),
			"an empty id":   second(s.Session(ctx, "", host, "web")),
			"a foreign key": second(newStore(t, client, keytext.New()).Session(ctx, id, host, "web")),
		} {
			if name != "a changed id" && !errors.Is(err, ErrNotFound) {
				t.Errorf("%s: got %v, want %v", name, err, ErrNotFound)
			}
		}

		// The record does not show who it is of, and can't be put elsewhere.
		key := s.key("session", SessionKey(id, host, "web"))
		sealed := client.Get(ctx, key).Val()
		if strings.Contains(sealed, "ada") || strings.Contains(key, id) {
			t.Errorf("Redis shows the session: %q %q", key, sealed)
		}
		other, err := s.CreateSession(ctx, x, time.Minute)
		check(t, err)
		check(t, client.Set(ctx, s.key("session", SessionKey(other, host, "web")), sealed, 0).Err())
		if _, err := s.Session(ctx, other, host, "web"); !errors.Is(err, ErrNotFound) {
			t.Errorf("moved record: got %v, want %v", err, ErrNotFound)
		}

		// Its times.
		if ttl := client.PTTL(ctx, key).Val(); ttl <= 9*time.Minute || ttl > 10*time.Minute {
			t.Errorf("got an idle time of %v, want 10m", ttl)
		}
		alive, err := s.TouchSession(ctx, SessionKey(id, host, "web"), x, 2*time.Hour)
		check(t, err)
		if ttl := client.PTTL(ctx, key).Val(); !alive || ttl <= 59*time.Minute || ttl > time.Hour {
			t.Errorf("touched: got %v and %v, want no more than until it expires", alive, ttl)
		}

		check(t, s.EndSession(ctx, SessionKey(id, host, "web")))
		if _, err := s.Session(ctx, id, host, "web"); !errors.Is(err, ErrNotFound) {
			t.Errorf("ended: got %v, want %v", err, ErrNotFound)
		}
		if alive, err := s.TouchSession(ctx, SessionKey(id, host, "web"), x, time.Hour); alive || err != nil {
			t.Errorf("touching an ended one: got %v, %v", alive, err)
		}
	})
}

func second[T any](_ T, err error) error { return err }

func TestSessionsAreDropped(t *testing.T) {
	onServers(t, func(t *testing.T, s *Store, _ *redis.Client) {
		now := time.Now()
		x := Session{Host: host, Pod: "web", Username: "ada", Tenant: "dev", Created: now, Expires: now.Add(time.Hour)}
		var ids, keys []string
		for range dropAtOnce + 2 { // more than one command removes
			id, err := s.CreateSession(t.Context(), x, time.Minute)
			check(t, err)
			ids, keys = append(ids, id), append(keys, SessionKey(id, host, "web"))
		}
		check(t, s.DropSessions(t.Context(), append(keys[1:], Hash("unknown"))))
		check(t, s.DropSessions(t.Context(), nil))
		for i, id := range ids {
			if _, err := s.Session(t.Context(), id, host, "web"); (err == nil) != (i == 0) {
				t.Fatalf("session %d: got %v, want the first one only", i, err)
			}
		}
	})
}

func TestLogoutEverywhereEndsEarlierSessionsOnly(t *testing.T) {
	onServers(t, func(t *testing.T, s *Store, _ *redis.Client) {
		ctx := t.Context()
		create := func(user, tenant string, created time.Time) string {
			id, err := s.CreateSession(ctx, Session{
				Host: host, Pod: "web", Username: user, Tenant: tenant, Created: created, Expires: created.Add(time.Hour),
			}, time.Hour)
			check(t, err)
			return id
		}
		before := time.Now()
		ada, foreign, bob := create("Ada", "dev", before), create("ada", "tacc", before), create("bob", "dev", before)
		check(t, s.LogoutEverywhere(ctx, "dev", "ada"))
		later := create("ada", "dev", time.Now().Add(10*time.Millisecond))
		for id, want := range map[string]error{ada: ErrNotFound, foreign: nil, bob: nil, later: nil} {
			if _, err := s.Session(ctx, id, host, "web"); !errors.Is(err, want) {
				t.Errorf("got %v, want %v", err, want)
			}
		}
	})
}

func TestTenants(t *testing.T) {
	onServers(t, func(t *testing.T, s *Store, client *redis.Client) {
		ctx := t.Context()
		dev := Tenant{ID: "dev", SiteID: "tacc", Issuer: "i", PublicKeys: []string{"p"}, LoginURL: "https://dev.test"}
		check(t, s.SetTenants(ctx, []Tenant{dev, {ID: "old"}}))
		check(t, s.SetTenants(ctx, []Tenant{dev}))
		check(t, client.HSet(ctx, s.key("tenants"), "bad", "{").Err())
		got, err := s.Tenants(ctx)
		check(t, err)
		if want := map[string]Tenant{"dev": dev}; !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
		check(t, s.SetTenants(ctx, nil))
		if got, err := s.Tenants(ctx); len(got) != 0 || err != nil {
			t.Errorf("got %v, %v, want none", got, err)
		}
	})
}

func TestSharesAreRedeemedAsOftenAsTheyMayBe(t *testing.T) {
	onServers(t, func(t *testing.T, s *Store, _ *redis.Client) {
		ctx := t.Context()
		check(t, s.BeginCounting(ctx))
		twice := Share{ID: "a", Kind: Link, Label: "course", Hash: HashLink(host, "secret"), Created: time.Now().Round(0).UTC(), MaxUses: 2}
		check(t, s.SetShares(ctx, host, []Share{twice, {ID: "b", Kind: Link}}))
		got, err := s.Shares(ctx, host)
		check(t, err)
		if !reflect.DeepEqual(got["a"], twice) || len(got) != 2 {
			t.Errorf("got %+v", got)
		}

		var ok atomic.Int32
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if yes, err := s.Redeem(ctx, host, twice); err != nil {
					t.Error(err)
				} else if yes {
					ok.Add(1)
				}
			})
		}
		wg.Wait()
		if ok.Load() != 2 {
			t.Errorf("redeemed %d times, want 2", ok.Load())
		}
		if yes, err := s.Redeem(ctx, host, got["b"]); !yes || err != nil {
			t.Errorf("without a bound: got %v, %v", yes, err)
		}

		// Uses survive another publication, and go with their share.
		check(t, s.SetShares(ctx, host, []Share{twice}))
		uses, err := s.ShareUses(ctx, host)
		check(t, err)
		if u := uses["a"]; len(uses) != 1 || u.Count != 2 || time.Since(u.Last) > time.Minute {
			t.Errorf("got %+v, want 2 uses of a, just now", uses)
		}
	})
}

func TestSharesThatMayHaveBeenUsedUpDoNotCount(t *testing.T) {
	onServers(t, func(t *testing.T, s *Store, client *redis.Client) {
		ctx := t.Context()
		redeem := func(name string, x Share, want bool) {
			t.Helper()
			if got, err := s.Redeem(ctx, host, x); got != want || err != nil {
				t.Errorf("%s: got %v, %v, want %v", name, got, err, want)
			}
		}
		before := time.Now()
		redeem("before anything is counted", Share{ID: "a", Created: before, MaxUses: 9}, false)
		check(t, s.BeginCounting(ctx))
		since := client.Get(ctx, s.key("shares", "since")).Val()
		check(t, s.BeginCounting(ctx))
		if again := client.Get(ctx, s.key("shares", "since")).Val(); again != since {
			t.Errorf("got counted since %s, want %s", again, since)
		}
		fresh := Share{ID: "b", Created: time.Now(), MaxUses: 9}
		redeem("made before", Share{ID: "a", Created: before, MaxUses: 9}, false)
		redeem("made since", fresh, true)
		redeem("made before, without a bound", Share{ID: "c", Created: before}, true)

		check(t, client.FlushDB(ctx).Err())
		redeem("made before all was lost, and nothing is counted", fresh, false)
		check(t, s.BeginCounting(ctx))
		redeem("made before all was lost", fresh, false)
		redeem("made before all was lost, without a bound", Share{ID: "c", Created: before}, true)
		redeem("made since", Share{ID: "d", Created: time.Now(), MaxUses: 1}, true)
	})
}

func TestShareMatches(t *testing.T) {
	secret := NewSecret()
	long := strings.Repeat("x", 200)
	hash, longHash := HashPassword(host, "open sesame"), HashPassword(host, long)
	if hash == HashPassword(host, "open sesame") {
		t.Error("one password has one hash")
	}
	link := Share{Kind: Link, Hash: HashLink(host, secret)}
	for _, tt := range []struct {
		name   string
		share  Share
		host   string
		secret string
		want   bool
	}{
		{"a link's secret", link, host, secret, true},
		{"another secret", link, host, NewSecret(), false},
		{"at another host", link, "db.pods.test", secret, false},
		{"the hash itself", link, host, link.Hash, false},
		{"no secret", link, host, "", false},
		{"a password", Share{Kind: Password, Hash: hash}, host, "open sesame", true},
		{"a wrong password", Share{Kind: Password, Hash: hash}, host, "open says me", false},
		{"a password at another host", Share{Kind: Password, Hash: hash}, "db.pods.test", "open sesame", false},
		{"a long password", Share{Kind: Password, Hash: longHash}, host, long, true},
		{"a long password with another end", Share{Kind: Password, Hash: longHash}, host, long[1:] + "y", false},
		{"a hash that was cut off", Share{Kind: Password, Hash: hash[:len(hash)-4]}, host, "open sesame", false},
		{"a hash of another kind", Share{Kind: Password, Hash: "$2a$10$" + hash}, host, "open sesame", false},
		{"a password without a hash", Share{Kind: Password}, host, "", false},
		{"a kind that is unknown", Share{Kind: "key", Hash: link.Hash}, host, secret, false},
	} {
		if got := tt.share.Matches(tt.host, tt.secret); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestShareValid(t *testing.T) {
	now := time.Now()
	for _, tt := range []struct {
		name  string
		share Share
		want  bool
	}{
		{"for ever", Share{}, true},
		{"before its end", Share{Expires: now.Add(time.Second)}, true},
		{"after its end", Share{Expires: now}, false},
		{"revoked", Share{Revoked: true}, false},
	} {
		if got := tt.share.Valid(now); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestAllow(t *testing.T) {
	onServers(t, func(t *testing.T, s *Store, client *redis.Client) {
		ctx := t.Context()
		l := Limit{"test", 2, time.Minute}
		for i, want := range []bool{true, true, false, false} {
			if got, err := s.Allow(ctx, l, "1.2.3.4"); got != want || err != nil {
				t.Errorf("attempt %d: got %v, %v, want %v", i+1, got, err, want)
			}
		}
		if got, err := s.Allow(ctx, l, "::1"); !got || err != nil {
			t.Errorf("another client: got %v, %v", got, err)
		}
		key := s.key("rate", "test", "1.2.3.4")
		if ttl := client.PTTL(ctx, key).Val(); ttl <= 0 || ttl > time.Minute {
			t.Errorf("got a window of %v, want at most a minute", ttl)
		}
		// A counter that lost its end does not stay for ever.
		check(t, client.Persist(ctx, key).Err())
		_, err := s.Allow(ctx, l, "1.2.3.4")
		check(t, err)
		if ttl := client.PTTL(ctx, key).Val(); ttl <= 0 {
			t.Errorf("got a window of %v, want one that ends", ttl)
		}
		check(t, s.Forgive(ctx, l, "1.2.3.4"))
		if got, err := s.Allow(ctx, l, "1.2.3.4"); !got || err != nil {
			t.Errorf("forgiven: got %v, %v", got, err)
		}
	})
}

// watch collects events.
func watch(t *testing.T, s *Store) <-chan Event {
	t.Helper()
	events := make(chan Event, 100)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { s.Watch(ctx, func(e Event) { events <- e }) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return events
}

func await(t *testing.T, events <-chan Event, kind EventKind) Event {
	t.Helper()
	deadline := time.After(limit)
	for {
		select {
		case e := <-events:
			if e.Kind == kind {
				return e
			}
		case <-deadline:
			t.Fatalf("no event %q within %v", kind, limit)
		}
	}
}

func TestWatchTellsWhatOthersDid(t *testing.T) {
	onServers(t, func(t *testing.T, s *Store, client *redis.Client) {
		ctx := t.Context()
		events := watch(t, s)
		await(t, events, Resync)
		check(t, s.EndSession(ctx, "k"))
		if e := await(t, events, SessionEnded); e.Session != "k" {
			t.Errorf("got %+v", e)
		}
		check(t, s.LogoutEverywhere(ctx, "dev", "ada"))
		if e := await(t, events, UserLoggedOut); e.Tenant != "dev" || e.Username != "ada" || time.Since(e.Until) > time.Minute {
			t.Errorf("got %+v", e)
		}
		check(t, s.SetShares(ctx, host, []Share{{ID: "a"}}))
		check(t, s.SetShares(ctx, host, []Share{{ID: "a"}})) // no news
		if e := await(t, events, SharesChanged); e.Host != host {
			t.Errorf("got %+v", e)
		}
		check(t, s.SetTenants(ctx, []Tenant{{ID: "dev"}}))
		if e := <-events; e.Kind != TenantsChanged {
			t.Errorf("got %+v, want nothing between", e)
		}
		check(t, client.Publish(ctx, s.key("revoked"), "garbage").Err())
		await(t, events, Resync)
	})
}

func TestWatchSubscribesAgain(t *testing.T) {
	r := parts.StartRedis(t)
	s := newStore(t, newClient(t, r.Addr), keytext.New())
	events := watch(t, s)
	await(t, events, Resync)
	r.Kill()
	r.Start()
	await(t, events, Resync)
	check(t, s.EndSession(t.Context(), "k"))
	await(t, events, SessionEnded)
}

func TestErrorsWhenRedisIsDown(t *testing.T) {
	m := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: m.Addr(), MaxRetries: -1, DialerRetries: 1})
	defer client.Close()
	s := newStore(t, client, keytext.New())
	ctx := t.Context()
	id, err := s.CreateSession(ctx, Session{Host: host, Pod: "web", Expires: time.Now().Add(time.Hour)}, time.Hour)
	check(t, err)
	m.Close()
	calls := map[string]error{
		"PutHandoff":    second(s.PutHandoff(ctx, Handoff{})),
		"TakeHandoff":   second(s.TakeHandoff(ctx, "c")),
		"UseState":      second(s.UseState(ctx, "s")),
		"CreateSession": second(s.CreateSession(ctx, Session{}, 0)),
		"Session":       second(s.Session(ctx, id, host, "web")),
		"TouchSession":  second(s.TouchSession(ctx, "k", Session{}, 0)),
		"EndSession":    s.EndSession(ctx, "k"),
		"DropSessions":  s.DropSessions(ctx, []string{"k"}),
		"Logout":        s.LogoutEverywhere(ctx, "dev", "ada"),
		"SetTenants":    s.SetTenants(ctx, []Tenant{{ID: "a"}}),
		"Tenants":       second(s.Tenants(ctx)),
		"BeginCounting": s.BeginCounting(ctx),
		"Redeem one":    second(s.Redeem(ctx, host, Share{MaxUses: 1})),
		"SetShares":     s.SetShares(ctx, host, []Share{{ID: "a"}}),
		"Shares":        second(s.Shares(ctx, host)),
		"Redeem":        second(s.Redeem(ctx, host, Share{})),
		"ShareUses":     second(s.ShareUses(ctx, host)),
		"Allow":         second(s.Allow(ctx, LoginStarts, "x")),
		"Forgive":       s.Forgive(ctx, LoginStarts, "x"),
	}
	for name, err := range calls {
		if err == nil || errors.Is(err, ErrNotFound) {
			t.Errorf("%s: got %v, want that Redis does not answer", name, err)
		}
	}
}
