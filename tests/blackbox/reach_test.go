package blackbox

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/tapis-project/podway/tests/parts"
	"github.com/tapis-project/podway/tests/system"
)

// liveWithin bounds the time from AVAILABLE, which says that the pod's program
// runs, to its first answer, for which it has to listen.
const liveWithin = 5 * time.Second

const (
	webPod  = `{"pod_id":"web","image":"podway/hello"}`
	echoPod = `{"pod_id":"echo","image":"podway/hello","networking":{"default":{"protocol":"tcp","port":7000}}}`
	dbPod   = `{"pod_id":"db","image":"postgres","networking":{"default":{"protocol":"postgres","port":5432}}}`
)

// A researcher asks for pods and reaches each by its protocol, all at one port.
func TestPodsAnswerByEveryProtocolOnOnePort(t *testing.T) {
	parts.Require(t, "/usr/lib/postgresql/*/bin/initdb")
	s := start(t)
	u := s.login("testuser")

	u.create(webPod, 5*time.Second)
	u.create(echoPod, 5*time.Second)
	u.create(dbPod, 60*time.Second) // the first start runs initdb

	parts.Eventually(t, liveWithin, func() error { return s.wantStatus("web", http.StatusOK) })
	for _, h2 := range []bool{true, false} {
		resp, body, err := s.get(s.web(h2), "web", "/headers")
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != http.StatusOK || (resp.ProtoMajor == 2) != h2 {
			t.Errorf("https: got %s over %s, want 200 with h2=%v", resp.Status, resp.Proto, h2)
		}
		if !json.Valid([]byte(body)) {
			t.Errorf("https: got %q, want JSON", body)
		}
	}

	ws := s.openWebSocket("web")
	if err := ws.echo("hello"); err != nil {
		t.Errorf("WebSocket: %v", err)
	}

	if err := echoLine(s.mustEcho("echo"), "a line"); err != nil {
		t.Errorf("TLS-TCP: %v", err)
	}

	password := u.password("db")
	parts.Eventually(t, liveWithin, func() error {
		out, err := s.psql("db", password, "select 1")
		if err == nil && out != "1" {
			err = fmt.Errorf("psql: got %q, want 1", out)
		}
		return err
	})
	if _, err := s.psql("db", "wrong", "select 1"); err == nil {
		t.Error("psql with a wrong password: got no error")
	}
}

// The programs people use do what the README says.
func TestCommonProgramsReachPods(t *testing.T) {
	s := start(t)
	u := s.login("testuser")
	u.create(webPod, 5*time.Second)
	u.create(echoPod, 5*time.Second)
	parts.Eventually(t, liveWithin, func() error { return s.wantStatus("web", http.StatusOK) })
	_ = s.mustEcho("echo")

	t.Run("curl speaks HTTP/2 and HTTP/1.1", func(t *testing.T) {
		curl := parts.Require(t, "curl")
		for flag, want := range map[string]string{"--http2": "2 200", "--http1.1": "1.1 200"} {
			out, err := exec.Command(curl, "-sS", flag, "--cacert", s.CAFile(),
				"--resolve", fmt.Sprintf("%s:%d:127.0.0.1", system.Host("web"), s.EdgePort),
				"-o", "/dev/null", "-w", "%{http_version} %{http_code}", s.url("web", "/headers")).CombinedOutput()
			if err != nil || string(out) != want {
				t.Errorf("curl %s: got %q, %v, want %q", flag, out, err, want)
			}
		}
	})

	t.Run("openssl s_client reaches the echo", func(t *testing.T) {
		cmd := exec.Command(parts.Require(t, "openssl"), "s_client", "-quiet", "-verify_return_error", "-CAfile", s.CAFile(),
			"-servername", system.Host("echo"), "-verify_hostname", system.Host("echo"), "-connect", s.EdgeAddr())
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }() // -quiet outlives its input
		fmt.Fprintln(in, "through openssl")
		got, err := bufio.NewReader(out).ReadString('\n')
		if err != nil || got != "through openssl\n" {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

// A host that no pod has gets an answer that says so.
func TestUnknownHostIsAnsweredNotDropped(t *testing.T) {
	s := start(t)
	resp, body, err := s.get(s.web(true), "nobody", "/")
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusNotFound || resp.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("got %s, Cache-Control %q; want 404, no-store", resp.Status, resp.Header.Get("Cache-Control"))
	}
	var e system.Answer
	if err := json.Unmarshal([]byte(body), &e); err != nil || e.Status != "error" {
		t.Errorf("without Accept: text/html: got %q, want the JSON envelope", body)
	}
	if strings.Contains(body, "nobody") {
		t.Errorf("the answer repeats the host: %q", body)
	}
	if _, err := s.DialTLS("not.ours.example"); err == nil || !strings.Contains(err.Error(), "unrecognized name") {
		t.Errorf("a name outside of every tenant: got %v, want the TLS alert unrecognized_name", err)
	}
}

// webSocket is an open WebSocket to a pod's echo.
type webSocket struct {
	*websocket.Conn
	s *podway
}

func (s *podway) openWebSocket(pod string) webSocket {
	s.t.Helper()
	url := strings.Replace(s.url(pod, "/ws"), "https:", "wss:", 1)
	client := s.web(false)
	var c *websocket.Conn
	parts.Eventually(s.t, liveWithin, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		var resp *http.Response
		var err error
		c, resp, err = websocket.Dial(ctx, url, &websocket.DialOptions{HTTPClient: client})
		if resp != nil && resp.Body != nil {
			resp.Body.Close()
		}
		return err
	})
	s.t.Cleanup(func() { _ = c.CloseNow() })
	return webSocket{c, s}
}

func (w webSocket) echo(text string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := w.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
		return err
	}
	_, b, err := w.Read(ctx)
	if err != nil {
		return err
	}
	if string(b) != text {
		return fmt.Errorf("got %q, want %q", b, text)
	}
	return nil
}

// closedWithin reports how long the far side took to end the WebSocket.
func (w webSocket) closedWithin(limit time.Duration) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	start := time.Now()
	_, _, err := w.Read(ctx)
	if err == nil {
		return time.Since(start), errors.New("a message came instead of the end")
	}
	if ctx.Err() != nil {
		return time.Since(start), fmt.Errorf("the WebSocket is still open after %v: %w", limit, err)
	}
	return time.Since(start), nil
}

// echoLine sends a line and expects it back.
func echoLine(rw io.ReadWriter, line string) error {
	if _, err := fmt.Fprintln(rw, line); err != nil {
		return err
	}
	b := make([]byte, len(line)+1)
	if _, err := io.ReadFull(rw, b); err != nil {
		return err
	}
	if string(b) != line+"\n" {
		return fmt.Errorf("got %q, want %q", b, line)
	}
	return nil
}
