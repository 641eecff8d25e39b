package sni

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tapis-project/podway/routes"
)

// Causes with which the context of a session ends before the session does.
var (
	ErrRevoked  = errors.New("the route was removed or changed")
	ErrDraining = errors.New("the edge is shutting down")

	// ErrKicked is an ErrRevoked too.
	ErrKicked = fmt.Errorf("an administrator ended it: %w", ErrRevoked)
)

// Defaults of [Sessions.Limit].
const (
	DefaultMaxPerPod    = 1000
	DefaultMaxPerTenant = 5000
)

// Sessions holds what is going on right now, by route: TCP sessions and HTTP
// requests. It ends exactly those whose route stops to be the one they were
// opened for. One registry serves the whole process, so that a new configuration
// interrupts nothing. Make it with [NewSessions]; it is safe for concurrent use.
type Sessions struct {
	stats  *Stats
	seed   maphash.Seed
	shards [64]shard
	total  atomic.Int64
	lastID atomic.Uint64

	pods                *counts[routes.PodRef]
	tenants             *counts[string]
	maxPods, maxTenants atomic.Int64

	mu    sync.Mutex
	empty []chan struct{} // closed when total becomes 0
}

// shard holds the sessions of some of the hosts.
type shard struct {
	mu     sync.Mutex
	byHost map[string]map[*Session]struct{}
}

// Session is one TCP session or one HTTP request.
type Session struct {
	ID     uint64        // unique in this process
	Entry  *routes.Entry // the route it was opened for
	Client netip.AddrPort
	Since  time.Time

	received, sent atomic.Int64
	all            *Sessions
	stats          *protocolStats
	cancel         context.CancelCauseFunc
	refused        error
}

// NewSessions returns an empty registry that counts in stats.
func NewSessions(stats *Stats) *Sessions {
	s := &Sessions{stats: stats, seed: maphash.MakeSeed(), pods: newCounts[routes.PodRef](), tenants: newCounts[string]()}
	s.Limit(DefaultMaxPerPod, DefaultMaxPerTenant)
	for i := range s.shards {
		s.shards[i].byHost = map[string]map[*Session]struct{}{}
	}
	return s
}

// Limit sets how many sessions and requests may go on at once at one pod, unless
// its route says otherwise, and at all pods of one tenant. It ends none of those
// that go on.
func (s *Sessions) Limit(perPod, perTenant int) {
	s.maxPods.Store(int64(perPod))
	s.maxTenants.Store(int64(perTenant))
}

// enter counts a session of a route, unless a limit forbids it.
func (s *Sessions) enter(e *routes.Entry) error {
	most := int(s.maxPods.Load())
	if e.Limits != nil && e.Limits.MaxConnections > 0 {
		most = e.Limits.MaxConnections
	}
	pod := routes.PodRef{Tenant: e.Tenant, Pod: e.Pod}
	if !s.pods.enter(pod, most) {
		return ErrPodLimit
	}
	if !s.tenants.enter(e.Tenant, int(s.maxTenants.Load())) {
		s.pods.leave(pod)
		return ErrTenantLimit
	}
	return nil
}

func (s *Sessions) leave(e *routes.Entry) {
	s.pods.leave(routes.PodRef{Tenant: e.Tenant, Pod: e.Pod})
	s.tenants.leave(e.Tenant)
}

func (s *Sessions) shard(host string) *shard {
	return &s.shards[maphash.String(s.seed, host)%uint64(len(s.shards))]
}

// Open registers a session of route e, which the caller found in table. The
// returned context ends with the session, or earlier with a cause: ErrRevoked as
// soon as the route changes, ErrDraining when the edge shuts down. It is
// ErrRevoked from the start if the route changed after the caller found it. Over
// a limit the session is over at once, see [Session.Refused].
//
// The caller must call [Session.End].
func (s *Sessions) Open(ctx context.Context, table *routes.Table, e *routes.Entry, client netip.AddrPort) (context.Context, *Session) {
	ctx, cancel := context.WithCancelCause(ctx)
	x := &Session{
		ID: s.lastID.Add(1), Entry: e, Client: client, Since: time.Now(),
		all: s, stats: s.stats.of(e.Protocol), cancel: cancel,
	}
	if x.refused = s.enter(e); x.refused != nil {
		x.stats.refused.Add(1)
		cancel(x.refused)
		return ctx, x
	}
	x.stats.opened.Add(1)
	x.stats.active.Add(1)
	s.total.Add(1)

	sh := s.shard(e.Host)
	sh.mu.Lock()
	m := sh.byHost[e.Host]
	if m == nil {
		m = map[*Session]struct{}{}
		sh.byHost[e.Host] = m
	}
	m[x] = struct{}{}
	sh.mu.Unlock()

	// A change between the caller's look at the table and the registration was
	// announced too early to find this session.
	if now := table.Get(e.Host); now != e && !x.mayStay(now) {
		x.Revoke()
	}
	return ctx, x
}

// Refused returns [ErrPodLimit] or [ErrTenantLimit] if the session must not begin,
// else nil.
func (x *Session) Refused() error { return x.refused }

