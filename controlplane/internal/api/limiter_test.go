package api

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

func TestMutationsAreLimitedPerUser(t *testing.T) {
	f := newFixture(t, func(d *Deps) {
		d.Limiter = NewMemoryLimiter(2, func() time.Time { return noon })
	})
	f.put("web", shared)
	for range 2 {
		f.want(http.StatusOK, "GET", "/v3/pods/web/stop", "owner", "")
	}
	r := f.want(http.StatusTooManyRequests, "GET", "/v3/pods/web/stop", "owner", "")
	if got := r.header.Get("Retry-After"); got != "30" {
		t.Errorf("got Retry-After %q, want 30", got)
	}
	if got := r.envelope(t).text(); got != "Too many changes in a short time. Please try again in 30 seconds." {
		t.Errorf("got message %q", got)
	}
	f.want(http.StatusTooManyRequests, "POST", "/v3/pods", "owner", `{}`)
	f.want(http.StatusOK, "GET", "/v3/pods/web", "owner", "")                  // reading is free
	f.want(http.StatusOK, "GET", "/v3/pods/web/stop", "approved", "")          // others are not concerned
	f.want(http.StatusOK, "POST", "/v3/pods", "owner@other", newPodBody)       // nor is the same name elsewhere
	f.want(http.StatusNotFound, "GET", "/v3/pods/none/stop", "owner", "")      // what is refused anyway does not count
	f.want(http.StatusUnauthorized, "GET", "/v3/pods/web/stop", "expired", "") // nor does what has no name
}

const newPodBody = `{"pod_id":"fresh","image":"podway/hello"}`

func TestMemoryLimiterRefillsAndForgets(t *testing.T) {
	now := noon
	l := NewMemoryLimiter(60, func() time.Time { return now }).(*memoryLimiter)
	allow := func(user string) bool {
		_, ok := l.Allow(t.Context(), "dev", user)
		return ok
	}
	for i := range 60 {
		if !allow("a") {
			t.Fatalf("change %d of the first minute was refused", i+1)
		}
	}
	wait, ok := l.Allow(t.Context(), "dev", "a")
	if ok || wait <= 0 || wait > time.Second {
		t.Fatalf("got %v, %v for change 61, want it refused for up to a second", wait, ok)
	}
	now = now.Add(wait)
	if !allow("a") || allow("a") {
		t.Error("after the wait, one change and not a second one was to be allowed")
	}
	for i := range 100 {
		allow(fmt.Sprint("user", i))
	}
	now = now.Add(2 * time.Minute)
	allow("b")
	if got := len(l.buckets); got != 1 {
		t.Errorf("got %d buckets, want that of b only", got)
	}
}

func TestLimiterIsOffAtZero(t *testing.T) {
	l := NewMemoryLimiter(0, time.Now)
	for range 1000 {
		if _, ok := l.Allow(t.Context(), "dev", "a"); !ok {
			t.Fatal("a change was refused")
		}
	}
}
