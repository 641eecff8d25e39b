package reconcile

import (
	"reflect"
	"testing"

	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/routes"
)

func TestDomainRoutes(t *testing.T) {
	web := routes.Route{Host: "web.pods.dev.localhost", Net: "default", Protocol: routes.HTTP, Upstreams: []string{"127.0.0.1:1"}, Gate: &routes.Gate{}}
	db := routes.Route{Host: "web-db.pods.dev.localhost", Net: "db", Protocol: routes.Postgres}
	at := func(r routes.Route, host string) routes.Route { r.Host = host; return r }
	for _, tt := range []struct {
		name   string
		claims []pods.DomainClaim
		want   []routes.Route
	}{
		{"no domain adds nothing", nil, []routes.Route{db, web}},
		{
			"a domain has the route of its entry, login included",
			[]pods.DomainClaim{{Net: "default", Domain: "www.example.org"}},
			[]routes.Route{db, web, at(web, "www.example.org")},
		},
		{
			"routes are ordered by host",
			[]pods.DomainClaim{{Net: "db", Domain: "zz.example.org"}, {Net: "default", Domain: "aa.example.org"}},
			[]routes.Route{at(web, "aa.example.org"), db, web, at(db, "zz.example.org")},
		},
		{"an entry that has no route gives none", []pods.DomainClaim{{Net: "gone", Domain: "www.example.org"}}, []routes.Route{db, web}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := domainRoutes([]routes.Route{db, web}, tt.claims); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}