// End removes the session. It may be called more than once.
func (x *Session) End() {
	s := x.all
	sh := s.shard(x.Entry.Host)
	sh.mu.Lock()
	m := sh.byHost[x.Entry.Host]
	_, live := m[x]
	if delete(m, x); len(m) == 0 {
		delete(sh.byHost, x.Entry.Host)
	}
	sh.mu.Unlock()
	x.cancel(nil)
	if !live {
		return
	}
	s.leave(x.Entry)
	x.stats.active.Add(-1)
	if s.total.Add(-1) == 0 {
		s.mu.Lock()
		for _, c := range s.empty {
			close(c)
		}
		s.empty = nil
		s.mu.Unlock()
	}
}

// mayStay reports whether the session may go on while its host has route now,
// nil for none.
func (x *Session) mayStay(now *routes.Entry) bool {
	return now != nil && now.SameTarget(x.Entry) && now.Allows(x.Client.Addr())
}

// Revoke ends the session with [ErrRevoked], as if its route had changed. It does
// not wait for the end, and may be called after it.
func (x *Session) Revoke() { x.end(ErrRevoked) }

func (x *Session) end(cause error) {
	x.stats.revoked.Add(1)
	x.cancel(cause)
}

// countReceived counts bytes from the client.
func (x *Session) countReceived(n int) {
	x.received.Add(int64(n))
	x.stats.received.Add(int64(n))
}

// countSent counts bytes to the client.
func (x *Session) countSent(n int) {
	x.sent.Add(int64(n))
	x.stats.sent.Add(int64(n))
}

// Changed ends the sessions of a host that must not go on with its new route,
// nil if it has none. It is meant for [routes.Table.OnChange], and does not wait
// for the sessions to end.
func (s *Sessions) Changed(host string, _, now *routes.Entry) {
	sh := s.shard(host)
	var gone []*Session
	sh.mu.Lock()
	for x := range sh.byHost[host] {
		if !x.mayStay(now) {
			gone = append(gone, x)
		}
	}
	sh.mu.Unlock()
	for _, x := range gone {
		x.Revoke()
	}
}

// Sweep compares every session with table, as Changed does for one host. It is
// for a table that takes the place of another.
func (s *Sessions) Sweep(table *routes.Table) {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		hosts := make([]string, 0, len(sh.byHost))
		for h := range sh.byHost {
			hosts = append(hosts, h)
		}
		sh.mu.Unlock()
		for _, h := range hosts {
			s.Changed(h, nil, table.Get(h))
		}
	}
}

// Len returns how many sessions there are.
func (s *Sessions) Len() int { return int(s.total.Load()) }

// Info describes a session for people.
type Info struct {
	ID       uint64          `json:"id"` // unique at this edge
	Host     string          `json:"host"`
	Tenant   string          `json:"tenant"`
	Pod      string          `json:"pod"`
	Protocol routes.Protocol `json:"protocol"`
	Client   netip.AddrPort  `json:"client"`
	Since    time.Time       `json:"since"`
	Received int64           `json:"received"` // bytes from the client
	Sent     int64           `json:"sent"`     // bytes to the client
}

// List returns the sessions of one host, or of all if host is empty: at most
// limit of them, oldest first.
func (s *Sessions) List(host string, limit int) []Info {
	var all []Info
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		for h, m := range sh.byHost {
			if host != "" && h != host {
				continue
			}
			for x := range m {
				all = append(all, x.info())
			}
		}
		sh.mu.Unlock()
	}
	slices.SortFunc(all, func(a, b Info) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Host, b.Host), a.Client.Compare(b.Client))
	})
	return all[:min(len(all), limit)]
}

func (x *Session) info() Info {
	return Info{
		ID: x.ID, Host: x.Entry.Host, Tenant: x.Entry.Tenant, Pod: x.Entry.Pod, Protocol: x.Entry.Protocol,
		Client: x.Client, Since: x.Since, Received: x.received.Load(), Sent: x.sent.Load(),
	}
}

// Kick ends the sessions of a host, or the one with an id if host is empty, with
// [ErrKicked]. It returns how many there were, and does not wait for their end.
func (s *Sessions) Kick(host string, id uint64) int {
	n := 0
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		for h, m := range sh.byHost {
			for x := range m {
				if h == host || host == "" && x.ID == id {
					x.end(ErrKicked)
					n++
				}
			}
		}
		sh.mu.Unlock()
	}
	return n
}

// Drain waits until no session is left or ctx ends, and then ends the rest with
// ErrDraining. It returns how many it had to end.
func (s *Sessions) Drain(ctx context.Context) int {
	select {
	case <-s.whenEmpty():
		return 0
	case <-ctx.Done():
	}
	n := 0
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		for _, m := range sh.byHost {
			for x := range m {
				x.cancel(ErrDraining)
				n++
			}
		}
		sh.mu.Unlock()
	}
	return n
}

// WaitEmpty waits until no session is left, or ctx ends. It reports which.
func (s *Sessions) WaitEmpty(ctx context.Context) bool {
	select {
	case <-s.whenEmpty():
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *Sessions) whenEmpty() <-chan struct{} {
	c := make(chan struct{})
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.total.Load() == 0 {
		close(c)
		return c
	}
	s.empty = append(s.empty, c)
	return c
}
