package crash

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tapis-project/podway/tests/kubetest"
	"github.com/tapis-project/podway/tests/parts"
	"github.com/tapis-project/podway/tests/system"
)

// convergeWithin bounds how long everything may take to come right on a machine
// that has much to do. A full pass is made every 30 s.
const convergeWithin = 3 * time.Minute

// The only control plane is killed again and again while users come and go.
func TestAControlPlaneIsKilledAgainAndAgain(t *testing.T) {
	t.Parallel()
	kills, every := 4, 1500*time.Millisecond
	if long {
		kills, every = 30, 2*time.Second
	}
	i := install(t, "PODWAY_STORE=sqlite:"+t.TempDir()+"/podway.db")
	control := i.replica()
	control.Start()
	control.WaitReady()
	u := control.As(i.sys.Login("testuser"))

	w := &wishes{pods: map[string]string{}}
	stop := churners(t, u, w, "user")
	tick := time.NewTicker(every)
	defer tick.Stop()
	for range kills {
		<-tick.C
		control.Kill()
		control.Start()
	}
	stop()
	control.WaitReady()
	begun := time.Now()
	parts.Eventually(t, convergeWithin, func() error { return i.fulfilled(u, w.all()) })
	t.Logf("%d kills, %d pods; all came right %v after the last change", kills, len(w.all()), time.Since(begun).Round(time.Millisecond))
}

// Two control planes share a store. The one that leads is killed, and the other
// takes over; the first comes back and takes over in turn.
func TestTheLeaderIsKilled(t *testing.T) {
	t.Parallel()
	rounds := 1
	if long {
		rounds = 4
	}
	i := install(t, "PODWAY_STORE="+parts.StartPostgres(t).DSN)
	leader, other := i.replica(), i.replica()
	leader.Start()
	leader.WaitReady()
	login := i.sys.Login("testuser")
	holder := i.awaitLeader("")
	other.Start()
	other.WaitReady()

	w := &wishes{pods: map[string]string{}}
	for round := range rounds {
		// What users ask for, they ask the one that follows.
		stop := churners(t, other.As(login), w, fmt.Sprintf("round%duser", round))
		busy := time.NewTimer(time.Second)
		<-busy.C
		leader.Kill()
		begun := time.Now()
		holder = i.awaitLeader(holder)
		took := time.Since(begun)
		t.Logf("the other led %v after the kill", took.Round(time.Millisecond))
		if took > 20*time.Second {
			t.Errorf("the other led after %v, want at most 20s", took)
		}
		stop()
		parts.Eventually(t, convergeWithin, func() error { return i.fulfilled(other.As(login), w.all()) })
		t.Logf("all %d pods came right %v after the kill", len(w.all()), time.Since(begun).Round(time.Millisecond))
		leader.Start()
		leader.WaitReady()
		leader, other = other, leader
	}
}

// The API server of Kubernetes is killed in the middle of 50 creates and deletes.
// Users are answered as ever, and when it is back everything happens.
func TestTheAPIServerIsKilled(t *testing.T) {
	t.Parallel()
	outage := 5 * time.Second
	if long {
		outage = time.Minute
	}
	i := install(t, "PODWAY_STORE=sqlite:"+t.TempDir()+"/podway.db")
	control := i.replica()
	control.Start()
	control.WaitReady()
	u := control.As(i.sys.Login("testuser"))
	w := &wishes{pods: map[string]string{}}
	for n := range 25 {
		answered(t, w, u, http.MethodPost, fmt.Sprintf("old%d", n))
	}
	parts.Eventually(t, convergeWithin, func() error { return i.fulfilled(u, w.all()) })

	var slowest time.Duration
	for n := range 25 {
		if n == 8 {
			i.srv.Kill()
		}
		slowest = max(slowest, answered(t, w, u, http.MethodPost, fmt.Sprintf("new%d", n)),
			answered(t, w, u, http.MethodDelete, fmt.Sprintf("old%d", n)))
	}
	t.Logf("the slowest answer took %v", slowest.Round(time.Millisecond))
	over := time.NewTimer(outage)
	<-over.C
	if _, err := statuses(u); err != nil {
		t.Errorf("listing pods during the outage: %v", err)
	}
	i.srv.Restart(t)
	begun := time.Now()
	parts.Eventually(t, convergeWithin, func() error { return i.fulfilled(u, w.all()) })
	t.Logf("all came right %v after the API server; the fake nodes come back late", time.Since(begun).Round(time.Millisecond))
}

// answered creates or deletes a pod, which has to succeed at once, and returns how
// long it took.
func answered(t *testing.T, w *wishes, u system.User, method, pod string) time.Duration {
	t.Helper()
	begun := time.Now()
	if method == http.MethodPost {
		u.Call(method, "/v3/pods", definition(pod))
		w.set(pod, running)
	} else {
		u.Call(method, "/v3/pods/"+pod, "")
		w.set(pod, deleted)
	}
	return time.Since(begun)
}

// awaitLeader waits until another than before leads, and returns who.
func (i *installation) awaitLeader(before string) string {
	i.t.Helper()
	var holder string
	parts.Eventually(i.t, time.Minute, func() error {
		lease, err := i.srv.Client().CoordinationV1().Leases(kubetest.Account).Get(i.t.Context(), "podway-dev", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity == "" || *lease.Spec.HolderIdentity == before {
			return errors.New("nobody else leads")
		}
		holder = *lease.Spec.HolderIdentity
		return nil
	})
	return holder
}
