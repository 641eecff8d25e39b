package gate

import (
	"fmt"
	"testing"
	"time"

	"github.com/tapis-project/podway/routes/redisgate"
)

func remembered(id string) *visitor {
	return newSessionVisitor(id, redisgate.Session{Host: host, Pod: "web", Username: "ada", Expires: time.Now().Add(time.Hour)}, time.Hour)
}

func fresh() bool { return false }

func TestSessionsAreFoundByWhatTheirBrowserSends(t *testing.T) {
	s := newSessions(10)
	v := remembered("an id")
	s.add(v, fresh)
	if got := s.find("an id", host, "web"); got != v {
		t.Errorf("got %v, want the visitor", got)
	}
	for _, at := range [][3]string{
		{"an iD", host, "web"},
		{"an id ", host, "web"},
		{"", host, "web"},
		{"an id", host2, "web"},
		{"an id", host, "lab"}, // the host belongs to another pod now
		{v.key, host, "web"},
	} {
		if got := s.find(at[0], at[1], at[2]); got != nil {
			t.Errorf("%q: got %v, want nobody", at, got)
		}
	}
	again := remembered("an id")
	s.add(again, fresh)
	if got := s.find("an id", host, "web"); got != again || s.len() != 1 {
		t.Errorf("got %v of %d, want the one that was looked up last", got, s.len())
	}
	s.remove(v.key)
	if got := s.find("an id", host, "web"); got != nil || s.len() != 0 || len(s.byID) != 0 {
		t.Errorf("got %v of %d, want nothing", got, s.len())
	}
}

func TestSessionsThatAreOutOfDateAreNotRemembered(t *testing.T) {
	s := newSessions(10)
	s.add(remembered("an id"), func() bool { return true })
	if s.len() != 0 {
		t.Errorf("got %d, want none", s.len())
	}
}

func TestFewSessionsAreRemembered(t *testing.T) {
	s := newSessions(10)
	for i := range 100 {
		v := remembered(fmt.Sprint(i))
		s.add(v, fresh)
		if got := s.find(v.id, host, "web"); got != v {
			t.Fatalf("%d: got %v, want the last one", i, got)
		}
	}
	if len(s.byID) != 10 || len(s.byKey) != 10 {
		t.Errorf("got %d by id and %d by key, want 10", len(s.byID), len(s.byKey))
	}
	s.removeFunc(func(v *visitor) bool { return v.id != "99" })
	if s.len() != 1 || len(s.byID) != 1 || s.find("99", host, "web") == nil {
		t.Errorf("got %d by id and %d by key, want the last one", len(s.byID), s.len())
	}
	s.clear()
	if s.len() != 0 || len(s.byID) != 0 {
		t.Errorf("got %d, want none", s.len())
	}
}
