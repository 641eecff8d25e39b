package kube

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/tapis-project/podway/tests/kubetest"
)

// contender is one of several that want to lead.
type contender struct {
	name  string
	leads chan bool // true when it begins, false when it ends
	stop  context.CancelFunc
	done  chan error
}

func contend(t *testing.T, config *rest.Config, ns, name string, l Leadership) *contender {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c := &contender{name: name, leads: make(chan bool, 100), stop: cancel, done: make(chan error, 1)}
	l.REST, l.Namespace, l.Identity, l.Logger = config, ns, name, testLog(t)
	go func() {
		c.done <- RunAsLeader(ctx, l, func(ctx context.Context) error {
			c.leads <- true
			<-ctx.Done()
			c.leads <- false
			return ctx.Err()
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-c.done; err != nil {
			t.Errorf("%s: %v", name, err)
		}
	})
	return c
}

func (c *contender) await(t *testing.T, want bool, within time.Duration) {
	t.Helper()
	select {
	case got := <-c.leads:
		if got != want {
			t.Fatalf("%s leads: got %v, want %v", c.name, got, want)
		}
	case <-time.After(within):
		t.Fatalf("%s does not lead=%v after %v", c.name, want, within)
	}
}

// A leader that is cut off, which to the others is the same as being killed, is
// followed in less than 20 s, with the settings that are used by default. It has
// ended its work before.
func TestAnotherLeadsWhenTheLeaderIsGone(t *testing.T) {
	t.Parallel()
	srv := kubetest.Start(t)
	ns := srv.Namespace(t, nil)
	proxy := startProxy(t, srv)
	first := contend(t, proxy.config(), ns, "first", Leadership{})
	first.await(t, true, limit)
	second := contend(t, srv.RESTConfig(), ns, "second", Leadership{})
	select {
	case <-second.leads:
		t.Fatal("two lead")
	case <-time.After(3 * time.Second):
	}
	begun := time.Now()
	proxy.isolate()
	first.await(t, false, 20*time.Second)
	second.await(t, true, 20*time.Second)
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("the second led after %v, want at most 20s", took)
	} else {
		t.Logf("the second led after %v", took)
	}
}

func TestALeaderThatStopsIsFollowedAtOnce(t *testing.T) {
	t.Parallel()
	srv := kubetest.Start(t)
	ns := srv.Namespace(t, nil)
	first := contend(t, srv.RESTConfig(), ns, "first", Leadership{Retry: 100 * time.Millisecond})
	first.await(t, true, limit)
	second := contend(t, srv.RESTConfig(), ns, "second", Leadership{Retry: 100 * time.Millisecond})
	first.stop()
	first.await(t, false, limit)
	second.await(t, true, 10*time.Second) // far less than a lease
}

// However often the lead changes, never do two have it.
func TestNeverDoTwoLead(t *testing.T) {
	t.Parallel()
	srv := kubetest.Start(t)
	ns := srv.Namespace(t, nil)
	var mu sync.Mutex
	leading, terms := "", 0
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var all sync.WaitGroup
	for i := range 3 {
		name := fmt.Sprint("contender-", i)
		all.Go(func() {
			for ctx.Err() == nil {
				err := RunAsLeader(ctx, Leadership{
					REST: srv.RESTConfig(), Namespace: ns, Identity: name, Retry: 20 * time.Millisecond, Logger: testLog(t),
				}, func(context.Context) error {
					mu.Lock()
					if leading != "" {
						t.Errorf("%s leads beside %s", name, leading)
					}
					leading, terms = name, terms+1
					if terms == 10 {
						cancel()
					}
					mu.Unlock()
					wait(context.Background(), 20*time.Millisecond) // what is under way comes to its end
					mu.Lock()
					leading = ""
					mu.Unlock()
					return errAbdicate
				})
				if err != nil && !errors.Is(err, errAbdicate) {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
	all.Wait()
}

var errAbdicate = errors.New("enough")

func TestAnErrorOfTheLeaderEndsIt(t *testing.T) {
	t.Parallel()
	srv := kubetest.Start(t)
	ns := srv.Namespace(t, nil)
	for what, want := range map[string]error{"an error": errAbdicate, "an end": nil} {
		err := RunAsLeader(t.Context(), Leadership{REST: srv.RESTConfig(), Namespace: ns, Identity: what, Name: "l", Retry: 20 * time.Millisecond}, func(context.Context) error { return want })
		if err == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("%s: got %v, want it to be told", what, err)
		}
	}
}
