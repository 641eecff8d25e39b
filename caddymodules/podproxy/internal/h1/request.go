package h1

import (
	"strconv"

	"golang.org/x/net/http/httpguts"
)

// AppendRequestLine appends the first line of a request. It reports nothing: see
// [ValidTarget] for what may come from a client.
func AppendRequestLine(b []byte, method, target string) []byte {
	b = append(b, method...)
	b = append(b, ' ')
	b = append(b, target...)
	return append(b, " HTTP/1.1\r\n"...)
}

// AppendField appends a header field. A name or a value that could be read as
// something else leaves it out.
func AppendField(b []byte, name, value string) []byte {
	if !ValidField(name, value) {
		return b
	}
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, value...)
	return append(b, "\r\n"...)
}

// AppendLength appends the Content-Length of a body.
func AppendLength(b []byte, n int64) []byte {
	b = append(b, "Content-Length: "...)
	b = strconv.AppendInt(b, n, 10)
	return append(b, "\r\n"...)
}

// AppendEnd appends the end of a head.
func AppendEnd(b []byte) []byte { return append(b, "\r\n"...) }

// ValidField reports whether a name and a value can stand in a head.
func ValidField(name, value string) bool {
	return validName(name) && httpguts.ValidHeaderFieldValue(value)
}

// ValidTarget reports whether a target in origin form can stand in a request
// line: one word that begins with a slash.
func ValidTarget(s string) bool {
	if s == "" || s[0] != '/' {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

// ChunkRoom is what [Chunk] needs before and after the data of a chunk.
const (
	ChunkRoom = 10
	chunkTail = 2
)

// MaxChunk returns how many bytes of data fit a buffer of a chunk.
func MaxChunk(buf []byte) []byte { return buf[ChunkRoom : len(buf)-chunkTail] }

// Chunk returns the chunk whose n bytes of data begin at ChunkRoom in buf. The
// memory is that of buf, so that one write sends it.
func Chunk(buf []byte, n int) []byte {
	var size [ChunkRoom]byte
	s := strconv.AppendUint(size[:0], uint64(n), 16)
	s = append(s, "\r\n"...)
	start := ChunkRoom - len(s)
	copy(buf[start:], s)
	copy(buf[ChunkRoom+n:], "\r\n")
	return buf[start : ChunkRoom+n+chunkTail]
}

// AppendLastChunk appends the chunk that ends a body; trailers and
// [AppendEnd] follow.
func AppendLastChunk(b []byte) []byte { return append(b, "0\r\n"...) }
