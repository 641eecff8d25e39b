package gate

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tapis-project/podway/routes/redisgate"
)

// figures are the values of metrics by name and result.
type figures map[string]float64

// gather reads the metrics as Prometheus does.
func gather(t *testing.T, r *prometheus.Registry) figures {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	f := figures{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			name := family.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			f[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return f
}

// since returns what has grown, without the prefix that all names have.
func (f figures) since(before figures) figures {
	grown := figures{}
	for name, v := range f {
		if v != before[name] {
			grown[name[len("podway_gate_"):]] = v - before[name]
		}
	}
	return grown
}

func TestMetricsTellWhatBecameOfVisitors(t *testing.T) {
	secret := redisgate.NewSecret()
	token := "X-Tapis-Token: " + tokenOf(t, "ada")
	for _, tt := range []struct {
		name string
		do   func(s *site, b *browser)
		want figures
	}{
		{"a login", func(_ *site, b *browser) { b.open(web + "/") }, figures{
			"decisions_total login": 1, "logins_total started": 1, "logins_total done": 1,
			"session_lookups_total": 1, "decisions_total session": 1, "sessions_remembered": 1,
		}},
		{"a login of somebody who is not on the list", func(s *site, b *browser) {
			s.username = "bob"
			b.open(web + "/")
		}, figures{"decisions_total login": 1, "logins_total started": 1, "logins_total denied": 1}},
		{"a return from a login that did not begin", func(_ *site, b *browser) {
			b.do(http.MethodGet, web+callbackPath+"?code=x", "")
		}, figures{"logins_total failed": 1}},
		{"more logins than one client may begin", func(_ *site, b *browser) {
			for range redisgate.LoginStarts.Most + 2 {
				b.do(http.MethodGet, web+"/", "", page...)
			}
		}, figures{"decisions_total login": 22, "logins_total started": 20, "logins_total limited": 2}},
		{"a logout", func(_ *site, b *browser) {
			b.open(web + "/")
			b.send(web+logoutPath, nil)
		}, figures{
			"decisions_total login": 1, "logins_total started": 1, "logins_total done": 1,
			"session_lookups_total": 1, "decisions_total session": 1, "logins_total logged_out": 1,
		}},
		{"a program without a token", func(_ *site, b *browser) { b.do(http.MethodGet, web+"/", "") }, figures{"decisions_total unauthorized": 1}},
		{"a program with a token", func(_ *site, b *browser) { b.do(http.MethodGet, web+"/", "", token) }, figures{"decisions_total token": 1}},
		{"a program with a bad token", func(_ *site, b *browser) { b.do(http.MethodGet, web+"/", "", "X-Tapis-Token: x") }, figures{"decisions_total bad_token": 1}},
		{"a user who may not pass", func(_ *site, b *browser) {
			b.do(http.MethodGet, web+"/", "", "X-Tapis-Token: "+tokenOf(t, "bob"))
		}, figures{"decisions_total denied": 1}},
		{"a form of another site", func(_ *site, b *browser) {
			b.open(web + "/")
			b.do(http.MethodPost, web+"/", "", "Origin: https://evil.example")
		}, figures{
			"decisions_total login": 1, "logins_total started": 1, "logins_total done": 1, "session_lookups_total": 1,
			"decisions_total session": 1, "decisions_total bad_origin": 1, "sessions_remembered": 1,
		}},
		{"a path that needs no login", func(_ *site, b *browser) { b.do(http.MethodGet, web+"/open", "") }, figures{"decisions_total excluded": 1}},
		{"Redis is down", func(s *site, b *browser) {
			s.redis.Close()
			b.do(http.MethodGet, web+"/", "", page...)
		}, figures{"decisions_total login": 1, "decisions_total unavailable": 1}},
		{"a link", func(_ *site, b *browser) {
			b.redeem(secret)
			b.do(http.MethodGet, open+"/", "")
		}, figures{"shares_total redeemed": 1, "decisions_total share": 1}},
		{"wrong passwords", func(_ *site, b *browser) {
			for range redisgate.ShareTries.Most + 1 {
				b.send(open+sharePath, url.Values{"password": {"wrong"}})
			}
		}, figures{"shares_total failed": 5, "shares_total limited": 1}},
		{"a request that goes on and is ended", func(s *site, b *browser) {
			ended := s.goOn(b, web, token)
			s.route(gated(host, "bob"))
			s.await(ended)
		}, figures{"decisions_total token": 1, "requests_ended_total": 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newShares(t, link("a", secret))
			r := gated(host, "ada")
			r.Gate.ExcludedPaths = []string{"/open"}
			s.route(r)
			metrics := prometheus.NewPedanticRegistry()
			if err := metrics.Register(collector{s.h.guard}); err != nil {
				t.Fatal(err)
			}
			before := gather(t, metrics)
			tt.do(s, s.browser())
			if got := gather(t, metrics).since(before); !maps.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestEveryMetricIsThereFromTheStart(t *testing.T) {
	metrics := prometheus.NewPedanticRegistry()
	if err := metrics.Register(collector{&guard{sessions: newSessions(1)}}); err != nil {
		t.Fatal(err)
	}
	got := slices.Collect(maps.Keys(gather(t, metrics)))
	// What only marks the end of a group, and what has no result, has no name.
	want := 3
	for _, name := range names {
		if name != "" {
			want++
		}
	}
	if len(got) != want {
		t.Errorf("got %d metrics, want %d: %q", len(got), want, got)
	}
}
