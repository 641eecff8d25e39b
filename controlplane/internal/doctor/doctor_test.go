package doctor

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tapis-project/podway/controlplane/internal/config"
	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/controlplane/internal/store"
	"github.com/tapis-project/podway/podctl/diagnose"
	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/routes/keytext"
	"github.com/tapis-project/podway/routes/redisroutes"
	"github.com/tapis-project/podway/tests/parts"
)

// installation is all that is examined: a real store and a real Redis with a
// published route and an edge that has it.
type installation struct {
	t     *testing.T
	o     Options
	redis *parts.Redis
	admin *redis.Client
	edge  redisroutes.EdgeStatus
}

func newInstallation(t *testing.T) *installation {
	t.Helper()
	dir := t.TempDir()
	answers := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(answers.Close)
	i := &installation{t: t, redis: parts.StartRedis(t)}
	i.admin = redis.NewClient(&redis.Options{Addr: i.redis.Addr})
	t.Cleanup(func() { _ = i.admin.Close() })
	i.o = Options{
		Config: config.Config{
			Store: "sqlite:" + filepath.Join(dir, "podway.db"), KeyFile: filepath.Join(dir, "podway.key"),
			RedisURL: "redis://" + i.redis.Addr, Namespace: "default", TapisURL: answers.URL,
		},
		API: answers.URL, Volumes: dir, Settle: time.Second,
	}
	i.writeKey(1)
	i.migrate(i.o.Config.Store)
	i.publish("web")
	i.announce(func(*redisroutes.EdgeStatus) {})
	return i
}

func (i *installation) writeKey(b byte) {
	i.t.Helper()
	text := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{b}, keytext.Size))
	i.must(os.WriteFile(i.o.Config.KeyFile, []byte(text), 0o600))
}

func (i *installation) open(address string) *store.Store {
	i.t.Helper()
	keys, err := store.LoadKeyFile(i.o.Config.KeyFile)
	i.must(err)
	s, err := store.Open(i.t.Context(), address, store.Options{Keyring: keys})
	i.must(err)
	return s
}

func (i *installation) migrate(address string) {
	i.t.Helper()
	s := i.open(address)
	defer s.Close()
	i.must(s.Migrate(i.t.Context()))
}

func (i *installation) must(err error) {
	i.t.Helper()
	if err != nil {
		i.t.Fatal(err)
	}
}

// publish publishes a pod, as a control plane that knows no other does.
func (i *installation) publish(pod string) {
	i.t.Helper()
	p, err := redisroutes.NewPublisher(redisroutes.PublisherOptions{Client: i.admin, Logger: slog.New(slog.DiscardHandler)})
	i.must(err)
	i.must(p.SetPod(i.t.Context(), "dev", pod, []routes.Route{{
		Host: pod + ".pods.test", Tenant: "dev", Pod: pod, Net: "default", Protocol: routes.HTTP, State: routes.Live, Upstreams: []string{"10.0.0.1:1"},
	}}))
	i.must(p.Complete(i.t.Context()))
}

// announce says what an edge says that has all that is published, but for what
// change makes of it.
func (i *installation) announce(change func(*redisroutes.EdgeStatus)) {
	i.t.Helper()
	fleet, err := redisroutes.NewFleet(i.admin, "")
	i.must(err)
	p, err := fleet.Published(i.t.Context())
	i.must(err)
	now, err := fleet.Now(i.t.Context())
	i.must(err)
	i.edge = redisroutes.EdgeStatus{At: now, Ready: true, Synced: true, Epoch: p.Epoch, Version: p.Version, Routes: 1, Certificates: map[string]bool{"*.pods.test": true}}
	change(&i.edge)
	b, err := json.Marshal(i.edge)
	i.must(err)
	i.must(i.admin.HSet(i.t.Context(), "podway:{default}:edges:status", "e1/abc", b).Err())
}

func (i *installation) do(args ...any) {
	i.t.Helper()
	i.must(i.admin.Do(i.t.Context(), args...).Err())
}

