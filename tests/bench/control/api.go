package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// How the API is measured.
const (
	apiClients = 4                // requests under way at any time
	apiFor     = 15 * time.Second // how long each kind of request is sent
	apiPage    = 100              // pods on a page
)

// apiFigures are those of one kind of request on one store.
type apiFigures struct {
	Store, Request string
	Took           quantiles
	Rate           float64 // requests a second
	PerCPU         float64 // requests per second of CPU time of the control plane
	StoreCPU       float64 // seconds of CPU time of the database for one of those
}

// measureAPI measures the API alone with many pods in the store: on SQLite and on
// Postgres. The pods are all off, so no cluster is needed.
func measureAPI(ctx context.Context, o options, dir string) ([]apiFigures, error) {
	repo, err := moduleRoot(ctx)
	if err != nil {
		return nil, err
	}
	tell("Building the control plane …")
	bin, err := buildPodway(ctx, dir, repo)
	if err != nil {
		return nil, err
	}
	tapis, err := startTapis(ctx, bin, dir)
	if err != nil {
		return nil, err
	}
	defer tapis.stop()
	var all []apiFigures
	for _, engine := range engines {
		figures, err := measureStore(ctx, o, engine, tapis, bin, dir)
		if err != nil {
			return nil, fmt.Errorf("measuring the API on %s: %w", engine.name, err)
		}
		all = append(all, figures...)
	}
	return all, nil
}

func measureStore(ctx context.Context, o options, e engine, tapis *podway, bin, dir string) ([]apiFigures, error) {
	tell("Starting a control plane on %s …", e.name)
	db, err := e.start(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer db.stop()
	p, err := startServe(ctx, bin, dir, e, db, tapis)
	if err != nil {
		return nil, err
	}
	defer p.stop()
	b := apiBench{client: p.client, podway: p, db: db, engine: e.name, pods: o.api}
	b.token = tapis.token
	tell("Storing %d pods …", o.api)
	if err := b.fill(ctx); err != nil {
		return nil, err
	}
	return b.run(ctx)
}

// apiBench sends requests to one control plane.
type apiBench struct {
	client

	podway *podway
	db     database
	engine string
	pods   int
	made   atomic.Int64 // pods that were created beside the first ones
}

// fill stores the pods among which others are looked for.
func (b *apiBench) fill(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(apiClients)
	for i := range b.pods {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error { return b.createOff(ctx, podID(i)) })
	}
	return group.Wait()
}

// createOff creates a pod that is not started.
func (b *apiBench) createOff(ctx context.Context, id string) error {
	body := map[string]any{"pod_id": id, "image": image, "status_requested": "OFF", "description": "one of many"}
	return b.call(ctx, http.MethodPost, "/v3/pods", body, nil)
}

// run measures each kind of request.
func (b *apiBench) run(ctx context.Context) ([]apiFigures, error) {
	var all []apiFigures
	for _, kind := range []struct {
		name string
		send func(context.Context) error
	}{
		{"get a pod", func(ctx context.Context) error { return b.get(ctx, "/v3/pods/"+podID(rand.IntN(b.pods))) }},
		{"list the first page", func(ctx context.Context) error { return b.get(ctx, fmt.Sprintf("/v3/pods?limit=%d", apiPage)) }},
		{"list any page", func(ctx context.Context) error {
			return b.get(ctx, fmt.Sprintf("/v3/pods?limit=%d&offset=%d", apiPage, rand.IntN(b.pods)))
		}},
		{"create a pod", func(ctx context.Context) error { return b.createOff(ctx, fmt.Sprintf("more%06d", b.made.Add(1))) }},
	} {
		f, err := b.measure(ctx, kind.send)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", kind.name, err)
		}
		f.Store, f.Request = b.engine, kind.name
		tell("  %s: p99 %s, %.0f a second, %.0f per CPU second", kind.name, seconds(f.Took.P99), f.Rate, f.PerCPU)
		all = append(all, f)
	}
	return all, nil
}

// get reads an answer without looking at it: what the clients do is not measured,
// but shares the machine.
func (b *apiBench) get(ctx context.Context, path string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.base+path, nil)
	if err != nil {
		return fmt.Errorf("making a request: %w", err)
	}
	req.Header.Set("X-Tapis-Token", b.token)
	resp, err := b.http.Do(req)
	if err != nil {
		return fmt.Errorf("calling the API: %w", err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", path, resp.Status)
	}
	return nil
}

// measure sends requests for a while, each client one after the other.
func (b *apiBench) measure(ctx context.Context, send func(context.Context) error) (f apiFigures, err error) {
	before, err := b.used()
	if err != nil {
		return f, err
	}
	begun := time.Now()
	took, err := repeat(ctx, apiFor, send)
	if err != nil {
		return f, err
	}
	elapsed := time.Since(begun)
	after, err := b.used()
	if err != nil {
		return f, err
	}
	n, cpu := float64(len(took)), (after.podway - before.podway).Seconds()
	f = apiFigures{Took: summarise(took), Rate: n / elapsed.Seconds(), StoreCPU: (after.database - before.database).Seconds() / n}
	if cpu > 0 {
		f.PerCPU = n / cpu
	}
	return f, nil
}

// repeat sends requests by all clients for a while, and returns how long each took.
func repeat(ctx context.Context, limit time.Duration, send func(context.Context) error) ([]time.Duration, error) {
	var mu sync.Mutex
	var took []time.Duration
	end := time.Now().Add(limit)
	group, ctx := errgroup.WithContext(ctx)
	for range apiClients {
		group.Go(func() error {
			var own []time.Duration
			for time.Now().Before(end) {
				begun := time.Now()
				if err := send(ctx); err != nil {
					return err
				}
				own = append(own, time.Since(begun))
			}
			mu.Lock()
			defer mu.Unlock()
			took = append(took, own...)
			return nil
		})
	}
	err := group.Wait()
	return took, err
}

// cpuUsed is the CPU time that was used so far.
type cpuUsed struct{ podway, database time.Duration }

func (b *apiBench) used() (u cpuUsed, err error) {
	own, err := readUsage(b.podway.process.Pid)
	if err != nil {
		return u, err
	}
	u.podway = own.CPU
	u.database, err = b.db.cpu()
	return u, err
}
