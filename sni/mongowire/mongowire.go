// Package mongowire reads and writes as much of the MongoDB wire protocol as it
// takes to recognise a client and to answer its commands with an error.
//
// Each message begins with a header of four little-endian int32: the length of the
// whole message, its id, the id of the message it answers, and its kind. Clients
// begin with OP_MSG, or with OP_QUERY where they don't know yet what the server
// speaks; each is answered in kind:
//
//	m, err := mongowire.Read(conn)
//	if err != nil { ... }
//	_, _ = conn.Write(m.Refuse(mongowire.Unavailable, "this pod is stopped"))
//
// The protocol is described in the manual of MongoDB, "MongoDB Wire Protocol", and
// in the BSON specification, version 1.1.
package mongowire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
)

// HeaderLen is the length of the header of a message.
const HeaderLen = 16

// MaxMessageLen bounds a message that is read. Those before the authentication
// have some thousand bytes at most.
const MaxMessageLen = 64 << 10

// Kinds of messages.
const (
	opReply = 1
	opQuery = 2004
	opMsg   = 2013
)

// moreToCome is the flag of an OP_MSG that wants no answer.
const moreToCome = 1 << 1

// Message is a client's message, without its content.
type Message struct {
	id     uint32
	kind   uint32
	silent bool // it wants no answer
}

// Recognise reports whether b, the first 16 bytes or more of a connection, begins
// a message that [Read] reads.
func Recognise(b []byte) bool {
	_, _, err := header(b)
	return err == nil
}

func header(b []byte) (m Message, length int, err error) {
	if len(b) < HeaderLen {
		return m, 0, io.ErrUnexpectedEOF
	}
	n := binary.LittleEndian.Uint32(b)
	m.id, m.kind = binary.LittleEndian.Uint32(b[4:]), binary.LittleEndian.Uint32(b[12:])
	if m.kind != opQuery && m.kind != opMsg {
		return m, 0, fmt.Errorf("kind %d is none of a client that begins", m.kind)
	}
	// After the header: int32 of flags, and the least of a document, 5 bytes.
	if n < HeaderLen+4+5 || n > MaxMessageLen {
		return m, 0, fmt.Errorf("%d bytes, at most %d are allowed", n, MaxMessageLen)
	}
	return m, int(n), nil
}

// Read reads one message.
func Read(r io.Reader) (Message, error) {
	var b [HeaderLen + 4]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return Message{}, fmt.Errorf("reading MongoDB message: %w", err)
	}
	m, n, err := header(b[:])
	if err != nil {
		return Message{}, fmt.Errorf("reading MongoDB message: %w", err)
	}
	m.silent = m.kind == opMsg && binary.LittleEndian.Uint32(b[HeaderLen:])&moreToCome != 0
	if _, err := io.CopyN(io.Discard, r, int64(n-len(b))); err != nil {
		return Message{}, fmt.Errorf("reading MongoDB message: %w", errors.Join(err, io.ErrUnexpectedEOF))
	}
	return m, nil
}

// Code is the number and the name of an error of MongoDB.
type Code struct {
	Number int32
	Name   string
}

// The codes that say why a pod can't be reached.
var (
	Unavailable  = Code{91, "ShutdownInProgress"}
	Unreachable  = Code{6, "HostUnreachable"}
	Unauthorized = Code{13, "Unauthorized"}
)

// Refuse returns the answer to m that says that its command has failed, nil if m
// wants none:
//
//	{ok: 0.0, errmsg: "...", code: 91, codeName: "..."}
func (m Message) Refuse(code Code, text string) []byte {
	if m.silent {
		return nil
	}
	doc := document(code, text)
	b := make([]byte, HeaderLen, HeaderLen+20+len(doc))
	if m.kind == opQuery {
		// OP_REPLY: int32 flags, int64 cursor, int32 position, int32 number of documents.
		b = append(b, make([]byte, 16)...)
		b = binary.LittleEndian.AppendUint32(b, 1)
	} else {
		// OP_MSG: uint32 flags, byte 0 for a section of one document.
		b = append(b, 0, 0, 0, 0, 0)
	}
	b = append(b, doc...)
	binary.LittleEndian.PutUint32(b, uint32(len(b)))
	binary.LittleEndian.PutUint32(b[8:], m.id)
	kind := uint32(opMsg)
	if m.kind == opQuery {
		kind = opReply
	}
	binary.LittleEndian.PutUint32(b[12:], kind)
	return b
}

// Types of BSON elements.
const (
	bsonDouble = 1
	bsonString = 2
	bsonInt32  = 16
)

// maxText bounds the text of an error.
const maxText = 4 << 10

// document returns an error as BSON: int32 length, elements of a type, a name and a
// value, a zero.
func document(code Code, text string) []byte {
	text = strings.ToValidUTF8(text[:min(len(text), maxText)], "")
	b := make([]byte, 4)
	b = binary.LittleEndian.AppendUint64(element(b, bsonDouble, "ok"), math.Float64bits(0))
	b = appendString(element(b, bsonString, "errmsg"), text)
	b = binary.LittleEndian.AppendUint32(element(b, bsonInt32, "code"), uint32(code.Number))
	b = appendString(element(b, bsonString, "codeName"), code.Name)
	b = append(b, 0)
	binary.LittleEndian.PutUint32(b, uint32(len(b)))
	return b
}

func element(b []byte, kind byte, name string) []byte {
	return append(append(append(b, kind), name...), 0)
}

// appendString appends the value of a string: int32 length with the zero at its
// end, bytes, a zero.
func appendString(b []byte, s string) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(s)+1))
	return append(append(b, s...), 0)
}
