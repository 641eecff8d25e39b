package redisroutes

import (
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/tapis-project/podway/tests/parts"
)

func TestCancelKeys(t *testing.T) {
	for _, tt := range []struct {
		name  string
		start func(t *testing.T) (addr string)
	}{
		{"on miniredis", func(t *testing.T) string { return miniredis.RunT(t).Addr() }},
		{"on Redis", func(t *testing.T) string { return parts.StartRedis(t).Addr }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			opts := &redis.UniversalOptions{Addrs: []string{tt.start(t)}}
			open := func(namespace string) *CancelKeys {
				k, err := NewCancelKeys(opts, namespace)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { k.Close() })
				return k
			}
			a, b, other := open(""), open("default"), open("other")
			want := func(k *CancelKeys, id, value string) {
				t.Helper()
				got, ok, err := k.Get(t.Context(), id)
				if err != nil || got != value || ok != (value != "") {
					t.Errorf("got %q, %v, %v, want %q", got, ok, err, value)
				}
			}
			put := func(k *CancelKeys, values map[string]string) {
				t.Helper()
				if err := k.Put(t.Context(), values); err != nil {
					t.Fatal(err)
				}
			}
			put(a, map[string]string{"1": "one", "2": "two"})
			put(b, map[string]string{"1": "stolen"})
			want(b, "1", "one")
			want(a, "2", "two")
			want(other, "1", "")
			if ttl := a.client.TTL(t.Context(), a.prefix+"1").Val(); ttl <= 0 || ttl > CancelKeyTTL {
				t.Errorf("got a TTL of %v, want %v at most", ttl, CancelKeyTTL)
			}
			for _, value := range []string{"stolen", "one", "one"} {
				if err := a.Remove(t.Context(), "1", value); err != nil {
					t.Fatal(err)
				}
				if value == "stolen" {
					want(a, "1", "one")
				}
			}
			want(a, "1", "")
		})
	}
	if _, err := NewCancelKeys(&redis.UniversalOptions{}, "{}"); err == nil || !strings.Contains(err.Error(), "namespace") {
		t.Errorf("got %v, want an error about the namespace", err)
	}
}
