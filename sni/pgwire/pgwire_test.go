package pgwire

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

// startup returns a packet with the given length and code, then body.
func packet(length, code uint32, body string) []byte {
	b := []byte{
		byte(length >> 24), byte(length >> 16), byte(length >> 8), byte(length),
		byte(code >> 24), byte(code >> 16), byte(code >> 8), byte(code),
	}
	return append(b, body...)
}

func TestParseStartup(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   []byte
		want Startup
		err  string
	}{
		{"an SSLRequest", []byte("\x00\x00\x00\x08\x04\xd2\x16\x2f"), Startup{Code: SSLRequest}, ""},
		{"a GSSENCRequest", []byte("\x00\x00\x00\x08\x04\xd2\x16\x30"), Startup{Code: GSSENCRequest}, ""},
		{
			"a CancelRequest with the 4 byte key of protocol 3.0",
			packet(16, CancelRequest, "\x00\x00\x10\x01abcd"),
			Startup{Code: CancelRequest, PID: 4097, Key: []byte("abcd")},
			"",
		},
		{
			"a CancelRequest with the longest key of protocol 3.2",
			packet(268, CancelRequest, "\x00\x00\x00\x07"+strings.Repeat("k", 256)),
			Startup{Code: CancelRequest, PID: 7, Key: bytes.Repeat([]byte("k"), 256)},
			"",
		},
		{
			"a StartupMessage",
			packet(8+11+12+1, Protocol30, "user\x00alice\x00database\x00db\x00\x00"),
			Startup{Code: Protocol30, Params: []Param{{"user", "alice"}, {"database", "db"}}},
			"",
		},
		{
			"a StartupMessage without parameters",
			packet(9, Protocol30, "\x00"),
			Startup{Code: Protocol30, Params: []Param{}},
			"",
		},
		{"too short for a head", []byte{0, 0, 0, 8}, Startup{}, "unexpected EOF"},
		{"a length of zero", packet(0, Protocol30, ""), Startup{}, "0 bytes, 8 to 10000"},
		{"a length over the cap", packet(10001, Protocol30, ""), Startup{}, "10001 bytes, 8 to 10000"},
		{"an SSLRequest with a body", packet(12, SSLRequest, "abcd"), Startup{}, "12 bytes, 8 to 8"},
		{"a CancelRequest without a key", packet(12, CancelRequest, "abcd"), Startup{}, "12 bytes, 16 to 268"},
		{"a CancelRequest with a key of 257 bytes", packet(269, CancelRequest, ""), Startup{}, "269 bytes, 16 to 268"},
		{"fewer bytes than it says", packet(20, Protocol30, "\x00"), Startup{}, "says 20 bytes and has 9"},
		{"a name without end", packet(12, Protocol30, "user"), Startup{}, "not terminated"},
		{"a value without end", packet(15, Protocol30, "user\x00ab"), Startup{}, "not terminated"},
		{"bytes after the last parameter", packet(11, Protocol30, "\x00ab"), Startup{}, "2 bytes after"},
		{"no end of the list", packet(15, Protocol30, "user\x00a\x00"), Startup{}, "not terminated"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseStartup(tt.in)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("got error %v, want one with %q", err, tt.err)
				}
				return
			}
			if err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Fatalf("got %+v, %v, want %+v", got, err, tt.want)
			}
			if b := got.Append(nil); !bytes.Equal(b, tt.in) {
				t.Errorf("printed: got %q, want %q", b, tt.in)
			}
		})
	}
}

func TestReadStartupReadsOnePacketAndNoMore(t *testing.T) {
	first := Startup{Code: Protocol30, Params: []Param{{"user", "alice"}}}
	in := append(first.Append(nil), "next"...)
	r := iotest.OneByteReader(bytes.NewReader(in))
	got, err := ReadStartup(r)
	if err != nil || !reflect.DeepEqual(got, first) {
		t.Fatalf("got %+v, %v, want %+v", got, err, first)
	}
	if got.Param("user") != "alice" || got.Param("database") != "" {
		t.Errorf("got user %q and database %q", got.Param("user"), got.Param("database"))
	}
	if rest, _ := io.ReadAll(r); string(rest) != "next" {
		t.Errorf("got %q left, want %q", rest, "next")
	}
	if _, err := ReadStartup(strings.NewReader("\x00\x00\x00\x20\x00\x03\x00\x00us")); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("cut off: got %v, want %v", err, io.ErrUnexpectedEOF)
	}
}

func TestErrorResponse(t *testing.T) {
	for _, tt := range []struct {
		name     string
		in, want ErrorResponse
	}{
		{
			"with everything",
			ErrorResponse{Severity: "ERROR", Code: CannotConnectNow, Message: "stopped", Detail: "d", Hint: "start it"},
			ErrorResponse{Severity: "ERROR", Code: CannotConnectNow, Message: "stopped", Detail: "d", Hint: "start it"},
		},
		{"with nothing is a fatal internal error", ErrorResponse{}, ErrorResponse{Severity: "FATAL", Code: "XX000"}},
		{
			"never ends a field early",
			ErrorResponse{Code: AdminShutdown, Message: "a\x00b"},
			ErrorResponse{Severity: "FATAL", Code: AdminShutdown, Message: "ab"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseErrorResponse(tt.in.Append(nil))
			if err != nil || got != tt.want {
				t.Fatalf("got %+v, %v, want %+v", got, err, tt.want)
			}
		})
	}
}

func FuzzParseStartup(f *testing.F) {
	for _, s := range []Startup{
		{Code: SSLRequest},
		{Code: GSSENCRequest},
		{Code: CancelRequest, PID: 1, Key: []byte("abcd")},
		{Code: Protocol30, Params: []Param{{"user", "a"}, {"options", "pod=x"}}},
	} {
		f.Add(s.Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseStartup(b)
		got, err2 := ReadStartup(bytes.NewReader(b))
		if err != nil {
			if err2 == nil && len(got.Append(nil)) == len(b) {
				t.Fatalf("ParseStartup says %v, ReadStartup nothing", err)
			}
			return
		}
		if err2 != nil || !reflect.DeepEqual(got, s) {
			t.Fatalf("ReadStartup: got %+v, %v, want %+v", got, err2, s)
		}
		if p := s.Append(nil); !bytes.Equal(p, b) {
			t.Fatalf("printed: got %q, want %q", p, b)
		}
	})
}

func FuzzParseErrorResponse(f *testing.F) {
	f.Add(ErrorResponse{Code: CannotConnectNow, Message: "m", Hint: "h"}.Append(nil))
	f.Add([]byte("E\x00\x00\x00\x05\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := ParseErrorResponse(b)
		if err != nil {
			return
		}
		again, err := ParseErrorResponse(e.Append(nil))
		if e.Severity == "" {
			e.Severity = "FATAL"
		}
		if e.Code == "" {
			e.Code = "XX000"
		}
		if err != nil || again != e {
			t.Fatalf("got %+v, %v, want %+v", again, err, e)
		}
	})
}
