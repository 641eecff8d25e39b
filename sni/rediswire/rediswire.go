// Package rediswire reads as much of the Redis protocol as it takes to answer a
// client's commands with an error.
//
// A command is an array of strings, "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", or words on a
// line that ends with \n. An error is a line that begins with "-":
//
//	r := bufio.NewReader(conn)
//	if err := rediswire.ReadCommand(r); err != nil { ... }
//	_, _ = conn.Write(rediswire.Error("this pod is stopped"))
//
// The protocol is described in the documentation of Redis, "Redis serialization
// protocol specification".
package rediswire

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Limits of a command. The server's own are wider; before a client is
// authenticated they are narrower still.
const (
	maxArguments = 64
	maxString    = 16 << 10
)

// Begin is the byte that a command of a client library begins with.
const Begin = '*'

// ReadCommand reads one command. A line has to fit into the buffer of r.
func ReadCommand(r *bufio.Reader) error {
	line, err := readLine(r)
	if err != nil {
		return err
	}
	if len(line) == 0 || line[0] != Begin {
		return nil // words on a line
	}
	n, err := number(line[1:], maxArguments)
	if err != nil {
		return err
	}
	for range n {
		if err := skipString(r); err != nil {
			return err
		}
	}
	return nil
}

// skipString reads "$<length>\r\n<bytes>\r\n".
func skipString(r *bufio.Reader) error {
	line, err := readLine(r)
	if err != nil {
		return err
	}
	if len(line) == 0 || line[0] != '$' {
		return errors.New("reading Redis command: a string does not begin with $")
	}
	n, err := number(line[1:], maxString)
	if err != nil {
		return err
	}
	if _, err := io.CopyN(io.Discard, r, int64(n)); err != nil {
		return fmt.Errorf("reading Redis command: %w", err)
	}
	if line, err = readLine(r); err == nil && len(line) > 0 {
		err = errors.New("reading Redis command: a string is longer than it says")
	}
	return err
}

// readLine returns a line without its end. It is good until the next read.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return nil, fmt.Errorf("reading Redis command: %w", err)
	}
	return bytes.TrimSuffix(line[:len(line)-1], []byte("\r")), nil
}

func number(b []byte, most int) (int, error) {
	n, err := strconv.ParseUint(string(b[:min(len(b), 10)]), 10, 31)
	if err != nil || len(b) > 10 || int(n) > most {
		return 0, fmt.Errorf("reading Redis command: a number is not between 0 and %d", most)
	}
	return int(n), nil
}

// Error returns an error with the code ERR. Line ends in text become spaces.
func Error(text string) []byte {
	return []byte("-ERR " + strings.NewReplacer("\r", " ", "\n", " ").Replace(text) + "\r\n")
}
