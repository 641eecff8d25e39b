// Package connectwire is what a client and the edge say before the bytes of a TCP
// pod: who the client is, and whether it may go on. Programs that know nothing of
// Tapis reach pods behind a login through a client that does.
//
// There are two ways to say it. On a TLS connection of its own, with the pod's host
// as server name and [ALPN] as the only protocol offered:
//
//  1. The client sends a [Hello].
//  2. The edge sends an [Answer], and closes the connection unless it is OK.
//  3. From there on the bytes are those of the pod, in both directions.
//
// Where only HTTP passes, as a WebSocket at [Path] of the pod's host, with the token
// in [TokenHeader]. The edge answers 101, or a status with a text; a [Stream] carries
// the bytes.
//
//	conn, err := tls.Dial("tcp", "db.pods.example.org:443", &tls.Config{NextProtos: []string{connectwire.ALPN}})
//	if err != nil { ... }
//	if err := connectwire.Greet(conn, token); err != nil { ... }
//	go io.Copy(conn, os.Stdin)
package connectwire

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

const (
	// ALPN is the protocol to offer in TLS. A server that does not choose it must
	// not be sent a token.
	ALPN = "podway-connect"

	// Path is where the WebSocket is.
	Path = "/.podway/connect"

	// TokenHeader carries the token of a WebSocket.
	TokenHeader = "X-Tapis-Token" //nolint:gosec // the name of a header, not a token

	// MaxHelloBytes bounds an encoded Hello. Tokens have about 1 KiB.
	MaxHelloBytes = 18 << 10

	// MaxAnswerBytes bounds an encoded Answer.
	MaxAnswerBytes = 4 << 10
)

// Code says why a client was refused, for programs.
type Code string

// The codes.
const (
	LoginRequired Code = "login_required" // a token is needed
	BadToken      Code = "bad_token"      // it does not count, or has expired
	NotAllowed    Code = "not_allowed"    // its user may not pass
	TooManyTries  Code = "too_many_tries" // of tokens that did not count
	Refused       Code = "refused"        // the pod can't be reached, see the message
)

// ErrTooLong is returned for a message that is longer than it may be.
var ErrTooLong = errors.New("the message is too long")

// Hello is what a client sends first: uint16 length in network order, JSON.
type Hello struct {
	// Token of Tapis. Pods without a login ask for none.
	Token string `json:"token,omitempty"`
}

// Answer is what the edge answers, in the same form.
type Answer struct {
	OK      bool   `json:"ok"`
	Code    Code   `json:"code,omitempty"`
	Message string `json:"message,omitempty"` // for people
}

// RefusedError is returned to a client that was refused.
type RefusedError struct {
	Code    Code
	Message string
}

// Error returns the message.
func (e *RefusedError) Error() string { return e.Message }

// Send writes a Hello or an Answer.
func Send(w io.Writer, message any) error {
	body, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("encoding message: %w", err)
	}
	if len(body) > MaxHelloBytes {
		return ErrTooLong
	}
	b := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(body)), uint16(len(body)))
	_, err = w.Write(append(b, body...)) // at once, so that it is one TLS record
	return err
}

// ReadHello reads a Hello, and not a byte more.
func ReadHello(r io.Reader) (h Hello, err error) { return h, read(r, MaxHelloBytes, &h) }

// ReadAnswer reads an Answer, and not a byte more.
func ReadAnswer(r io.Reader) (a Answer, err error) { return a, read(r, MaxAnswerBytes, &a) }

func read(r io.Reader, most int, into any) error {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return err
	}
	n := int(binary.BigEndian.Uint16(length[:]))
	if n > most {
		return ErrTooLong
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return err
	}
	if err := json.Unmarshal(body, into); err != nil {
		return errors.New("the message is not the JSON that is expected") // its text may hold a token
	}
	return nil
}

// Greet sends a Hello and waits for the answer. The error is a [*RefusedError] if the
// edge refuses the client.
func Greet(c io.ReadWriter, token string) error {
	if err := Send(c, Hello{Token: token}); err != nil {
		return fmt.Errorf("sending hello: %w", err)
	}
	a, err := ReadAnswer(c)
	if err != nil {
		return fmt.Errorf("reading answer: %w", err)
	}
	if !a.OK {
		return &RefusedError{Code: a.Code, Message: a.Message}
	}
	return nil
}
