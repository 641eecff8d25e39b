// Package clustertest is the executable form of the comments on [pods.Cluster].
// Every implementation runs it:
//
//	func TestCluster(t *testing.T) {
//		clustertest.Run(t, func(t *testing.T) clustertest.Setup {
//			return clustertest.Setup{Cluster: open(t, dir), ...}
//		})
//	}
package clustertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/tests/parts"
)

// Setup is a cluster and what the suite can run there. The suite purges the pods
// it makes.
type Setup struct {
	Cluster pods.Cluster

	// Reopen returns another Cluster over the same state, as the next process sees
	// it when the one that had Cluster was killed.
	Reopen func(t *testing.T) pods.Cluster

	// Serving returns a workload that stays, prints Greeting when it starts,
	// accepts connections on its networking entry "default", and mounts the claim
	// "keep". The suite sets Key and UID.
	Serving  func() pods.Workload
	Greeting string

	// Ending returns a workload that ends at once with an exit code.
	Ending func(code int) pods.Workload

	// Shell is the command, without the script, that runs a shell script in a
	// Serving pod, and KeepDir how the script writes the folder of the claim.
	Shell   []string
	KeepDir string

	// Reachable says that this process can dial the pods.
	Reachable bool

	// Limit bounds the wait for any state. Default: 30s.
	Limit time.Duration
}

// Run runs the suite, each test with a cluster of its own.
func Run(t *testing.T, open func(t *testing.T) Setup) {
	t.Helper()
	for _, test := range []struct {
		name string
		run  func(*suite)
	}{
		{"admits what it can run", (*suite).admits},
		{"knows nothing of a pod that never was", (*suite).knowsNothing},
		{"makes an applied pod ready", (*suite).makesReady},
		{"does nothing when a pod is applied again", (*suite).appliesOnce},
		{"runs two pods with the same port", (*suite).runsTwo},
		{"tells how a program that failed ended", (*suite).tellsFailure},
		{"tells that a program completed", (*suite).tellsCompletion},
		{"keeps an ended pod until it is removed", (*suite).keepsEnded},
		{"keeps the storage of a removed pod", (*suite).keepsStorage},
		{"starts a removed pod as another instance", (*suite).startsAgain},
		{"leaves nothing of a purged pod", (*suite).purges},
		{"purges a pod that was removed", (*suite).purgesRemoved},
		{"does not mistake an earlier pod for a new one of its name", (*suite).tellsUIDs},
		{"lists every pod that left anything", (*suite).lists},
		{"notifies of every change", (*suite).notifies},
		{"ends a watch with its context", (*suite).endsWatch},
		{"gives the output of a pod", (*suite).givesLogs},
		{"follows the output until the pod ends", (*suite).followsLogs},
		{"follows the output until the context ends", (*suite).followsUntilCancelled},
		{"runs commands in a pod", (*suite).execs},
		{"kills a command when its context ends", (*suite).killsExec},
		{"adopts what an earlier process started", (*suite).adopts},
		{"is safe for concurrent use", (*suite).isConcurrent},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := open(t)
			if s.Limit == 0 {
				s.Limit = 30 * time.Second
			}
			c := &suite{T: t, Setup: s, tenant: "dev"}
			// Not a cleanup: what Reopen opened is closed by then.
			defer c.purgeAll()
			test.run(c)
		})
	}
}

type suite struct {
	*testing.T
	Setup

	tenant string
	used   []pods.Key
}

func (s *suite) key(id string) pods.Key { return pods.Key{Tenant: s.tenant, ID: pods.ID(id)} }

// serving returns a workload that stays.
func (s *suite) serving(id string) pods.Workload { return s.named(s.Serving(), id) }

// ending returns a workload that ends with a code.
func (s *suite) ending(id string, code int) pods.Workload { return s.named(s.Ending(code), id) }

func (s *suite) named(w pods.Workload, id string) pods.Workload {
	s.Helper()
	w.Key, w.UID = s.key(id), "uid-of-"+id
	s.used = append(s.used, w.Key)
	return w
}

func (s *suite) purgeAll() {
	s.Helper()
	for _, k := range s.used {
		s.purge(k)
	}
}

func (s *suite) purge(k pods.Key) {
	s.Helper()
	if err := s.Cluster.Purge(s.Context(), k); err != nil {
		s.Fatalf("Purge: %v", err)
	}
	s.await(k, "nothing", isNothing)
}

func (s *suite) apply(w pods.Workload) {
	s.Helper()
	// A pod of this name may still be on its way out.
	parts.Eventually(s.T, s.Limit, func() error { return s.Cluster.Apply(s.Context(), w) })
}

