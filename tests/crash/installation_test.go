package crash

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/routes/redisroutes"
	"github.com/tapis-project/podway/tests/kubetest"
	"github.com/tapis-project/podway/tests/parts"
	"github.com/tapis-project/podway/tests/system"
)

// long makes the tests take as long as in real life.
var long = os.Getenv("PODWAY_TEST_LONG") != ""

func TestMain(m *testing.M) { system.Main(m) }

// installation is everything around control planes.
type installation struct {
	t     *testing.T
	srv   *kubetest.Server
	sys   *system.System // serves as the Tapis
	table *routes.Table  // what an edge knows

	dir string   // shared by the control planes
	env []string // of each of them
}

// install starts an API server with fake nodes, a Redis, a Tapis, and what an edge
// has of the routes. The store is that of PODWAY_STORE, given with its name.
func install(t *testing.T, store string) *installation {
	t.Helper()
	i := &installation{t: t, srv: kubetest.StartPrivate(t), table: routes.NewTable(), dir: t.TempDir()}
	kubetest.FakeNodes(t, i.srv, kubetest.NodeOptions{Count: 3, Delay: 50 * time.Millisecond, StopDelay: 50 * time.Millisecond})
	kubeconfig := filepath.Join(i.dir, "kubeconfig")
	if err := kubetest.WriteAccount(t.Context(), i.srv.RESTConfig(), kubeconfig); err != nil {
		t.Fatal(err)
	}
	redis := "redis://" + parts.StartRedis(t).Addr
	i.watch(redis)
	i.sys = system.Start(t)
	i.env = []string{
		store, "PODWAY_REDIS_URL=" + redis, "PODWAY_IMAGES=podway/hello",
		"PODWAY_CLUSTER=kubernetes", "PODWAY_KUBECONFIG=" + kubeconfig,
		"PODWAY_KUBE_LEASE_NAMESPACE=" + kubetest.Account, "PODWAY_KUBE_QUOTA=none",
	}
	return i
}

// watch keeps the table equal to what is published.
func (i *installation) watch(url string) {
	i.t.Helper()
	options, err := redisroutes.ParseURL(url)
	if err != nil {
		i.t.Fatal(err)
	}
	w, err := redisroutes.NewWatcher(redisroutes.WatcherOptions{Redis: options, Logger: slog.New(slog.DiscardHandler)}, i.table)
	if err != nil {
		i.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = w.Run(ctx) // its end is ours
	}()
	i.t.Cleanup(func() {
		cancel()
		<-done
	})
}

// replica prepares a control plane.
func (i *installation) replica() *system.Replica {
	i.t.Helper()
	return i.sys.NewReplica(i.dir, i.env...)
}

// states returns the state of the route of each pod.
func (i *installation) states() map[string]routes.State {
	all := map[string]routes.State{}
	i.table.Range(func(e *routes.Entry) bool {
		all[e.Pod] = e.State
		return true
	})
	return all
}

// objects counts the objects of each pod in the cluster, by kind. Those that are
// on their way out count, too.
func (i *installation) objects(ctx context.Context) (map[string]map[string]int, error) {
	counts := map[string]map[string]int{"pods": {}, "services": {}, "secrets": {}, "claims": {}}
	core, o := i.srv.Client().CoreV1(), metav1.ListOptions{LabelSelector: podLabel}
	count := func(kind string, labels map[string]string) { counts[kind][labels[podLabel]]++ }
	list, err := core.Pods("").List(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("listing pods: %w", err)
	}
	for _, one := range list.Items {
		count("pods", one.Labels)
	}
	services, err := core.Services("").List(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("listing services: %w", err)
	}
	for _, one := range services.Items {
		count("services", one.Labels)
	}
	secrets, err := core.Secrets("").List(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("listing secrets: %w", err)
	}
	for _, one := range secrets.Items {
		count("secrets", one.Labels)
	}
	claims, err := core.PersistentVolumeClaims("").List(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("listing claims: %w", err)
	}
	for _, one := range claims.Items {
		count("claims", one.Labels)
	}
	return counts, nil
}

// podLabel is the label that holds a pod's id.
const podLabel = "podway.tapis.io/pod-id"