// faults are the names of what is wrong in a report.
func faults(t *testing.T, r *diagnose.Report) []string {
	t.Helper()
	var names []string
	for _, f := range r.Findings {
		if f.Fault == "" {
			continue
		}
		if f.Found == "" || f.Remedy == "" {
			t.Errorf("%s: got found %q and remedy %q, want both", f.Fault, f.Found, f.Remedy)
		}
		names = append(names, f.Fault)
	}
	return names
}

func TestNothingIsWrongWithASoundInstallation(t *testing.T) {
	i := newInstallation(t)
	if got := faults(t, Examine(t.Context(), i.o)); len(got) > 0 {
		t.Errorf("got %v, want none", got)
	}
}

// Each fault is injected into a sound installation with a real store and a real
// Redis, and is the only one that is named.
func TestEachFaultIsNamed(t *testing.T) {
	for name, c := range map[string]struct {
		want   string
		inject func(*installation)
	}{
		"the key file is gone":               {FaultKeyFile, func(i *installation) { i.must(os.Remove(i.o.Config.KeyFile)) }},
		"the key file holds no key":          {FaultKeyFile, func(i *installation) { i.must(os.WriteFile(i.o.Config.KeyFile, []byte("x"), 0o600)) }},
		"everyone may read the key file":     {FaultKeyFileMode, func(i *installation) { i.must(os.Chmod(i.o.Config.KeyFile, 0o644)) }},
		"the key file is that of another":    {FaultStoreKey, otherKey},
		"the store is not there":             {FaultStoreUnreachable, func(i *installation) { i.o.Config.Store += ".gone" }},
		"the database server is down":        {FaultStoreUnreachable, func(i *installation) { i.o.Config.Store = postgresAt(parts.FreePort(i.t)) }},
		"the schema is not migrated":         {FaultStoreSchema, func(i *installation) { i.o.Config.Store = parts.StartPostgres(i.t).DSN }},
		"Redis is down":                      {FaultRedisUnreachable, func(i *installation) { i.redis.Kill() }},
		"Redis wants another password":       {FaultRedisLogin, func(i *installation) { i.do("config", "set", "requirepass", "pw") }},
		"the user may not publish":           {FaultRedisRights, readOnlyUser},
		"Redis is a replica":                 {FaultRedisReadOnly, replica},
		"Redis is full":                      {FaultRedisFull, func(i *installation) { i.do("config", "set", "maxmemory", "1mb") }},
		"Redis may throw routes away":        {FaultRedisEviction, func(i *installation) { i.do("config", "set", "maxmemory", "1gb", "maxmemory-policy", "allkeys-lru") }},
		"the clock is wrong":                 {FaultClock, func(i *installation) { i.o.Now = func() time.Time { return time.Now().Add(time.Hour) } }},
		"Redis came back empty":              {FaultRoutesUnpublished, func(i *installation) { i.do("flushall"); i.announce(func(*redisroutes.EdgeStatus) {}) }},
		"not all pods are published again":   {FaultRoutesIncomplete, func(i *installation) { i.do("del", "podway:{default}:complete") }},
		"no edge runs":                       {FaultEdgeNone, func(i *installation) { i.do("del", "podway:{default}:edges:status") }},
		"an edge died":                       {FaultEdgeSilent, announced(func(e *redisroutes.EdgeStatus) { e.At = e.At.Add(-time.Minute) })},
		"an edge missed a change":            {FaultEdgeBehind, func(i *installation) { i.publish("other") }},
		"an edge is cut off from Redis":      {FaultEdgeBehind, announced(func(e *redisroutes.EdgeStatus) { e.Synced = false })},
		"an edge can't use a record":         {FaultEdgeRoutes, announced(func(e *redisroutes.EdgeStatus) { e.Bad = 1 })},
		"an edge serves what Redis lacks":    {FaultEdgeHeld, announced(func(e *redisroutes.EdgeStatus) { e.Held = 3 })},
		"an edge is drained":                 {FaultEdgeDraining, announced(func(e *redisroutes.EdgeStatus) { e.Draining = true })},
		"an edge has no certificate":         {FaultEdgeCertificate, announced(func(e *redisroutes.EdgeStatus) { e.Certificates["*.pods.test"] = false })},
		"the clock of an edge is wrong":      {FaultEdgeClock, announced(func(e *redisroutes.EdgeStatus) { e.SkewMS = -90_000 })},
		"the folder of volumes is not there": {FaultVolumes, func(i *installation) { i.o.Volumes += "/gone" }},
		"the Tapis is down":                  {FaultTapis, func(i *installation) { i.o.Config.TapisURL = "http://127.0.0.1:" + strconv.Itoa(parts.FreePort(i.t)) }},
		"the control plane is down": {FaultAPI, func(i *installation) {
			i.o.API = ""
			i.o.Config.Listen = "0.0.0.0:" + strconv.Itoa(parts.FreePort(i.t))
		}},
		"the edge's port is closed": {diagnose.FaultPort, func(i *installation) {
			i.o.Host = &diagnose.Target{Host: "web.pods.dev.localhost", Port: parts.FreePort(i.t)}
		}},
		"the cluster is down": {FaultClusterUnreachable, func(i *installation) {
			i.cluster(writeKubeconfig(i.t, "http://127.0.0.1:"+strconv.Itoa(parts.FreePort(i.t))))
		}},
		"the kubeconfig file is gone":        {FaultConfig, func(i *installation) { i.cluster("/nowhere") }},
		"the address of Redis is no address": {FaultConfig, func(i *installation) { i.o.Config.RedisURL = "127.0.0.1:6379" }},
	} {
		t.Run(name, func(t *testing.T) {
			i := newInstallation(t)
			c.inject(i)
			if got := faults(t, Examine(t.Context(), i.o)); !slices.Equal(got, []string{c.want}) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func announced(change func(*redisroutes.EdgeStatus)) func(*installation) {
	return func(i *installation) { i.announce(change) }
}

func postgresAt(port int) string {
	return fmt.Sprintf("postgres://podway@127.0.0.1:%d/podway?sslmode=disable", port)
}

// otherKey has something sealed with a key that is taken away.
func otherKey(i *installation) {
	s := i.open(i.o.Config.Store)
	defer s.Close()
	p := pods.Pod{Key: pods.Key{Tenant: "dev", ID: "web"}, UID: "u", Owner: "me", Requested: "ON"}
	i.must(s.CreatePod(i.t.Context(), p, pods.Credentials{UserPassword: "x"}, pods.Event{Text: "made"}))
	i.writeKey(2)
}

func readOnlyUser(i *installation) {
	i.do("acl", "setuser", "reader", "on", ">pw", "~*", "-@all", "+@read", "+@connection", "+time", "+multi")
	i.o.Config.RedisURL = strings.Replace(i.o.Config.RedisURL, "://", "://reader:pw@", 1)
}

func replica(i *installation) {
	r := parts.StartReplica(i.t, i.redis)
	i.o.Config.RedisURL = "redis://" + r.Addr
	c := redis.NewClient(&redis.Options{Addr: r.Addr})
	i.t.Cleanup(func() { _ = c.Close() })
	parts.Eventually(i.t, 30*time.Second, func() error {
		if n, err := c.Exists(i.t.Context(), "podway:{default}:edges:status").Result(); err != nil || n == 0 {
			return errors.New("it has nothing yet")
		}
		return nil
	})
}

func TestARedisBeyondThisMachineNeedsTLSAndAPassword(t *testing.T) {
	i := newInstallation(t)
	i.o.Config.RedisURL = "redis://192.0.2.1:6379" // nobody is there either
	got := checkRedis(t.Context(), i.o)
	if len(got) == 0 || got[0].Fault != FaultRedisExposed {
		t.Errorf("got %v, want %s first", got, FaultRedisExposed)
	}
}

func TestSettingsThatCantBeUsed(t *testing.T) {
	_, err := config.FromEnv(func(name string) string {
		return map[string]string{"PODWAY_LISTEN": "here", "PODWAY_CLUSTER": "none"}[name]
	})
	if got := faults(t, BadConfig(err)); !slices.Equal(got, []string{FaultConfig, FaultConfig}) {
		t.Errorf("got %v, want two faults", got)
	}
}
