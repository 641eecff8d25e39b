package gate

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/routes/redisgate"
	"github.com/tapis-project/podway/routes/redisroutes"
	"github.com/tapis-project/podway/sni/snitest"
	"github.com/tapis-project/podway/tests/nodeenv"
	"github.com/tapis-project/podway/tests/parts"
	"github.com/tapis-project/podway/tests/system"
)

func TestMain(m *testing.M) { system.Main(m) }

// soon is how long what is forbidden may go on: a second is promised, and tests run
// on busy machines.
const soon = 3 * time.Second

// limit is for what takes no time.
const limit = 30 * time.Second

const headers = `"tapis_auth_response_headers":{"X-Who":"<<tapisusername>>@<<tapistenantid>>"}`

// networking are the pods of the stories, by what decides who may pass.
var networking = map[string]string{
	"web":    `"tapis_auth":true,"tapis_auth_allowed_users":["AUTHORIZED_READS"],` + headers,
	"lab":    `"tapis_auth":true,` + headers,
	"open":   ``,
	"shared": `"access_gate":true,"access_gate_return_path":"/headers"`,
	"both":   `"access_gate":true,"tapis_auth":true`,
}

// start starts a system with the pods of testuser.
func start(t *testing.T) (*system.System, system.User) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a whole system")
	}
	s := system.Start(t)
	s.StartEdge()
	return s, s.Login("testuser")
}

func create(u system.User, pod, image, entry string) {
	u.Call(http.MethodPost, "/v3/pods", `{"pod_id":"`+pod+`","image":"`+image+`","networking":{"default":{`+strings.TrimSuffix(entry, ",")+`}}}`)
}

// redisOf returns a client of the system's Redis.
func redisOf(t *testing.T, s *system.System) *redis.Client {
	t.Helper()
	opts, err := redis.ParseURL(s.EdgeEnv()["PODWAY_REDIS_URL"])
	if err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(opts)
	t.Cleanup(func() { c.Close() })
	return c
}

// stranger is the route of a pod that the control plane does not know, since no image
// of the development system does what it does. The control plane removes it in each of
// its full passes, every 30 seconds.
type stranger struct {
	t     *testing.T
	s     *system.System
	route routes.Route
}

func newStranger(t *testing.T, s *system.System, pod, addr string) *stranger {
	r := snitest.Route(system.Host(pod), routes.HTTP, addr)
	r.Tenant, r.Pod = "dev", pod
	r.Gate = &routes.Gate{AllowedUsers: []string{"*"}}
	return &stranger{t, s, r}
}

