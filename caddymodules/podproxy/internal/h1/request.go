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
	return validName(name) && (isPlain(value) || httpguts.ValidHeaderFieldValue(value))
}

// isPlain reports whether s holds no control character, not even a tab, as nearly
// all values do. It looks at eight bytes at a time, since every byte of every head
// passes here.
func isPlain(s string) bool {
	const (
		each = 0x0101010101010101 // times a byte: that byte eight times
		high = each << 7
		del  = each * 0x7f
	)
	for ; len(s) >= 8; s = s[8:] {
		w := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		// (w-n*each)&^w&high is not 0 exactly if a byte of w is below n, which is at most
		// 128. Those that are del are 0 in w^del, and so below 1.
		if ((w-each*' ')&^w|((w^del)-each)&^(w^del))&high != 0 {
			return false
		}
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] == 0x7f {
			return false
		}
	}
	return true
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
