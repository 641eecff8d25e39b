package sni

import (
	"cmp"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"
)

// Parker waits for the idle directions of sessions, so that they need neither a
// goroutine nor a buffer: with one goroutine and one epoll set for all of them.
// Make it with [NewParker]; it is safe for concurrent use.
//
// A pump that is parked belongs to nobody. It is run again by whoever sets its
// flag parked back: this goroutine when bytes come, or the end of its session.
// Each parking has an id of its own, so that an event that comes late, of a socket
// that was closed and whose number is in use again, finds nothing.
type Parker struct {
	after time.Duration
	epoll int
	quit  *os.File // writing to it ends the goroutine
	done  sync.WaitGroup

	mu     sync.Mutex
	last   uint64
	parked map[uint64]*pump
}

// place is what a pump remembers of its parker.
type place struct {
	id    uint64
	known bool // its socket is in the epoll set, asleep
}

// quitID is the id of the parker's own pipe. Pumps have higher ones.
const quitID = 0

// NewParker starts a parker that parks after a direction had no bytes for that
// long. Zero means [DefaultParkAfter].
func NewParker(after time.Duration) (*Parker, error) {
	epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("creating epoll set: %w", err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		_ = syscall.Close(epoll)
		return nil, fmt.Errorf("creating pipe: %w", err)
	}
	k := &Parker{after: cmp.Or(after, DefaultParkAfter), epoll: epoll, quit: w, parked: map[uint64]*pump{}}
	if err := syscall.EpollCtl(epoll, syscall.EPOLL_CTL_ADD, int(r.Fd()), event(quitID)); err != nil {
		_ = syscall.Close(epoll)
		_, _ = r.Close(), w.Close()
		return nil, fmt.Errorf("watching pipe: %w", err)
	}
	k.done.Go(func() {
		defer r.Close()
		k.watch()
	})
	return k, nil
}

// Close ends the parker. No session may use it any more.
func (k *Parker) Close() error {
	err := k.quit.Close() // its reader sees the end
	k.done.Wait()
	return err
}

// Parked returns how many directions are parked.
func (k *Parker) Parked() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.parked)
}

// event asks for the next time that bytes, an end or an error come, and for
// nothing after that until it is asked again.
func event(id uint64) *syscall.EpollEvent {
	return &syscall.EpollEvent{
		Events: syscall.EPOLLIN | syscall.EPOLLRDHUP | syscall.EPOLLONESHOT,
		Fd:     int32(uint32(id)), Pad: int32(uint32(id >> 32)), // the two halves of the id
	}
}

// park parks a pump. It reports false if the caller has to go on with it.
func (k *Parker) park(p *pump) bool {
	raw := socketOf(p.src)
	if raw == nil {
		return false
	}
	op := syscall.EPOLL_CTL_ADD
	if p.place.known {
		op = syscall.EPOLL_CTL_MOD
	}
	k.mu.Lock()
	k.last++
	id := k.last
	k.parked[id] = p
	k.mu.Unlock()
	p.place = place{id: id, known: true}

	// From here on anybody may run the pump. A connection that was closed before
	// this line is found closed by Control, one that is closed later wakes it.
	p.parked.Store(true)
	var failed error
	err := raw.Control(func(fd uintptr) { failed = syscall.EpollCtl(k.epoll, op, int(fd), event(id)) })
	if err == nil && failed == nil {
		return true
	}
	if p.parked.CompareAndSwap(true, false) {
		k.drop(id)
		p.place.known = op == syscall.EPOLL_CTL_MOD
		return false
	}
	return true // somebody else has it
}

// forget removes a pump that is not parked any more. The caller has it.
func (k *Parker) forget(p *pump) { k.drop(p.place.id) }

// drop removes the pump of an id, and returns it.
func (k *Parker) drop(id uint64) *pump {
	k.mu.Lock()
	defer k.mu.Unlock()
	p := k.parked[id]
	delete(k.parked, id)
	return p
}

// watch runs the pumps that have something to do, until Close.
func (k *Parker) watch() {
	defer syscall.Close(k.epoll) //nolint:errcheck // nothing is written to it
	events := make([]syscall.EpollEvent, 256)
	for {
		n, err := syscall.EpollWait(k.epoll, events, -1)
		if err != nil && err != syscall.EINTR {
			return // the set is closed, which nobody else does
		}
		for _, e := range events[:max(n, 0)] {
			id := uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32
			if id == quitID {
				return
			}
			if p := k.drop(id); p != nil && p.parked.CompareAndSwap(true, false) {
				go p.run()
			}
		}
	}
}
