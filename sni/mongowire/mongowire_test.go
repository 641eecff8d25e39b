package mongowire

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// message returns a message of a kind with a body.
func message(kind, flags uint32, body []byte) []byte {
	b := make([]byte, HeaderLen+4, HeaderLen+4+len(body))
	binary.LittleEndian.PutUint32(b[4:], 7)
	binary.LittleEndian.PutUint32(b[12:], kind)
	binary.LittleEndian.PutUint32(b[HeaderLen:], flags)
	b = append(b, body...)
	binary.LittleEndian.PutUint32(b, uint32(len(b)))
	return b
}

func TestRefuse(t *testing.T) {
	hello, err := bson.Marshal(bson.D{{Key: "hello", Value: 1}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		in      []byte
		kind    uint32
		docFrom int
	}{
		{"a message of today", message(opMsg, 0, append([]byte{0}, hello...)), opMsg, HeaderLen + 4 + 1},
		{"a query of old", message(opQuery, 0, append([]byte("admin.$cmd\x00\x00\x00\x00\x00\x01\x00\x00\x00"), hello...)), opReply, HeaderLen + 20},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if !Recognise(tt.in) {
				t.Error("not recognised")
			}
			m, err := Read(bytes.NewReader(tt.in))
			if err != nil {
				t.Fatal(err)
			}
			b := m.Refuse(Unavailable, "this pod is stopped")
			if n, to, kind := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[8:]), binary.LittleEndian.Uint32(b[12:]); int(n) != len(b) || to != 7 || kind != tt.kind {
				t.Errorf("got length %d of %d, answer to %d, kind %d", n, len(b), to, kind)
			}
			var got struct {
				OK             float64
				Errmsg         string
				Code           int32
				CodeName       string `bson:"codeName"`
				SomethingWrong bson.RawValue
			}
			if err := bson.Unmarshal(b[tt.docFrom:], &got); err != nil || got.OK != 0 || got.Errmsg != "this pod is stopped" || got.Code != 91 || got.CodeName != "ShutdownInProgress" {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
	m, err := Read(bytes.NewReader(message(opMsg, moreToCome, append([]byte{0}, hello...))))
	if err != nil || m.Refuse(Unavailable, "x") != nil {
		t.Errorf("got an answer to a message that wants none, %v", err)
	}
}

func TestReadRefuses(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   []byte
	}{
		{"a kind that clients don't begin with", message(1, 0, make([]byte, 5))},
		{"a message that ends early", message(opMsg, 0, make([]byte, 5))[:20]},
		{"a message that is too long", message(opMsg, 0, make([]byte, MaxMessageLen))},
		{"a message without content", message(opMsg, 0, nil)},
		{"half a header", make([]byte, 8)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if m, err := Read(bytes.NewReader(tt.in)); err == nil {
				t.Errorf("got %+v", m)
			}
		})
	}
}

// Any bytes are a message within the limit, or an error.
func FuzzRead(f *testing.F) {
	f.Add(message(opMsg, 0, make([]byte, 6)))
	f.Add(message(opQuery, 0, make([]byte, 30)))
	f.Add([]byte("*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPING\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		m, err := Read(r)
		if err == nil && !Recognise(in) {
			t.Fatalf("read what is not recognised: %q", in)
		}
		if read := len(in) - r.Len(); read > MaxMessageLen || err == nil && uint32(read) != binary.LittleEndian.Uint32(in) {
			t.Fatalf("got %d bytes read of %q, %v", read, in, err)
		}
		if b := m.Refuse(Unreachable, string(in)); b != nil {
			if int(binary.LittleEndian.Uint32(b)) != len(b) {
				t.Fatalf("got a length of %d in %d bytes", binary.LittleEndian.Uint32(b), len(b))
			}
		}
	})
}

// Whatever the text is, the error is a valid document.
func FuzzRefuse(f *testing.F) {
	f.Add("this pod is stopped")
	f.Add(strings.Repeat("é", maxText))
	f.Fuzz(func(t *testing.T, text string) {
		b := Message{kind: opMsg}.Refuse(Unauthorized, text)
		if err := bson.Raw(b[HeaderLen+5:]).Validate(); err != nil {
			t.Fatal(err)
		}
	})
}
