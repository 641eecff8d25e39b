package redisroutes

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tapis-project/podway/tests/parts"
)

// edgeACL are the rights that docs/routes.md gives an edge, for namespace default.
const edgeACL = "%R~podway:{default}:* %RW~podway:{default}:cancel:* %W~podway:{default}:edges:status %W~podway:{default}:edges:answers:* -@all +hello +auth +ping +select +mget +hscan +xread +xrange +get +set +expire +del +eval +evalsha +time +hset +hdel +xadd"

// clusterACL are those it needs besides in a Redis Cluster.
const clusterACL = "+cluster|slots +cluster|shards +command +readonly"

// publisherACL are the rights that docs/routes.md gives the control plane.
const publisherACL = "~podway:{default}:* -@all +hello +auth +ping +select +multi +exec +mget +get +set +del +incr " +
	"+hscan +hset +hdel +hlen +xadd +xread +xrange +xrevrange +eval +evalsha +config|get +hgetall +time"

// setACL gives a user rights that are written as in an ACL file.
func setACL(t *testing.T, s *server, user, password, rights string) {
	t.Helper()
	args := []any{"acl", "setuser", user, "reset", "on", ">" + password}
	for r := range strings.FieldsSeq(rights) {
		args = append(args, r)
	}
	s.do(t, args...)
}

// R1: an edge with the documented rights follows routes and shares cancel keys,
// and can change nothing else.
func TestRightsOfAnEdge(t *testing.T) {
	s := startReal(t)
	setACL(t, s, "edge", "pw", edgeACL)
	cp := startControlPlane(t, s)
	cp.set("db", "1")
	o, err := ParseURL("redis://edge:pw@" + s.addr)
	if err != nil {
		t.Fatal(err)
	}
	e := startEdge(t, s, func(w *WatcherOptions) { w.Redis = o })
	e.serves(cp.hosts())
	cp.set("db", "2")
	e.serves(cp.hosts())
	sharesCancelKeys(t, o)
	answersCommands(t, s, o)

	as := redis.NewUniversalClient(o)
	t.Cleanup(func() { _ = as.Close() })
	for name, args := range map[string][]any{
		"changing a route":            {"hset", "podway:{default}:routes", "a", "b"},
		"removing all routes":         {"del", "podway:{default}:routes"},
		"changing the version":        {"set", "podway:{default}:version", "9"},
		"a route by way of a script":  {"eval", "return redis.call('SET', KEYS[1], '9')", "1", "podway:{default}:version"},
		"another namespace":           {"get", "podway:{other}:version"},
		"cancel keys of another":      {"set", "podway:{other}:cancel:1", "x"},
		"other keys":                  {"set", "x", "y"},
		"emptying Redis":              {"flushall"},
		"the configuration of Redis":  {"config", "get", "*"},
		"the list of all keys":        {"keys", "*"},
		"rights":                      {"acl", "list"},
		"other clients' connections":  {"client", "kill", "type", "normal"},
		"commands to other edges":     {"xadd", "podway:{default}:edges:commands", "*", "a", "b"},
		"a write to the log":          {"xadd", "podway:{default}:log", "*", "a", "b"},
		"time to live of routes":      {"expire", "podway:{default}:routes", "1"},
		"copying routes into its own": {"copy", "podway:{default}:routes", "podway:{default}:cancel:1"},
	} {
		if err := as.Do(t.Context(), args...).Err(); err == nil || !strings.Contains(err.Error(), "NOPERM") {
			t.Errorf("%s: got %v, want NOPERM", name, err)
		}
	}
}

// R1: the control plane publishes with the documented rights, also after a loss.
func TestRightsOfTheControlPlane(t *testing.T) {
	s := startReal(t)
	setACL(t, s, "control", "pw", publisherACL)
	followsAt(t, s, "redis://control:pw@"+s.addr)
	if denied, ok := s.do(t, "acl", "log").([]any); !ok || len(denied) > 0 {
		t.Errorf("got refusals %v, want none", denied)
	}
}

// sharesCancelKeys uses every call of CancelKeys.
func sharesCancelKeys(t *testing.T, o *redis.UniversalOptions) {
	t.Helper()
	k, err := NewCancelKeys(o, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Close() })
	if err := k.Put(t.Context(), map[string]string{"1": "a", "2": "b"}); err != nil {
		t.Fatal(err)
	}
	if v, ok, err := k.Get(t.Context(), "1"); err != nil || !ok || v != "a" {
		t.Errorf("got %q, %v, %v, want a", v, ok, err)
	}
	if err := k.Remove(t.Context(), "1", "a"); err != nil {
		t.Error(err)
	}
	if _, ok, err := k.Get(t.Context(), "1"); err != nil || ok {
		t.Errorf("got %v, %v, want none", ok, err)
	}
}