// publish publishes the route and waits until the edge has it.
func (x *stranger) publish() error {
	env := x.s.EdgeEnv()
	pub, err := redisroutes.NewPublisher(redisroutes.PublisherOptions{Client: redisOf(x.t, x.s), Namespace: env["PODWAY_NAMESPACE"], Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	if err := pub.SetPod(x.t.Context(), x.route.Tenant, x.route.Pod, []routes.Route{x.route}); err != nil {
		return err
	}
	return x.awaitStatus(http.StatusUnauthorized)
}

// renew publishes the route just after a full pass, so that it stays a while.
func (x *stranger) renew() error {
	if err := x.publish(); err != nil {
		return err
	}
	if err := x.awaitStatus(gone); err != nil {
		return err
	}
	return x.publish()
}

// gone stands for the answer of an edge that has no such route: it refuses TLS.
const gone = 0

// awaitStatus waits until programs without a token are answered with a status.
func (x *stranger) awaitStatus(want int) error {
	c := newClient(x.t, x.s)
	url := fmt.Sprintf("https://%s:%d/", x.route.Host, x.s.EdgePort)
	deadline := time.Now().Add(2 * limit)
	for {
		got := gone
		res, err := c.Do(request(x.t, http.MethodGet, url, nil))
		if err == nil {
			res.Body.Close()
			got = res.StatusCode
			c.CloseIdleConnections() // the next one shakes hands again
		}
		switch {
		case got == want:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("got %d, %w from %s for %v, want %d", got, err, x.route.Host, 2*limit, want)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// gateStore returns the side of the gate in Redis, with the system's key.
func gateStore(t *testing.T, s *system.System) *redisgate.Store {
	t.Helper()
	ring, err := redisgate.ReadKeyring(s.EdgeEnv()["PODWAY_GATE_KEY_FILE"])
	if err != nil {
		t.Fatal(err)
	}
	store, err := redisgate.New(redisgate.Options{Client: redisOf(t, s), Namespace: s.EdgeEnv()["PODWAY_NAMESPACE"], Keyring: ring})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// startHelper starts what does for the stories what nobody can do from outside: a
// session of a few seconds at /short, and the hostile pod at /hostile.
func startHelper(t *testing.T, s *system.System, hostile *stranger) string {
	t.Helper()
	const life = 6 * time.Second
	store := gateStore(t, s)
	mux := http.NewServeMux()
	mux.HandleFunc("/hostile", func(w http.ResponseWriter, _ *http.Request) {
		if err := hostile.renew(); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	mux.HandleFunc("/short", func(w http.ResponseWriter, r *http.Request) {
		now := time.Now()
		id, err := store.CreateSession(r.Context(), redisgate.Session{
			Host: system.Host("web"), Pod: "web", Username: "testuser", Tenant: "dev", Created: now, Expires: now.Add(life),
		}, time.Hour)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"id": id, "expires": now.Add(life).UnixMilli()})
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

// world is what the stories are told.
type world struct {
	API    string            `json:"api"`
	Edge   int               `json:"edge"`
	Helper string            `json:"helper"`
	Users  map[string]string `json:"users"`           // their tokens
	Soon   int64             `json:"soon"`            // milliseconds
	Shots  string            `json:"shots,omitempty"` // folder for screenshots; none are made without
}

func TestInChromium(t *testing.T) {
	chromium := parts.Require(t, "chromium")
	modules := nodeenv.Make(t, "package.json")
	s, u := start(t)
	for pod, access := range networking {
		create(u, pod, "podway/hello", `"protocol":"http","port":5000,`+access)
	}
	s.WaitLive(slices.Collect(maps.Keys(networking))...)
	h := startHostile(t, s)
	w := world{
		API: s.BaseURL(), Edge: s.EdgePort, Helper: startHelper(t, s, newStranger(t, s, "hostile", h.addr)), Soon: soon.Milliseconds(),
		Users: map[string]string{"testuser": u.Token},
	}
	if dir := os.Getenv("PODWAY_TEST_SHOTS"); dir != "" {
		w.Shots = dir
	}
	told := tell(t, []string{"NODE_PATH=" + modules, "CHROMIUM=" + chromium}, w)
	h.check(t, append(told.secrets, u.Token))
}

// told is what the stories print.
type told struct{ secrets []string }

// tell runs the stories and reports each of them.
func tell(t *testing.T, env []string, w world) told {
	t.Helper()
	b, err := json.Marshal(w)
	if err != nil {
		t.Fatal(err)
	}
	out := runFor(t, 5*time.Minute, env, nodeenv.Node(t), filepath.Join("stories.js"), string(b))
	var all told
	stories := 0
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		switch word, rest, _ := strings.Cut(line, " "); word {
		case "ok":
			stories++
			t.Run(rest, func(*testing.T) {})
		case "not":
			stories++
			name, why, _ := strings.Cut(strings.TrimPrefix(rest, "ok "), ": ")
			t.Run(name, func(t *testing.T) { t.Error(strings.ReplaceAll(why, "⏎", "\n")) })
		case "secret":
			all.secrets = append(all.secrets, rest)
		case "#":
			t.Log(rest)
		}
	}
	if stories == 0 {
		t.Errorf("got no story:\n%s", out)
	}
	return all
}
