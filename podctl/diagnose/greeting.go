package diagnose

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// maxGreeting bounds what is read of an answer.
const maxGreeting = 64 << 10

// quiet is how long a connection of an unknown protocol has to stay open: an edge
// whose pod does not answer closes it at once.
const quiet = time.Second

// greeting says hello in the protocol of the pod.
func (t Target) greeting(ctx context.Context, conn *tls.Conn) Finding {
	deadline := time.Now().Add(stepTimeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	if err := conn.SetDeadline(deadline); err != nil {
		return t.silent(err)
	}
	greet := map[string]func(*tls.Conn) (string, error){
		"http": t.greetHTTP, "postgres": t.greetPostgres, "bolt": greetBolt, "redis": greetRedis, "mongodb": greetMongo,
	}[t.Protocol]
	if greet == nil {
		greet = greetAny
	}
	said, err := greet(conn)
	if err != nil {
		return t.silent(err)
	}
	return OK("greeting", t.Host, said)
}

func (t Target) silent(err error) Finding {
	if errors.Is(err, errNoRoute) {
		return t.unknownName(err.Error())
	}
	found := why(err)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		found = "the connection was closed without an answer"
	}
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		found = "no answer in time"
	}
	return t.fault("greeting", FaultGreeting, found,
		"is the pod AVAILABLE, does its program listen on the port of its networking entry, on all addresses and not on 127.0.0.1 only, and is the entry's protocol right? Its log tells (`podctl logs POD`)")
}

// noPod is in what the edge answers where it has no route.
const noPod = "No pod at this address"

var errNoRoute = errors.New("the edge has no route for this name")

// errAnswer is an answer that says the pod can't be reached.
func errAnswer(text string) error { return errors.New(strings.TrimSpace(text)) }

// greetHTTP asks for the front page. What the pod answers is its own affair; the
// edge answers 502 and 503 where the pod does not.
func (t Target) greetHTTP(conn *tls.Conn) (string, error) {
	_, err := fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nUser-Agent: podway-doctor\r\nAccept: application/json\r\nConnection: close\r\n\r\n", t.Host)
	if err != nil {
		return "", err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusNotFound:
		// Browsers are told by a page, and so the edge admits any name they ask for.
		if b, _ := io.ReadAll(io.LimitReader(resp.Body, maxGreeting)); bytes.Contains(b, []byte(noPod)) {
			return "", errNoRoute
		}
	case http.StatusMisdirectedRequest, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		b, _ := io.ReadAll(io.LimitReader(resp.Body, 500)) // the status says enough
		return "", errAnswer("answered " + resp.Status + ": " + printable(b))
	}
	return "answered " + resp.Status, nil
}

// greetPostgres begins a session. That a password is asked for is a good answer.
func (t Target) greetPostgres(conn *tls.Conn) (string, error) {
	params := "user\x00podway-doctor\x00database\x00postgres\x00\x00"
	// int32 length, int32 protocol 3.0, the parameters
	msg := binary.BigEndian.AppendUint32(nil, uint32(8+len(params)))
	msg = binary.BigEndian.AppendUint32(msg, 3<<16)
	if _, err := conn.Write(append(msg, params...)); err != nil {
		return "", err
	}
	var head [5]byte // byte kind, int32 length
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return "", err
	}
	switch head[0] {
	case 'R':
		return "PostgreSQL asks for a login", nil
	case 'E':
		return postgresError(conn, binary.BigEndian.Uint32(head[1:]))
	}
	return "", fmt.Errorf("the answer is not PostgreSQL's: it begins with byte %#x", head[0])
}

// postgresError reads an ErrorResponse. Errors about the login are the pod's; those
// of class 08, 53 and 57 come from the edge or from a server that does not serve.
func postgresError(r io.Reader, length uint32) (string, error) {
	if length < 4 || length > maxGreeting {
		return "", fmt.Errorf("an error message of %d bytes", length)
	}
	b := make([]byte, length-4)
	if _, err := io.ReadFull(r, b); err != nil {
		return "", err
	}
	fields := map[byte]string{}
	for f := range bytes.SplitSeq(b, []byte{0}) {
		if len(f) > 1 {
			fields[f[0]] = string(f[1:])
		}
	}
	code := fields['C']
	for _, class := range []string{"08", "53", "57"} {
		if strings.HasPrefix(code, class) {
			return "", errAnswer("PostgreSQL error " + code + ": " + fields['M'])
		}
	}
	return "PostgreSQL answers: " + fields['M'], nil
}

