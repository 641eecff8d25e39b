package pgwire

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

// message returns a message of a server.
func message(kind byte, body string) string {
	return string(binary.BigEndian.AppendUint32([]byte{kind}, uint32(4+len(body)))) + body
}

func TestKeyScanner(t *testing.T) {
	start := message('R', "\x00\x00\x00\x00") + message('S', "TimeZone\x00UTC\x00") + message('N', "") + message('v', "\x00\x03\x00\x00\x00\x00\x00\x00")
	ready := message('Z', "I")
	for _, tt := range []struct {
		name, in string
		pid      uint32
		key      string
		more     bool
	}{
		{"a key of protocol 3.0", start + message('K', "\x00\x00\x00\x07abcd") + ready, 7, "abcd", false},
		{"a key of 256 bytes", start + message('K', "\x00\x00\x00\x07"+strings.Repeat("k", 256)) + ready, 7, strings.Repeat("k", 256), false},
		{"a key of 257 bytes", start + message('K', "\x00\x00\x00\x07"+strings.Repeat("k", 257)) + ready, 0, "", false},
		{"a key of 3 bytes", start + message('K', "\x00\x00\x00\x07abc") + ready, 0, "", false},
		{"a server without keys", start + ready + message('K', "\x00\x00\x00\x07abcd"), 0, "", false},
		{"a refusal", message('E', "SFATAL\x00\x00"), 0, "", false},
		{"a start that is not done", start, 0, "", true},
		{"a key that is cut off", start + message('K', "\x00\x00\x00\x07abcd")[:10], 0, "", true},
		{"a message over the cap", "S\x7f\xff\xff\xff", 0, "", false},
		{"a length below its own", "S\x00\x00\x00\x03", 0, "", false},
		{"another protocol", "HTTP/1.1 200 OK\r\n", 0, "", false},
		{"nothing", "", 0, "", true},
	} {
		for _, size := range []int{1, 7, 1 << 10} {
			var s KeyScanner
			more := true
			for b := []byte(tt.in); len(b) > 0 && more; b = b[min(size, len(b)):] {
				more = s.Scan(b[:min(size, len(b))])
			}
			if s.PID != tt.pid || string(s.Key) != tt.key || more != tt.more {
				t.Errorf("%s, in pieces of %d: got %d, %q, %v, want %d, %q, %v", tt.name, size, s.PID, s.Key, more, tt.pid, tt.key, tt.more)
			}
		}
	}
}

// The pieces that bytes come in make no difference, and nothing large is kept.
func FuzzKeyScanner(f *testing.F) {
	f.Add([]byte(message('R', "\x00\x00\x00\x00")+message('K', "\x00\x00\x00\x07abcd")+message('Z', "I")), 3)
	f.Add([]byte(message('K', "\x00\x00\x00\x07"+strings.Repeat("k", 256))), 100)
	f.Add([]byte("S\xff\xff\xff\xff"), 1)
	f.Fuzz(func(t *testing.T, b []byte, size int) {
		if size < 1 {
			return
		}
		var whole, pieces KeyScanner
		more := whole.Scan(b)
		morePieces := true
		for rest := b; len(rest) > 0; rest = rest[min(size, len(rest)):] {
			morePieces = pieces.Scan(rest[:min(size, len(rest))])
		}
		if len(b) > 0 && more != morePieces || whole.PID != pieces.PID || !bytes.Equal(whole.Key, pieces.Key) {
			t.Fatalf("got %d %q %v, in pieces %d %q %v", whole.PID, whole.Key, more, pieces.PID, pieces.Key, morePieces)
		}
		if n := len(whole.Key); n != 0 && (n < 4 || n > 256) {
			t.Fatalf("got a key of %d bytes", n)
		}
	})
}
