//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tapis-project/podway/tests/parts"
)

// A pod stops by itself when its time is over, and can be started again. The
// shortest time that the API takes is five minutes, in which the other tests run.
func TestTimeToStopOnKubernetes(t *testing.T) {
	const limit = 300 * time.Second
	s := start(t, "clock")
	u := s.Login("testuser")
	create(t, u, `{"pod_id":"short","image":"podway/hello","time_to_stop_instance":300}`)
	started := time.Now()
	p := read(t, u, "short")
	if got := stopsAfter(t, p); got != limit {
		t.Errorf("it stops %v after its start, want %v", got, limit)
	}
	parts.Eventually(t, limit+time.Minute, func() error {
		if got := read(t, u, "short").Status; got != "STOPPED" {
			return fmt.Errorf("it is %s", got)
		}
		return nil
	})
	ran := time.Since(started)
	t.Logf("it was STOPPED %v after AVAILABLE", ran.Round(10*time.Millisecond))
	if ran < limit-10*time.Second {
		t.Errorf("it stopped after %v, want not before its time, %v", ran, limit)
	}
	if code, _, err := httpsGet(s, "short", "/"); err != nil || code != http.StatusServiceUnavailable {
		t.Errorf("its page: got %d, %v, want 503", code, err)
	}
	if _, actions := logs(t, u, "short"); !strings.Contains(strings.Join(actions, "\n"), "health set pod to OFF due to time_to_stop trigger") {
		t.Errorf("got the action log %q, want it to tell why", actions)
	}
	// The limit was for that run only.
	u.Call(http.MethodGet, "/v3/pods/short/start", "")
	u.WaitStatus("short", "AVAILABLE")
	if got := stopsAfter(t, read(t, u, "short")); got <= limit {
		t.Errorf("it stops %v after its second start, want the default of pods, hours", got)
	}
	remove(t, u, "short")
}

// stopsAfter returns how long a run may take.
func stopsAfter(t *testing.T, p pod) time.Duration {
	t.Helper()
	if p.TimeToStopTS == nil || p.StartInstanceTS == nil {
		t.Fatalf("got no time_to_stop_ts or no start_instance_ts: %+v", p)
	}
	const form = "2006-01-02T15:04:05.000000"
	from, err1 := time.Parse(form, *p.StartInstanceTS)
	to, err2 := time.Parse(form, *p.TimeToStopTS)
	if err1 != nil || err2 != nil {
		t.Fatalf("reading the times of %+v: %v, %v", p, err1, err2)
	}
	return to.Sub(from)
}
