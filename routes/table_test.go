package routes

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
)

func entry(t testing.TB, host string, version uint64) *Entry {
	t.Helper()
	r := live(HTTP)
	r.Host, r.Version = host, version
	e, err := Compile(r)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestTableKeepsTheNewestVersion(t *testing.T) {
	table := NewTable()
	if !table.Set(entry(t, "a.b", 5)) {
		t.Error("set of a new host: got unchanged")
	}
	if table.Set(entry(t, "a.b", 4)) {
		t.Error("set of an older version: got changed")
	}
	if !table.Set(entry(t, "a.b", 5)) {
		t.Error("set of the same version: got unchanged")
	}
	if table.Delete("a.b", 4) {
		t.Error("delete by an older version: got changed")
	}
	if got := table.Get("a.b").Version; got != 5 {
		t.Errorf("got version %v, want 5", got)
	}
	if !table.Delete("a.b", 5) || table.Get("a.b") != nil {
		t.Error("delete: got the route still there")
	}
	if table.Delete("a.b", 9) {
		t.Error("delete of a missing host: got changed")
	}
}

func TestPutAndRemoveIgnoreVersions(t *testing.T) {
	table := NewTable()
	table.Put(entry(t, "a.b", 5))
	table.Put(entry(t, "a.b", 1))
	if got := table.Get("a.b").Version; got != 1 || table.Len() != 1 {
		t.Errorf("got version %v of %v routes, want 1 of 1", got, table.Len())
	}
	if !table.Remove("a.b") || table.Remove("a.b") || table.Len() != 0 {
		t.Errorf("got %v routes after remove, want 0", table.Len())
	}
}

// Precedence: the exact name, then the wildcard of the parent domain; a wildcard
// stands for one label.
func TestLookup(t *testing.T) {
	table := NewTable()
	table.Put(entry(t, "*.pods.x", 1))
	table.Put(entry(t, "a.pods.x", 2))
	for host, want := range map[string]string{
		"a.pods.x":   "a.pods.x",
		"b.pods.x":   "*.pods.x",
		"*.pods.x":   "*.pods.x",
		"pods.x":     "",
		"c.b.pods.x": "",
		"x":          "",
		"":           "",
		".pods.x":    "",
	} {
		got := ""
		if e := table.Lookup(host); e != nil {
			got = e.Host
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", host, got, want)
		}
	}
	table.Remove("a.pods.x")
	if got := table.Lookup("a.pods.x"); got == nil || got.Host != "*.pods.x" {
		t.Errorf("after its route is gone: got %v, want the wildcard", got)
	}
}

func TestOnChangeTellsEachChangeInOrder(t *testing.T) {
	table := NewTable()
	var got []string
	version := func(e *Entry) string {
		if e == nil {
			return "-"
		}
		return fmt.Sprint(e.Version)
	}
	for _, name := range []string{"1", "2"} {
		table.OnChange(func(host string, old, now *Entry) {
			got = append(got, name+" "+host+" "+version(old)+">"+version(now))
		})
	}
	table.Set(entry(t, "a.b", 1))
	table.Set(entry(t, "a.b", 3))
	table.Set(entry(t, "a.b", 2)) // refused: no change
	table.Put(entry(t, "a.b", 2))
	table.Delete("a.b", 1) // refused
	table.Delete("a.b", 2)
	table.Remove("a.b") // nothing there
	want := []string{
		"1 a.b ->1", "2 a.b ->1",
		"1 a.b 1>3", "2 a.b 1>3",
		"1 a.b 3>2", "2 a.b 3>2",
		"1 a.b 2>-", "2 a.b 2>-",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestBeforeChangeComesAheadOfReaders(t *testing.T) {
	table := NewTable()
	table.BeforeChange(func(host string, old, now *Entry) {
		if got := table.Get(host); got != old || got == now {
			t.Errorf("%s: readers find %p ahead of the change from %p to %p", host, got, old, now)
		}
	})
	changes := 0
	table.OnChange(func(host string, _, now *Entry) {
		if got := table.Get(host); got != now {
			t.Errorf("%s: readers find %p after the change to %p", host, got, now)
		}
		changes++
	})
	table.Set(entry(t, "a.b", 1))
	table.Set(entry(t, "a.b", 3))
	table.Put(entry(t, "a.b", 2))
	table.Delete("a.b", 2)
	if changes != 4 {
		t.Errorf("got %d changes, want 4", changes)
	}
}

func TestRangeVisitsAllUntilToldToStop(t *testing.T) {
	table := NewTable()
	for i := range 10 {
		table.Put(entry(t, fmt.Sprintf("h%d.x", i), 1))
	}
	n := 0
	table.Range(func(*Entry) bool { n++; return true })
	if n != 10 || table.Len() != 10 {
		t.Errorf("got %v of %v, want 10", n, table.Len())
	}
	n = 0
	table.Range(func(*Entry) bool { n++; return n < 3 })
	if n != 3 {
		t.Errorf("got %v, want 3", n)
	}
}

// Whatever the interleaving, observers see a chain: each change begins with what
// the one before it left.
func TestTableUnderConcurrentUse(t *testing.T) {
	table := NewTable()
	last := map[string]*Entry{}
	table.OnChange(func(host string, old, now *Entry) {
		if last[host] != old {
			t.Errorf("%s: got a change from %p, want from %p", host, old, last[host])
		}
		last[host] = now
	})
	const hosts, writers, rounds = 4, 4, 200
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range rounds {
				host := fmt.Sprintf("h%d.x", i%hosts)
				switch (i + w) % 5 {
				case 0:
					table.Delete(host, uint64(i))
				case 1:
					table.Remove(host)
				case 2:
					table.Put(entry(t, host, uint64(i)))
				default:
					table.Set(entry(t, host, uint64(i)))
				}
			}
		})
		wg.Go(func() {
			for i := range rounds {
				if e := table.Lookup(fmt.Sprintf("h%d.x", i%hosts)); e != nil {
					e.Allows(netip.IPv6Loopback())
				}
				table.Range(func(*Entry) bool { return true })
			}
		})
	}
	wg.Wait()
	n := 0
	for host, e := range last {
		if e != nil {
			n++
		}
		if got := table.Get(host); got != e {
			t.Errorf("%s: got %p, want %p", host, got, e)
		}
	}
	if table.Len() != n {
		t.Errorf("got length %v, want %v", table.Len(), n)
	}
}

