package sni

import "sync/atomic"

// bufferSize is what one TLS record holds at most, so a buffer is filled by one
// Read of a TLS connection and sent as one record.
const bufferSize = 16 << 10

// freeList keeps buffers for reuse. A sync.Pool would be emptied by each garbage
// collection, and clearing new buffers was a fifth of the cost of a short session.
// It keeps about as many as are lent, so that what a busy hour needed is given back
// when its sessions are idle.
type freeList struct {
	free chan *[bufferSize]byte
	lent atomic.Int64
}

const (
	maxFree = 1024 // 16 MiB
	minFree = 64   // 1 MiB, worth keeping in any case
)

// buffers is shared by everything that copies.
var buffers = &freeList{free: make(chan *[bufferSize]byte, maxFree)}

func (f *freeList) get() []byte {
	f.lent.Add(1)
	select {
	case b := <-f.free:
		return b[:]
	default:
		return new([bufferSize]byte)[:]
	}
}

func (f *freeList) put(b []byte) {
	if len(b) < bufferSize {
		return
	}
	select {
	case f.free <- (*[bufferSize]byte)(b):
	default:
	}
	// A few at a time: the list shrinks faster than sessions become idle, and no
	// session pays for all of it.
	for most, dropped := int(2*f.lent.Add(-1))+minFree, 0; len(f.free) > most && dropped < 4; dropped++ {
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
