package mywire

import (
	"strings"
	"testing"
)

func TestErrorsHaveTheirLayout(t *testing.T) {
	if got, want := string(AppendError([]byte("x"), "no")), "x\x05\x00\x00\x00\xff\x13\x04no"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	b := AppendError(nil, strings.Repeat("x", 1000))
	if n := int(b[0]) | int(b[1])<<8; n != len(b)-4 || n != 3+maxText {
		t.Errorf("got %d bytes, length %d, want %d", len(b), n, 3+maxText)
	}
}
