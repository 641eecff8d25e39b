package upgrade

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/redis/go-redis/v9"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tapis-project/podway/sni/snitest"
	"github.com/tapis-project/podway/tests/parts"
	"github.com/tapis-project/podway/tests/system"
)

func TestMain(m *testing.M) { system.Main(m) }

// website returns the address of an HTTP server with a WebSocket.
func website(t *testing.T) string {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "pod") })
	mux.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer ws.CloseNow() //nolint:errcheck // the other side has gone
		for {
			kind, b, err := ws.Read(r.Context())
			if err != nil || ws.Write(r.Context(), kind, b) != nil {
				return
			}
		}
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// pods makes the pods that clients use, and what they lead to.
func (i *installation) pods() {
	i.t.Helper()
	_, port, _ := strings.Cut(i.dsn[strings.Index(i.dsn, "@"):], ":")
	port, _, _ = strings.Cut(port, "/")
	database, err := strconv.Atoi(port)
	if err != nil {
		i.t.Fatal(err)
	}
	for _, p := range []struct {
		pod, protocol string
		port          int
		backend       string
	}{
		{"web", "http", 5000, website(i.t)},
		{"data", "postgres", 5432, local(database)},
		{"echo", "tcp", 5001, snitest.Echo(i.t).Addr},
		{"graph", "tcp", 7687, snitest.Echo(i.t).Addr},
	} {
		i.create(p.pod, p.protocol, p.port)
		i.expose(p.pod, p.backend)
	}
}

// Every part is replaced while clients come and stay. See doc.go.
func TestRollingUpgrade(t *testing.T) {
	before, after := present(t), upcoming(t)
	i := install(t)
	i.podway(before, "migrate")
	one, oneAddr := i.control(before)
	two, twoAddr := i.control(before)
	i.api.set(oneAddr, twoAddr)
	a, b := i.edge("a"), i.edge("b")
	i.pods()
	edgeA, edgeB := a.start(before), b.start(before)
	i.front.set(local(a.port), local(b.port))
	i.published(4)
	instances := i.instances()
	l := i.load()

	l.begin("the schema is migrated")
	if out := i.podway(after, "migrate"); !strings.Contains(out, "99999") {
		t.Fatalf("got %q, want the schema of the next version", out)
	}
	i.create("late", "http", 5000) // by programs of before
	l.settle()
	l.none("the schema was migrated")

	l.begin("the first control plane is replaced")
	three, threeAddr := i.control(after)
	i.api.set(twoAddr, threeAddr)
	one.Stop()
	i.bothAnswer(twoAddr, threeAddr)
	l.settle()
	l.none("the first control plane was replaced")

	l.begin("the second control plane is replaced")
	_, fourAddr := i.control(after)
	i.api.set(threeAddr, fourAddr)
	two.Stop()
	i.create("later", "http", 5000)
	l.settle()
	if three.gone() {
		t.Error("a control plane has ended")
	}
	l.none("the second control plane was replaced")

	l.begin("an edge hands over to the next version")
	nextA := a.start(after)
	edgeA.ended()
	l.settle()

	l.begin("an edge is drained and replaced")
	b.drain()
	i.front.set(local(a.port))
	l.settle()
	edgeB.Stop()
	nextB := b.start(after)
	i.front.set(local(a.port), local(b.port))
	l.settle()

	l.begin("Redis is restarted and has lost everything")
	i.redis.Kill()
	l.settle()
	i.redis.Start()
	i.published(6)
	l.settle()
	l.none("Redis was restarted")

	l.end()
	if nextA.gone() || nextB.gone() {
		t.Error("an edge of the next version has ended")
	}
	now := i.instances()
	for _, pod := range instances {
		if !slices.Contains(now, pod) {
			t.Errorf("got pods %v, want %s of before among them", now, pod)
		}
	}
}

// none checks that no session has ended in the step that is over.
func (l *load) none(what string) {
	l.t.Helper()
	if n := l.sessionsCut(); n > 0 {
		l.t.Errorf("got %d sessions that ended while %s, want none", n, what)
	}
}

// bothAnswer checks that control planes of both versions answer, and know the same pod.
func (i *installation) bothAnswer(before, after string) {
	i.t.Helper()
	var versions []string
	for _, addr := range []string{before, after} {
		a, err := i.call(i.t.Context(), addr, http.MethodGet, "/v3/pods/web", "")
		if err != nil || a.Result.Status != "AVAILABLE" {
			i.t.Errorf("got %+v, %v, want the pod", a, err)
		}
		versions = append(versions, a.Version)
	}
	if versions[0] == versions[1] || versions[1] != next {
		i.t.Errorf("got versions %q, want two, the second one %s", versions, next)
	}
}

// published waits until every edge has routes of that many pods, as published in the
// present Redis.
func (i *installation) published(pods int64) {
	i.t.Helper()
	client := redis.NewClient(&redis.Options{Addr: i.redis.Addr})
	defer client.Close()
	parts.Eventually(i.t, limit, func() error {
		n, err := client.HLen(i.t.Context(), "podway:{default}:routes").Result()
		if err == nil && n < pods {
			err = fmt.Errorf("got %d routes, want %d", n, pods)
		}
		if err != nil {
			return err
		}
		epoch, err := client.Get(i.t.Context(), "podway:{default}:epoch").Result()
		if err != nil {
			return err
		}
		if complete, err := client.Get(i.t.Context(), "podway:{default}:complete").Result(); err != nil || complete != epoch {
			return errors.Join(err, errors.New("not all is published again"))
		}
		return nil
	})
}

// instances names the objects that the pods are in the cluster. Nobody may restart one.
func (i *installation) instances() []string {
	i.t.Helper()
	list, err := i.srv.Client().CoreV1().Pods("").List(i.t.Context(), metav1.ListOptions{LabelSelector: "podway.tapis.io/pod-id"})
	if err != nil {
		i.t.Fatal(err)
	}
	var all []string
	for _, p := range list.Items {
		all = append(all, p.Name+"/"+string(p.UID))
	}
	return all
}