func (s *suite) remove(k pods.Key) {
	s.Helper()
	if err := s.Cluster.Remove(s.Context(), k); err != nil {
		s.Fatalf("Remove: %v", err)
	}
	s.await(k, "not present", func(o pods.Observation) bool { return !o.Present })
}

func (s *suite) observe(k pods.Key) pods.Observation {
	s.Helper()
	o, err := s.Cluster.Observe(s.Context(), k)
	if err != nil {
		s.Fatalf("Observe: %v", err)
	}
	if o.Key != k {
		s.Fatalf("Observe: got the key %v, want %v", o.Key, k)
	}
	return o
}

// await waits until the observation of a pod is as wanted, and returns it.
func (s *suite) await(k pods.Key, what string, ok func(pods.Observation) bool) pods.Observation {
	s.Helper()
	var o pods.Observation
	parts.Eventually(s.T, s.Limit, func() error {
		if o = s.observe(k); ok(o) {
			return nil
		}
		return fmt.Errorf("got %#v, want %s", o, what)
	})
	return o
}

func isReady(o pods.Observation) bool      { return o.Ready }
func isTerminated(o pods.Observation) bool { return o.Terminated != "" }

func isNothing(o pods.Observation) bool {
	return !o.Present && !o.Retained && !o.Terminating && o.UID == "" && o.Phase == pods.PhaseNone
}

// ready applies a workload and waits until it is ready.
func (s *suite) ready(w pods.Workload) pods.Observation {
	s.Helper()
	s.apply(w)
	return s.await(w.Key, "ready", isReady)
}

func (s *suite) logs(k pods.Key) string {
	s.Helper()
	r, err := s.Cluster.Logs(s.Context(), k, false)
	if err != nil {
		s.Fatalf("Logs: %v", err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		s.Fatalf("reading logs: %v", err)
	}
	return string(b)
}

// shell returns the command that runs a script.
func (s *suite) shell(script string) []string { return append(slices.Clip(s.Shell), script) }

// script runs a shell script in a pod and returns what it prints.
func (s *suite) script(k pods.Key, script string) string {
	s.Helper()
	var stdout, stderr bytes.Buffer
	code, err := s.Cluster.Exec(s.Context(), k, s.shell(script), &stdout, &stderr)
	if code != 0 || err != nil {
		s.Fatalf("Exec: got code %d, error %v, stderr %q", code, err, &stderr)
	}
	return stdout.String()
}

func (s *suite) wantNotFound(err error) {
	s.Helper()
	if got := pods.ErrorCode(err); got != pods.NotFound {
		s.Fatalf("got error %v with code %q, want code %q", err, got, pods.NotFound)
	}
}

func (s *suite) admits() {
	if err := s.Cluster.Admit(s.Context(), s.serving("web")); err != nil {
		s.Fatalf("Admit: %v", err)
	}
}

func (s *suite) knowsNothing() {
	k := s.key("nobody")
	if o := s.observe(k); !isNothing(o) {
		s.Fatalf("Observe: got %#v, want nothing", o)
	}
	if err := s.Cluster.Remove(s.Context(), k); err != nil {
		s.Fatalf("Remove: %v", err)
	}
	if err := s.Cluster.Purge(s.Context(), k); err != nil {
		s.Fatalf("Purge: %v", err)
	}
	_, err := s.Cluster.Logs(s.Context(), k, false)
	s.wantNotFound(err)
	_, err = s.Cluster.Exec(s.Context(), k, []string{"true"}, io.Discard, io.Discard)
	s.wantNotFound(err)
}

func (s *suite) makesReady() {
	w := s.serving("web")
	o := s.ready(w)
	if o.UID != w.UID || !o.Present || o.Phase != pods.PhaseRunning || o.Instance == "" || o.StartedAt == nil {
		s.Fatalf("got %#v, want it to be present and running, with UID, instance and start time", o)
	}
	if o.Terminating || o.Foreign != "" || o.Waiting != "" || o.Terminated != "" {
		s.Fatalf("got %#v, want nothing that keeps it from running", o)
	}
	if len(o.Addresses["default"]) == 0 {
		s.Fatalf("got addresses %v, want one for %q", o.Addresses, "default")
	}
	for _, addr := range o.Addresses["default"] {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			s.Fatalf("got address %q, want host:port", addr)
		}
		s.dial(addr, true)
	}
}

