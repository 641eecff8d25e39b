package enrol_test

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tapis-project/podway/controlplane/internal/enrol"
	"github.com/tapis-project/podway/routes/redisgate"
	"github.com/tapis-project/podway/routes/redisroutes"
	"github.com/tapis-project/podway/tests/parts"
)

func options() enrol.Options {
	return enrol.Options{Name: "paris", RedisURL: "redis://127.0.0.1:6379", Upstreams: []string{"10.0.0.0/8"}}
}

func TestNewRefuses(t *testing.T) {
	for name, change := range map[string]func(*enrol.Options){
		"a name that is none of a user":   func(o *enrol.Options) { o.Name = "a b" },
		"no name":                         func(o *enrol.Options) { o.Name = "" },
		"a name with a rule in it":        func(o *enrol.Options) { o.Name = "a\n+@all" },
		"no networks":                     func(o *enrol.Options) { o.Upstreams = nil },
		"Redis over the network in clear": func(o *enrol.Options) { o.RedisURL = "redis://redis.example.org" },
		"an address of something else":    func(o *enrol.Options) { o.RedisURL = "https://redis.example.org" },
		"a namespace with a brace":        func(o *enrol.Options) { o.Namespace = "a}b" },
	} {
		t.Run(name, func(t *testing.T) {
			o := options()
			change(&o)
			if _, err := enrol.New(o); err == nil {
				t.Error("got no error")
			}
		})
	}
}

func TestNewReplacesTheLogin(t *testing.T) {
	o := options()
	o.RedisURL = "rediss://control:secret@redis.example.org/1?ca=/etc/podway/redis-ca.crt"
	kit, err := enrol.New(o)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(kit.Env, "secret") || !strings.Contains(kit.Env, "PODWAY_REDIS_URL=rediss://edge-paris:") ||
		!strings.Contains(kit.Env, "@redis.example.org/1?ca=/etc/podway/redis-ca.crt\n") {
		t.Errorf("got %s", kit.Env)
	}
	again, err := enrol.New(o)
	if err != nil {
		t.Fatal(err)
	}
	if again.Env == kit.Env {
		t.Error("two edges got one password")
	}
}

func TestWriteKeepsThePasswordPrivateAndReplacesNothing(t *testing.T) {
	kit, err := enrol.New(options())
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "edge")
	if err := kit.Write(dir); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, "edge.env"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v, want mode 0600", info.Mode(), err)
	}
	if err := kit.Write(dir); err == nil {
		t.Error("the files of an edge were replaced")
	}
}

// An enrolled edge follows routes and logs visitors in, and changes nothing else.
func TestRightsOfAnEnrolledEdge(t *testing.T) {
	admin, addr := startRedis(t)
	for _, namespace := range []string{"default", "tacc.prod"} {
		t.Run(namespace, func(t *testing.T) {
			o := options()
			o.Namespace, o.RedisURL = namespace, "redis://"+addr
			edge := enrolEdge(t, admin, o)
			useGate(t, edge, namespace)
			useCertificates(t, edge, namespace)
			for what, args := range map[string][]any{
				"changing a route":        {"hset", key(t, namespace, "routes"), "a", "b"},
				"changing who may log in": {"hset", key(t, namespace, "gate:tenants"), "a", "b"},
				"making a share":          {"hset", key(t, namespace, "gate:shares:a.example.org"), "a", "b"},
				"another namespace":       {"get", key(t, "other", "version")},
				"commands to edges":       {"xadd", key(t, namespace, "edges:commands"), "*", "a", "b"},
				"emptying Redis":          {"flushall"},
				"rights":                  {"acl", "list"},
				"another channel":         {"publish", "other", "x"},
			} {
				if err := edge.Do(t.Context(), args...).Err(); err == nil || !strings.Contains(err.Error(), "NOPERM") {
					t.Errorf("%s: got %v, want NOPERM", what, err)
				}
			}
		})
	}
}

func TestASecondEnrolmentReplacesThePassword(t *testing.T) {
	admin, addr := startRedis(t)
	o := options()
	o.RedisURL = "redis://" + addr
	first := enrolEdge(t, admin, o)
	if err := first.Close(); err != nil { // what is connected stays
		t.Fatal(err)
	}
	kit, err := enrol.New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := kit.Create(t.Context(), admin); err != nil {
		t.Fatal(err)
	}
	if err := connect(t, kit).Ping(t.Context()).Err(); err != nil {
		t.Errorf("the second password: %v", err)
	}
}

