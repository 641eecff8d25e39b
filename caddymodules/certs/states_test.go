package certs

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tapis-project/podway/tests/parts"
)

func TestStatesOfCertificates(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: parts.StartRedis(t).Addr})
	t.Cleanup(func() { client.Close() })
	k, err := newKeys("default")
	if err != nil {
		t.Fatal(err)
	}
	s := newStates(client, k, slog.New(slog.DiscardHandler))
	noted := func() State {
		t.Helper()
		if err := s.flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		var x State
		if err := json.Unmarshal([]byte(client.HGet(t.Context(), k.state, "a.test").Val()), &x); err != nil {
			t.Fatal(err)
		}
		return x
	}
	leaf := func(left time.Duration) *x509.Certificate {
		return &x509.Certificate{NotAfter: time.Now().Add(left).Truncate(time.Second), Issuer: pkix.Name{CommonName: "CA"}}
	}

	s.pending("a.test", "dev")
	if x := noted(); x.Status != Pending || x.Tenant != "dev" || x.Changed.IsZero() {
		t.Errorf("got %+v, want pending", x)
	}
	s.orderFailed("a.test", "dev", errors.New("no such host"))
	s.failed("a.test", "dev", errLimit)
	if x := noted(); x.Status != Failed || x.Error != "no such host" {
		t.Errorf("got %+v, want why the order failed", x)
	}
	first := leaf(time.Hour)
	s.ok("a.test", "dev", first)
	if x := noted(); x.Status != Valid || x.Error != "" || x.Issuer != "CA" || !x.NotAfter.Equal(first.NotAfter) {
		t.Errorf("got %+v, want valid", x)
	}
	s.orderFailed("a.test", "dev", errors.New("CA is down"))
	s.ok("a.test", "dev", first)
	if x := noted(); x.Status != Valid || x.Error != "CA is down" {
		t.Errorf("got %+v, want valid with the error of the renewal", x)
	}
	s.ok("a.test", "dev", leaf(2*time.Hour))
	if x := noted(); x.Error != "" {
		t.Errorf("got %+v, want no error", x)
	}
	s.forgetExcept(func(string) bool { return false })
	if err := s.flush(t.Context()); err != nil || client.HLen(t.Context(), k.state).Val() != 0 || len(s.list()) != 0 {
		t.Errorf("got %v, %v, want nothing left", err, s.list())
	}
}

func TestStatesWaitForRedis(t *testing.T) {
	r := parts.StartRedis(t)
	client := redis.NewClient(&redis.Options{Addr: r.Addr, MaxRetries: -1})
	t.Cleanup(func() { client.Close() })
	k, err := newKeys("default")
	if err != nil {
		t.Fatal(err)
	}
	s := newStates(client, k, slog.New(slog.DiscardHandler))
	s.pending("a.test", "dev")
	r.Kill()
	if err := s.flush(t.Context()); err == nil {
		t.Error("got no error without Redis")
	}
	r.Start()
	if err := s.flush(t.Context()); err != nil || client.HLen(t.Context(), k.state).Val() != 1 {
		t.Errorf("got %v, want the state to be written now", err)
	}
}

func TestQueueHoldsEachNameOnce(t *testing.T) {
	q := newQueue()
	for _, name := range []string{"a", "b", "a"} {
		q.add(name)
	}
	var got []string
	for name, ok := q.next(); ok; name, ok = q.next() {
		got = append(got, name)
	}
	if len(got) != 2 || got[0] != "a" || got[1] != "b" {
		t.Errorf("got %v, want a, b", got)
	}
	q.add("a")
	if name, ok := q.next(); name != "a" || !ok {
		t.Errorf("got %q, %v, want it again", name, ok)
	}
}
