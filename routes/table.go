package routes

import (
	"crypto/x509"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Entry is a validated route with everything parsed that a connection or a
// request asks for. It is immutable once it is in a table.
type Entry struct {
	Route

	allow    []netip.Prefix
	excluded []*regexp.Regexp
	users    map[string]struct{} // of the gate, lower-case
	clientCA *x509.CertPool      // nil asks for no certificate
}

// Compile validates r and parses it for serving.
func Compile(r Route) (*Entry, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	if r.TLS == "" {
		r.TLS = Terminate
	}
	e := &Entry{Route: r}
	if r.ClientCA != "" {
		e.clientCA, _ = parseClientCA(r.ClientCA) // validated above
	}
	for _, a := range r.IPAllow {
		p, _ := ParsePrefix(a) // validated above
		e.allow = append(e.allow, p)
	}
	if r.Gate != nil {
		for _, p := range r.Gate.ExcludedPathRegex {
			e.excluded = append(e.excluded, regexp.MustCompile(p)) // validated above
		}
		e.users = make(map[string]struct{}, len(r.Gate.AllowedUsers))
		for _, u := range r.Gate.AllowedUsers {
			e.users[strings.ToLower(u)] = struct{}{}
		}
	}
	return e, nil
}

// Allows reports whether the route's address list admits a client.
func (e *Entry) Allows(client netip.Addr) bool {
	if len(e.allow) == 0 {
		return true
	}
	client = client.Unmap().WithZone("")
	return slices.ContainsFunc(e.allow, func(p netip.Prefix) bool { return p.Contains(client) })
}

// Admits reports whether the gate lets a user of a tenant pass. The names in its
// list are compared without regard to case:
//
//	alice       a user of the route's tenant
//	alice@tacc  a user of one of the gate's other tenants
//	*@tacc      everyone of that tenant
//	*           everyone of the route's tenant and of the other tenants
//
// It is false for a route without a gate.
func (e *Entry) Admits(tenant, username string) bool {
	if e.Gate == nil || username == "" {
		return false
	}
	guest := tenant != e.Tenant
	if guest && !slices.Contains(e.Gate.Tenants, tenant) {
		return false
	}
	name := strings.ToLower(username)
	switch {
	case e.lists("*"):
		return true
	case guest:
		return e.lists("*@"+tenant) || e.lists(name+"@"+tenant)
	default:
		// A user who is called like a guest is not the guest.
		i := strings.LastIndexByte(name, '@')
		return e.lists(name) && (i < 0 || !slices.Contains(e.Gate.Tenants, name[i+1:]))
	}
}

func (e *Entry) lists(name string) bool {
	_, ok := e.users[strings.ToLower(name)]
	return ok
}

// ExcludedPatterns are the compiled patterns of the gate's ExcludedPathRegex.
func (e *Entry) ExcludedPatterns() []*regexp.Regexp { return e.excluded }

// SameTarget reports whether connections that were opened under old may go on
// under e: both live, same run, same upstream side, and no gate where there was
// none. Other settings that decide who may connect are not compared; the edge
// checks those per connection.
func (e *Entry) SameTarget(old *Entry) bool {
	return e.State == Live && old.State == Live &&
		e.Tenant == old.Tenant && e.Pod == old.Pod && e.Net == old.Net &&
		e.Instance == old.Instance && e.Protocol == old.Protocol && e.TLS == old.TLS &&
		e.ClientCA == old.ClientCA && (old.Gated() || !e.Gated()) && slices.Equal(e.Upstreams, old.Upstreams)
}

// Table holds the routes an edge serves, by host. Reads take no lock and a
// write touches one host only, so 100,000 routes cost a reader the same as one.
// It is safe for concurrent use. Make one with [NewTable].
type Table struct {
	m   sync.Map // host → *Entry
	len atomic.Int64

	mu           sync.Mutex // serialises writers, so that observers see changes in order
	beforeChange []func(host string, old, now *Entry)
	onChange     []func(host string, old, now *Entry)
}

// NewTable returns an empty table.
func NewTable() *Table { return new(Table) }

// OnChange registers f to be called after each change of the table, in the
// order of the changes: old is nil for a new host, now is nil for a removed
// one. f must not block and must not write to the table.
func (t *Table) OnChange(f func(host string, old, now *Entry)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.onChange = append(t.onChange, f)
}

// BeforeChange registers f to be called ahead of each change, as [Table.OnChange]
// does after it: readers still find old. It is for what has to be there when a
// reader finds now.
func (t *Table) BeforeChange(f func(host string, old, now *Entry)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.beforeChange = append(t.beforeChange, f)
}

// Lookup returns the route of a host as [NormalizeHost] returns it, or nil. An
// exact name beats the wildcard of its parent domain.
func (t *Table) Lookup(host string) *Entry {
	if e := t.Get(host); e != nil {
		return e
	}
	if i := strings.IndexByte(host, '.'); i > 0 {
		return t.Get("*" + host[i:])
	}
	return nil
}

// Get returns the route stored under exactly this host, or nil.
func (t *Table) Get(host string) *Entry {
	v, ok := t.m.Load(host)
	if !ok {
		return nil
	}
	return v.(*Entry)
}

// Set stores e under its host unless the table holds a newer version of it. It
// reports whether the table changed.
func (t *Table) Set(e *Entry) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.Get(e.Host)
	if old != nil && old.Version > e.Version {
		return false
	}
	t.store(old, e)
	return true
}

// Put stores e under its host whatever version the table holds. It is for a
// writer that knows the order of things by itself: versions of two epochs can't
// be compared.
func (t *Table) Put(e *Entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.store(t.Get(e.Host), e)
}

// Delete removes the route of a host unless the table holds one that is newer
// than version. It reports whether the table changed.
func (t *Table) Delete(host string, version uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.Get(host)
	if old == nil || old.Version > version {
		return false
	}
	t.remove(old)
	return true
}

// Remove removes the route of a host whatever its version, see [Table.Put]. It
// reports whether there was one.
func (t *Table) Remove(host string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.Get(host)
	if old == nil {
		return false
	}
	t.remove(old)
	return true
}

func (t *Table) store(old, e *Entry) {
	tell(t.beforeChange, e.Host, old, e)
	t.m.Store(e.Host, e)
	if old == nil {
		t.len.Add(1)
	}
	tell(t.onChange, e.Host, old, e)
}

func (t *Table) remove(old *Entry) {
	tell(t.beforeChange, old.Host, old, nil)
	t.m.Delete(old.Host)
	t.len.Add(-1)
	tell(t.onChange, old.Host, old, nil)
}

func tell(observers []func(host string, old, now *Entry), host string, old, now *Entry) {
	for _, f := range observers {
		f(host, old, now)
	}
}

// Len returns the number of routes.
func (t *Table) Len() int { return int(t.len.Load()) }

// Range calls f for each route, in no order, until f returns false.
func (t *Table) Range(f func(*Entry) bool) {
	t.m.Range(func(_, v any) bool { return f(v.(*Entry)) })
}
