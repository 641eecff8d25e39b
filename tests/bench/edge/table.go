package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/routes/redisroutes"
	"github.com/tapis-project/podway/tests/bench/edge/load"
	"github.com/tapis-project/podway/tests/bench/edge/peer"
)

// routeMetrics are what is measured of a table of routes.
var routeMetrics = []metric{loadTime, bytesEach, servingP50, servingP99, connectP50, connectP99}

// servesWithin is how long a new route may take before the measuring gives up.
const servesWithin = 10 * time.Second

// routeTable returns what measures an edge with n routes: the time and memory it
// needs for them when it starts, and the time from the write of one more until a
// client gets through to its upstream.
func routeTable(n int) func(context.Context, *lab, string) (sample, error) {
	return func(ctx context.Context, l *lab, _ string) (sample, error) {
		s := l.setup
		s.Namespace = fmt.Sprintf("routes-%d", n)
		emptyTook, emptyMemory, err := l.start(ctx, s, 0)
		if err != nil {
			return nil, err
		}
		pub, err := l.publisher(s.Namespace)
		if err != nil {
			return nil, err
		}
		if err := l.fill(ctx, pub, n); err != nil {
			return nil, err
		}
		fullTook, fullMemory, err := l.start(ctx, s, n)
		if err != nil {
			return nil, err
		}
		got, err := l.serving(ctx, s, pub)
		if err != nil {
			return nil, err
		}
		got[loadTime] = max(0, (fullTook - emptyTook).Seconds())
		got[bytesEach] = float64(fullMemory-emptyMemory) * 1024 / float64(n)
		return got, nil
	}
}

// start starts an edge some times and returns the least time until it has n
// routes, since what else the machine does only adds to it, and its memory a while
// later.
func (l *lab) start(ctx context.Context, s peer.Setup, n int) (time.Duration, int, error) {
	const more = 2
	least, memory, err := l.startOnce(ctx, s, n, l.o.settle)
	for range more {
		if err != nil {
			break
		}
		var took time.Duration
		took, _, err = l.startOnce(ctx, s, n, 0)
		least = min(least, took)
	}
	return least, memory, err
}

// startOnce starts an edge and returns the time until it has n routes, and its
// memory after the time it is left alone.
func (l *lab) startOnce(ctx context.Context, s peer.Setup, n int, alone time.Duration) (time.Duration, int, error) {
	start := time.Now()
	p, err := peer.Edge(ctx, s)
	if err != nil {
		return 0, 0, err
	}
	defer p.Stop()
	took := time.Since(start)
	status, err := p.Admin.Status(ctx)
	if err != nil {
		return 0, 0, err
	}
	if status.Routes.Count < n {
		return 0, 0, fmt.Errorf("starting an edge with %d routes: it has %d", n, status.Routes.Count)
	}
	if err := wait(ctx, alone); err != nil {
		return 0, 0, err
	}
	memory, err := p.Memory()
	return took, memory, err
}

// fill publishes n routes, those of a pod at once.
func (l *lab) fill(ctx context.Context, pub *redisroutes.Publisher, n int) error {
	const perPod = 100
	for first := 0; first < n; first += perPod {
		pod := fmt.Sprintf("pod%06d", first)
		var rs []routes.Route
		for i := first; i < min(n, first+perPod); i++ {
			rs = append(rs, l.route(fmt.Sprintf("host-%06d.bench.test", i), routes.TCP, pod))
		}
		if err := pub.SetPod(ctx, "bench", pod, rs); err != nil {
			return fmt.Errorf("filling the table: %w", err)
		}
	}
	return nil
}

// serving measures the time from the write of new routes until they serve, and
// beside it that of a connect alone.
func (l *lab) serving(ctx context.Context, s peer.Setup, pub *redisroutes.Publisher) (sample, error) {
	p, err := peer.Edge(ctx, s)
	if err != nil {
		return nil, err
	}
	defer p.Stop()
	var served, connected []time.Duration
	for i := range l.o.writes {
		pod := fmt.Sprintf("new%06d", i)
		host := pod + ".bench.test"
		start := time.Now()
		if err := pub.SetPod(ctx, "bench", pod, []routes.Route{l.route(host, routes.TCP, pod)}); err != nil {
			return nil, err
		}
		if err := awaitServing(ctx, l.target(p.TCP, host)); err != nil {
			return nil, err
		}
		served = append(served, time.Since(start))
		start = time.Now()
		if err := load.Try(ctx, l.target(p.TCP, host)); err != nil {
			return nil, err
		}
		connected = append(connected, time.Since(start))
	}
	return sample{
		servingP50: quantile(served, 0.5), servingP99: quantile(served, 0.99),
		connectP50: quantile(connected, 0.5), connectP99: quantile(connected, 0.99),
	}, nil
}

// awaitServing connects again and again until it works.
func awaitServing(ctx context.Context, t load.Target) error {
	ctx, cancel := context.WithTimeout(ctx, servesWithin)
	defer cancel()
	for {
		err := load.Try(ctx, t)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return errors.Join(fmt.Errorf("waiting until %s serves: %w", t.Host, err), context.Cause(ctx))
		}
	}
}

// reload measures connects at full rate while the configuration of the edge is
// loaded again and again.
func reload(ctx context.Context, l *lab, _ string) (sample, error) {
	p, err := peer.Edge(ctx, l.setup)
	if err != nil {
		return nil, err
	}
	defer p.Stop()
	const every = 250 * time.Millisecond
	type outcome struct {
		load.Result

		err error
	}
	done := make(chan outcome, 1)
	go func() {
		res, err := load.Handshakes(ctx, l.target(p.TCP, tcpHost), 8, time.Duration(l.o.reloads+2)*every)
		done <- outcome{res, err}
	}()
	var took []time.Duration
	for range l.o.reloads {
		if err := wait(ctx, every); err != nil {
			return nil, err
		}
		start := time.Now()
		if err := p.Admin.Reload(ctx); err != nil {
			return nil, err
		}
		took = append(took, time.Since(start))
	}
	res := <-done
	if res.Ops == 0 {
		return nil, fmt.Errorf("connecting while reloading: %w", res.err)
	}
	if res.err != nil {
		tell("\rthe first of the failed connects: %v", res.err)
	}
	return sample{failed: float64(res.Failed), connects: res.Ops, reloadTime: quantile(took, 0.5)}, nil
}
