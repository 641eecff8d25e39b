package podway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/tapis-project/podway/sni"
	"github.com/tapis-project/podway/sni/handover"
)

// succession is this process's part in handing sockets over: first it is the
// successor of the process before, then the predecessor of the next.
var succession struct {
	mu       sync.Mutex
	path     string           // of the offer; "" if there is none to be made
	estate   *handover.Estate // nil: there was no predecessor, or it has retired
	start    chan struct{}    // closed when sockets of the estate are to be accepted from
	offer    *handover.Offer
	offered  string // where offer is
	awaiting *App   // the configuration that is to be ready for it
}

const (
	// readyPoll is how often a successor looks whether it is ready.
	readyPoll = 10 * time.Millisecond

	// readyWarning is after how long a successor says that it is not ready.
	readyWarning = 10 * time.Second

	// claimTimeout bounds the connect to a predecessor.
	claimTimeout = 5 * time.Second
)

// begun is closed when the first configuration has started, so that certificates
// are loaded before the first handshake.
var (
	begun = make(chan struct{})
	begin = sync.OnceFunc(func() { close(begun) })
)

// useHandover sets where sockets are handed over: "" is nowhere.
func useHandover(path string) {
	succession.mu.Lock()
	defer succession.mu.Unlock()
	succession.path = path
}

// OpenSocket returns how this process opens a listening socket: as that of the
// process it takes over from, as one of systemd, or as a new one made with cfg.
func OpenSocket(cfg net.ListenConfig) sni.Open {
	return func(ctx context.Context, addr string) (net.Listener, <-chan struct{}, error) {
		if ln, start, err := inherit(ctx, addr); ln != nil || err != nil {
			return ln, start, err
		}
		if ln, err := handover.Activated(addr); ln != nil || err != nil {
			return ln, begun, err
		}
		ln, err := cfg.Listen(ctx, "tcp", addr)
		return ln, begun, err
	}
}

// inherit returns the predecessor's socket of an address, nil if there is none.
func inherit(ctx context.Context, addr string) (net.Listener, <-chan struct{}, error) {
	succession.mu.Lock()
	defer succession.mu.Unlock()
	if succession.path == "" || succession.offer != nil {
		return nil, nil, nil // nobody, or this process itself
	}
	if succession.estate == nil {
		ctx, stop := context.WithTimeout(ctx, claimTimeout)
		defer stop()
		estate, err := handover.Claim(ctx, succession.path)
		if errors.Is(err, handover.ErrNobody) {
			return nil, nil, nil
		}
		if err != nil {
			return nil, nil, fmt.Errorf("%w; remove %s if no other edge uses it", err, succession.path)
		}
		succession.estate, succession.start = estate, make(chan struct{})
	}
	ln, err := succession.estate.Listener(addr)
	return ln, succession.start, err
}

// Started tells the app that its configuration has started: connections are
// accepted from now on. As soon as the edge is
// ready too, it takes over from its predecessor, if there is one, and waits for a
// successor.
func (a *App) Started() {
	begin()
	leaving.Store(false) // its sockets are open
	succession.mu.Lock()
	defer succession.mu.Unlock()
	if succession.offered == succession.path && succession.estate == nil {
		return
	}
	succession.awaiting = a
	go a.succeed()
}

// succeed takes over when this process can serve.
func (a *App) succeed() {
	ok := a.awaitReady()
	succession.mu.Lock()
	defer succession.mu.Unlock()
	if !ok || succession.awaiting != a {
		return // a newer configuration sees to it
	}
	if succession.estate != nil {
		close(succession.start)
		if err := succession.estate.Accept(); err != nil {
			a.log.Warn("the edge before this one may go on", "error", err)
		}
		succession.estate = nil
		a.log.Info("took over the sockets of the edge before")
	}
	a.makeOffer()
}

// awaitReady waits until clients can be served. It reports false if the
// configuration ends before that: the next one is asked then.
func (a *App) awaitReady() bool {
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	for start, told := time.Now(), false; !a.status().Ready; {
		if !told && time.Since(start) > readyWarning {
			told = true
			a.log.Warn("not ready to take over: routes or certificates are missing")
		}
		select {
		case <-tick.C:
		case <-a.ctx.Done():
			return false
		}
	}
	return true
}

// makeOffer offers the sockets of this process where they are to be offered now.
// The caller holds the lock.
func (a *App) makeOffer() {
	if succession.offer != nil && succession.offered != succession.path {
		go succession.offer.Close() //nolint:errcheck // nobody can do anything about it
		succession.offer = nil
	}
	succession.offered = succession.path
	if succession.path == "" || succession.offer != nil {
		return
	}
	offer, err := handover.Listen(succession.path, handover.Handler{Sockets: passOn, Retire: func() { retire(a.log) }})
	if err != nil {
		a.log.Error("no other edge can take over", "error", err)
		return
	}
	succession.offer = offer
}

// passOn returns the sockets for a successor.
func passOn() []handover.Socket {
	var all []handover.Socket
	for addr, ln := range sni.OpenSockets() {
		if c, ok := ln.(syscall.Conn); ok {
			all = append(all, handover.Socket{Name: addr, Listener: c})
		}
	}
	return all
}

// retire ends this process for its successor: it accepts no connection any more,
// lets those that are being opened come to their sessions, and drains.
func retire(log *slog.Logger) {
	log.Info("another edge has taken over the sockets")
	leaving.Store(true)
	sni.Retire()
	deadline := time.Now().Add(sni.DefaultOpenTimeout)
	for stats.Opening() > 0 && time.Now().Before(deadline) {
		time.Sleep(readyPoll)
	}
	// From here on it is the shutdown that Caddy knows.
	p, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = p.Signal(syscall.SIGTERM)
	}
	if err != nil {
		log.Error("the edge can't end", "error", err)
	}
}