// dial checks that an address accepts connections, or does not.
func (s *suite) dial(addr string, want bool) {
	s.Helper()
	if !s.Reachable {
		return
	}
	limit := s.Limit
	if !want {
		limit = min(limit, 2*time.Second) // where nothing is, some networks do not answer at all
	}
	conn, err := (&net.Dialer{Timeout: limit}).DialContext(s.Context(), "tcp", addr)
	if err == nil {
		conn.Close()
	}
	if got := err == nil; got != want {
		s.Fatalf("%s accepts connections: got %v, want %v (%v)", addr, got, want, err)
	}
}

func (s *suite) appliesOnce() {
	w := s.serving("web")
	first := s.ready(w)
	s.apply(w)
	if o := s.observe(w.Key); o.Instance != first.Instance || !o.Ready {
		s.Fatalf("got %#v, want the instance %s, ready", o, first.Instance)
	}
}

func (s *suite) runsTwo() {
	a, b := s.serving("one"), s.serving("two")
	oa, ob := s.ready(a), s.ready(b)
	if oa.Addresses["default"][0] == ob.Addresses["default"][0] {
		s.Fatalf("both pods have the address %v", oa.Addresses["default"])
	}
	s.dial(oa.Addresses["default"][0], true)
	s.dial(ob.Addresses["default"][0], true)
}

func (s *suite) tellsFailure() {
	w := s.ending("job", 3)
	s.apply(w)
	o := s.await(w.Key, "terminated", isTerminated)
	if !o.Present || o.Phase != pods.PhaseFailed || o.Terminated != "Error" || o.ExitCode != 3 || o.Ready || o.Addresses != nil {
		s.Fatalf("got %#v, want it to be present and failed with Error and code 3", o)
	}
}

func (s *suite) tellsCompletion() {
	w := s.ending("job", 0)
	s.apply(w)
	o := s.await(w.Key, "terminated", isTerminated)
	if !o.Present || o.Phase != pods.PhaseSucceeded || o.Terminated != "Completed" || o.ExitCode != 0 || o.Ready {
		s.Fatalf("got %#v, want it to be present and succeeded with Completed", o)
	}
}

func (s *suite) keepsEnded() {
	w := s.ending("job", 3)
	s.apply(w)
	first := s.await(w.Key, "terminated", isTerminated)
	s.apply(w)
	if o := s.observe(w.Key); o.Instance != first.Instance || o.Terminated == "" {
		s.Fatalf("got %#v, want the instance %s, terminated", o, first.Instance)
	}
	s.remove(w.Key)
}

func (s *suite) keepsStorage() {
	w := s.serving("web")
	first := s.ready(w)
	s.script(w.Key, "echo kept > "+s.KeepDir+"/file")
	s.remove(w.Key)
	o := s.observe(w.Key)
	if !o.Retained || o.Ready || o.Terminating || o.Phase != pods.PhaseNone || o.Instance != "" || o.Addresses != nil {
		s.Fatalf("got %#v, want retained storage and nothing else", o)
	}
	s.dial(first.Addresses["default"][0], false)
	s.remove(w.Key) // again
	s.ready(w)
	if got := s.script(w.Key, "cat "+s.KeepDir+"/file"); got != "kept\n" {
		s.Fatalf("got %q in the claim, want %q", got, "kept\n")
	}
}

func (s *suite) startsAgain() {
	w := s.serving("web")
	first := s.ready(w)
	s.remove(w.Key)
	if o := s.ready(w); o.Instance == first.Instance {
		s.Fatalf("got the instance %s again, want another", o.Instance)
	}
}

func (s *suite) purges() {
	w := s.serving("web")
	o := s.ready(w)
	s.script(w.Key, "echo gone > "+s.KeepDir+"/file")
	s.purge(w.Key)
	s.dial(o.Addresses["default"][0], false)
	_, err := s.Cluster.Logs(s.Context(), w.Key, false)
	s.wantNotFound(err)
	s.ready(w)
	if got := s.script(w.Key, "ls "+s.KeepDir+"/file 2>/dev/null || echo none"); got != "none\n" {
		s.Fatalf("got %q in the claim of the new pod, want none", got)
	}
}

func (s *suite) purgesRemoved() {
	w := s.serving("web")
	s.ready(w)
	// Both, without waiting for the first.
	if err := s.Cluster.Remove(s.Context(), w.Key); err != nil {
		s.Fatalf("Remove: %v", err)
	}
	s.purge(w.Key)
	s.ready(w)
	s.remove(w.Key)
	s.purge(w.Key)
}

