// Package mywire writes what of MySQL's protocol an edge can say. A MySQL client
// waits for the server's greeting, and an error may come in its place:
//
//	conn.Write(mywire.AppendError(nil, "this port speaks TLS"))
package mywire

// codeHandshake is ER_HANDSHAKE_ERROR, "bad handshake".
const codeHandshake = 1043

// maxText bounds the text, as MYSQL_ERRMSG_SIZE does at clients.
const maxText = 512

// AppendError appends an ERR packet as it stands ahead of a greeting: without an SQL
// state, since nothing was agreed on. Of a longer text, all beyond 512 bytes is left
// out.
func AppendError(b []byte, text string) []byte {
	text = text[:min(len(text), maxText)]
	n := 1 + 2 + len(text)
	b = append(b, byte(n), byte(n>>8), 0, // int<3> length of what follows the sequence number
		0, // int<1> sequence number
		0xff, byte(codeHandshake&0xff), byte(codeHandshake>>8))
	return append(b, text...)
}
