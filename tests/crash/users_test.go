package crash

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/tests/system"
)

// The wishes of a user for a pod.
const (
	running = "AVAILABLE"
	stopped = "STOPPED"
	deleted = ""
)

// wishes is what users were promised: the status that each pod comes to, by id.
// It is safe for concurrent use.
type wishes struct {
	mu   sync.Mutex
	pods map[string]string
}

func (w *wishes) set(pod, status string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pods[pod] = status
}

func (w *wishes) all() map[string]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.pods)
}

// churn has a user come and go with pods until ctx ends: every step makes one, and
// does something to the one before, which may not have started yet. A call that
// is not answered is made again until it is.
func churn(ctx context.Context, u system.User, w *wishes, prefix string, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for n := 0; ctx.Err() == nil; n++ {
		pod, before := fmt.Sprintf("%sx%d", prefix, n), fmt.Sprintf("%sx%d", prefix, n-1)
		if err := create(u, pod); err != nil {
			return err
		}
		w.set(pod, running)
		if n > 0 {
			if err := change(u, w, before, n); err != nil {
				return err
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	return nil
}

func create(u system.User, pod string) error {
	// 409: an earlier try was heard, and its answer lost.
	return insist(u, http.MethodPost, "/v3/pods", definition(pod), http.StatusConflict)
}

// definition is that of a pod with each kind of object.
func definition(pod string) string {
	return fmt.Sprintf(`{"pod_id":%q,"image":"podway/hello","environment_variables":{"TOKEN":"x"},
		"volume_mounts":{"keep":{"type":"pvc","mount_path":"/keep"}}}`, pod)
}

// change does one of four things to a pod.
func change(u system.User, w *wishes, pod string, n int) error {
	path := "/v3/pods/" + pod
	switch n % 4 {
	case 0:
		w.set(pod, deleted)
		return insist(u, http.MethodDelete, path, "", http.StatusNotFound)
	case 1:
		return insist(u, http.MethodGet, path+"/restart", "", 0)
	case 2:
		w.set(pod, stopped)
		return insist(u, http.MethodGet, path+"/stop", "", 0)
	default: // it is left alone
		return nil
	}
}

// insist makes a call until it is answered with success, or with the code that
// says that an earlier try succeeded.
func insist(u system.User, method, path, body string, done int) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		a, err := u.Try(method, path, body)
		switch {
		case err == nil && (a.Code == http.StatusOK || a.Code == done):
			return nil
		case errors.Is(err, context.Canceled): // the test ended
			return err
		case err == nil && a.Code < http.StatusInternalServerError:
			return fmt.Errorf("%s %s: %d %s", method, path, a.Code, a.Message)
		}
		<-tick.C // nobody is there, or the store is not yet
	}
}

// fulfilled says what differs from what users were promised: in the API, in the
// cluster or in the routes.
func (i *installation) fulfilled(u system.User, want map[string]string) error {
	statuses, err := statuses(u)
	if err != nil {
		return err
	}
	kept := maps.Clone(want)
	maps.DeleteFunc(kept, func(_, status string) bool { return status == deleted })
	if !maps.Equal(statuses, kept) {
		return fmt.Errorf("the API: %s", difference(statuses, kept))
	}
	live := map[string]int{}
	states := map[string]routes.State{}
	for pod, status := range kept {
		states[pod] = routes.Stopped
		if status == running {
			states[pod], live[pod] = routes.Live, 1
		}
	}
	if got := i.states(); !maps.Equal(got, states) {
		return fmt.Errorf("the routes: %s", difference(got, states))
	}
	counts, err := i.objects(i.t.Context())
	if err != nil {
		return err
	}
	for _, kind := range []string{"pods", "services", "secrets"} {
		if !maps.Equal(counts[kind], live) {
			return fmt.Errorf("%s in the cluster: %s", kind, difference(counts[kind], live))
		}
	}
	return claimsRight(counts["claims"], want)
}

// claimsRight checks that each pod that ran for certain has its claim. What was
// deleted while nobody led keeps its storage for a while, so more is no mistake
// unless it is of a pod that never was.
func claimsRight(claims map[string]int, want map[string]string) error {
	for pod, status := range want {
		if status == running && claims[pod] != 1 {
			return fmt.Errorf("pod %s has %d claims, want 1", pod, claims[pod])
		}
	}
	for pod, n := range claims {
		if _, known := want[pod]; !known || n > 1 {
			return fmt.Errorf("there are %d claims of pod %s", n, pod)
		}
	}
	return nil
}

// statuses returns the status of each pod that the API shows.
func statuses(u system.User) (map[string]string, error) {
	a, err := u.Try(http.MethodGet, "/v3/pods", "")
	if err != nil {
		return nil, err
	}
	var list []struct {
		PodID  string `json:"pod_id"`
		Status string `json:"status"`
	}
	if err := json.Unmarshal(a.Result, &list); err != nil {
		return nil, fmt.Errorf("decoding %s: %w", a.Result, err)
	}
	all := map[string]string{}
	for _, p := range list {
		all[p.PodID] = p.Status
	}
	return all, nil
}

// difference names some of what two maps differ in.
func difference[V comparable](got, want map[string]V) string {
	var list []string
	for pod, v := range want {
		if g, ok := got[pod]; !ok {
			list = append(list, fmt.Sprintf("%s is missing, want %v", pod, v))
		} else if g != v {
			list = append(list, fmt.Sprintf("%s is %v, want %v", pod, g, v))
		}
	}
	for pod, v := range got {
		if _, ok := want[pod]; !ok {
			list = append(list, fmt.Sprintf("%s is %v, want none", pod, v))
		}
	}
	slices.Sort(list)
	return fmt.Sprintf("%d differ: %v", len(list), list[:min(len(list), 8)])
}

// churners lets some users work until the returned function is called, which
// waits for them. The ids of their pods begin with the prefix.
func churners(t *testing.T, u system.User, w *wishes, prefix string) (stop func()) {
	const users, every = 3, 300 * time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	for i := range users {
		group.Go(func() {
			if err := churn(ctx, u, w, fmt.Sprintf("%s%d", prefix, i), every); err != nil {
				t.Error(err)
			}
		})
	}
	return func() {
		cancel()
		group.Wait()
	}
}
