package edge

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/routes/redisroutes"
	"github.com/tapis-project/podway/tests/parts"
)

// publisher publishes routes as the control plane does, one pod per route.
type publisher struct {
	t     testing.TB
	pub   *redisroutes.Publisher
	wants map[string]routes.Route // by host
}

func newPublisher(t testing.TB, redisURL string) *publisher {
	t.Helper()
	o, err := redisroutes.ParseURL(redisURL)
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewUniversalClient(o)
	t.Cleanup(func() { client.Close() })
	pub, err := redisroutes.NewPublisher(redisroutes.PublisherOptions{Client: client, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return &publisher{t: t, pub: pub, wants: map[string]routes.Route{}}
}

// set publishes routes, and says that these are all.
func (p *publisher) set(rs ...routes.Route) {
	p.t.Helper()
	for _, r := range rs {
		p.wants[r.Host] = r
		if err := p.put(context.Background(), r); err != nil {
			p.t.Fatal(err)
		}
	}
	if err := p.pub.Complete(context.Background()); err != nil {
		p.t.Fatal(err)
	}
}

func (p *publisher) put(ctx context.Context, r routes.Route) error {
	return p.pub.SetPod(ctx, r.Tenant, r.Pod, []routes.Route{r})
}

func (p *publisher) remove(r routes.Route) {
	p.t.Helper()
	delete(p.wants, r.Host)
	if err := p.pub.SetPod(context.Background(), r.Tenant, r.Pod, nil); err != nil {
		p.t.Fatal(err)
	}
}

// again publishes everything, as the control plane does when Redis lost it.
func (p *publisher) again(ctx context.Context) error {
	for _, r := range p.wants {
		if err := p.put(ctx, r); err != nil {
			return err
		}
	}
	return p.pub.Complete(ctx)
}

// watch publishes everything again whenever Redis lost something.
func (p *publisher) watch() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = p.pub.Watch(ctx, func() { _ = p.again(ctx) })
	}()
	p.t.Cleanup(func() {
		cancel()
		<-done
	})
}

// serves waits until an edge has routes as they were published.
func (e *edge) serves(rs ...routes.Route) {
	e.t.Helper()
	for _, r := range rs {
		parts.Eventually(e.t, limit, func() error { return e.has(r) })
	}
}

// has returns an error unless the edge has a route as it was published.
func (e *edge) has(want routes.Route) error {
	b, err := e.admin(http.MethodGet, "/podway/routes/"+want.Host)
	if err != nil {
		return err
	}
	var got routes.Route
	if err := json.Unmarshal(b, &got); err != nil {
		return err
	}
	if got.State != want.State || got.Instance != want.Instance || !slices.Equal(got.Upstreams, want.Upstreams) || !slices.Equal(got.IPAllow, want.IPAllow) {
		return fmt.Errorf("got %+v, want %+v", got, want)
	}
	return nil
}

// serve publishes routes and waits until an edge has them.
func (e *edge) serve(p *publisher, rs ...routes.Route) {
	e.t.Helper()
	p.set(rs...)
	e.serves(rs...)
}
