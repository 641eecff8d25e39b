package gate

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/tapis-project/podway/routes"
)

// stored returns how many sessions Redis has.
func (s *site) stored() int {
	n := 0
	for _, key := range s.redis.Keys() {
		if strings.Contains(key, ":session:") {
			n++
		}
	}
	return n
}

// loggedIn opens both pods of the site.
func (s *site) loggedIn() *browser {
	s.t.Helper()
	b := s.browser()
	for _, pod := range []string{web, "https://" + host2} {
		b.open(pod+"/").want(s.t, 200, "pod")
	}
	if got := s.stored(); got != 2 {
		s.t.Fatalf("got %d sessions, want 2", got)
	}
	return b
}

func TestSessionsGoWithThePermission(t *testing.T) {
	state := gated(host, "ada")
	state.State = routes.Stopped
	open := gated(host)
	open.Gate = nil
	otherPod := gated(host, "ada")
	otherPod.Pod = "another"
	guests := gated(host, "ada@tacc")
	guests.Gate.Tenants = []string{"tacc"}
	for _, tt := range []struct {
		name    string
		changes []routes.Route
		remove  bool // before the changes
		left    int  // of two sessions, the other one being that of another pod
		want    int  // for the next visit; 0: there is no route
	}{
		{"the user is taken off the list", []routes.Route{gated(host, "bob")}, false, 1, 403},
		{"the list is emptied", []routes.Route{gated(host)}, false, 1, 403},
		{"the user is taken off the list, and comes back", []routes.Route{gated(host, "bob"), gated(host, "ada")}, false, 1, 302},
		{"users of another tenant may pass instead", []routes.Route{guests}, false, 1, 403},
		{"the pod is deleted", nil, true, 1, 0},
		{"the host belongs to another pod", []routes.Route{otherPod}, false, 1, 302},
		{"the pod is deleted, and comes back", []routes.Route{gated(host, "ada")}, true, 1, 302},
		{"somebody else is put on the list", []routes.Route{gated(host, "ada", "bob")}, false, 2, 200},
		{"the pod is stopped", []routes.Route{state}, false, 2, 200},
		{"the login is switched off and on", []routes.Route{open, gated(host, "ada")}, false, 2, 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t)
			b := s.loggedIn()
			if tt.remove {
				s.table.Remove(host)
			}
			for _, r := range tt.changes {
				s.route(r)
			}
			s.eventually(func() bool { return s.stored() == tt.left })
			b.open("https://"+host2+"/").want(t, 200, "pod")
			if tt.want == 0 {
				return
			}
			if a := b.do(http.MethodGet, web+"/", "", page...); a.StatusCode != tt.want {
				t.Errorf("got %d, want %d", a.StatusCode, tt.want)
			}
		})
	}
}

// An edge that has just started knows no sessions. It ends one that may not pass when
// it comes.
func TestSessionsThatMayNotPassGoWhenTheyAreUsed(t *testing.T) {
	s := newSite(t)
	b := s.loggedIn()
	s.h.guard.sessions.clear()
	s.route(gated(host, "bob"))
	b.open(web+"/").want(t, 403, "You may not open this pod")
	s.eventually(func() bool { return s.stored() == 1 })
	s.route(gated(host, "ada"))
	if a := b.do(http.MethodGet, web+"/", "", page...); a.StatusCode != http.StatusFound {
		t.Errorf("got %d, want a login", a.StatusCode)
	}
}

func TestSessionsGoWithARouteForManyNames(t *testing.T) {
	s := newSite(t)
	r := gated("*.many.test", "ada")
	r.Pod = "many"
	s.route(r)
	b := s.browser()
	for i := range 3 {
		b.open(fmt.Sprintf("https://n%d.many.test/", i)).want(t, 200, "pod")
	}
	b.open(web+"/").want(t, 200, "pod")
	if got := s.stored(); got != 4 {
		t.Fatalf("got %d sessions, want 4", got)
	}
	s.table.Remove("*.many.test")
	s.eventually(func() bool { return s.stored() == 1 })
}