func (s *suite) tellsUIDs() {
	w := s.serving("web")
	s.ready(w)
	next := w
	next.UID = "uid-of-the-next"
	err := s.Cluster.Apply(s.Context(), next)
	if err == nil || pods.ErrorCode(err) == pods.Invalid {
		s.Fatalf("Apply: got %v, want an error that is worth a retry", err)
	}
	if o := s.observe(w.Key); o.UID != w.UID || !o.Ready {
		s.Fatalf("got %#v, want the first pod, ready", o)
	}
	s.remove(w.Key)
	if err := s.Cluster.Apply(s.Context(), next); err == nil {
		s.Fatal("Apply: the new pod got the storage of the one before")
	}
	s.purge(w.Key)
	if o := s.ready(next); o.UID != next.UID {
		s.Fatalf("got UID %s, want %s", o.UID, next.UID)
	}
}

func (s *suite) lists() {
	running, ended, removed, purged := s.serving("running"), s.ending("ended", 3), s.serving("removed"), s.serving("purged")
	for _, w := range []pods.Workload{running, ended, removed, purged} {
		s.apply(w)
	}
	s.await(running.Key, "ready", isReady)
	s.await(ended.Key, "terminated", isTerminated)
	s.remove(removed.Key)
	s.purge(purged.Key)
	list, err := s.Cluster.List(s.Context())
	if err != nil {
		s.Fatalf("List: %v", err)
	}
	got := map[pods.Key]pods.Observation{}
	for _, o := range list {
		got[o.Key] = o
	}
	if len(got) != len(list) {
		s.Fatalf("got %d observations of %d pods, want one for each", len(list), len(got))
	}
	for _, w := range []pods.Workload{running, ended, removed} {
		if o, ok := got[w.Key]; !ok || o.UID != w.UID {
			s.Errorf("got %#v for %v, want one with UID %s", o, w.Key, w.UID)
		}
	}
	if o, ok := got[purged.Key]; ok {
		s.Errorf("got %#v of the purged pod, want none", o)
	}
}

func (s *suite) notifies() {
	w := s.serving("web")
	changes := make(chan pods.Key, 1000)
	ctx, cancel := context.WithCancel(s.Context())
	var watch sync.WaitGroup
	watch.Go(func() {
		if err := s.Cluster.Watch(ctx, func(k pods.Key) { changes <- k }); err != nil {
			s.Errorf("Watch: %v", err)
		}
	})
	defer watch.Wait()
	defer cancel()
	// after observes the pod only when it was notified, as a reconciler does.
	after := func(what string, ok func(pods.Observation) bool) {
		s.Helper()
		limit := time.After(s.Limit)
		for !ok(s.observe(w.Key)) {
			select {
			case <-changes:
			case <-limit:
				s.Fatalf("no notification of: %s; got %#v", what, s.observe(w.Key))
			}
		}
	}
	s.apply(w)
	after("ready", isReady)
	if err := s.Cluster.Remove(s.Context(), w.Key); err != nil {
		s.Fatalf("Remove: %v", err)
	}
	after("removed", func(o pods.Observation) bool { return !o.Present })
	if err := s.Cluster.Purge(s.Context(), w.Key); err != nil {
		s.Fatalf("Purge: %v", err)
	}
	after("purged", isNothing)
}

func (s *suite) endsWatch() {
	ctx, cancel := context.WithCancel(s.Context())
	done := make(chan error, 1)
	go func() { done <- s.Cluster.Watch(ctx, func(pods.Key) {}) }()
	cancel()
	select {
	case err := <-done:
		if err != nil {
			s.Fatalf("Watch: got %v, want nil when the context ends", err)
		}
	case <-time.After(s.Limit):
		s.Fatal("Watch goes on after its context ended")
	}
}

func (s *suite) givesLogs() {
	w := s.serving("web")
	s.ready(w)
	parts.Eventually(s.T, s.Limit, func() error {
		if got := s.logs(w.Key); !strings.Contains(got, s.Greeting) {
			return fmt.Errorf("got the log %q, want %q in it", got, s.Greeting)
		}
		return nil
	})
}

