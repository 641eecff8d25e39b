package sni

// bufferSize is what one TLS record holds at most, so a buffer is filled by one
// Read of a TLS connection and sent as one record.
const bufferSize = 16 << 10

// freeList keeps buffers for reuse, up to a fixed number. A sync.Pool would be
// emptied by each garbage collection, and clearing new buffers was a fifth of
// the cost of a short session.
type freeList chan *[bufferSize]byte

// buffers is shared by everything that copies. It holds 16 MiB at most.
var buffers = make(freeList, 1024)

func (f freeList) get() []byte {
	select {
	case b := <-f:
		return b[:]
	default:
		return new([bufferSize]byte)[:]
	}
}

func (f freeList) put(b []byte) {
	if cap(b) < bufferSize {
		return
	}
	select {
	case f <- (*[bufferSize]byte)(b[:bufferSize]):
	default:
	}
}

// Buffers lends the buffers of sessions to a [net/http/httputil.ReverseProxy].
type Buffers struct{}

// Get returns a buffer of 16 KiB, with old content.
func (Buffers) Get() []byte { return buffers.get() }

// Put takes a buffer back.
func (Buffers) Put(b []byte) { buffers.put(b) }
