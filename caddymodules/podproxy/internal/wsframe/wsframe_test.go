package wsframe

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

// frame returns a frame with n bytes of payload.
func frame(op byte, n int, mask bool) []byte {
	b := []byte{final | op}
	switch {
	case n < length16:
		b = append(b, byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, length16), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, length64), uint64(n))
	}
	if mask {
		b[1] |= masked
		b = append(b, 1, 2, 3, 4)
	}
	return append(b, bytes.Repeat([]byte{0xff}, n)...)
}

func TestFramesEndWhereTheyEnd(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 1000, 65535, 65536, 70000} {
		for _, mask := range []bool{false, true} {
			for _, piece := range []int{1, 3, 4096, 1 << 20} {
				var tr Tracker
				if !tr.Between() {
					t.Fatal("got no place for a frame at the beginning")
				}
				one := frame(2, n, mask)
				sent := 0
				for rest := append(bytes.Clone(one), one...); len(rest) > 0; {
					m := min(piece, len(rest))
					tr.Follow(rest[:m])
					rest, sent = rest[m:], sent+m
					if got, want := tr.Between(), sent%len(one) == 0; got != want {
						t.Fatalf("%d bytes of payload, masked %v, after %d bytes: got %v, want %v", n, mask, sent, got, want)
					}
				}
			}
		}
	}
}

func TestNothingFollowsAClose(t *testing.T) {
	var tr Tracker
	tr.Follow(frame(1, 5, false))
	b := AppendClose(nil, GoingAway, "because")
	if want := "\x88\x09\x03\xe9because"; string(b) != want {
		t.Errorf("got %q, want %q", b, want)
	}
	tr.Follow(b)
	if tr.Between() {
		t.Error("got a place for a frame after a close frame")
	}
}

func TestReasonsAreCut(t *testing.T) {
	b := AppendClose(nil, GoingAway, strings.Repeat("x", 500))
	if len(b) != 2+maxControl || b[1] != maxControl {
		t.Errorf("got %d bytes, length %d, want %d", len(b), b[1], maxControl)
	}
}

func FuzzTracker(f *testing.F) {
	f.Add(frame(1, 300, false), 7)
	f.Add(append(frame(2, 5, true), frame(8, 2, false)...), 1)
	f.Add([]byte{0x82, 127, 255, 255, 255, 255, 255, 255, 255, 255, 0}, 3)
	f.Fuzz(func(t *testing.T, b []byte, at int) {
		var whole, split Tracker
		whole.Follow(b)
		at = min(max(at, 0), len(b))
		split.Follow(b[:at])
		split.Follow(b[at:])
		if whole.Between() != split.Between() || whole.left != split.left || whole.have != split.have {
			t.Errorf("got %+v in two pieces, want %+v", split, whole)
		}
	})
}