func TestAllows(t *testing.T) {
	for _, tc := range []struct {
		name   string
		allow  []string
		client string
		want   bool
	}{
		{"everyone without a list", nil, "203.0.113.1", true},
		{"a listed address", []string{"10.0.0.1"}, "10.0.0.1", true},
		{"its neighbour", []string{"10.0.0.1"}, "10.0.0.2", false},
		{"inside a prefix", []string{"10.0.0.0/8"}, "10.255.0.1", true},
		{"outside of it", []string{"10.0.0.0/8"}, "11.0.0.1", false},
		{"a mapped client of a listed prefix", []string{"10.0.0.0/8"}, "::ffff:10.0.0.1", true},
		{"a mapped client outside of it", []string{"10.0.0.0/8"}, "::ffff:11.0.0.1", false},
		{"a client of a mapped address", []string{"::ffff:10.0.0.1"}, "10.0.0.1", true},
		{"a client of a mapped prefix", []string{"::ffff:10.0.0.0/104"}, "10.9.9.9", true},
		{"IPv6 in a prefix", []string{"fd00::/8"}, "fd12::1", true},
		{"IPv6 with a zone", []string{"fe80::/10"}, "fe80::1%eth0", true},
		{"all of IPv6 is not IPv4", []string{"::/0"}, "10.0.0.1", false},
		{"the second of two", []string{"10.0.0.1", "10.0.0.2"}, "10.0.0.2", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := live(TCP)
			r.IPAllow = tc.allow
			e, err := Compile(r)
			if err != nil {
				t.Fatal(err)
			}
			if got := e.Allows(netip.MustParseAddr(tc.client)); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
	r := live(TCP)
	r.IPAllow = []string{"0.0.0.0/0", "::/0"}
	e, err := Compile(r)
	if err != nil {
		t.Fatal(err)
	}
	if e.Allows(netip.Addr{}) {
		t.Error("an unknown client: got allowed")
	}
}

func TestCompile(t *testing.T) {
	r := live(HTTP)
	r.Gate = &Gate{ExcludedPathRegex: []string{"^/public/", "^/health$"}}
	e, err := Compile(r)
	if err != nil {
		t.Fatal(err)
	}
	if e.TLS != Terminate {
		t.Errorf("got TLS mode %q, want %q", e.TLS, Terminate)
	}
	if got := e.ExcludedPatterns(); len(got) != 2 || !got[1].MatchString("/health") {
		t.Errorf("got patterns %v", got)
	}
}

func TestSameTarget(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*Route)
		want   bool
	}{
		{"nothing changed", func(*Route) {}, true},
		{"a newer version", func(r *Route) { r.Version++ }, true},
		{"other clients may connect", func(r *Route) { r.IPAllow = []string{"10.0.0.1"} }, true},
		{"other limits", func(r *Route) { r.Limits = &Limits{MaxConnections: 1} }, true},
		{"the default TLS mode written out", func(r *Route) { r.TLS = Terminate }, true},
		{"another run", func(r *Route) { r.Instance = "2" }, false},
		{"another upstream", func(r *Route) { r.Upstreams = []string{"10.1.2.4:5432"} }, false},
		{"one more upstream", func(r *Route) { r.Upstreams = append(r.Upstreams, "10.1.2.4:5432") }, false},
		{"another pod", func(r *Route) { r.Pod = "x" }, false},
		{"another tenant", func(r *Route) { r.Tenant = "x" }, false},
		{"another networking entry", func(r *Route) { r.Net = "x" }, false},
		{"another protocol", func(r *Route) { r.Protocol = TCP }, false},
		{"passed through", func(r *Route) { r.TLS = Passthrough }, false},
		{"stopped", func(r *Route) { r.State = Stopped }, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			old, err := Compile(live(Postgres))
			if err != nil {
				t.Fatal(err)
			}
			r := live(Postgres)
			tc.change(&r)
			now, err := Compile(r)
			if err != nil {
				t.Fatal(err)
			}
			if got := now.SameTarget(old); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
			if got := old.SameTarget(now); got != tc.want {
				t.Errorf("the other way round: got %v, want %v", got, tc.want)
			}
		})
	}
}
