package redisroutes

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tapis-project/podway/tests/parts"
)

// startLink runs an edge's end of the line. The function it returns ends it.
func startLink(t *testing.T, o *redis.UniversalOptions, name string, leaving bool) (stop func()) {
	t.Helper()
	var version atomic.Uint64
	l, err := NewEdgeLink(EdgeLinkOptions{
		Redis: o, Name: name, Every: 50 * time.Millisecond, Logger: testLogger(t),
		Status: func() EdgeStatus { return EdgeStatus{Version: version.Add(1)} },
		Do: func(c EdgeCommand) (any, error) {
			if c.Do != CommandKick {
				return nil, fmt.Errorf("can't do %q", c.Do)
			}
			return map[string]string{"kicked": c.Host}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	l.edge = name + "/1" // links of one process have one instance
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.Run(ctx, func() bool { return leaving })
	}()
	stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(stop)
	return stop
}

func newFleet(t *testing.T, s *server) *Fleet {
	t.Helper()
	f, err := NewFleet(s.client, "")
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// hears waits until so many edges were heard of a moment ago.
func hears(t *testing.T, f *Fleet, n int) map[string]EdgeStatus {
	t.Helper()
	heard := map[string]EdgeStatus{}
	parts.Eventually(t, limit, func() error {
		now, err := f.Now(t.Context())
		if err != nil {
			return err
		}
		edges, err := f.Edges(t.Context(), now)
		if err != nil {
			return err
		}
		clear(heard)
		for _, e := range edges {
			if now.Sub(e.At) < 5*time.Second {
				heard[e.Edge] = e
			}
		}
		if len(heard) != n {
			return fmt.Errorf("got %d edges, want %d", len(heard), n)
		}
		return nil
	})
	return heard
}

// answersCommands uses every call of an edge with the rights of o.
func answersCommands(t *testing.T, s *server, o *redis.UniversalOptions) {
	t.Helper()
	stop := startLink(t, o, "rights", true)
	f := newFleet(t, s)
	hears(t, f, 1)
	sendUntil(t, f, EdgeCommand{Edge: "rights", Do: CommandKick, Host: "a"}, 1)
	stop()
	hears(t, f, 0)
}

// sendUntil sends a command until so many edges answer: those that have just begun
// read what is sent from then on.
func sendUntil(t *testing.T, f *Fleet, c EdgeCommand, n int) map[string]EdgeAnswer {
	t.Helper()
	all := map[string]EdgeAnswer{}
	parts.Eventually(t, limit, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		answers, err := f.Send(ctx, c, n)
		if err != nil {
			return err
		}
		clear(all)
		for _, a := range answers {
			all[a.Edge] = a
		}
		if len(all) != n {
			return fmt.Errorf("got %d answers, want %d", len(all), n)
		}
		return nil
	})
	return all
}

func TestEdgesAnnounceThemselves(t *testing.T) {
	onServers(t, func(t *testing.T, s *server) {
		f := newFleet(t, s)
		hears(t, f, 0)
		stopA := startLink(t, s.options(t), "a", true)
		stopB := startLink(t, s.options(t), "b", false)
		first := hears(t, f, 2)
		if s := first["a/1"]; s.Name() != "a" || s.Version == 0 || s.SkewMS > 10_000 || s.SkewMS < -10_000 {
			t.Errorf("got %+v, want a status of a", s)
		}
		stopA()
		stopB()
		now, err := f.Now(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		// One that leaves says so; the other one is missed.
		edges, err := f.Edges(t.Context(), now)
		if err != nil || len(edges) != 1 || edges[0].Edge != "b/1" {
			t.Errorf("got %v, %v, want the edge b", edges, err)
		}
		edges, err = f.Edges(t.Context(), now.Add(EdgeGoneAfter+time.Minute))
		if err != nil || len(edges) != 0 {
			t.Errorf("got %v, %v, want none after a day", edges, err)
		}
	})
}

func TestEdgesDoWhatTheyAreTold(t *testing.T) {
	onServers(t, func(t *testing.T, s *server) {
		f := newFleet(t, s)
		startLink(t, s.options(t), "a", true)
		startLink(t, s.options(t), "b", true)
		hears(t, f, 2)
		all := sendUntil(t, f, EdgeCommand{Edge: "*", Do: CommandKick, Host: "db"}, 2)
		if got := string(all["b/1"].Result); got != `{"kicked":"db"}` || all["b/1"].Error != "" {
			t.Errorf("got %s, %q, want what b did", got, all["b/1"].Error)
		}
		one := sendUntil(t, f, EdgeCommand{Edge: "a", Do: CommandKick}, 1)
		if _, ok := one["a/1"]; !ok {
			t.Errorf("got %v, want an answer of a", one)
		}
		refused := sendUntil(t, f, EdgeCommand{Edge: "b/1", Do: "dance"}, 1)
		if refused["b/1"].Error == "" {
			t.Errorf("got %v, want an error", refused)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if none, err := f.Send(ctx, EdgeCommand{Edge: "c", Do: CommandKick}, 1); err != nil || len(none) != 0 {
			t.Errorf("got %v, %v, want no answer of an edge that is not there", none, err)
		}
	})
}

func TestAnEdgeIsBackAfterRedisWasAway(t *testing.T) {
	s := startReal(t)
	f := newFleet(t, s)
	startLink(t, s.options(t), "a", true)
	hears(t, f, 1)
	s.kill()
	if _, err := f.Now(t.Context()); err == nil {
		t.Error("a Redis that was killed answers")
	}
	s.start()
	hears(t, f, 1)
	sendUntil(t, f, EdgeCommand{Edge: "a", Do: CommandKick}, 1)
}

func TestAnEdgeWithoutRightsDoesNoHarm(t *testing.T) {
	s := startReal(t)
	setACL(t, s, "old", "pw", "%R~podway:{default}:* -@all +hello +auth +ping +mget +xread")
	o, err := ParseURL("redis://old:pw@" + s.addr)
	if err != nil {
		t.Fatal(err)
	}
	stop := startLink(t, o, "a", true)
	parts.Eventually(t, limit, func() error {
		if denied, ok := s.do(t, "acl", "log").([]any); !ok || len(denied) == 0 {
			return errors.New("it has not tried yet")
		}
		return nil
	})
	stop()
	hears(t, newFleet(t, s), 0)
}
