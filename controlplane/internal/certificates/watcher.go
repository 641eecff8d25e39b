package certificates

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/routes/redisroutes"
)

// maxNote bounds what an edge may have noted of one certificate.
const maxNote = 4 << 10 // bytes

// Options of a [Watcher]. Client is required.
type Options struct {
	Client    redis.UniversalClient
	Namespace string           // in Redis. Default: "default"
	Poll      time.Duration    // between two looks. Default: 10s
	Now       func() time.Time // Default: time.Now
	Logger    *slog.Logger     // Default: slog.Default()
}

// Watcher knows the certificates of the edges. It is safe for concurrent use.
type Watcher struct {
	Options

	key   string
	known atomic.Pointer[map[string]note] // by subject; never changed

	mu   sync.Mutex
	read chan struct{} // closed after each look
}

// note is what an edge notes of a certificate, as package caddymodules/certs
// writes it.
type note struct {
	Tenant   string    `json:"tenant"`
	Status   string    `json:"status"` // pending, valid, failed
	NotAfter time.Time `json:"not_after"`
	Error    string    `json:"error"`
	Changed  time.Time `json:"changed"`
}

// NewWatcher returns a Watcher that knows nothing until Run.
func NewWatcher(o Options) (*Watcher, error) {
	key, err := redisroutes.Key(o.Namespace, "certs:state")
	if err != nil {
		return nil, err
	}
	o.Poll = cmp.Or(o.Poll, 10*time.Second)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	w := &Watcher{Options: o, key: key, read: make(chan struct{})}
	w.known.Store(new(map[string]note{}))
	return w, nil
}

// Run looks again and again until ctx ends, and returns nil. While Redis can't be
// read, what was known counts.
func (w *Watcher) Run(ctx context.Context) error {
	tick := time.NewTicker(w.Poll)
	defer tick.Stop()
	failed := false
	for {
		err := w.look(ctx)
		if err != nil && !failed && ctx.Err() == nil {
			w.Logger.Warn("reading states of certificates failed", "error", err)
		}
		failed = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Certificate returns what is known of the certificate that serves a host: its
// own, or the wildcard of its zone.
func (w *Watcher) Certificate(host string) pods.Certificate {
	known := *w.known.Load()
	n, ok := known[host]
	if _, zone, cut := strings.Cut(host, "."); !ok && cut {
		n, ok = known["*."+zone]
	}
	if !ok {
		return pods.Certificate{}
	}
	return n.certificate(w.Now())
}

func (n note) certificate(now time.Time) pods.Certificate {
	switch {
	case n.Status == "pending":
		return pods.Certificate{State: pods.CertProvisioning, Since: n.Changed}
	case n.valid(now):
		return pods.Certificate{State: pods.CertReady, Since: n.Changed}
	case n.Status == "valid":
		return pods.Certificate{State: pods.CertFailed, Since: n.NotAfter, Reason: cmp.Or(n.Error, "it has expired")}
	default:
		return pods.Certificate{State: pods.CertFailed, Since: n.Changed, Reason: n.Error}
	}
}

func (n note) valid(now time.Time) bool { return n.Status == "valid" && now.Before(n.NotAfter) }

// after returns what counts now that n was read after before. An edge that starts
// notes a certificate as pending until it has loaded it, while others serve it.
func (n note) after(before note, now time.Time) note {
	switch {
	case n.Status == "pending" && before.valid(now):
		return before
	case n.Status == "valid" && before.valid(now) && n.NotAfter.Equal(before.NotAfter):
		n.Changed = before.Changed // it was ready all the time
	}
	return n
}

// look reads what the edges have noted.
func (w *Watcher) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, w.Poll)
	defer cancel()
	noted, err := w.Client.HGetAll(ctx, w.key).Result()
	if err != nil {
		return fmt.Errorf("reading %s: %w", w.key, err)
	}
	now, before := w.Now(), *w.known.Load()
	known := make(map[string]note, len(noted))
	for subject, text := range noted {
		var n note
		if routes.ValidateHost(subject) != nil || len(text) > maxNote || json.Unmarshal([]byte(text), &n) != nil {
			continue // nothing of this is worth more than the rest
		}
		known[subject] = n.after(before[subject], now)
	}
	w.known.Store(&known)
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.read)
	w.read = make(chan struct{})
	return nil
}

// next returns a channel that is closed after the next look.
func (w *Watcher) next() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.read
}
