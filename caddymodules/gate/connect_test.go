package gate

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/sni"
)

// dbHost is the host of a database behind a login.
const dbHost = "db.pods.test"

// gatedTCP returns the route of a database behind a login for these users.
func gatedTCP(users ...string) routes.Route {
	r := gated(dbHost, users...)
	r.Protocol = routes.TCP
	return r
}

// settledAs is the route that the edge has for the database, before and while a
// client connects.
func (s *site) settledAs(r routes.Route) *routes.Entry {
	s.t.Helper()
	s.route(r)
	return s.table.Get(dbHost)
}

func TestConnectionsAreAdmittedByToken(t *testing.T) {
	for _, tt := range []struct {
		name   string
		routes []routes.Route // the client finds the first, and the last is there when it is decided
		token  string         // of a user, or as it is
		want   error
	}{
		{"a user on the list", []routes.Route{gatedTCP("ada")}, "ada", nil},
		{"a user on the list, in capitals", []routes.Route{gatedTCP("ada")}, "ADA", nil},
		{"everybody", []routes.Route{gatedTCP("*")}, "bob", nil},
		{"a user who is not on the list", []routes.Route{gatedTCP("ada")}, "bob", sni.ErrNotAllowed},
		{"a token that is none", []routes.Route{gatedTCP("ada")}, "x.y.z", sni.ErrBadToken},
		{"no token", []routes.Route{gatedTCP("ada")}, ".", sni.ErrBadToken},
		{"a user who was taken off the list meanwhile", []routes.Route{gatedTCP("ada"), gatedTCP("bob")}, "ada", sni.ErrNotAllowed},
		{"a user who is still on the list after a change", []routes.Route{gatedTCP("ada"), gatedTCP("ada", "bob")}, "ada", nil},
		{"a login that was taken away meanwhile", []routes.Route{gatedTCP("ada"), ungatedTCP()}, "ada", errUnsettled},
		{"a database without a login", []routes.Route{ungatedTCP()}, "ada", sni.ErrNotAllowed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t)
			found := s.settledAs(tt.routes[0])
			for _, r := range tt.routes[1:] {
				s.settledAs(r)
			}
			token := tt.token
			if len(token) == 3 {
				token = tokenOf(t, token)
			}
			ctx, end, err := s.h.admitConnection(t.Context(), found, token)
			if !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if err != nil {
				if ctx != nil || end != nil {
					t.Error("got a context although nobody was admitted")
				}
				return
			}
			if ctx.Err() != nil {
				t.Errorf("got a connection that is over: %v", context.Cause(ctx))
			}
			end()
			if left := lives.shard(dbHost).pick(nil, func(x *request) bool { return x.entry.Host == dbHost }); len(left) != 0 {
				t.Errorf("got %d connections after the end, want none", len(left))
			}
		})
	}
}

func ungatedTCP() routes.Route {
	r := gatedTCP()
	r.Gate = nil
	return r
}

func TestConnectionsEndWhenTheirUserMayNotPassAnyMore(t *testing.T) {
	for _, tt := range []struct {
		name       string
		untilToken bool
		happens    func(s *site)
		goesOn     bool
	}{
		{"taken off the list", false, func(s *site) { s.route(gatedTCP("bob")) }, false},
		{"others put on the list", false, func(s *site) { s.route(gatedTCP("ada", "bob")) }, true},
		{"the token's time is over", false, expireIn(2 * time.Hour), true},
		{"the time of a session is over", false, expireIn(8*time.Hour + time.Second), false},
		{"the token's time is over, and sessions end with it", true, expireIn(2 * time.Hour), false},
		{"the token counts, and sessions end with it", true, expireIn(time.Minute), true},
		{"a session of the user ends", false, func(s *site) {
			s.check(s.store.LogoutEverywhere(s.t.Context(), "dev", "ada"))
		}, true}, // programs have their token, and no session
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t)
			s.h.settings.untilToken = tt.untilToken
			ctx, end, err := s.h.admitConnection(t.Context(), s.settledAs(gatedTCP("ada")), tokenOf(t, "ada"))
			s.check(err)
			defer end()
			tt.happens(s)
			if over := ctx.Err() != nil; over == tt.goesOn {
				t.Errorf("got over %v, want %v", over, !tt.goesOn)
			}
			if cause := context.Cause(ctx); !tt.goesOn && !errors.Is(cause, sni.ErrRevoked) {
				t.Errorf("got %v, want %v", cause, sni.ErrRevoked)
			}
		})
	}
}

// expireIn lets time pass for what goes on.
func expireIn(d time.Duration) func(*site) {
	return func(*site) { lives.expire(time.Now().Add(d)) }
}
