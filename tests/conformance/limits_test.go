package conformance

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tapis-project/podway/tests/parts"
	"github.com/tapis-project/podway/tests/system"
)

// off is a pod that is not started, so that a change costs nothing else.
func off(id string) string {
	return fmt.Sprintf(`{"pod_id":%q,"image":"podway/hello","status_requested":"OFF"}`, id)
}

func try(t *testing.T, u system.User, method, path, body string) system.Answer {
	t.Helper()
	a, err := u.Try(method, path, body)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestTooManyChangesAreToldWhenToGoOn(t *testing.T) {
	const perMinute = 60 // one per second, once as many are used up
	s := system.Start(t, "PODWAY_MUTATIONS_PER_MINUTE="+strconv.Itoa(perMinute))
	u, other := s.Login("testuser"), s.Login("otheruser")

	u.Call(http.MethodPost, "/v3/pods", off("web"))
	var refused system.Answer
	made := 1
	for ; made < 10*perMinute; made++ { // the machine may be slow, and time refills
		refused = try(t, u, http.MethodPut, "/v3/pods/web", fmt.Sprintf(`{"description":"%d"}`, made))
		if refused.Code != http.StatusOK {
			break
		}
	}
	if refused.Code != http.StatusTooManyRequests || made < perMinute {
		t.Fatalf("got status %d after %d changes, want %d after at least %d", refused.Code, made, http.StatusTooManyRequests, perMinute)
	}
	if got := refused.Header.Get("Retry-After"); got != "1" {
		t.Errorf("got Retry-After %q, want %q", got, "1")
	}
	if refused.Status != "error" || !strings.Contains(string(refused.Message), "Too many changes") {
		t.Errorf("got %s %s", refused.Status, refused.Message)
	}

	// Who only looks, and who else changes something, is not held up.
	u.Call(http.MethodGet, "/v3/pods/web", "")
	other.Call(http.MethodPost, "/v3/pods", off("other"))

	parts.Eventually(t, time.Minute, func() error {
		if a := try(t, u, http.MethodPut, "/v3/pods/web", `{"description":"at last"}`); a.Code != http.StatusOK {
			return fmt.Errorf("status %d", a.Code)
		}
		return nil
	})
}

func TestTheSameCreateTwiceMakesOneOfIt(t *testing.T) {
	s := system.Start(t)
	u, other := s.Login("testuser"), s.Login("otheruser")
	for _, c := range []struct{ name, path, id, body string }{
		{"a pod", "/v3/pods", "web", off("web")},
		{"a template", "/v3/pods/templates", "mine", `{"template_id":"mine"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			const times = 12
			var wg sync.WaitGroup
			codes := make(chan int, times)
			for i := range times {
				who := []system.User{u, other}[i%2]
				wg.Go(func() {
					a, err := who.Try(http.MethodPost, c.path, c.body)
					if err != nil {
						t.Error(err)
					}
					codes <- a.Code
				})
			}
			wg.Wait()
			close(codes)
			got := map[int]int{}
			for code := range codes {
				got[code]++
			}
			if got[http.StatusOK] != 1 || got[http.StatusConflict] != times-1 {
				t.Errorf("got %v, want one 200 and %d times 409", got, times-1)
			}
			owner := u
			if try(t, u, http.MethodGet, c.path+"/"+c.id, "").Code == http.StatusNotFound {
				owner = other
			}
			a := try(t, owner, http.MethodPost, c.path, c.body)
			if a.Code != http.StatusConflict || !strings.Contains(string(a.Message), "already exists") {
				t.Errorf("got %d %s", a.Code, a.Message)
			}
			owner.Call(http.MethodDelete, c.path+"/"+c.id, "")
			owner.Call(http.MethodPost, c.path, c.body)
		})
	}
}

func TestARefusedCreateChangesNothing(t *testing.T) {
	s := system.Start(t)
	u, other := s.Login("testuser"), s.Login("otheruser")
	u.Call(http.MethodPost, "/v3/pods", off("web"))
	var before, after map[string]string
	u.Call(http.MethodGet, "/v3/pods/web/credentials", "").Into(t, &before)
	for _, who := range []system.User{u, other} {
		if a := try(t, who, http.MethodPost, "/v3/pods", off("web")); a.Code != http.StatusConflict {
			t.Errorf("got status %d, want %d", a.Code, http.StatusConflict)
		}
	}
	u.Call(http.MethodGet, "/v3/pods/web/credentials", "").Into(t, &after)
	if before["user_password"] != after["user_password"] {
		t.Error("a refused create made new credentials")
	}

	// Whatever the reason, the id is free afterwards, for anyone.
	for _, body := range []string{
		`{"pod_id":"half","image":"evil/miner"}`,
		`{"pod_id":"half","template":"nothere"}`,
		`{"pod_id":"half","image":"podway/hello","compute_queue":"none"}`,
		`{"pod_id":"half","image":"podway/hello@sha256:` + strings.Repeat("0", 64) + `"}`, // the cluster can't
	} {
		if a := try(t, u, http.MethodPost, "/v3/pods", body); a.Code != http.StatusBadRequest {
			t.Errorf("%s: got status %d, want %d: %s", body, a.Code, http.StatusBadRequest, a.Message)
		}
		if a := try(t, u, http.MethodGet, "/v3/pods/half", ""); a.Code != http.StatusNotFound {
			t.Errorf("%s: got status %d for the pod, want %d", body, a.Code, http.StatusNotFound)
		}
	}
	other.Call(http.MethodPost, "/v3/pods", off("half"))
}
