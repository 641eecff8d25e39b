package sni

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"

	"github.com/pires/go-proxyproto"
)

// Sizes of PROXY headers.
const (
	proxyV1Max  = 107 // the longest line of version 1, with its CRLF
	proxyV2Head = 16  // signature, version, family, length of the rest
	proxyV2Max  = proxyV2Head + 2048
)

// readProxyHeader reads exactly one PROXY header and takes the addresses from
// it. A header that names none (a load balancer's own check) keeps the socket's.
func (c *Conn) readProxyHeader() error {
	h, err := readProxyHeader(connReader{c})
	if err != nil {
		return err
	}
	c.proxied = false
	src, dst, ok := h.TCPAddrs()
	if !ok || h.Command.IsLocal() {
		return nil
	}
	c.remote, c.local = src, dst
	if err := c.preface.enterClient(c); err != nil {
		c.preface.logRefusal(c, outcomeOf(err))
		return err
	}
	return nil
}

// readProxyHeader reads one PROXY header and none of the bytes after it: they
// belong to TLS.
func readProxyHeader(r io.Reader) (*proxyproto.Header, error) {
	var first [1]byte
	if _, err := io.ReadFull(r, first[:]); err != nil {
		return nil, err
	}
	read := map[byte]func(byte, io.Reader) ([]byte, error){
		proxyproto.SIGV1[0]: proxyLine,
		proxyproto.SIGV2[0]: proxyBlock,
	}[first[0]]
	if read == nil {
		return nil, ErrProxyHeader
	}
	b, err := read(first[0], r)
	if err != nil {
		return nil, err
	}
	h, err := proxyproto.Read(bufio.NewReaderSize(bytes.NewReader(b), len(b)))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProxyHeader, err)
	}
	return h, nil
}

// proxyLine reads the rest of a header of version 1, byte by byte to the end of
// its line.
func proxyLine(first byte, r io.Reader) ([]byte, error) {
	b := append(make([]byte, 0, proxyV1Max), first)
	for len(b) < proxyV1Max {
		b = append(b, 0)
		if _, err := io.ReadFull(r, b[len(b)-1:]); err != nil {
			return nil, err
		}
		if bytes.HasSuffix(b, []byte("\r\n")) {
			return b, nil
		}
	}
	return nil, ErrProxyHeader
}

// proxyBlock reads the rest of a header of version 2: a signature of 12 bytes,
// version and command, address family, uint16 length of what follows.
func proxyBlock(first byte, r io.Reader) ([]byte, error) {
	var head [proxyV2Head]byte
	head[0] = first
	if _, err := io.ReadFull(r, head[1:]); err != nil {
		return nil, err
	}
	n := proxyV2Head + int(binary.BigEndian.Uint16(head[proxyV2Head-2:]))
	if n > proxyV2Max || !bytes.HasPrefix(head[:], proxyproto.SIGV2) {
		return nil, ErrProxyHeader
	}
	b := make([]byte, n)
	copy(b, head[:])
	_, err := io.ReadFull(r, b[proxyV2Head:])
	return b, err
}

// connReader reads below the sniffing of [Conn.Read].
type connReader struct{ c *Conn }

func (r connReader) Read(b []byte) (int, error) { return r.c.read(b) }

// writeProxyHeader tells an upstream who the client is.
func writeProxyHeader(up io.Writer, version int, client, server net.Addr) error {
	h := proxyproto.HeaderProxyFromAddrs(byte(version), client, server)
	if _, err := h.WriteTo(up); err != nil {
		return fmt.Errorf("sending PROXY header: %w", err)
	}
	return nil
}
