package certificates

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/controlplane/internal/store"
	"github.com/tapis-project/podway/controlplane/internal/store/tempstore"
	"github.com/tapis-project/podway/tests/parts"
)

const (
	stateKey = "podway:{default}:certs:state"
	wildcard = "*.pods.tacc.tapis.io"
	custom   = "www.example.org"
	plain    = "db.pods.cyverse.org" // of a tenant whose zone has no wildcard
)

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a watcher with a real Redis and a real store, and a clock of its own.
type bench struct {
	*Watcher

	t      *testing.T
	redis  *parts.Redis
	client *redis.Client
	store  *store.Store

	mu  sync.Mutex
	now time.Time
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, redis: parts.StartRedis(t), now: noon, store: tempstore.New(t)}
	b.client = redis.NewClient(&redis.Options{Addr: b.redis.Addr})
	t.Cleanup(func() { _ = b.client.Close() })
	b.Watcher = b.watcher()
	return b
}

// watcher returns one of several on the same Redis.
func (b *bench) watcher() *Watcher {
	w, err := NewWatcher(Options{
		Client: b.client, Poll: 20 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
		Now: func() time.Time { b.mu.Lock(); defer b.mu.Unlock(); return b.now },
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return w
}

// note has an edge note the state of a certificate of tenant tacc, changed now.
func (b *bench) note(subject, status string, notAfter time.Time, reason string) {
	b.t.Helper()
	b.noteOf("tacc", subject, status, notAfter, reason)
}

func (b *bench) noteOf(tenant, subject, status string, notAfter time.Time, reason string) {
	b.t.Helper()
	n, err := json.Marshal(note{Tenant: tenant, Status: status, NotAfter: notAfter, Error: reason, Changed: b.Now()})
	if err != nil {
		b.t.Fatal(err)
	}
	b.set(subject, string(n))
}

func (b *bench) set(subject, text string) {
	b.t.Helper()
	if err := b.client.HSet(b.t.Context(), stateKey, subject, text).Err(); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) lookNow() {
	b.t.Helper()
	if err := b.look(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) after(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = b.now.Add(d)
}

func (b *bench) want(host string, want pods.Certificate) {
	b.t.Helper()
	if got := b.Certificate(host); got != want {
		b.t.Errorf("%s: got %+v, want %+v", host, got, want)
	}
}

func TestCertificate(t *testing.T) {
	b := newBench(t)
	year := noon.AddDate(1, 0, 0)
	b.note(wildcard, "valid", year, "")
	b.note("data.example.org", "pending", time.Time{}, "")
	b.note(custom, "failed", time.Time{}, "no such host")
	b.note("old.example.org", "valid", noon.Add(-time.Hour), "the authority is away")
	b.note("hand.example.org", "valid", noon, "")
	// As docs/certificates.md shows it.
	b.set("docs.example.org", `{"subject": "docs.example.org", "tenant": "tacc", "status": "valid", "issuer": "R11", `+
		`"not_after": "2027-02-19T10:00:00Z", "changed": "2026-03-01T10:00:12Z"}`)
	b.set("junk.example.org", `{"status":`)
	b.set("huge.example.org", `{"status":"valid","error":"`+strings.Repeat("x", maxNote)+`"}`)
	b.set("no host", `{"status":"valid"}`)
	b.want("web.pods.tacc.tapis.io", pods.Certificate{}) // nothing was read yet
	b.lookNow()
	for host, want := range map[string]pods.Certificate{
		"web.pods.tacc.tapis.io":   {State: pods.CertReady, Since: noon},
		"a.web.pods.tacc.tapis.io": {}, // a wildcard is for one label
		"data.example.org":         {State: pods.CertProvisioning, Since: noon},
		custom:                     {State: pods.CertFailed, Since: noon, Reason: "no such host"},
		"old.example.org":          {State: pods.CertFailed, Since: noon.Add(-time.Hour), Reason: "the authority is away"},
		"hand.example.org":         {State: pods.CertFailed, Since: noon, Reason: "it has expired"},
		"docs.example.org":         {State: pods.CertReady, Since: time.Date(2026, 3, 1, 10, 0, 12, 0, time.UTC)},
		"junk.example.org":         {},
		"huge.example.org":         {},
		"no host":                  {},
		"else.example.org":         {},
		"localhost":                {},
	} {
		b.want(host, want)
	}
}

func TestACertificateStaysReady(t *testing.T) {
	const host = "web.pods.tacc.tapis.io"
	b := newBench(t)
	year := noon.AddDate(1, 0, 0)
	b.note(wildcard, "valid", year, "")
	b.lookNow()
	ready := pods.Certificate{State: pods.CertReady, Since: noon}

	b.after(time.Hour)
	b.note(wildcard, "pending", time.Time{}, "") // an edge starts
	b.lookNow()
	b.want(host, ready)

	b.after(time.Hour)
	b.note(wildcard, "valid", year, "could not be renewed")
	b.lookNow()
	b.want(host, ready)

	b.redis.Kill()
	if err := b.look(t.Context()); err == nil {
		t.Error("got no error without Redis, want one")
	}
	b.want(host, ready)
}

// tenants knows two; their pods are below these domains.
type tenants struct{}

func (tenants) Tenant(_ context.Context, id string) (pods.Tenant, error) {
	url, ok := map[string]string{"tacc": "https://tacc.tapis.io", "cyverse": "https://cyverse.org"}[id]
	if !ok {
		return pods.Tenant{}, pods.Errorf(pods.NotFound, "no tenant %s", id)
	}
	return pods.Tenant{ID: id, BaseURL: url}, nil
}

// create makes a pod that has verified the custom domain, "": it has none.
func (b *bench) create(tenant string, id pods.ID, domain string) pods.Key {
	b.t.Helper()
	p := pods.Pod{
		Key: pods.Key{Tenant: tenant, ID: id}, UID: tenant + "-" + string(id), Owner: "ann", Requested: pods.On,
		CreatedAt: noon, UpdatedAt: noon, State: pods.State{Status: pods.StatusRequested, Since: noon},
	}
	if domain != "" {
		p.Definition.Networking = pods.Set(map[string]pods.NetDef{"default": {CustomDomain: pods.Set(domain)}})
	}
	if err := b.store.CreatePod(b.t.Context(), p, pods.Credentials{}, pods.Event{At: noon, Text: "created"}); err != nil {
		b.t.Fatal(err)
	}
	claims, err := b.store.Domains(b.t.Context(), pods.DomainQuery{Tenant: tenant, Pod: id})
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range claims {
		c.State = pods.DomainVerified
		if _, err := b.store.SaveDomainCheck(b.t.Context(), c); err != nil {
			b.t.Fatal(err)
		}
	}
	return p.Key
}

// said returns what a pod's log says but for its first line.
func (b *bench) said(k pods.Key) []string {
	b.t.Helper()
	events, err := b.store.Events(b.t.Context(), k)
	if err != nil {
		b.t.Fatal(err)
	}
	said := []string{}
	for _, e := range events[1:] {
		said = append(said, e.Text)
	}
	return said
}

func TestReports(t *testing.T) {
	b := newBench(t)
	web, web2, db := b.create("tacc", "web", custom), b.create("tacc", "www", ""), b.create("cyverse", "db", "")
	reports := Reports{Store: b.store, Tenants: tenants{}}
	year := noon.AddDate(1, 0, 0)
	said := map[string]pods.CertState{}
	tell := func() {
		t.Helper()
		b.lookNow()
		b.report(t.Context(), reports, said)
	}
	want := func(k pods.Key, texts ...string) {
		t.Helper()
		if got := b.said(k); !slices.Equal(got, texts) {
			t.Errorf("%s: got %q, want %q", k, got, texts)
		}
	}
	const ready = "certificate of " + custom + " is ready"

	b.note(wildcard, "failed", time.Time{}, "of nobody's")
	b.noteOf("gone", "web.pods.gone.org", "failed", time.Time{}, "of no tenant")
	b.note("else.pods.tacc.tapis.io", "failed", time.Time{}, "of no pod")
	b.note("www.example.com", "failed", time.Time{}, "looks like a pod's")
	b.note(custom, "pending", time.Time{}, "")
	b.noteOf("cyverse", plain, "valid", year, "")
	tell()
	want(web)
	want(web2)
	want(db, "certificate of "+plain+" is ready")

	b.note(custom, "valid", year, "")
	tell()
	want(web, ready)
	said = map[string]pods.CertState{} // another process goes on
	tell()
	want(web, ready)

	b.note(custom, "failed", time.Time{}, "refused\nby "+strings.Repeat("x", 400))
	tell()
	b.note(custom, "failed", time.Time{}, "refused again")
	tell()
	failed := "certificate of " + custom + " failed: refused by " + strings.Repeat("x", maxReason-len("refused by "))
	want(web, ready, failed)

	b.note(custom, "valid", year, "")
	tell()
	want(web, ready, failed, ready)
	want(db, "certificate of "+plain+" is ready")
}

func TestRunAndReport(t *testing.T) {
	b := newBench(t)
	web := b.create("tacc", "web", custom)
	b.note(custom, "valid", noon.AddDate(1, 0, 0), "")
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = b.Run(ctx) })
	running.Go(func() { _ = b.Report(ctx, Reports{Store: b.store, Tenants: tenants{}}) })
	parts.Eventually(t, 20*time.Second, func() error {
		if got := b.said(web); len(got) != 1 {
			return fmt.Errorf("got %q, want one line", got)
		}
		return nil
	})
	b.redis.Kill()
	b.redis.Start() // empty: nothing is known of any certificate
	parts.Eventually(t, 20*time.Second, func() error {
		if got := b.Certificate(custom); got != (pods.Certificate{}) {
			return errors.New("got a certificate of an empty Redis")
		}
		return nil
	})
	cancel()
	running.Wait()
}

func TestANamespaceThatIsNone(t *testing.T) {
	if _, err := NewWatcher(Options{Namespace: "a}b"}); err == nil {
		t.Error("got no error, want one")
	}
}
