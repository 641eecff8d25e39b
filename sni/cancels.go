package sni

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/sni/pgwire"
)

// How often one client may try to cancel. A key can be guessed only by trying.
const (
	cancelsPerSecond = 10
	cancelBurst      = 10
)

// cancelTimeout bounds what is done for one CancelRequest.
const cancelTimeout = 5 * time.Second

// CancelTarget is where the PostgreSQL session is that a cancel key is for.
type CancelTarget struct {
	Host     string `json:"host"`     // of the route
	Instance string `json:"instance"` // of the pod
	Upstream string `json:"upstream"` // ip:port that the session is connected to
}

// CancelStore shares the targets of cancel keys with other edges. A key is known
// to it by an id that does not reveal it. Its methods are safe for concurrent
// use.
type CancelStore interface {
	// Put and Remove note a change and return at once; Redis may be slow.
	Put(id string, t CancelTarget)
	Remove(id string, t CancelTarget)

	// Get returns the target that any edge put, false if there is none.
	Get(ctx context.Context, id string) (CancelTarget, bool, error)
}

// Cancels knows which pod a PostgreSQL CancelRequest is for. Such a request comes
// on a connection of its own, mostly without TLS, and names its session by a key
// and nothing else. Make it with [NewCancels]; it is safe for concurrent use.
type Cancels struct {
	rates *rates
	store atomic.Pointer[CancelStore]

	mu   sync.Mutex
	byID map[string]CancelTarget
}

// NewCancels returns an empty map that is shared with nobody.
func NewCancels() *Cancels {
	return &Cancels{rates: newRates(cancelsPerSecond, cancelBurst), byID: map[string]CancelTarget{}}
}

// Share shares the keys with other edges through s, from now on.
func (k *Cancels) Share(s CancelStore) { k.store.Store(&s) }

// All returns the keys of this edge's sessions by their ids.
func (k *Cancels) All() map[string]CancelTarget {
	k.mu.Lock()
	defer k.mu.Unlock()
	return maps.Clone(k.byID)
}

// cancelID returns the id of a key. Whoever reads the shared ids can't cancel.
func cancelID(pid uint32, key []byte) string {
	sum := sha256.Sum256(append(binary.BigEndian.AppendUint32(nil, pid), key...))
	return hex.EncodeToString(sum[:16])
}

// learn notes the key of a session until forget is called. A key that another
// session has already stays with that one: a pod may send any key it likes.
func (k *Cancels) learn(pid uint32, key []byte, t CancelTarget) (forget func()) {
	id := cancelID(pid, key)
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, taken := k.byID[id]; taken {
		return func() {}
	}
	k.byID[id] = t
	store := k.store.Load()
	if store != nil {
		(*store).Put(id, t)
	}
	return func() {
		k.mu.Lock()
		delete(k.byID, id)
		k.mu.Unlock()
		if s := k.store.Load(); s != nil {
			(*s).Remove(id, t)
		}
	}
}

// find returns the target of a key, of this edge or another one.
func (k *Cancels) find(ctx context.Context, pid uint32, key []byte) (CancelTarget, bool) {
	id := cancelID(pid, key)
	k.mu.Lock()
	t, ok := k.byID[id]
	k.mu.Unlock()
	store := k.store.Load()
	if ok || store == nil {
		return t, ok
	}
	t, ok, err := (*store).Get(ctx, id)
	return t, ok && err == nil // without Redis the keys of other edges are unknown
}

// cancel forwards a CancelRequest to the pod whose session it names, and says
// what became of it. The client gets no answer in any case: it could try keys.
func (d *Demux) cancel(c *Conn, s pgwire.Startup) Outcome {
	client := AddrOf(c.RemoteAddr()).Addr()
	if !d.Cancels.rates.take(clientPrefix(client), time.Now()) {
		return ClientRate
	}
	ctx, stop := context.WithTimeout(context.Background(), cancelTimeout)
	defer stop()
	t, ok := d.Cancels.find(ctx, s.PID, s.Key)
	if !ok {
		return PostgresCancel
	}
	// Other edges are believed in what a key is for, not in who may connect.
	e := d.Table.Get(t.Host)
	if e == nil || e.State != routes.Live || e.Instance != t.Instance || !e.Allows(client) {
		return PostgresCancel
	}
	one := &routes.Entry{Route: e.Route}
	one.Upstreams = []string{t.Upstream}
	up, err := d.dial(ctx, c, one)
	if err != nil {
		d.Log.Warn("forwarding cancel request failed", "host", e.Host, "tenant", e.Tenant, "pod_id", e.Pod, "error", err)
		return UpstreamFailed
	}
	defer up.Close()
	return forwardCancel(up, s)
}

// forwardCancel sends the request and waits for the server to close, as clients
// do: it has acted on the request by then.
func forwardCancel(up *net.TCPConn, s pgwire.Startup) Outcome {
	if err := up.SetDeadline(time.Now().Add(cancelTimeout)); err != nil {
		return UpstreamFailed
	}
	if _, err := up.Write(s.Append(nil)); err != nil {
		return UpstreamFailed
	}
	_, _ = up.Read(make([]byte, 1)) // it sends nothing
	return CancelForwarded
}

// newKeyWatcher returns what looks for the cancel key in the start of a session
// with the server at upstream, and what forgets it at the session's end.
func (k *Cancels) newKeyWatcher(e *routes.Entry, upstream net.Addr) (watch func([]byte) bool, forget func()) {
	scanner := new(pgwire.KeyScanner)
	drop := func() {}
	watch = func(b []byte) bool {
		more := scanner.Scan(b)
		if scanner.Key != nil {
			drop = k.learn(scanner.PID, scanner.Key, CancelTarget{Host: e.Host, Instance: e.Instance, Upstream: upstream.String()})
		}
		return more
	}
	return watch, func() { drop() }
}
