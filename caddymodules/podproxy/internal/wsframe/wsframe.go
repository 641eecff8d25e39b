// Package wsframe follows the frames of a WebSocket (RFC 6455, section 5.2) that
// somebody else reads and writes, to find the places where one more fits in.
//
//	var t wsframe.Tracker
//	t.Follow(sent)
//	if t.Between() {
//		c.Write(wsframe.AppendClose(nil, wsframe.GoingAway, "the server shuts down"))
//	}
package wsframe

import "encoding/binary"

// GoingAway is the status code of an end for reasons beyond the connection: a server
// that shuts down.
const GoingAway = 1001

// Bits and values of a frame's first two bytes.
const (
	final     = 1 << 7 // of byte 0: the last frame of a message
	opcode    = 0x0f   // of byte 0
	opClose   = 8      // opcode: nothing follows this frame
	masked    = 1 << 7 // of byte 1: a key of four bytes precedes the payload
	length    = 0x7f   // of byte 1: of the payload, or one of these two
	length16  = 126    // two bytes of length follow
	length64  = 127    // eight bytes of length follow
	maxHeader = 2 + 8 + 4

	// maxControl is how long the payload of a control frame may be.
	maxControl = 125
)

// Tracker knows where the frames of one direction end. The zero value is at the
// beginning of a WebSocket, after the handshake. It trusts what it follows: of a
// peer that sends no frames it knows nothing.
type Tracker struct {
	header [maxHeader]byte
	have   int    // bytes of header, of a frame that has begun
	left   uint64 // bytes of payload to come
	closed bool   // a close frame has begun
}

// Follow takes the next bytes of the direction, in pieces of any size.
func (t *Tracker) Follow(b []byte) {
	for len(b) > 0 {
		if t.left > 0 {
			n := min(t.left, uint64(len(b)))
			t.left -= n
			b = b[n:]
			continue
		}
		t.header[t.have] = b[0]
		t.have++
		b = b[1:]
		if t.have == t.headerLen() {
			t.left = t.payloadLen()
			t.closed = t.closed || t.header[0]&opcode == opClose
			t.have = 0
		}
	}
}

// Between reports whether a frame may begin here: the last one is complete, and was
// no close frame.
func (t *Tracker) Between() bool { return t.have == 0 && t.left == 0 && !t.closed }

// headerLen returns how long the header is that has begun, as far as that is known:
// always more than what there is of it, unless it is complete.
func (t *Tracker) headerLen() int {
	if t.have < 2 {
		return 2
	}
	n := 2
	switch t.header[1] & length {
	case length16:
		n += 2
	case length64:
		n += 8
	}
	if t.header[1]&masked != 0 {
		n += 4
	}
	return n
}

// payloadLen returns the length in a complete header.
func (t *Tracker) payloadLen() uint64 {
	switch n := t.header[1] & length; n {
	case length16:
		return uint64(binary.BigEndian.Uint16(t.header[2:]))
	case length64:
		return binary.BigEndian.Uint64(t.header[2:])
	default:
		return uint64(n)
	}
}

// AppendClose appends a close frame of a server. Of a reason beyond 123 bytes the
// rest is left out.
func AppendClose(b []byte, code uint16, reason string) []byte {
	reason = reason[:min(len(reason), maxControl-2)]
	b = append(b, final|opClose, byte(2+len(reason)))
	b = binary.BigEndian.AppendUint16(b, code)
	return append(b, reason...)
}
