package sni

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// duplex is a connection whose two directions end apart.
type duplex interface {
	net.Conn
	CloseWrite() error
}

// conversation is what the edge has to do with the bytes of a session. The zero
// value is for protocols it does not know.
type conversation struct {
	first   []byte                   // to send to the upstream ahead of the client's bytes
	saw     func([]byte)             // takes what the upstream sends, before it is sent on; may be nil
	goodbye func(cause error) []byte // what to tell the client before its end; may be nil
}

// goodbyeTimeout is how long a goodbye may take.
const goodbyeTimeout = 250 * time.Millisecond

// link is a client's connection and its upstream's, tied together.
type link struct {
	ctx      context.Context //nolint:containedctx // it is the session's, and lives as long
	down, up duplex
	talk     conversation
	parker   *Parker
	done     func(error)
	stop     func() bool // keeps the end of ctx from ending the link

	toClient, toUpstream pump
	left                 atomic.Int32 // pumps that have not ended
	why                  atomic.Pointer[error]
}

// relay copies between a client and its upstream until both directions have
// ended, one has failed, or ctx ends. It closes both connections, calls done with
// the reason, and may return long before that. A nil parker parks nothing.
//
// The end of one direction is passed on and the other goes on: a client may
// close its side and still wait for the rest of an answer.
func relay(ctx context.Context, down, up duplex, x *Session, talk conversation, parker *Parker, done func(error)) {
	l := &link{ctx: ctx, down: down, up: up, talk: talk, parker: parker, done: done}
	l.toClient = pump{link: l, dst: down, src: up, count: x.countSent, saw: talk.saw}
	l.toUpstream = pump{link: l, dst: up, src: down, count: x.countReceived, first: talk.first}
	l.left.Store(2)
	l.stop = context.AfterFunc(ctx, l.cancelled)
	go l.toClient.run()
	l.toUpstream.run()
}

// cancelled ends the link when its context has ended.
func (l *link) cancelled() {
	if l.talk.goodbye == nil {
		l.end()
		return
	}
	// The goroutine that writes to the client says goodbye and closes.
	_ = l.down.SetWriteDeadline(time.Now().Add(goodbyeTimeout))
	l.up.Close()
	l.toClient.wake()
	time.AfterFunc(goodbyeTimeout, l.end) // unless its direction has ended before
}

// end closes both connections, and makes sure that both pumps notice.
func (l *link) end() {
	l.up.Close() // first, as it never blocks
	closeClient(l.down)
	l.toClient.wake()
	l.toUpstream.wake()
}

// ended takes the end of one direction. The last one ends the link.
func (l *link) ended(p *pump, err error) {
	if err != nil {
		l.why.CompareAndSwap(nil, &err) // what follows is its consequence
	}
	switch {
	case err == nil:
	case p == &l.toClient:
		l.sayGoodbye()
		l.end()
	case context.Cause(l.ctx) == nil || l.talk.goodbye == nil:
		l.end()
	}
	if l.left.Add(-1) > 0 {
		return
	}
	l.stop()
	l.end()
	if why := l.why.Load(); why != nil {
		err = *why
	}
	if cause := context.Cause(l.ctx); cause != nil {
		err = cause
	}
	l.done(err)
}

// sayGoodbye tells a client why its session ends, if its context has ended it and
// the protocol has words for it.
func (l *link) sayGoodbye() {
	cause := context.Cause(l.ctx)
	if cause == nil || l.talk.goodbye == nil {
		return
	}
	if b := l.talk.goodbye(cause); b != nil {
		_, _ = l.down.Write(b) // it was worth a try
	}
}

// pump copies one direction of a link. It has a buffer and a goroutine only while
// bytes come; else the [Parker] waits for it.
type pump struct {
	link     *link
	dst, src duplex
	count    func(int)
	saw      func([]byte)
	first    []byte // to send before anything else

	parked atomic.Bool // no goroutine has it: whoever sets this back runs it
	place  place       // in the parker; belongs to whoever has the pump
}

// run copies up to the end of src and passes that on, or parks the pump.
func (p *pump) run() {
	for {
		err := p.copyOrRecover()
		if !errors.Is(err, errIdle) {
			p.link.ended(p, err)
			return
		}
		if p.link.parker.park(p) {
			return
		}
	}
}

// wake runs the pump if it is parked.
func (p *pump) wake() {
	if p.parked.CompareAndSwap(true, false) {
		p.link.parker.forget(p)
		go p.run()
	}
}

// errPanicked is the error of a session that met a mistake of the edge.
var errPanicked = errors.New("panic")

// copyOrRecover is copy, with a panic as an error. As in net/http, a mistake met
// by one connection ends that one only.
func (p *pump) copyOrRecover() (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v\n%s", errPanicked, r, debug.Stack())
		}
	}()
	return p.copy()
}

// errIdle is returned by copy when no bytes have come for a while.
var errIdle = errors.New("nothing to copy for now")

// copy copies until src ends, an error, or until it is idle. It is the only place
// that holds a buffer of a session.
func (p *pump) copy() error {
	if len(p.first) > 0 {
		if _, err := p.dst.Write(p.first); err != nil {
			return err
		}
		p.first = nil
	}
	from := firsts
	b := from.get()
	defer func() { from.put(b) }()
	p.link.parker.await(p.src)
	active := true
	for {
		n, err := p.src.Read(b)
		if n > 0 {
			active = true
			if err := p.pass(b[:n]); err != nil {
				return err
			}
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			return p.dst.CloseWrite()
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return err
		case !active:
			return errIdle
		default:
			// The deadline is set now and then, not for each read: only the second one
			// without bytes in between means that it is idle.
			active = false
			p.link.parker.await(p.src)
		}
		if n == len(b) {
			from, b = p.larger(from, b)
		}
	}
}

// larger exchanges a buffer that one Read has filled, as there is more, for one that
// holds a TLS record, and that for one that holds several. A TLS connection, that of a
// client, gives one at a time in any case.
func (p *pump) larger(from *freeList, b []byte) (*freeList, []byte) {
	to := buffers
	if from != firsts {
		if to = streams; from != buffers || p != &p.link.toClient || to.exhausted() {
			return from, b
		}
	}
	from.put(b)
	return to, to.get()
}

// pass sends bytes on.
func (p *pump) pass(b []byte) error {
	if p.saw != nil {
		p.saw(b)
	}
	if _, err := p.dst.Write(b); err != nil {
		return err
	}
	p.count(len(b))
	return nil
}

// closeClient closes a client's connection, with a goodbye of TLS if that can
// be sent at once: the socket of a client that reads nothing may be full.
func closeClient(c net.Conn) {
	if t, ok := c.(interface{ NetConn() net.Conn }); ok {
		raw := t.NetConn()
		defer time.AfterFunc(250*time.Millisecond, func() { raw.Close() }).Stop()
	}
	c.Close()
}