// The ACL file of the deployment gives both halves what they need, and an edge the
// same as an enrolment.
func TestACLFile(t *testing.T) {
	text, err := os.ReadFile("../../../deploy/redis/users.acl")
	if err != nil {
		t.Fatal(err)
	}
	kit, err := enrol.New(options())
	if err != nil {
		t.Fatal(err)
	}
	_, rights, _ := strings.Cut(kit.ACL, "resetchannels")
	if !strings.Contains(string(text), "user edge on >EDGE-PASSWORD resetchannels"+rights+"\n") {
		t.Errorf("the rights of an edge in deploy/redis/users.acl are not those of an enrolment:\n%s", text)
	}
	file := filepath.Join(t.TempDir(), "users.acl")
	if err := os.WriteFile(file, append(text, "user admin on >pw ~* &* +@all\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	rs := parts.StartRedis(t, "--aclfile", file)
	control := open(t, "redis://control:CONTROL-PASSWORD@"+rs.Addr)
	edge := open(t, "redis://edge:EDGE-PASSWORD@"+rs.Addr)
	useGate(t, edge, "default")
	store := gate(t, control, "default")
	if err := store.SetTenants(t.Context(), []redisgate.Tenant{}); err != nil {
		t.Errorf("the control plane's tenants: %v", err)
	}
	if err := store.SetShares(t.Context(), "a.example.org", nil); err != nil {
		t.Errorf("the control plane's shares: %v", err)
	}
	useGate(t, control, "default")
	wakes := key(t, "default", "wakes")
	sub := control.Subscribe(t.Context(), wakes)
	defer sub.Close()
	if _, err := sub.Receive(t.Context()); err != nil {
		t.Errorf("listening to other control planes: %v", err)
	}
	if err := control.Publish(t.Context(), wakes, "{}").Err(); err != nil {
		t.Errorf("waking other control planes: %v", err)
	}
	admin := open(t, "redis://admin:pw@"+rs.Addr)
	if denied, err := admin.Do(t.Context(), "acl", "log").Slice(); err != nil || len(denied) > 0 {
		t.Errorf("got refusals %v, %v, want none", denied, err)
	}
}

// useGate makes the calls that an edge's gate makes.
func useGate(t *testing.T, c redis.UniversalClient, namespace string) {
	t.Helper()
	s := gate(t, c, namespace)
	ctx := t.Context()
	x := redisgate.Session{Tenant: "t", Username: "u", Host: "a.example.org", Pod: "a", Created: time.Now(), Expires: time.Now().Add(time.Hour)}
	id, err := s.CreateSession(ctx, x, time.Hour)
	if err != nil {
		t.Fatalf("creating a session: %v", err)
	}
	if _, err := s.Session(ctx, id, x.Host, x.Pod); err != nil {
		t.Errorf("reading a session: %v", err)
	}
	if err := s.LogoutEverywhere(ctx, "t", "u"); err != nil {
		t.Errorf("logging out: %v", err)
	}
	if _, err := s.Allow(ctx, redisgate.Limit{Name: "try", Most: 5, Window: time.Minute}, "x"); err != nil {
		t.Errorf("counting attempts: %v", err)
	}
	if err := s.Publish(ctx, redisgate.Event{}); err != nil {
		t.Errorf("telling other edges: %v", err)
	}
	if _, err := s.Tenants(ctx); err != nil {
		t.Errorf("reading tenants: %v", err)
	}
	if _, err := s.Shares(ctx, "a.example.org"); err != nil {
		t.Errorf("reading shares: %v", err)
	}
	sub := c.Subscribe(ctx, key(t, namespace, "gate:revoked"))
	defer sub.Close()
	if _, err := sub.Receive(ctx); err != nil {
		t.Errorf("subscribing: %v", err)
	}
}

// useCertificates makes calls of the storage of certificates.
func useCertificates(t *testing.T, c redis.UniversalClient, namespace string) {
	t.Helper()
	for _, args := range [][]any{
		{"set", key(t, namespace, "certs:marker"), "x", "nx"},
		{"hset", key(t, namespace, "certs:values"), "a", "b"},
		{"zadd", key(t, namespace, "certs:index"), "0", "a"},
		{"zrange", key(t, namespace, "certs:index"), "-", "+", "bylex"},
		{"zrem", key(t, namespace, "certs:index"), "a"},
		{"hdel", key(t, namespace, "certs:values"), "a"},
		{"incr", key(t, namespace, "certs:fence")},
		{"eval", "return redis.call('SET', KEYS[1], '1', 'PX', 10)", "1", key(t, namespace, "certs:lock:a")},
	} {
		if err := c.Do(t.Context(), args...).Err(); err != nil {
			t.Errorf("%v: %v", args, err)
		}
	}
}

func gate(t *testing.T, c redis.UniversalClient, namespace string) *redisgate.Store {
	t.Helper()
	ring, err := redisgate.ParseKeyring(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	s, err := redisgate.New(redisgate.Options{Client: c, Namespace: namespace, Keyring: ring})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func key(t *testing.T, namespace, name string) string {
	t.Helper()
	k, err := redisroutes.Key(namespace, name)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// startRedis starts a Redis and returns a client that may do all.
func startRedis(t *testing.T) (admin redis.UniversalClient, addr string) {
	t.Helper()
	rs := parts.StartRedis(t)
	return open(t, "redis://"+rs.Addr), rs.Addr
}

// enrolEdge enrols an edge and returns its client.
func enrolEdge(t *testing.T, admin redis.UniversalClient, o enrol.Options) redis.UniversalClient {
	t.Helper()
	kit, err := enrol.New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := kit.Create(t.Context(), admin); err != nil {
		t.Fatal(err)
	}
	return connect(t, kit)
}

func connect(t *testing.T, kit enrol.Kit) redis.UniversalClient {
	t.Helper()
	line, _, _ := strings.Cut(kit.Env, "\n")
	_, address, _ := strings.Cut(line, "=")
	return open(t, address)
}

func open(t *testing.T, address string) redis.UniversalClient {
	t.Helper()
	o, err := redisroutes.ParseURL(address)
	if err != nil {
		t.Fatal(err)
	}
	c := redis.NewUniversalClient(o)
	t.Cleanup(func() { _ = c.Close() })
	return c
}
