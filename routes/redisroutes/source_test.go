package redisroutes

import (
	"testing"

	"github.com/redis/go-redis/v9"
)

func TestParseChangeRefusesForeignEntries(t *testing.T) {
	for _, id := range []string{"", "1", "1-1", "x-0", "-0", "1-0-0"} {
		if c, err := parseChange(redis.XMessage{ID: id}); err == nil {
			t.Errorf("%q: got %+v, want refused", id, c)
		}
	}
	// A kind of entry that a later version writes is no error.
	c, err := parseChange(redis.XMessage{ID: "7-0", Values: map[string]any{"colour": "red"}})
	if err != nil || c != (change{version: 7}) {
		t.Errorf("got %+v (%v), want version 7 and nothing else", c, err)
	}
}

func TestParseHead(t *testing.T) {
	for _, tc := range []struct {
		name   string
		values []any
		want   head
		ok     bool
	}{
		{"nothing published", []any{nil, nil, nil}, head{}, true},
		{"an epoch that is not complete", []any{"e", "5", nil}, head{epoch: "e", version: 5}, true},
		{"a complete epoch", []any{"e", "5", "e"}, head{epoch: "e", version: 5, complete: true}, true},
		{"a mark of another epoch", []any{"e", "5", "d"}, head{epoch: "e", version: 5}, true},
		{"a version that is no number", []any{"e", "x", nil}, head{}, false},
		{"too few values", []any{"e"}, head{}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := parseHead(tc.values)
			if got != tc.want || (err == nil) != tc.ok {
				t.Errorf("got %+v (%v), want %+v", got, err, tc.want)
			}
		})
	}
}
