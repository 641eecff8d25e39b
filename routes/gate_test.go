package routes

import "testing"

func TestAdmits(t *testing.T) {
	compile := func(g *Gate) *Entry {
		r := live(HTTP)
		r.Gate = g
		e, err := Compile(r)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	own := live(HTTP).Tenant
	everyone := compile(&Gate{AllowedUsers: []string{"*"}, Tenants: []string{"guest"}})
	listed := compile(&Gate{AllowedUsers: []string{"Ada", "bob@guest", "eve@other"}, Tenants: []string{"guest"}})
	guests := compile(&Gate{AllowedUsers: []string{"*@guest"}, Tenants: []string{"guest"}})
	for _, tt := range []struct {
		name         string
		e            *Entry
		tenant, user string
		want         bool
	}{
		{"everyone of the tenant", everyone, own, "ada", true},
		{"everyone of another tenant", everyone, "guest", "ada", true},
		{"nobody of a third one", everyone, "other", "ada", false},
		{"nobody without a name", everyone, own, "", false},
		{"a user who is listed", listed, own, "ada", true},
		{"a user who is listed, in other letters", listed, own, "ADA", true},
		{"a user who is not listed", listed, own, "bob", false},
		{"a guest who is listed", listed, "guest", "bob", true},
		{"a guest who is called like a user", listed, "guest", "ada", false},
		{"a user who is called like a guest", listed, own, "bob@guest", false},
		{"a user with an @ who is listed", listed, own, "eve@other", true},
		{"a guest of no tenant that is one", listed, "other", "eve", false},
		{"all guests", guests, "guest", "ada", true},
		{"a user where only guests are listed", guests, own, "ada", false},
		{"nobody, if the list is empty", compile(&Gate{}), own, "ada", false},
		{"nobody, if there is no gate", compile(nil), own, "ada", false},
	} {
		if got := tt.e.Admits(tt.tenant, tt.user); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestGatePutInFrontOfALiveRouteEndsWhatGoesOn(t *testing.T) {
	compile := func(change func(*Route)) *Entry {
		r := live(HTTP)
		change(&r)
		e, err := Compile(r)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	open := compile(func(*Route) {})
	login := compile(func(r *Route) { r.Gate = &Gate{} })
	shares := compile(func(r *Route) { r.AccessGate = &AccessGate{} })
	for _, tt := range []struct {
		name     string
		old, now *Entry
		want     bool
	}{
		{"a login is added", open, login, false},
		{"shares are added", open, shares, false},
		{"the login is taken away", login, open, true},
		{"shares take the place of the login", login, shares, true}, // the edge's gate looks who may stay
	} {
		if got := tt.now.SameTarget(tt.old); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}
