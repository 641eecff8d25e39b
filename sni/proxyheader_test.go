package sni

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/pires/go-proxyproto"
)

// What is read is one header that can be printed again, and nothing after it.
func FuzzProxyHeader(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.1 192.0.2.2 40000 443\r\n\x16\x03\x01"))
	f.Add([]byte("PROXY TCP6 2001:db8::1 2001:db8::2 40000 443\r\n"))
	f.Add([]byte("PROXY UNKNOWN\r\n\x16"))
	f.Add([]byte("\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00\x16\x03\x01"))
	f.Add([]byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\x9c\x40\x01\xbb\x16\x03"))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		h, err := readProxyHeader(r)
		if err != nil {
			if !errors.Is(err, ErrProxyHeader) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("got %v", err)
			}
			return
		}
		read := in[:len(in)-r.Len()]
		if !bytes.HasPrefix(read, proxyproto.SIGV1) && !bytes.HasPrefix(read, proxyproto.SIGV2) {
			t.Fatalf("got a header of %q", read)
		}
		if _, err := h.Format(); err != nil {
			t.Fatalf("printing the header of %q: %v", read, err)
		}
	})
}
