package load

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// Handshakes opens connections for a time, with a number of workers; each is a
// full handshake, one byte echoed by the upstream, and the end. Failures are
// counted, and the first is returned with the result.
func Handshakes(ctx context.Context, t Target, workers int, d time.Duration) (Result, error) {
	return repeat(ctx, workers, d, func(ctx context.Context) error { return Try(ctx, t) })
}

// HandshakesAcross is Handshakes with a number of hosts at one address, in turns.
func HandshakesAcross(ctx context.Context, t Target, hosts []string, workers int, d time.Duration) (Result, error) {
	var turn atomic.Uint64
	return repeat(ctx, workers, d, func(ctx context.Context) error {
		host := t
		// Far from the one before, so that no cache of the processor helps.
		host.Host = hosts[turn.Add(7919)%uint64(len(hosts))]
		return Try(ctx, host)
	})
}

// Visit makes one handshake with each of a number of hosts at one address.
func Visit(ctx context.Context, t Target, hosts []string, workers int) error {
	var g errgroup.Group
	g.SetLimit(workers)
	for _, h := range hosts {
		host := t
		host.Host = h
		g.Go(func() error { return Try(ctx, host) })
	}
	return g.Wait()
}

// repeat calls f again and again for a time in a number of workers.
func repeat(ctx context.Context, workers int, d time.Duration, f func(context.Context) error) (Result, error) {
	var (
		wg        sync.WaitGroup
		n, failed atomic.Int64
		once      sync.Once
		first     error
	)
	start := time.Now()
	for range workers {
		wg.Go(func() {
			for time.Since(start) < d && ctx.Err() == nil {
				if err := f(ctx); err != nil {
					failed.Add(1)
					once.Do(func() { first = err })
					continue
				}
				n.Add(1)
			}
		})
	}
	wg.Wait()
	return Result{Ops: float64(n.Load()), Failed: int(failed.Load()), Took: time.Since(start)}, errors.Join(first, ctx.Err())
}

// RoundTrips sends messages of 100 bytes over one connection for a time, each
// when the one before came back.
func RoundTrips(ctx context.Context, t Target, d time.Duration) (Result, error) {
	c, err := t.open(ctx, t.tlsConfig())
	if err != nil {
		return Result{}, err
	}
	defer reset(c)
	_ = c.SetDeadline(time.Now().Add(d + opTimeout))
	b := make([]byte, 100)
	start, n := time.Now(), 0
	for ; time.Since(start) < d; n++ {
		if _, err = c.Write(b); err == nil {
			_, err = io.ReadFull(c, b)
		}
		if err != nil {
			return Result{}, fmt.Errorf("sending a message to %s and back: %w", t.Host, err)
		}
	}
	return Result{Ops: float64(n), Took: time.Since(start)}, nil
}

// Down reads for a time over a number of connections; the operations are
// megabytes.
func Down(ctx context.Context, t Target, conns int, d time.Duration) (Result, error) {
	return bulk(ctx, t, conns, wantDown, func(c *tls.Conn) (int64, error) {
		_ = c.SetReadDeadline(time.Now().Add(d))
		n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{c}, make([]byte, chunk))
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = nil
		}
		return n, err
	})
}

// Up writes for a time over a number of connections; the operations are
// megabytes that arrived.
func Up(ctx context.Context, t Target, conns int, d time.Duration) (Result, error) {
	return bulk(ctx, t, conns, wantUp, func(c *tls.Conn) (int64, error) {
		_ = c.SetDeadline(time.Now().Add(d + opTimeout))
		acknowledged := make(chan error, 1)
		units := make(chan int64, 1)
		go func() { acknowledged <- readAcknowledgements(c, units) }()
		n, err := writeUnits(c, d, units)
		if err != nil {
			reset(c) // ends the reading, too
		}
		return n, errors.Join(err, <-acknowledged)
	})
}

// writeUnits writes units for a time and returns how many bytes it wrote. Before
// the last unit it sends how many they are.
func writeUnits(w io.Writer, d time.Duration, units chan<- int64) (int64, error) {
	b, n := make([]byte, chunk), int64(0)
	for start, last := time.Now(), false; !last; {
		n += unit
		if last = time.Since(start) >= d; last {
			units <- n / unit
		}
		for range unit / chunk {
			if _, err := w.Write(b); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

// readAcknowledgements reads a byte for each unit that arrived, until there are
// as many as the channel says once all are sent.
func readAcknowledgements(c *tls.Conn, units <-chan int64) error {
	b := make([]byte, 64)
	for got, all := int64(0), int64(-1); got != all; {
		select {
		case all = <-units:
			continue
		default:
		}
		n, err := c.Read(b)
		if err != nil {
			return err
		}
		got += int64(n)
	}
	return nil
}

// bulk runs move on a number of connections at once and adds up the bytes.
func bulk(ctx context.Context, t Target, conns int, want byte, move func(*tls.Conn) (int64, error)) (Result, error) {
	errs := make([]error, conns)
	var total atomic.Int64
	var wg sync.WaitGroup
	start := time.Now()
	for i := range conns {
		wg.Go(func() {
			c, err := t.connect(ctx, t.tlsConfig())
			if err != nil {
				errs[i] = err
				return
			}
			defer reset(c)
			n := int64(0)
			if _, err = c.Write([]byte{want}); err == nil {
				n, err = move(c)
			}
			if err != nil {
				errs[i] = fmt.Errorf("moving bytes over %s: %w", t.Host, err)
			}
			total.Add(n)
		})
	}
	wg.Wait()
	return Result{Ops: float64(total.Load()) / 1e6, Took: time.Since(start)}, errors.Join(errs...)
}

// Idle is a number of open connections on which nothing happens.
type Idle struct{ conns []*tls.Conn }

// OpenIdle opens n connections, a few at a time, and has one byte echoed on
// each. Close them.
func OpenIdle(ctx context.Context, t Target, n int) (*Idle, error) {
	const workers = 16
	var (
		i    = &Idle{conns: make([]*tls.Conn, n)}
		cfg  = t.tlsConfig()
		errs = make([]error, workers)
		wg   sync.WaitGroup
	)
	for w := range workers {
		wg.Go(func() {
			for k := w; k < n && errs[w] == nil; k += workers {
				i.conns[k], errs[w] = t.open(ctx, cfg)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		i.Close()
		return nil, err
	}
	for _, c := range i.conns {
		_ = c.SetDeadline(time.Time{})
	}
	return i, nil
}

// Close closes all of them.
func (i *Idle) Close() {
	for _, c := range i.conns {
		if c != nil {
			reset(c)
		}
	}
}
