// Package pgwire reads and writes the few PostgreSQL messages that pass before
// a session is authenticated: enough to recognise a client, to let it switch to
// TLS, and to tell it in its own protocol why it can't go on.
//
// A client opens a connection with one of four packets of the same shape, an
// int32 length that counts itself and an int32 code:
//
//	SSLRequest     length 8,  code 80877103; the answer is one byte, 'S' or 'N'
//	GSSENCRequest  length 8,  code 80877104; the answer is one byte, 'G' or 'N'
//	CancelRequest  length 16 to 268, code 80877102, int32 pid, 4 to 256 bytes of key
//	StartupMessage code is the protocol version, 196608 is 3.0; then pairs of
//	               zero-terminated strings, ended by one more zero
//
// A server that refuses a StartupMessage answers with an [ErrorResponse] and
// closes the connection:
//
//	s, err := pgwire.ReadStartup(conn)
//	if err != nil { ... }
//	_, _ = conn.Write(pgwire.ErrorResponse{
//		Code:    pgwire.CannotConnectNow,
//		Message: "this pod is stopped",
//		Hint:    "Start it, then connect again.",
//	}.Append(nil))
//
// The key that a CancelRequest names comes from the server, in BackendKeyData: a
// [KeyScanner] finds it in passing.
//
// The protocol is described in the PostgreSQL manual, chapter "Frontend/Backend
// Protocol", sections "Message Flow" and "Message Formats".
package pgwire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Request codes of the packets that come before, or instead of, a StartupMessage.
const (
	CancelRequest uint32 = 80877102
	SSLRequest    uint32 = 80877103
	GSSENCRequest uint32 = 80877104
)

// Protocol30 is version 3.0 of the protocol as a StartupMessage carries it.
const Protocol30 uint32 = 3 << 16

// RequestLen is the length of an SSLRequest and of a GSSENCRequest.
const RequestLen = 8

// MaxStartupLen bounds a start-up packet, as MAX_STARTUP_PACKET_LENGTH does in
// the server.
const MaxStartupLen = 10000

// Lengths of a CancelRequest: its key had 4 bytes up to protocol 3.0 and has up
// to 256 since 3.2.
const (
	minCancelLen = 16
	maxCancelLen = 12 + 256
)

// Answers to SSLRequest and GSSENCRequest.
const (
	AnswerSSL byte = 'S' // go on with TLS
	AnswerNo  byte = 'N' // ask for something else
)

// SQLSTATE codes of refusals.
const (
	InvalidAuthorization = "28000" // invalid_authorization_specification
	CannotConnectNow     = "57P03" // cannot_connect_now
	AdminShutdown        = "57P01" // admin_shutdown
	TooManyConnections   = "53300" // too_many_connections
	ConnectionFailure    = "08006" // connection_failure
	ConnectionRejected   = "08004" // sqlserver_rejected_establishment_of_sqlconnection
	InvalidCatalogName   = "3D000" // invalid_catalog_name
	ProtocolViolation    = "08P01" // protocol_violation
)

// Head reads the length and the code that every start-up packet begins with. It
// checks that the length is one the code may have.
//
// The error is about the packet; b has to hold 8 bytes or more.
func Head(b []byte) (length int, code uint32, err error) {
	if len(b) < 8 {
		return 0, 0, io.ErrUnexpectedEOF
	}
	n, code := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	lowest, highest := uint32(8), uint32(MaxStartupLen)
	switch code {
	case SSLRequest, GSSENCRequest:
		highest = RequestLen
	case CancelRequest:
		lowest, highest = minCancelLen, maxCancelLen
	}
	if n < lowest || n > highest {
		return 0, 0, fmt.Errorf("start-up packet of %d bytes, %d to %d are allowed", n, lowest, highest)
	}
	return int(n), code, nil
}

// Startup is a packet that opens a connection.
type Startup struct {
	// Code is the protocol version of a StartupMessage, or one of the request
	// codes.
	Code uint32
	// Params of a StartupMessage: "user", "database", "options", ... in the order
	// they came. Nil for other packets.
	Params []Param
	// PID and Key of a CancelRequest.
	PID uint32
	Key []byte
}

// Param is one parameter of a StartupMessage.
type Param struct{ Name, Value string }

// Param returns the value of a parameter, or "".
func (s Startup) Param(name string) string {
	for _, p := range s.Params {
		if p.Name == name {
			return p.Value
		}
	}
	return ""
}

// IsMessage reports whether s is a StartupMessage, not a request.
func (s Startup) IsMessage() bool {
	return s.Code != SSLRequest && s.Code != GSSENCRequest && s.Code != CancelRequest
}

// ReadStartup reads one start-up packet, and not a byte more. It allocates
// nothing before the length was checked against [MaxStartupLen]. Errors of r are
// returned as they are.
func ReadStartup(r io.Reader) (Startup, error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return Startup{}, err
	}
	n, _, err := Head(head[:])
	if err != nil {
		return Startup{}, err
	}
	b := make([]byte, n)
	copy(b, head[:])
	if _, err := io.ReadFull(r, b[8:]); err != nil {
		return Startup{}, err
	}
	return ParseStartup(b)
}

