package redisroutes

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tapis-project/podway/tests/parts"
)

// The user of an edge may write the stream and nothing of the routes.
func TestConnectionLog(t *testing.T) {
	rs := parts.StartRedis(t)
	admin := redis.NewClient(&redis.Options{Addr: rs.Addr})
	t.Cleanup(func() { admin.Close() })
	if err := admin.Do(t.Context(), "acl", "setuser", "edge", "on", ">pw", "%R~podway:{default}:*", "%W~podway:{default}:connections",
		"-@all", "+hello", "+auth", "+xadd").Err(); err != nil {
		t.Fatal(err)
	}
	l, err := NewConnectionLog(&redis.UniversalOptions{Addrs: []string{rs.Addr}, Username: "edge", Password: "pw"}, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	const most = 100
	for range 20 {
		var entries [][]any
		for range most {
			entries = append(entries, []any{"host", "a.pods.test", "result", "ended"})
		}
		if err := l.Add(t.Context(), most, entries); err != nil {
			t.Fatal(err)
		}
	}
	n, err := admin.XLen(t.Context(), "podway:{default}:connections").Result()
	if err != nil || n < most || n > 5*most {
		t.Errorf("got %d entries, %v, want about %d", n, err, most)
	}
	last, err := admin.XRevRangeN(t.Context(), "podway:{default}:connections", "+", "-", 1).Result()
	if err != nil || len(last) != 1 || last[0].Values["host"] != "a.pods.test" || last[0].Values["result"] != "ended" {
		t.Errorf("got %v, %v", last, err)
	}

	if _, err := NewConnectionLog(&redis.UniversalOptions{}, "a b"); err == nil {
		t.Error("got no error for a bad namespace")
	}
	rs.Kill()
	if err := l.Add(t.Context(), most, [][]any{{"host", "a.pods.test"}}); err == nil {
		t.Error("got no error without Redis")
	}
}
