package reconcile

import (
	"context"
	"errors"
	"maps"
	"testing"

	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/routes"
)

func TestSharesArePublishedForThePodsOwnHosts(t *testing.T) {
	k := pods.Key{Tenant: "dev", ID: "web"}
	gate := &routes.AccessGate{}
	rs := []routes.Route{
		{Host: "web.pods.dev.localhost", Net: "default", AccessGate: gate},
		{Host: "web-open.pods.dev.localhost", Net: "open"},
		{Host: "www.example.org", Net: "default", AccessGate: gate},
	}
	var got map[string]string
	r := &Reconciler{Deps: Deps{Shares: func(_ context.Context, _ pods.Key, hosts map[string]string) error {
		got = hosts
		return nil
	}}}
	if err := r.publishShares(t.Context(), k, rs); err != nil {
		t.Fatal(err)
	}
	if want := map[string]string{"default": "web.pods.dev.localhost"}; !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	away := errors.New("redis does not answer")
	r.Shares = func(context.Context, pods.Key, map[string]string) error { return away }
	if err := r.publishShares(t.Context(), k, rs[1:2]); err != nil {
		t.Errorf("a pod without an access gate: got %v", err)
	}
	if err := r.publishShares(t.Context(), k, rs); !errors.Is(err, away) {
		t.Errorf("got %v, want %v", err, away)
	}
}
