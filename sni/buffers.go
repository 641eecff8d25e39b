package sni

import "sync/atomic"

const (
	// bufferSize is what one TLS record holds at most, so a buffer is filled by one
	// Read of a TLS connection and sent as one record.
	bufferSize = 16 << 10

	// streamSize is for what pods send a lot of: a Read takes as much as has come
	// meanwhile, so it is asked for a quarter as often.
	streamSize = 64 << 10

	// firstSize is what a direction of a session begins with: most messages of
	// most protocols are smaller, and most sessions are idle most of the time.
	firstSize = 512
)

// freeList keeps buffers of one size for reuse. A sync.Pool would be emptied by
// each garbage collection, and clearing new buffers was a fifth of the cost of a
// short session. It keeps about as many as are lent, so that what a busy hour needed
// is given back when its sessions are idle.
type freeList struct {
	size int // of a buffer
	min  int // how many are worth keeping in any case
	free chan []byte
	lent atomic.Int64
}

var (
	// buffers is shared by everything that copies: up to 16 MiB.
	buffers = newFreeList(bufferSize, 64, 1024)

	// streams is shared by the sessions: up to 16 MiB, also while they are lent,
	// since clients that read slowly keep them.
	streams = newFreeList(streamSize, 16, 256)

	// firsts is shared by the sessions: up to 2 MiB.
	firsts = newFreeList(firstSize, 256, 4096)
)

// newFreeList returns a list that keeps least buffers in any case, and most at most.
func newFreeList(size, least, most int) *freeList {
	return &freeList{size: size, min: least, free: make(chan []byte, most)}
}

// exhausted reports whether as many buffers are lent as are kept at most.
func (f *freeList) exhausted() bool { return f.lent.Load() >= int64(cap(f.free)) }

func (f *freeList) get() []byte {
	f.lent.Add(1)
	select {
	case b := <-f.free:
		return b
	default:
		return make([]byte, f.size)
	}
}

func (f *freeList) put(b []byte) {
	if cap(b) != f.size {
		return // not one of ours
	}
	select {
	case f.free <- b[:f.size]:
	default:
	}
	// A few at a time: the list shrinks faster than sessions become idle, and no
	// session pays for all of it.
	for most, dropped := int(2*f.lent.Add(-1))+f.min, 0; len(f.free) > most && dropped < 4; dropped++ {
		select {
		case <-f.free:
		default:
		}
	}
}

// Buffers lends the buffers of sessions to a [net/http/httputil.ReverseProxy].
type Buffers struct{}

// Get returns a buffer of 16 KiB, with old content.
func (Buffers) Get() []byte { return buffers.get() }

// Put takes a buffer back.
func (Buffers) Put(b []byte) { buffers.put(b) }
