package rediswire

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"testing"
)

func TestReadCommand(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		rest     string
		ok       bool
	}{
		{"an array", "*2\r\n$3\r\nGET\r\n$1\r\nk\r\nPING", "PING", true},
		{"words", "PING now\r\nECHO", "ECHO", true},
		{"an empty line", "\r\nPING", "PING", true},
		{"an array of none", "*0\r\nPING", "PING", true},
		{"a string with a line end", "*1\r\n$2\r\n\r\n\r\n", "", true},
		{"a string that is longer than it says", "*1\r\n$1\r\nGET\r\n", "", false},
		{"a string that is shorter than it says", "*1\r\n$9\r\nGET\r\n", "", false},
		{"too many strings", "*65\r\n", "", false},
		{"a long string", "*1\r\n$16385\r\n", "", false},
		{"a number below zero", "*-1\r\n", "", false},
		{"something else in the array", "*1\r\n:1\r\n", "", false},
		{"a line without end", strings.Repeat("a", 5000), "", false},
		{"an end in the middle", "*2\r\n$3\r\nGET\r\n", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := bufio.NewReader(strings.NewReader(tt.in))
			if err := ReadCommand(r); (err == nil) != tt.ok {
				t.Fatalf("got %v", err)
			}
			if rest, _ := io.ReadAll(r); tt.ok && string(rest) != tt.rest {
				t.Errorf("got %q left, want %q", rest, tt.rest)
			}
		})
	}
}

// Any bytes are a command within the limits, or an error; an error is one line.
func FuzzReadCommand(f *testing.F) {
	f.Add([]byte("*3\r\n$5\r\nHELLO\r\n$1\r\n3\r\n$0\r\n\r\n"))
	f.Add([]byte("*1\r\n$99999999999999999999\r\n"))
	f.Add([]byte("PING\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		src := bytes.NewReader(in)
		r := bufio.NewReader(src)
		err := ReadCommand(r)
		read := len(in) - src.Len() - r.Buffered()
		if err == nil && (read == 0 || in[read-1] != '\n') {
			t.Fatalf("got a command of %q", in[:read])
		}
		if most := 4096 + maxArguments*(maxString+2*4096); read > most {
			t.Fatalf("got %d bytes read, at most %d are allowed", read, most)
		}
		if line := Error(string(in)); bytes.Count(line, []byte("\n")) != 1 || !bytes.HasSuffix(line, []byte("\r\n")) {
			t.Fatalf("got %q", line)
		}
	})
}