// ParseStartup parses one whole start-up packet.
func ParseStartup(b []byte) (Startup, error) {
	n, code, err := Head(b)
	if err != nil {
		return Startup{}, err
	}
	if n != len(b) {
		return Startup{}, fmt.Errorf("start-up packet says %d bytes and has %d", n, len(b))
	}
	s := Startup{Code: code}
	switch {
	case code == CancelRequest:
		s.PID, s.Key = binary.BigEndian.Uint32(b[8:]), bytes.Clone(b[12:])
	case s.IsMessage():
		if s.Params, err = parseParams(b[8:]); err != nil {
			return Startup{}, err
		}
	}
	return s, nil
}

// Append appends the packet to b, in the form [ParseStartup] reads.
func (s Startup) Append(b []byte) []byte {
	at := len(b)
	b = append(b, 0, 0, 0, 0) // the length, filled in at the end
	b = binary.BigEndian.AppendUint32(b, s.Code)
	switch {
	case s.Code == CancelRequest:
		b = binary.BigEndian.AppendUint32(b, s.PID)
		b = append(b, s.Key...)
	case s.IsMessage():
		for _, p := range s.Params {
			b = appendString(appendString(b, p.Name), p.Value)
		}
		b = append(b, 0)
	}
	binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at))
	return b
}

// parseParams reads pairs of zero-terminated strings up to the zero that ends
// the list, which has to be the last byte.
func parseParams(b []byte) ([]Param, error) {
	params := []Param{}
	for {
		name, rest, ok := cutString(b)
		if !ok {
			return nil, errors.New("start-up packet: a parameter is not terminated")
		}
		if name == "" {
			if len(rest) > 0 {
				return nil, fmt.Errorf("start-up packet: %d bytes after the parameters", len(rest))
			}
			return params, nil
		}
		value, rest, ok := cutString(rest)
		if !ok {
			return nil, errors.New("start-up packet: a parameter is not terminated")
		}
		params = append(params, Param{Name: name, Value: value})
		b = rest
	}
}

func cutString(b []byte) (s string, rest []byte, ok bool) {
	text, rest, ok := bytes.Cut(b, []byte{0})
	return string(text), rest, ok
}

func appendString(b []byte, s string) []byte { return append(append(b, s...), 0) }

// ErrorResponse is the message that ends a connection with a reason people can
// read. Zero bytes in its texts are dropped.
type ErrorResponse struct {
	Severity string // "FATAL" if empty
	Code     string // SQLSTATE, five characters; XX000 (internal error) if empty
	Message  string // one sentence, lower case, no full stop
	Detail   string // optional
	Hint     string // what to do about it; optional
}

// Type of the message and of its fields.
const (
	errorResponse  byte = 'E'
	fieldSeverity  byte = 'S' // may be translated
	fieldSeverityV byte = 'V' // never translated, since PostgreSQL 9.6
	fieldCode      byte = 'C'
	fieldMessage   byte = 'M'
	fieldDetail    byte = 'D'
	fieldHint      byte = 'H'
)

// maxErrorLen bounds an ErrorResponse that is parsed.
const maxErrorLen = 30000

// Append appends the message to b: byte 'E', int32 length, then for each field
// its type and a zero-terminated string, then a zero.
func (e ErrorResponse) Append(b []byte) []byte {
	if e.Severity == "" {
		e.Severity = "FATAL"
	}
	if e.Code == "" {
		e.Code = "XX000"
	}
	b = append(b, errorResponse)
	at := len(b)
	b = append(b, 0, 0, 0, 0)
	for _, f := range []struct {
		kind byte
		text string
	}{
		{fieldSeverity, e.Severity},
		{fieldSeverityV, e.Severity},
		{fieldCode, e.Code},
		{fieldMessage, e.Message},
		{fieldDetail, e.Detail},
		{fieldHint, e.Hint},
	} {
		if f.text == "" && f.kind != fieldMessage {
			continue
		}
		b = appendString(append(b, f.kind), strings.ReplaceAll(f.text, "\x00", ""))
	}
	b = append(b, 0)
	binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at))
	return b
}

// ParseErrorResponse parses one whole ErrorResponse. Fields it does not know
// are skipped.
func ParseErrorResponse(b []byte) (ErrorResponse, error) {
	var e ErrorResponse
	if len(b) < 6 || len(b) > maxErrorLen || b[0] != errorResponse {
		return e, errors.New("not an ErrorResponse")
	}
	if n := binary.BigEndian.Uint32(b[1:]); int64(n) != int64(len(b)-1) {
		return e, fmt.Errorf("ErrorResponse says %d bytes and has %d", n, len(b)-1)
	}
	for b = b[5:]; b[0] != 0; {
		kind := b[0]
		text, rest, ok := cutString(b[1:])
		if !ok || len(rest) == 0 {
			return ErrorResponse{}, errors.New("ErrorResponse: a field is not terminated")
		}
		switch kind {
		case fieldSeverityV:
			e.Severity = text
		case fieldSeverity:
			if e.Severity == "" {
				e.Severity = text
			}
		case fieldCode:
			e.Code = text
		case fieldMessage:
			e.Message = text
		case fieldDetail:
			e.Detail = text
		case fieldHint:
			e.Hint = text
		}
		b = rest
	}
	if len(b) != 1 {
		return ErrorResponse{}, fmt.Errorf("ErrorResponse: %d bytes after the fields", len(b)-1)
	}
	return e, nil
}
