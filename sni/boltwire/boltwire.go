// Package boltwire reads and writes the few Bolt messages that pass before a
// session of Neo4j is authenticated: enough to recognise a client and to tell it
// in its own protocol why it can't go on.
//
// A client opens a connection with 20 bytes: a magic number and four proposals of
// a version. The server answers with 4 bytes, the version it takes. Messages
// follow in chunks, each an uint16 length and that many bytes; a chunk of length 0
// ends a message. A message is a PackStream structure: byte 0xB0 plus the number
// of its fields, a byte that names it, the fields.
//
// A server that refuses a client agrees on a version, answers the client's first
// message with FAILURE and those that follow with IGNORED:
//
//	h, err := boltwire.ReadHandshake(conn)
//	if err != nil { ... }
//	v, ok := h.Choose()
//	if !ok { ... }
//	_, _ = conn.Write(v.Answer())
//	if m, err := boltwire.ReadMessage(conn); err == nil && m != boltwire.Goodbye {
//		_, _ = conn.Write(boltwire.Failure(boltwire.Unavailable, "this pod is starting"))
//	}
//
// The protocol is described in the Bolt Protocol documentation of Neo4j, sections
// "Bolt Protocol handshake specification" and "Bolt Protocol message
// specification", and in "PackStream".
package boltwire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Magic is what every client begins with.
const Magic = "\x60\x60\xb0\x17"

// HandshakeLen is the length of a client's handshake: the magic number and four
// proposals of four bytes.
const HandshakeLen = len(Magic) + 4*4

// MaxMessageLen bounds a message that is read: those before the authentication
// have some hundred bytes.
const MaxMessageLen = 32 << 10

// Handshake is what a client begins with.
type Handshake struct {
	// Proposals in the order of the client's wish. Each has four bytes: 0, how many
	// minor versions below are good too, minor version, major version.
	Proposals [4][4]byte
}

// Version is a version of the protocol.
type Version struct{ Major, Minor byte }

// The versions whose FAILURE has the fields that [Failure] writes: from 1 to 5.6.
const (
	newestMajor = 5
	newestMinor = 6
)

// ReadHandshake reads a client's handshake, and no byte after it.
func ReadHandshake(r io.Reader) (Handshake, error) {
	var h Handshake
	var b [HandshakeLen]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return h, fmt.Errorf("reading Bolt handshake: %w", err)
	}
	if string(b[:len(Magic)]) != Magic {
		return h, errors.New("reading Bolt handshake: the magic number is another")
	}
	for i := range h.Proposals {
		copy(h.Proposals[i][:], b[len(Magic)+4*i:])
	}
	return h, nil
}

// Choose returns the version to speak: the newest of the first proposal that has
// one this package knows. It reports false if there is none.
func (h Handshake) Choose() (Version, bool) {
	for _, p := range h.Proposals {
		below, v := p[1], Version{Major: p[3], Minor: p[2]}
		if v.Major == 0 || v.Major > newestMajor {
			continue
		}
		if v.Major == newestMajor && v.Minor > newestMinor {
			if v.Minor-newestMinor > below {
				continue
			}
			v.Minor = newestMinor
		}
		return v, true
	}
	return Version{}, false
}

// Answer returns what a server answers to a handshake.
func (v Version) Answer() []byte { return []byte{0, 0, v.Minor, v.Major} }

// Message names a message.
type Message byte

// Messages of a client that a server must tell apart. Reset asks it to forget a
// failure, Goodbye is answered by the end.
const (
	Goodbye Message = 0x02
	Reset   Message = 0x0f
)

// Messages of a server.
const (
	ignored Message = 0x7e
	failure Message = 0x7f
)

// structure is the byte a message begins with, without the number of its fields.
const structure = 0xb0

// ReadMessage reads one message and returns its name. Empty chunks ahead of it,
// which keep connections alive, are skipped.
func ReadMessage(r io.Reader) (Message, error) {
	var head []byte
	for read := 0; ; {
		var size [2]byte
		if _, err := io.ReadFull(r, size[:]); err != nil {
			return 0, fmt.Errorf("reading Bolt message: %w", err)
		}
		n := int(binary.BigEndian.Uint16(size[:]))
		if n == 0 && read > 0 {
			break
		}
		// An empty chunk counts too, or they could be sent without end.
		if read += n; read > MaxMessageLen || n == 0 && len(head) > 0 {
			return 0, fmt.Errorf("reading Bolt message: longer than %d bytes", MaxMessageLen)
		}
		keep := min(n, 2-len(head))
		part := make([]byte, keep)
		if _, err := io.ReadFull(r, part); err != nil {
			return 0, fmt.Errorf("reading Bolt message: %w", err)
		}
		head = append(head, part...)
		if _, err := io.CopyN(io.Discard, r, int64(n-keep)); err != nil {
			return 0, fmt.Errorf("reading Bolt message: %w", err)
		}
	}
	if len(head) < 2 || head[0]&0xf0 != structure {
		return 0, errors.New("reading Bolt message: not a structure")
	}
	return Message(head[1]), nil
}

// Codes of a [Failure]. Drivers try again by themselves after one that is
// transient.
const (
	Unavailable = "Neo.TransientError.General.DatabaseUnavailable"
	NotFound    = "Neo.ClientError.Database.DatabaseNotFound"
	Forbidden   = "Neo.ClientError.Security.Forbidden"
)

// maxText bounds the texts of a failure.
const maxText = 4 << 10

// Failure returns the message FAILURE: structure 0x7F with one field, a map of
// "code" and "message".
func Failure(code, message string) []byte {
	b := []byte{structure | 1, byte(failure), 0xa0 | 2}
	for _, s := range []string{"code", code, "message", message} {
		b = appendString(b, s)
	}
	return chunk(b)
}

// Ignored returns the message IGNORED, which has no field. It answers what a client
// sends after a failure.
func Ignored() []byte { return chunk([]byte{structure, byte(ignored)}) }

// appendString appends a PackStream string: up to 15 bytes, the byte 0x80 plus its
// length; else 0xD1 and an uint16 length.
func appendString(b []byte, s string) []byte {
	s = strings.ToValidUTF8(s[:min(len(s), maxText)], "")
	if len(s) < 16 {
		b = append(b, 0x80|byte(len(s)))
	} else {
		b = binary.BigEndian.AppendUint16(append(b, 0xd1), uint16(len(s)))
	}
	return append(b, s...)
}

// chunk returns a message as one chunk and its end.
func chunk(b []byte) []byte {
	out := binary.BigEndian.AppendUint16(nil, uint16(len(b)))
	return append(append(out, b...), 0, 0)
}
