package pgwire

import "encoding/binary"

// Types of the messages that a server sends while a session starts.
const (
	authentication           byte = 'R'
	parameterStatus          byte = 'S'
	negotiateProtocolVersion byte = 'v'
	noticeResponse           byte = 'N'
	backendKeyData           byte = 'K' // int32 length, int32 pid, 4 to 256 bytes of key
)

// maxStartingLen bounds a message that is skipped while a session starts. It is
// more than any server sends there: what is longer is no PostgreSQL.
const maxStartingLen = 1 << 20

// KeyScanner finds the key that cancels a session in what its server sends until
// the first ReadyForQuery. It takes the bytes as they pass, in pieces of any
// size, and keeps none but the key. The zero value is ready.
type KeyScanner struct {
	// PID and Key are what a CancelRequest has to name. Key is nil until it came.
	PID uint32
	Key []byte

	head [5]byte // type and length of the current message
	have int     // bytes of head
	left int     // bytes of the body that are still to come
	body []byte  // of BackendKeyData
	done bool
}

// Scan takes the next bytes of the server. It returns false once there is
// nothing to find any more: the key has come, the session is ready or refused,
// or this is no PostgreSQL.
func (s *KeyScanner) Scan(b []byte) (more bool) {
	for len(b) > 0 && !s.done {
		if s.left > 0 {
			b = s.take(b)
			continue
		}
		n := copy(s.head[s.have:], b)
		s.have += n
		b = b[n:]
		if s.have == len(s.head) {
			s.begin()
		}
	}
	return !s.done
}

// begin looks at the head of a message.
func (s *KeyScanner) begin() {
	s.have = 0
	n := int64(binary.BigEndian.Uint32(s.head[1:])) - 4 // the length counts itself
	kind := s.head[0]
	switch {
	case kind == backendKeyData && n >= minCancelLen-8 && n <= maxCancelLen-8:
		s.body = make([]byte, 0, n)
	case n < 0 || n > maxStartingLen:
		s.done = true
	case kind != authentication && kind != parameterStatus && kind != negotiateProtocolVersion && kind != noticeResponse:
		s.done = true
	}
	s.left = int(n)
}

// take takes bytes of a body and returns those after it.
func (s *KeyScanner) take(b []byte) (rest []byte) {
	n := min(s.left, len(b))
	s.left -= n
	if s.body == nil {
		return b[n:]
	}
	s.body = append(s.body, b[:n]...)
	if s.left == 0 {
		s.PID, s.Key, s.done = binary.BigEndian.Uint32(s.body), s.body[4:], true
	}
	return b[n:]
}
