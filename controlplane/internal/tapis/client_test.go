package tapis

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestRedirects(t *testing.T) {
	var stolen []string
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		stolen = append(stolen, r.Header.Get("X-Tapis-Token"))
		_, _ = w.Write([]byte(`{"result":"elsewhere"}`))
	}))
	defer elsewhere.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("/end", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"result":"end"}`)) })
	mux.Handle("/same", http.RedirectHandler("/end", http.StatusFound))
	mux.Handle("/other", http.RedirectHandler(elsewhere.URL, http.StatusFound))
	mux.Handle("/twice", http.RedirectHandler("/other", http.StatusFound))
	mux.Handle("/loop", http.RedirectHandler("/loop", http.StatusFound))
	server := httptest.NewServer(mux)
	defer server.Close()

	cases := []struct{ name, path, want, err string }{
		{name: "none", path: "/end", want: "end"},
		{name: "to the same host", path: "/same", want: "end"},
		{name: "to another host", path: "/other", err: "another host"},
		{name: "to another host by way of the same", path: "/twice", err: "another host"},
		{name: "for ever", path: "/loop", err: "too many redirects"},
	}
	c := newClient(newTransport())
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			var got string
			err := c.get(t.Context(), server.URL+tt.path, &got, func(r *http.Request) { r.Header.Set("X-Tapis-Token", "secret") })
			if (err == nil) != (tt.err == "") || (err != nil && !strings.Contains(err.Error(), tt.err)) {
				t.Errorf("got error %v, want %q", err, tt.err)
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	if len(stolen) > 0 {
		t.Errorf("the other host was called with tokens %q", stolen)
	}
}

func TestHostName(t *testing.T) {
	for in, want := range map[string]string{
		"":                 "",
		"localhost":        "localhost",
		"Tacc.Tapis.IO":    "tacc.tapis.io",
		"tacc.tapis.io.":   "tacc.tapis.io",
		"tacc.tapis.io:1":  "tacc.tapis.io",
		"tacc.tapis.io.:1": "tacc.tapis.io",
		"tacc.tapis.io..":  "tacc.tapis.io.",
		"127.0.0.1:8000":   "127.0.0.1",
		"[::1]":            "::1",
		"[::1]:8000":       "::1",
		"[]":               "[]",
		"a:b:c":            "a:b:c",
	} {
		if got := hostName(in); got != want {
			t.Errorf("hostName(%q): got %q, want %q", in, got, want)
		}
	}
}

func TestSpeaksFor(t *testing.T) {
	s := &snapshot{sites: map[string]siteRecord{
		"tacc":   {SiteID: "tacc", Primary: true, SiteAdminTenantID: "admin"},
		"hawaii": {SiteID: "hawaii", SiteAdminTenantID: "uhadmin"},
		"broken": {SiteID: "broken"},
	}}
	cases := []struct {
		name, admin, site string
		want              bool
	}{
		{"the primary site for its own tenants", "admin", "tacc", true},
		{"the primary site for tenants of others", "admin", "hawaii", true},
		{"another site for its own tenants", "uhadmin", "hawaii", true},
		{"another site for tenants of the primary", "uhadmin", "tacc", false},
		{"a tenant that administers nothing", "tacc", "tacc", false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			tt := &tenant{}
			tt.ID, tt.Site = "x", c.site
			if got := s.speaksFor(c.admin, tt); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestLRU(t *testing.T) {
	l := newLRU[string, int](2)
	l.add("a", 1)
	l.add("b", 2)
	l.add("a", 3) // newer than b
	l.add("c", 4)
	for k, want := range map[string]int{"a": 3, "b": 0, "c": 4} {
		if got, ok := l.get(k); got != want || ok != (want != 0) {
			t.Errorf("%s: got %d, %v, want %d", k, got, ok, want)
		}
	}
	l.get("a")
	l.add("d", 5)
	if _, ok := l.get("c"); ok {
		t.Error("c is still there, want it forgotten: a was used later")
	}
	if len(l.items) != l.order.Len() || len(l.items) != 2 {
		t.Errorf("got %d items and %d in order, want 2", len(l.items), l.order.Len())
	}
}