// greetBolt offers the versions 5.4 to 4.1 of Bolt.
func greetBolt(conn *tls.Conn) (string, error) {
	hello := []byte{0x60, 0x60, 0xb0, 0x17, 0, 4, 4, 5, 0, 3, 4, 4, 0, 0, 0, 4, 0, 0, 0, 3}
	if _, err := conn.Write(hello); err != nil {
		return "", err
	}
	var v [4]byte
	if _, err := io.ReadFull(conn, v[:]); err != nil {
		return "", err
	}
	if bytes.Equal(v[:], []byte("HTTP")) || v[0] != 0 {
		return "", fmt.Errorf("the answer is not Bolt's: %q", v)
	}
	if v == [4]byte{} {
		return "Bolt answers, in none of the versions 3 to 5.4", nil
	}
	return fmt.Sprintf("Bolt %d.%d answers", v[3], v[2]), nil
}

// greetRedis pings. That a login is needed is a good answer.
func greetRedis(conn *tls.Conn) (string, error) {
	if _, err := io.WriteString(conn, "PING\r\n"); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(io.LimitReader(conn, maxGreeting)).ReadString('\n')
	line = strings.TrimSpace(line)
	switch {
	case err != nil:
		return "", err
	case line == "+PONG", strings.HasPrefix(line, "-NOAUTH"), strings.HasPrefix(line, "-NOPERM"):
		return "Redis answers: " + line[1:], nil
	case strings.HasPrefix(line, "-"):
		return "", errAnswer("Redis answers: " + line[1:])
	}
	return "", fmt.Errorf("the answer is not that of Redis: %.40q", line)
}

// greetMongo sends the command hello.
func greetMongo(conn *tls.Conn) (string, error) {
	// int32 length, then {hello: int32 1, $db: "admin"} in BSON
	doc := append([]byte{0, 0, 0, 0, 0x10}, "hello\x00\x01\x00\x00\x00"...)
	doc = append(doc, "\x02$db\x00\x06\x00\x00\x00admin\x00\x00"...)
	binary.LittleEndian.PutUint32(doc, uint32(len(doc)))
	// int32 length, request id 1, response to 0, opcode OP_MSG 2013; flags 0, kind 0
	msg := make([]byte, 21, 21+len(doc))
	binary.LittleEndian.PutUint32(msg[0:], uint32(21+len(doc)))
	binary.LittleEndian.PutUint32(msg[4:], 1)
	binary.LittleEndian.PutUint32(msg[12:], opMsg)
	if _, err := conn.Write(append(msg, doc...)); err != nil {
		return "", err
	}
	var head [16]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return "", err
	}
	length := binary.LittleEndian.Uint32(head[0:])
	if binary.LittleEndian.Uint32(head[12:]) != opMsg || length < 16 || length > maxGreeting {
		return "", errors.New("the answer is not that of MongoDB")
	}
	body := make([]byte, length-16)
	if _, err := io.ReadFull(conn, body); err != nil {
		return "", err
	}
	if !bytes.Contains(body, []byte("maxWireVersion")) {
		return "", errAnswer("MongoDB refuses: " + printable(body))
	}
	return "MongoDB answers", nil
}

// opMsg is the code of the messages of MongoDB.
const opMsg = 2013

// greetAny waits a moment: servers may speak first or wait for the client, but they
// don't close.
func greetAny(conn *tls.Conn) (string, error) {
	if err := conn.SetReadDeadline(time.Now().Add(quiet)); err != nil {
		return "", err
	}
	b := make([]byte, 256)
	n, err := conn.Read(b)
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return "the connection stays open", nil
	}
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("the pod speaks first: %q", printable(b[:n])), nil
}

// printable drops what is no text.
func printable(b []byte) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, string(b))
}
