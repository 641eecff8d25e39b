package boltwire

import (
	"bytes"
	"encoding/binary"
	"io"
	"strings"
	"testing"
)

func TestChoose(t *testing.T) {
	for _, tt := range []struct {
		name      string
		proposals [4][4]byte
		want      Version
		ok        bool
	}{
		{"the newest that is known, out of a range", [4][4]byte{{0, 8, 8, 5}, {0, 2, 4, 4}}, Version{5, 6}, true},
		{"the next one, if a range begins too late", [4][4]byte{{0, 1, 8, 5}, {0, 2, 4, 4}}, Version{4, 4}, true},
		{"a manifest is no version", [4][4]byte{{0, 0, 1, 0xff}, {0, 0, 0, 3}}, Version{3, 0}, true},
		{"nothing proposed", [4][4]byte{}, Version{}, false},
		{"only the future", [4][4]byte{{0, 3, 3, 6}}, Version{}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if v, ok := (Handshake{tt.proposals}).Choose(); v != tt.want || ok != tt.ok {
				t.Errorf("got %v %v, want %v %v", v, ok, tt.want, tt.ok)
			}
		})
	}
}

func TestReadMessage(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     Message
		ok       bool
	}{
		{"a message", "\x00\x02\xb0\x02\x00\x00", Goodbye, true},
		{"in two chunks", "\x00\x01\xb0\x00\x01\x0f\x00\x00", Reset, true},
		{"after an empty chunk", "\x00\x00\x00\x02\xb0\x02\x00\x00", Goodbye, true},
		{"no structure", "\x00\x02\xa0\x02\x00\x00", 0, false},
		{"too short", "\x00\x01\xb0\x00\x00", 0, false},
		{"without an end", "\x00\x02\xb0\x02", 0, false},
		{"too long", strings.Repeat("\x7f\xff"+strings.Repeat("\xb0", 0x7fff), 2), 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := ReadMessage(strings.NewReader(tt.in))
			if (err == nil) != tt.ok || tt.ok && m != tt.want {
				t.Errorf("got %v, %v, want %v", m, err, tt.want)
			}
		})
	}
}

func TestFailureIsOneMessage(t *testing.T) {
	for _, text := range []string{"short", strings.Repeat("long ", 10000)} {
		b := Failure(Unavailable, text)
		m, err := ReadMessage(bytes.NewReader(b))
		if err != nil || m != failure {
			t.Errorf("got %v, %v, want FAILURE", m, err)
		}
	}
}

// Any bytes are read within the limit, or are an error; nothing is kept of them.
func FuzzRead(f *testing.F) {
	f.Add([]byte(Magic + "\x00\x08\x08\x05\x00\x02\x04\x04\x00\x00\x00\x03\x00\x00\x00\x00\x00\x02\xb1\x01\x00\x00"))
	f.Add(append([]byte(Magic+strings.Repeat("\xff", 16)), Failure(NotFound, "x")...))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		h, err := ReadHandshake(r)
		if err != nil {
			if len(in) >= HandshakeLen && bytes.HasPrefix(in, []byte(Magic)) {
				t.Fatalf("got %v for a whole handshake", err)
			}
			return
		}
		if v, ok := h.Choose(); ok && (v.Major == 0 || v.Major > newestMajor || v.Major == newestMajor && v.Minor > newestMinor) {
			t.Fatalf("got version %v", v)
		}
		before := r.Len()
		if _, err := ReadMessage(r); err == nil && before-r.Len() < 2+2+2 {
			t.Fatalf("got a message of %d bytes", before-r.Len())
		}
		if before-r.Len() > 2*MaxMessageLen+0xffff {
			t.Fatalf("got %d bytes read, more than the limit", before-r.Len())
		}
	})
}

// What is written is what is read, whatever the texts are.
func FuzzFailure(f *testing.F) {
	f.Add(NotFound, "this pod is stopped")
	f.Fuzz(func(t *testing.T, code, text string) {
		b := Failure(code, text)
		if int(binary.BigEndian.Uint16(b)) != len(b)-4 {
			t.Fatalf("got a chunk of %d bytes in %d", binary.BigEndian.Uint16(b), len(b))
		}
		r := bytes.NewReader(b)
		if m, err := ReadMessage(r); err != nil || m != failure || r.Len() != 0 {
			t.Fatalf("got %v, %v, %d bytes left", m, err, r.Len())
		}
		if m, err := ReadMessage(io.MultiReader(bytes.NewReader(Ignored()))); err != nil || m != ignored {
			t.Fatalf("got %v, %v", m, err)
		}
	})
}
