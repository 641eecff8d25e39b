package edge

import (
	"crypto/tls"
	"encoding/binary"
	"io"
	"io/fs"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"testing"
)

// clientHelloOf returns the first TLS record of a client.
func clientHelloOf(host string) []byte {
	c, s := net.Pipe()
	defer s.Close()
	go func() {
		_ = tls.Client(c, &tls.Config{ServerName: host, InsecureSkipVerify: true}).Handshake()
		c.Close()
	}()
	record := make([]byte, 5)
	_, _ = io.ReadFull(s, record) // a pipe does not fail
	record = append(record, make([]byte, binary.BigEndian.Uint16(record[3:]))...)
	_, _ = io.ReadFull(s, record[5:])
	return record
}

// countFiles counts the files below a folder.
func countFiles(t testing.TB, dir string) int {
	t.Helper()
	n := 0
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			n++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
