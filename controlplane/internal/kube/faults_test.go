package kube

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/tests/kubetest"
	"github.com/tapis-project/podway/tests/parts"
)

// through opens a cluster behind a proxy.
func through(t *testing.T, srv *kubetest.Server) (*Cluster, *faultProxy, string) {
	t.Helper()
	ns := srv.Namespace(t, nil)
	kubetest.FakeNodes(t, srv, kubetest.NodeOptions{Namespace: ns})
	p := startProxy(t, srv)
	return open(t, Options{REST: p.config(), Namespace: ns, Unmanaged: true}), p, ns
}

func TestAWatchThatIsLostIsTakenUpAgain(t *testing.T) {
	srv := kubetest.Start(t)
	for _, c := range []struct {
		name  string
		fault func(p *faultProxy)
	}{
		{"closed", func(p *faultProxy) { p.closeConnections() }},
		{"closed again and again", func(p *faultProxy) {
			for range 5 {
				p.closeConnections()
				wait(context.Background(), 20*time.Millisecond)
			}
		}},
		{"too old", func(p *faultProxy) {
			p.inject(10, isWatch, tooOld)
			p.closeConnections()
		}},
		{"too old, by status", func(p *faultProxy) {
			p.inject(5, isWatch, status(http.StatusGone, metav1.StatusReasonExpired, "too old resource version: 1 (2)", 0))
			p.closeConnections()
		}},
		{"refused for a while", func(p *faultProxy) {
			p.inject(8, isWatch, status(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests, "slow down", 1))
			p.closeConnections()
		}},
		{"failing for a while, lists too", func(p *faultProxy) {
			p.inject(12, func(r *http.Request) bool { return r.Method == http.MethodGet }, status(http.StatusInternalServerError, metav1.StatusReasonInternalError, "etcdserver: leader changed", 0))
			p.closeConnections()
		}},
		{"forbidden for a while", func(p *faultProxy) {
			p.inject(12, func(r *http.Request) bool { return r.Method == http.MethodGet }, status(http.StatusForbidden, metav1.StatusReasonForbidden, `pods is forbidden: User "podway" cannot list resource "pods"`, 0))
			p.closeConnections()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cluster, proxy, ns := through(t, srv)
			stays, goes := workload("stays", "podway/hello"), workload("goes", "podway/hello")
			before := ready(t, cluster, stays)
			ready(t, cluster, goes)

			var notified atomic.Int32
			go func() {
				_ = cluster.Watch(t.Context(), func(k pods.Key) {
					if k == goes.Key {
						notified.Add(1)
					}
				})
			}()
			awaitNotice := func() {
				t.Helper()
				parts.Eventually(t, limit, func() error {
					if notified.Load() == 0 {
						return errors.New("nobody was notified")
					}
					return nil
				})
			}
			awaitNotice() // the first one comes by itself
			notified.Store(0)

			c.fault(proxy)
			if err := srv.Client().CoreV1().Pods(ns).Delete(t.Context(), pods.ObjectName("dev", goes.Key), metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			await(t, cluster, goes.Key, "without a run", func(o pods.Observation) bool { return o.Phase == pods.PhaseNone })
			awaitNotice() // at the same time as the cache changes, or just after
			if o := await(t, cluster, stays.Key, "ready", isReady); o.Instance != before.Instance {
				t.Errorf("got run %s of the other pod, want %s", o.Instance, before.Instance)
			}
		})
	}
}

func TestAnIdleClusterAsksNothing(t *testing.T) {
	srv := kubetest.Start(t)
	cluster, proxy, _ := through(t, srv)
	for i := range 5 {
		ready(t, cluster, workload(fmt.Sprintf("pod%d", i), "podway/hello"))
	}
	before, watches := proxy.requests()
	for range 100 {
		if _, err := cluster.List(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := cluster.Observe(t.Context(), pods.Key{Tenant: "dev", ID: "pod1"}); err != nil {
			t.Fatal(err)
		}
		wait(t.Context(), 20*time.Millisecond)
	}
	after, watchesAfter := proxy.requests()
	if fmt.Sprint(before) != fmt.Sprint(after) || watches != watchesAfter {
		t.Errorf("got %v and %d watches after 2 s, want %v and %d as before", after, watchesAfter, before, watches)
	}
}

func TestFewRequestsPerPod(t *testing.T) {
	srv := kubetest.Start(t)
	cluster, proxy, _ := through(t, srv)
	before, _ := proxy.requests()
	w := workload("web", "podway/hello")
	w.Env = map[string]string{"TOKEN": "x"}
	ready(t, cluster, w)
	if err := cluster.Remove(t.Context(), w.Key); err != nil {
		t.Fatal(err)
	}
	await(t, cluster, w.Key, "nothing", isNothing)
	after, _ := proxy.requests()
	if got := after[http.MethodPost] - before[http.MethodPost]; got != 3 {
		t.Errorf("got %d requests to start, want 3", got)
	}
	if got := after[http.MethodDelete] - before[http.MethodDelete]; got != 3 {
		t.Errorf("got %d requests to stop, want 3", got)
	}
	if got := after[http.MethodGet] - before[http.MethodGet]; got != 0 {
		t.Errorf("got %d requests to look, want none", got)
	}
}

// Whatever the API server answers to a write, trying again leads to the pod, and
// to one of each object.
func TestWritesAreTriedAgain(t *testing.T) {
	srv := kubetest.Start(t)
	anything := func(r *http.Request) bool { return r.Method != http.MethodGet }
	for _, c := range []struct {
		name   string
		fits   func(*http.Request) bool
		answer func(http.ResponseWriter)
	}{
		{"429", anything, status(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests, "slow down", 1)},
		{"500", anything, status(http.StatusInternalServerError, metav1.StatusReasonInternalError, "etcdserver: request timed out", 0)},
		{"503", anything, status(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, "not ready", 0)},
		{"504", anything, status(http.StatusGatewayTimeout, metav1.StatusReasonTimeout, "timed out", 0)},
		{"409 on the pod", on(http.MethodPost, "/pods"), status(http.StatusConflict, metav1.StatusReasonConflict, "Operation cannot be fulfilled on resourcequotas", 0)},
		{"a broken connection", anything, func(http.ResponseWriter) { panic(http.ErrAbortHandler) }},
		{"an answer from something else", anything, func(w http.ResponseWriter) { http.Error(w, "<html>bad gateway", http.StatusBadGateway) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cluster, proxy, ns := through(t, srv)
			w := workload("web", "podway/hello")
			w.Env = map[string]string{"TOKEN": "x"}
			w.VolumeMounts = map[string]pods.VolumeMount{"keep": {Type: typePVC, MountPath: "/keep"}}
			proxy.inject(3, c.fits, c.answer)
			failures := 0
			parts.Eventually(t, limit, func() error {
				err := cluster.Apply(t.Context(), w)
				if err != nil {
					failures++
					if pods.ErrorCode(err) != pods.Unavailable {
						t.Fatalf("got %v, want code unavailable", err)
					}
				}
				return err
			})
			t.Logf("%d attempts failed", failures)
			await(t, cluster, w.Key, "ready", isReady)
			wantObjects(t, srv, ns, 1)

			proxy.inject(3, c.fits, c.answer)
			parts.Eventually(t, limit, func() error {
				if err := cluster.Purge(t.Context(), w.Key); err != nil {
					return err
				}
				if o := cluster.observation(w.Key); !isNothing(o) {
					return fmt.Errorf("got %+v, want nothing", o)
				}
				return nil
			})
			proxy.heal()
			wantObjects(t, srv, ns, 0)
		})
	}
}

// wantObjects checks that a namespace holds n of each object of a pod.
func wantObjects(t *testing.T, srv *kubetest.Server, ns string, n int) {
	t.Helper()
	core := srv.Client().CoreV1()
	parts.Eventually(t, limit, func() error {
		p, err1 := core.Pods(ns).List(t.Context(), metav1.ListOptions{})
		s, err2 := core.Services(ns).List(t.Context(), metav1.ListOptions{})
		sec, err3 := core.Secrets(ns).List(t.Context(), metav1.ListOptions{})
		c, err4 := core.PersistentVolumeClaims(ns).List(t.Context(), metav1.ListOptions{})
		if err := errors.Join(err1, err2, err3, err4); err != nil {
			return err
		}
		if len(p.Items) != n || len(s.Items) != n || len(sec.Items) != n || len(c.Items) != n {
			return fmt.Errorf("got %d pods, %d services, %d secrets, %d claims; want %d of each", len(p.Items), len(s.Items), len(sec.Items), len(c.Items), n)
		}
		return nil
	})
}

// An answer that gets lost does not lead to a second pod.
func TestAWriteWhoseAnswerIsLost(t *testing.T) {
	srv := kubetest.Start(t)
	cluster, proxy, ns := through(t, srv)
	lost := false
	w := workload("web", "podway/hello")
	w.Env = map[string]string{"TOKEN": "x"}
	proxy.inject(1, func(r *http.Request) bool {
		if r.Method != http.MethodPost || lost || r.URL.Path != "/api/v1/namespaces/"+ns+"/pods" {
			return false
		}
		lost = true
		return true
	}, func(http.ResponseWriter) {
		// It came through, and its answer did not.
		built, err := cluster.build(w)
		if err == nil {
			_, err = srv.Client().CoreV1().Pods(ns).Create(context.Background(), built.pod, metav1.CreateOptions{})
		}
		if err != nil {
			t.Error(err)
		}
		panic(http.ErrAbortHandler)
	})
	if err := cluster.Apply(t.Context(), w); pods.ErrorCode(err) != pods.Unavailable {
		t.Fatalf("got %v, want code unavailable", err)
	}
	applyTo(t, cluster, w)
	await(t, cluster, w.Key, "ready", isReady)
	list, err := srv.Client().CoreV1().Secrets(ns).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) != 1 {
		t.Errorf("got %d secrets, %v; want the one of the first attempt", len(list.Items), err)
	}
}

func TestACallEndsWithItsContext(t *testing.T) {
	srv := kubetest.Start(t)
	cluster, proxy, _ := through(t, srv)
	proxy.isolate()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := cluster.Apply(ctx, workload("web", "podway/hello"))
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
	}
}

func TestARequestThatIsNotAnsweredIsGivenUp(t *testing.T) {
	srv := kubetest.Start(t)
	ns := srv.Namespace(t, nil)
	proxy := startProxy(t, srv)
	cluster := open(t, Options{REST: proxy.config(), Namespace: ns, Unmanaged: true, Timeout: 50 * time.Millisecond})
	proxy.isolate()
	err := cluster.Apply(t.Context(), workload("web", "podway/hello"))
	if pods.ErrorCode(err) != pods.Unavailable || apierrors.IsNotFound(err) {
		t.Errorf("got %v, want code unavailable", err)
	}
	// What was known stays known.
	if _, err := cluster.Observe(t.Context(), webKey); err != nil {
		t.Errorf("Observe: %v", err)
	}
}
