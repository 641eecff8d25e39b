package login_test

import (
	"testing"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

func TestSharesArePublishedAndReadBack(t *testing.T) {
	f := newFixture(t)
	check(t, f.gate.BeginCounting(t.Context()))
	k := pods.Key{Tenant: "dev", ID: "web"}
	now := time.Now().UTC()
	check(t, f.store.CreatePod(t.Context(), pods.Pod{
		Key: k, UID: "uid", Permissions: pods.Permissions{"ann": pods.LevelAdmin}, CreatedAt: now, UpdatedAt: now, State: pods.State{Since: now},
	}, pods.NewCredentials("web"), pods.Event{At: now, Text: "made"}))
	secret := f.login.NewLinkSecret()
	link := pods.AccessToken{
		ID: "one", Pod: k, Kind: pods.AccessLink, CreatedAt: now, ExpiresAt: new(now.Add(time.Hour)), MaxUses: 2,
		Hashes: map[string]string{"default": f.login.HashSecret(pods.AccessLink, host, secret)},
	}
	word := pods.AccessToken{
		ID: "two", Pod: k, Kind: pods.AccessPassword, CreatedAt: now,
		Hashes: map[string]string{"default": f.login.HashSecret(pods.AccessPassword, host, "open sesame"), "else": "x"},
	}
	for _, x := range []pods.AccessToken{link, word} {
		check(t, f.store.AddAccessToken(t.Context(), "uid", x))
	}
	hosts := map[string]string{"default": host, "else": "web-else.pods.dev.localhost"}
	check(t, f.login.PublishShares(t.Context(), k, hosts))
	shares, err := f.gate.Shares(t.Context(), host)
	check(t, err)
	if len(shares) != 2 || !shares["one"].Matches(host, secret) || shares["one"].Matches("x", secret) || !shares["two"].Matches(host, "open sesame") ||
		!shares["one"].Valid(now) || shares["one"].Valid(now.Add(2*time.Hour)) {
		t.Fatalf("got %+v", shares)
	}
	if at, err := f.gate.Shares(t.Context(), hosts["else"]); err != nil || len(at) != 1 {
		t.Errorf("at the other entry: got %v and %v, want the password only", at, err)
	}
	for range 2 {
		if ok, err := f.gate.Redeem(t.Context(), host, shares["one"]); !ok || err != nil {
			t.Fatalf("redeeming: %v, %v", ok, err)
		}
	}
	uses, err := f.login.ShareUses(t.Context(), hosts)
	check(t, err)
	if uses["one"].Count != 2 || uses["one"].Last.IsZero() || uses["two"].Count != 0 {
		t.Errorf("got %+v", uses)
	}
	check(t, f.store.RevokeAccessToken(t.Context(), k, "one"))
	check(t, f.login.PublishShares(t.Context(), k, hosts))
	if shares, err = f.gate.Shares(t.Context(), host); err != nil || !shares["one"].Revoked {
		t.Errorf("after the revocation: got %+v, %v", shares, err)
	}
	check(t, f.login.WithdrawShares(t.Context(), hosts))
	if shares, err = f.gate.Shares(t.Context(), host); err != nil || len(shares) != 0 {
		t.Errorf("after the withdrawal: got %+v, %v", shares, err)
	}
}
