package storetest

import (
	"testing"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// LoginStore is what [RunLogin] needs: tokens belong to pods.
type LoginStore interface {
	pods.Store
	pods.OAuthClientStore
	pods.AccessTokenStore
}

// RunLogin checks that a store keeps every promise of pods.OAuthClientStore and
// pods.AccessTokenStore. open is as that of [Run].
func RunLogin(t *testing.T, open func(t *testing.T) LoginStore) {
	for _, tt := range loginTests {
		t.Run(tt.name, func(t *testing.T) {
			store := open(t)
			tt.run(&suite{T: t, Store: store}, store)
		})
	}
}

func newAccessToken(k pods.Key, id string) pods.AccessToken {
	return pods.AccessToken{
		ID: id, Pod: k, Label: "for " + id, Kind: pods.AccessLink, CreatedBy: "ann", CreatedAt: t0, ExpiresAt: new(t0),
		MaxUses: 3, Hashes: map[string]string{"default": "hash of " + id},
	}
}

var loginTests = []struct {
	name string
	run  func(s *suite, store LoginStore)
}{
	{"an OAuth2 client is replaced as a whole, and each tenant has its own", func(s *suite, store LoginStore) {
		_, err := store.OAuthClient(s.Context(), "dev")
		s.wantCode(err, pods.NotFound)
		for _, c := range []pods.OAuthClient{{ID: "a", Key: "k", CallbackURL: "u"}, {ID: "b", Key: "l", CallbackURL: "v"}} {
			if err := store.SetOAuthClient(s.Context(), "dev", c); err != nil {
				s.Fatal(err)
			}
			got, err := store.OAuthClient(s.Context(), "dev")
			if err != nil {
				s.Fatal(err)
			}
			wantEqual(s, "client", got, c)
		}
		_, err = store.OAuthClient(s.Context(), "other")
		s.wantCode(err, pods.NotFound)
	}},
	{"access tokens come back as they were added, in order, and end with their pod", func(s *suite, store LoginStore) {
		p := s.create("web")
		a, b := newAccessToken(p.Key, "b"), newAccessToken(p.Key, "a")
		b.ExpiresAt, b.MaxUses, b.Kind, b.CreatedAt = nil, 0, pods.AccessPassword, t0.Add(1000)
		for _, t := range []pods.AccessToken{b, a} {
			if err := store.AddAccessToken(s.Context(), p.UID, t); err != nil {
				s.Fatal(err)
			}
		}
		wantEqual(s, "tokens", tokensOf(s, store, p.Key), []pods.AccessToken{a, b})
		if err := store.RevokeAccessToken(s.Context(), p.Key, "a"); err != nil {
			s.Fatal(err)
		}
		b.Revoked = true
		wantEqual(s, "tokens", tokensOf(s, store, p.Key), []pods.AccessToken{a, b})
		s.wantCode(store.RevokeAccessToken(s.Context(), p.Key, "none"), pods.NotFound)
		s.delete(p.Key)
		wantEqual(s, "tokens", len(tokensOf(s, store, p.Key)), 0)
		s.wantCode(store.AddAccessToken(s.Context(), p.UID, a), pods.NotFound)
	}},
	{"a pod has a bound of access tokens, of which those revoked do not count", func(s *suite, store LoginStore) {
		p := s.create("web")
		for i := range pods.MaxAccessTokens {
			if err := store.AddAccessToken(s.Context(), p.UID, newAccessToken(p.Key, string(rune('A'+i)))); err != nil {
				s.Fatal(err)
			}
		}
		one := newAccessToken(p.Key, "one more")
		s.wantCode(store.AddAccessToken(s.Context(), p.UID, one), pods.Invalid)
		if err := store.RevokeAccessToken(s.Context(), p.Key, "A"); err != nil {
			s.Fatal(err)
		}
		if err := store.AddAccessToken(s.Context(), p.UID, one); err != nil {
			s.Fatal(err)
		}
	}},
	{"what can't be stored is refused or not found", func(s *suite, store LoginStore) {
		p := s.create("web")
		bad := newAccessToken(p.Key, "x")
		bad.Label = "\x00"
		s.wantCode(store.AddAccessToken(s.Context(), p.UID, bad), pods.Invalid)
		s.wantCode(store.SetOAuthClient(s.Context(), "\x00", pods.OAuthClient{}), pods.Invalid)
		_, err := store.OAuthClient(s.Context(), "\xff")
		s.wantCode(err, pods.NotFound)
		s.wantCode(store.RevokeAccessToken(s.Context(), p.Key, "\x00"), pods.NotFound)
	}},
}

func tokensOf(s *suite, store LoginStore, k pods.Key) []pods.AccessToken {
	s.Helper()
	all, err := store.AccessTokens(s.Context(), k)
	if err != nil {
		s.Fatal(err)
	}
	return all
}
