package kube

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/tests/kubetest"
	"github.com/tapis-project/podway/tests/parts"
)

// TestMain keeps client-go from writing about the faults that tests make.
func TestMain(m *testing.M) {
	LogTo(quietLog())
	os.Exit(m.Run())
}

// limit bounds the wait for anything, on a machine that does much else.
const limit = 90 * time.Second

// testLog shows what the code under test has to say with the test that made it.
func testLog(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
}

// quietLog drops what a reconciler has to say about faults that a test makes.
func quietLog() *slog.Logger { return slog.New(slog.DiscardHandler) }

// restricted makes the API server refuse what is not.
var restricted = map[string]string{labelEnforce: levelRestricted}

// open opens a cluster that is closed with the test, and waits until it knows
// what is there.
func open(t testing.TB, o Options) *Cluster {
	t.Helper()
	if o.Site == "" {
		o.Site = "dev"
	}
	if o.Logger == nil {
		o.Logger = testLog(t)
	}
	c, err := New(o)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(c.Close)
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if err := c.Synced(ctx); err != nil {
		t.Fatalf("Synced: %v", err)
	}
	return c
}

// openIn opens a cluster whose pods live in one namespace of their own.
func openIn(t testing.TB, s *kubetest.Server, namespace string) *Cluster {
	t.Helper()
	return open(t, Options{REST: s.RESTConfig(), Namespace: namespace, Unmanaged: true})
}

// workload returns a pod of tenant dev with one http entry.
func workload(id, image string) pods.Workload {
	return pods.Workload{
		Key: pods.Key{Tenant: "dev", ID: pods.ID(id)}, UID: "uid-of-" + id, Site: "dev", Image: image,
		Ports:       map[string]pods.Port{"default": {Protocol: pods.NetHTTP, Number: 5000}},
		Resources:   pods.DefaultSettings().Default,
		Credentials: pods.Credentials{UserUsername: id, UserPassword: "generated-user-" + id, AdminPassword: "generated-admin-" + id},
	}
}

// image returns an image that does what a behaviour says.
func image(b kubetest.Behaviour) string { return "podway/" + string(b) + ":1" }

func applyTo(t testing.TB, c *Cluster, w pods.Workload) {
	t.Helper()
	if err := c.Apply(t.Context(), w); err != nil {
		t.Fatalf("Apply: %v", err)
	}
}

// await waits until the observation of a pod is as wanted, and returns it.
func await(t testing.TB, c *Cluster, k pods.Key, what string, ok func(pods.Observation) bool) pods.Observation {
	t.Helper()
	var o pods.Observation
	parts.Eventually(t, limit, func() error {
		var err error
		if o, err = c.Observe(t.Context(), k); err != nil {
			return err
		}
		if ok(o) {
			return nil
		}
		return fmt.Errorf("got %+v, want %s", o, what)
	})
	return o
}

func isReady(o pods.Observation) bool   { return o.Ready }
func isAbsent(o pods.Observation) bool  { return !o.Present }
func isNothing(o pods.Observation) bool { return !o.Present && !o.Retained }

// ready applies a workload and waits until it is ready.
func ready(t testing.TB, c *Cluster, w pods.Workload) pods.Observation {
	t.Helper()
	applyTo(t, c, w)
	return await(t, c, w.Key, "ready", isReady)
}
