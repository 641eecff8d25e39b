package edge

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/sni/snitest"
	"github.com/tapis-project/podway/tests/parts"
)

// E8: the client that address lists, limits and pods see is the one of the PROXY
// header if a load balancer sent it, and the socket's in every other case.
func TestE8AddressOfTheClient(t *testing.T) {
	rs := parts.StartRedis(t)
	e := startEdge(t, "redis://"+rs.Addr, "proxy_protocol_from 127.9.0.0/16")
	pub := newPublisher(t, "redis://"+rs.Addr)
	echoing := snitest.Echo(t).Addr
	only := func(host string, p routes.Protocol, upstream string, addrs ...string) routes.Route {
		r := snitest.Route(host, p, upstream)
		r.IPAllow = addrs
		return r
	}
	seen := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s|%s|%s", r.Header.Values("X-Forwarded-For"), r.Header.Values("X-Real-Ip"), r.Header.Values("Forwarded"))
	}))
	t.Cleanup(seen.Close)
	e.serve(pub,
		only("far.pods.test", routes.TCP, echoing, "203.0.113.0/24", "2001:db8::/32"),
		only("near.pods.test", routes.TCP, echoing, "127.0.0.0/16"),
		only("web.pods.test", routes.HTTP, seen.Listener.Addr().String(), "203.0.113.0/24", "127.0.0.7"),
	)
	const balancer, stranger = "127.9.0.1", "127.0.0.7"
	v2 := "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xcb\x00\x71\x07\x7f\x00\x00\x01\x9c\x40\x01\xbb" // 203.0.113.7
	const v1 = "PROXY TCP4 203.0.113.7 127.0.0.1 40000 443\r\n"
	for _, tt := range []struct {
		name, from, header, host string
		ok                       bool
	}{
		{"a balancer tells of a client on the list", balancer, v1, "far.pods.test", true},
		{"in version 2", balancer, v2, "far.pods.test", true},
		{"over IPv6", balancer, "PROXY TCP6 2001:db8::7 ::1 40000 443\r\n", "far.pods.test", true},
		{"a balancer tells of a client that is not on the list", balancer, "PROXY TCP4 198.51.100.1 127.0.0.1 40000 443\r\n", "far.pods.test", false},
		{"a balancer that is on the list itself", balancer, "PROXY TCP4 203.0.113.7 127.0.0.1 40000 443\r\n", "near.pods.test", false},
		{"a balancer says nothing of a client", balancer, "", "near.pods.test", false},
		{"a balancer sends a header that means nothing", balancer, "PROXY TCP4 here there\r\n", "far.pods.test", false},
		{"a balancer sends two headers", balancer, v1 + v1, "far.pods.test", false},
		{"a stranger claims to be a client on the list", stranger, v1, "far.pods.test", false},
		{"in version 2, a stranger", stranger, v2, "far.pods.test", false},
		{"a stranger on the list claims to be another", stranger, v1, "near.pods.test", false},
		{"a stranger on the list", stranger, "", "near.pods.test", true},
		{"a stranger that is not on the list", stranger, "", "far.pods.test", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := e.echoBehind(tt.from, tt.header, tt.host); (err == nil) != tt.ok {
				t.Errorf("got %v, want success %v", err, tt.ok)
			}
		})
	}
	t.Run("a pod is told of the client, not of what the client says", func(t *testing.T) {
		for from, want := range map[string]string{balancer: "203.0.113.7", stranger: stranger} {
			header := ""
			if from == balancer {
				header = v1
			}
			got, err := e.tellBehind(from, header)
			if err != nil || !strings.Contains(got, "["+want+"]") || strings.Contains(got, "192.0.2.66") {
				t.Errorf("from %s: got %q, %v, want %s alone", from, got, err, want)
			}
		}
	})
}

// echoBehind connects with a header ahead of TLS.
func (e *edge) echoBehind(from, header, host string) error {
	raw, err := e.dialRaw(from)
	if err != nil {
		return err
	}
	defer raw.Close()
	_ = raw.SetDeadline(time.Now().Add(limit))
	if _, err := io.WriteString(raw, header); err != nil {
		return err
	}
	c, err := e.secure(raw, host)
	if err != nil {
		return err
	}
	return echo(c, "hello")
}

// tellBehind asks the pod web what it was told, with claims of the client's own.
func (e *edge) tellBehind(from, header string) (string, error) {
	raw, err := e.dialRaw(from)
	if err != nil {
		return "", err
	}
	defer raw.Close()
	if _, err := io.WriteString(raw, header); err != nil {
		return "", err
	}
	c, err := e.secure(raw, "web.pods.test", "http/1.1")
	if err != nil {
		return "", err
	}
	const claims = "X-Forwarded-For: 192.0.2.66\r\nX-Real-Ip: 192.0.2.66\r\nForwarded: for=192.0.2.66\r\n"
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: web.pods.test\r\n"+claims+"Connection: close\r\n\r\n"); err != nil {
		return "", err
	}
	b, err := io.ReadAll(c)
	return string(b), err
}
