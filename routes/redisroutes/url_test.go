package redisroutes

import (
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

func TestParseURL(t *testing.T) {
	for _, tc := range []struct {
		name, url              string
		addrs                  []string
		user, password, master string
		db                     int
		tls, cluster           bool
	}{
		{name: "one server", url: "redis://127.0.0.1:6380", addrs: []string{"127.0.0.1:6380"}},
		{name: "the default port", url: "redis://redis.example", addrs: []string{"redis.example:6379"}},
		{name: "a database", url: "redis://a/3", addrs: []string{"a:6379"}, db: 3},
		{name: "a slash alone", url: "redis://a/", addrs: []string{"a:6379"}},
		{name: "TLS", url: "rediss://a", addrs: []string{"a:6379"}, tls: true},
		{name: "a password", url: "redis://:s3cret@a", addrs: []string{"a:6379"}, password: "s3cret"},
		{name: "an ACL user", url: "redis://edge:s3cret@a", addrs: []string{"a:6379"}, user: "edge", password: "s3cret"},
		{name: "a password with escapes", url: "redis://:p%40%2Fw@a", addrs: []string{"a:6379"}, password: "p@/w"},
		{name: "a password with an @", url: "redis://:p@w@a", addrs: []string{"a:6379"}, password: "p@w"},
		{name: "IPv6", url: "redis://[::1]:6380", addrs: []string{"[::1]:6380"}},
		{name: "IPv6 without port", url: "redis://[::1]", addrs: []string{"[::1]:6379"}},
		{
			name: "Sentinel", url: "rediss://:pw@a,b:1,[::1]/2?master=main", tls: true, password: "pw", db: 2,
			addrs: []string{"a:26379", "b:1", "[::1]:26379"}, master: "main",
		},
		{name: "a cluster", url: "redis://a:7000,b:7001?cluster=true", addrs: []string{"a:7000", "b:7001"}, cluster: true},
		{name: "a cluster behind one name", url: "redis://a/?cluster=true", addrs: []string{"a:6379"}, cluster: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o, err := ParseURL(tc.url)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(o.Addrs, tc.addrs) || o.Username != tc.user || o.Password != tc.password ||
				o.MasterName != tc.master || o.DB != tc.db || (o.TLSConfig != nil) != tc.tls || o.IsClusterMode != tc.cluster {
				t.Errorf("got %+v", o)
			}
		})
	}
	o, err := ParseURL("redis://a?master=m&sentinel_user=u&sentinel_password=p")
	if err != nil || o.SentinelUsername != "u" || o.SentinelPassword != "p" {
		t.Errorf("got %+v (%v), want the sentinels' login", o, err)
	}
}

func TestParseURLRefuses(t *testing.T) {
	for _, tc := range []struct{ name, url, want string }{
		{"nothing", "", "it must begin with"},
		{"an address without scheme", "127.0.0.1:6379", "it must begin with"},
		{"another scheme", "http://a", "it must begin with"},
		{"no host", "redis://", `"" is not a host`},
		{"an empty host in the list", "redis://a,,b?cluster=true", `"" is not a host`},
		{"a port of letters", "redis://a:b", `"a:b": the port`},
		{"port 0", "redis://a:0", `"a:0": the port`},
		{"IPv6 without brackets", "redis://::1", "is not a host"},
		{"several hosts of no kind", "redis://a,b", "?master=<name> (Sentinel) or ?cluster=true"},
		{"both kinds", "redis://a,b?master=m&cluster=true", "exclude each other"},
		{"a database that is no number", "redis://a/x", `the database "x"`},
		{"a negative database", "redis://a/-1", `the database "-1"`},
		{"a database of a cluster", "redis://a/1?cluster=true", "no databases but 0"},
		{"a misspelt setting", "redis://a?masster=x", `unknown setting "masster"`},
		{"a setting of another type", "redis://a?cluster=maybe", "neither true nor false"},
		{"files of TLS without TLS", "redis://a?ca=/ca.crt", `need "rediss://"`},
		{"no authority in that file", "rediss://a?ca=/nowhere/ca.crt", "reading ca"},
		{"a file that holds no authority", "rediss://a?ca=url_test.go", "no certificate in url_test.go"},
		{"a certificate without key", "rediss://a?cert=/client.crt", "cert and key go together"},
		{"no certificate in that file", "rediss://a?cert=/nowhere/c.crt&key=/nowhere/c.key", "reading cert and key"},
		{"a bad escape", "redis://:%zz@a", "malformed"},
		{"a bad query", "redis://a?x=%zz", "malformed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o, err := ParseURL(tc.url)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v (%+v), want %q", err, o, tc.want)
			}
		})
	}
}

func TestParseURLErrorsHoldNoPassword(t *testing.T) {
	for _, u := range []string{
		"http://:s3cret@a", "redis://:s3cret%zz@a", "redis://:s3cret@a:x", "redis://:s3cret@a/x",
		"redis://:s3cret@a,b", "redis://:s3cret@a?x=1", "redis://:s3cret@", "redis://a?master=m&sentinel_password=s3cret%zz",
	} {
		if _, err := ParseURL(u); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("got %v", err)
		}
	}
}

func TestCheckExposed(t *testing.T) {
	for _, tc := range []struct {
		name, url string
		ok        bool
	}{
		{"loopback", "redis://127.0.0.1", true},
		{"another loopback address", "redis://127.0.0.2:6379", true},
		{"IPv6 loopback", "redis://[::1]", true},
		{"localhost", "redis://localhost", true},
		{"TLS and a password", "rediss://:pw@redis.example", true},
		{"no TLS", "redis://:pw@redis.example", false},
		{"no password", "rediss://redis.example", false},
		{"neither", "redis://10.0.0.1", false},
		{"one of several", "redis://127.0.0.1,10.0.0.1?cluster=true", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o, err := ParseURL(tc.url)
			if err != nil {
				t.Fatal(err)
			}
			if err := CheckExposed(o); (err == nil) != tc.ok {
				t.Errorf("got %v, want ok %v", err, tc.ok)
			}
		})
	}
	if err := CheckExposed(&redis.UniversalOptions{Addrs: []string{"no-port"}}); err == nil {
		t.Error("an address without port: got accepted")
	}
}