func (s *suite) followsLogs() {
	w := s.serving("web")
	s.ready(w)
	r, err := s.Cluster.Logs(s.Context(), w.Key, true)
	if err != nil {
		s.Fatalf("Logs: %v", err)
	}
	defer r.Close()
	text := make(chan string, 1)
	go func() {
		b, err := io.ReadAll(r)
		if err != nil {
			b = fmt.Appendf(b, "error: %v", err)
		}
		text <- string(b)
	}()
	select {
	case got := <-text:
		s.Fatalf("the stream ended with %q while the pod ran", got)
	case <-time.After(50 * time.Millisecond):
	}
	s.remove(w.Key)
	select {
	case got := <-text:
		if !strings.Contains(got, s.Greeting) || strings.Contains(got, "error:") {
			s.Fatalf("got the log %q, want %q in it and no error", got, s.Greeting)
		}
	case <-time.After(s.Limit):
		s.Fatal("the stream goes on after the end of the pod")
	}
}

func (s *suite) followsUntilCancelled() {
	w := s.serving("web")
	s.ready(w)
	ctx, cancel := context.WithCancel(s.Context())
	r, err := s.Cluster.Logs(ctx, w.Key, true)
	if err != nil {
		s.Fatalf("Logs: %v", err)
	}
	defer r.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(io.Discard, r)
	}()
	cancel()
	select {
	case <-done:
	case <-time.After(s.Limit):
		s.Fatal("the stream goes on after its context ended")
	}
}

func (s *suite) execs() {
	w := s.serving("web")
	s.ready(w)
	var stdout, stderr bytes.Buffer
	argv := s.shell("echo out; echo err >&2; exit 7")
	code, err := s.Cluster.Exec(s.Context(), w.Key, argv, &stdout, &stderr)
	if err != nil || code != 7 || stdout.String() != "out\n" || stderr.String() != "err\n" {
		s.Fatalf("got code %d, error %v, stdout %q, stderr %q; want 7, nil, out, err", code, err, &stdout, &stderr)
	}
	s.remove(w.Key)
	_, err = s.Cluster.Exec(s.Context(), w.Key, argv, io.Discard, io.Discard)
	s.wantNotFound(err)
}

func (s *suite) killsExec() {
	w := s.serving("web")
	s.ready(w)
	ctx, cancel := context.WithTimeout(s.Context(), 100*time.Millisecond)
	defer cancel()
	begin := time.Now()
	argv := s.shell("sleep 600")
	_, err := s.Cluster.Exec(ctx, w.Key, argv, io.Discard, io.Discard)
	if !errors.Is(err, context.DeadlineExceeded) {
		s.Fatalf("Exec: got %v, want %v", err, context.DeadlineExceeded)
	}
	if took := time.Since(begin); took > s.Limit {
		s.Fatalf("Exec returned after %v, want at most %v", took, s.Limit)
	}
}

func (s *suite) adopts() {
	serving, ended, removed := s.serving("web"), s.ending("job", 3), s.serving("removed")
	before := s.ready(serving)
	s.apply(ended)
	s.await(ended.Key, "terminated", isTerminated)
	s.ready(removed)
	s.remove(removed.Key)

	s.Cluster = s.Reopen(s.T)
	// Adapters that fill their cache in the background get the time to do it.
	after := s.await(serving.Key, "ready", isReady)
	if after.Instance != before.Instance || after.UID != before.UID || after.Addresses["default"][0] != before.Addresses["default"][0] {
		s.Fatalf("got %#v, want what was there before: %#v", after, before)
	}
	if o := s.await(ended.Key, "terminated", isTerminated); o.ExitCode != 3 || o.UID != ended.UID {
		s.Fatalf("got %#v, want exit code 3", o)
	}
	if o := s.observe(removed.Key); o.Present || !o.Retained {
		s.Fatalf("got %#v, want retained storage only", o)
	}
	s.script(serving.Key, "true")
	s.remove(serving.Key)
	s.dial(before.Addresses["default"][0], false)
}

func (s *suite) isConcurrent() {
	workloads := []pods.Workload{s.serving("one"), s.serving("two"), s.ending("three", 0)}
	var all sync.WaitGroup
	for _, w := range workloads {
		for _, change := range []func(context.Context) error{
			func(ctx context.Context) error { return s.Cluster.Apply(ctx, w) },
			func(ctx context.Context) error { return s.Cluster.Remove(ctx, w.Key) },
			func(ctx context.Context) error { return s.Cluster.Purge(ctx, w.Key) },
			func(ctx context.Context) error { _, err := s.Cluster.List(ctx); return err },
		} {
			all.Go(func() {
				for range 5 {
					// Which of them are refused is up to chance.
					if err := change(s.Context()); pods.ErrorCode(err) == pods.Invalid {
						s.Errorf("got %v, want no error with code invalid", err)
					}
				}
			})
		}
	}
	all.Wait()
	for _, w := range workloads[:2] {
		s.ready(w)
	}
}