// The rights in the documentation are those of the test.
func TestDocumentedRights(t *testing.T) {
	page := readFile(t, "../../docs/routes.md")
	for _, rights := range []string{edgeACL, clusterACL, publisherACL} {
		if !strings.Contains(page, rights) {
			t.Errorf("docs/routes.md does not have %q", rights)
		}
	}
}

// R1: TLS, with a client certificate.
func TestTLS(t *testing.T) {
	rs := parts.StartRedisTLS(t)
	s := &server{addr: rs.Addr, kill: rs.Kill, start: rs.Start}
	s.connect(t)
	setACL(t, s, "edge", "pw", edgeACL)
	cp := startControlPlane(t, s)
	cp.set("db", "1")
	o, err := ParseURL(rs.URL("edge", "pw"))
	if err != nil {
		t.Fatal(err)
	}
	e := startEdge(t, s, func(w *WatcherOptions) { w.Redis = o })
	e.serves(cp.hosts())
	sharesCancelKeys(t, o)

	base := "rediss://edge:pw@" + rs.TLSAddr
	for _, tt := range []struct{ name, url, want string }{
		{"an authority that the machine does not know", base, "unknown authority"},
		{"no client certificate", base + "?ca=" + rs.CA, "certificate"},
		{"a client certificate of somebody else", base + "?ca=" + rs.CA + "&cert=" + rs.StrangerCert + "&key=" + rs.StrangerKey, "unknown certificate authority"},
		{"a wrong password", rs.URL("edge", "no"), "WRONGPASS"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o, err := ParseURL(tt.url)
			if err != nil {
				t.Fatal(err)
			}
			o.MaxRetries = -1
			c := redis.NewUniversalClient(o)
			defer c.Close()
			if err := c.Ping(t.Context()).Err(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

// All keys that a script or a transaction touches are in one slot of a cluster,
// whatever the namespace is.
func TestKeysShareASlot(t *testing.T) {
	s := startReal(t, "--cluster-enabled", "yes")
	for _, namespace := range []string{"", "a", "tacc.prod", "x-1_2"} {
		k, err := newKeys(namespace)
		if err != nil {
			t.Fatal(err)
		}
		want := s.do(t, "cluster", "keyslot", k.version)
		for _, key := range []string{k.epoch, k.routes, k.log, k.complete, k.cancel + "1", k.cancel + "{other}"} {
			if got := s.do(t, "cluster", "keyslot", key); got != want {
				t.Errorf("%s: got slot %v, want %v as %s", key, got, want, k.version)
			}
		}
	}
}

// R1: in a cluster, an edge with the documented rights.
func TestRightsInACluster(t *testing.T) {
	s := startReal(t, "--cluster-enabled", "yes")
	s.do(t, "cluster", "addslotsrange", "0", "16383")
	setACL(t, s, "edge", "pw", edgeACL+" "+clusterACL)
	o, err := ParseURL("redis://edge:pw@" + s.addr + "?cluster=true")
	if err != nil {
		t.Fatal(err)
	}
	parts.Eventually(t, limit, func() error {
		if info := s.client.ClusterInfo(t.Context()).Val(); !strings.Contains(info, "cluster_state:ok") {
			return fmt.Errorf("got %q", info)
		}
		return nil
	})
	cp := startControlPlane(t, s)
	cp.set("db", "1")
	startEdge(t, s, func(w *WatcherOptions) { w.Redis = o }).serves(cp.hosts())
	sharesCancelKeys(t, o)
	denied := s.client.Do(t.Context(), "acl", "log").Val()
	if entries, ok := denied.([]any); !ok || len(entries) > 0 {
		t.Errorf("got refusals %v, want none", denied)
	}
}

// A client certificate that was renewed is used without a restart.
func TestRenewedClientCertificate(t *testing.T) {
	rs := parts.StartRedisTLS(t)
	o, err := ParseURL("rediss://" + rs.TLSAddr + "?ca=" + rs.CA + "&cert=" + rs.StrangerCert + "&key=" + rs.StrangerKey)
	if err != nil {
		t.Fatal(err)
	}
	o.MaxRetries = -1
	ping := func() error {
		c := redis.NewUniversalClient(o)
		defer c.Close()
		return c.Ping(context.Background()).Err()
	}
	if err := ping(); err == nil {
		t.Fatal("the certificate of a stranger is accepted")
	}
	writeFile(t, rs.StrangerCert, readFile(t, rs.Cert))
	writeFile(t, rs.StrangerKey, readFile(t, rs.Key))
	if err := ping(); err != nil {
		t.Error(err)
	}
}
