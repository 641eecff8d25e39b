package edge

import (
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/sni/snitest"
	"github.com/tapis-project/podway/tests/parts"
)

// E9: the kernel asks both ends of an idle session for a sign of life, at the latest
// every 30 s: routers forget connections on which nothing happens, and an end that
// is gone is found.
func TestE9Keepalive(t *testing.T) {
	rs := parts.StartRedis(t)
	e := startEdge(t, "redis://"+rs.Addr)
	pub := newPublisher(t, "redis://"+rs.Addr)
	up := upstreams(t)[routes.TCP]
	r := snitest.Route("echo.pods.test", routes.TCP, up)
	e.serve(pub, r)
	c := e.connect(client(1), r.Host)
	if err := echo(c, "awake"); err != nil {
		t.Fatal(err)
	}
	// What was sent is acknowledged a moment later; until then another timer runs.
	for what, is := range map[string]func(socket) bool{
		"client": func(s socket) bool {
			return s.local == net.JoinHostPort("127.0.0.1", e.port) && s.remote == c.LocalAddr().String()
		},
		"pod": func(s socket) bool { return s.remote == up },
	} {
		parts.Eventually(t, limit, func() error {
			s, err := find(is)
			if err == nil && (s.timer != keepaliveTimer || s.due <= 0 || s.due > 30*time.Second) {
				err = fmt.Errorf("socket to the %s: got timer %d due in %v, want keepalive within 30 s", what, s.timer, s.due)
			}
			return err
		})
	}
}

// keepaliveTimer is the timer of a socket that only waits for keepalive, see
// https://docs.kernel.org/networking/proc_net_tcp.html.
const keepaliveTimer = 2

// socket is a line of /proc/net/tcp.
type socket struct {
	local, remote string
	timer         int
	due           time.Duration // until the timer runs out
}

// find returns the one socket of this machine that fits.
func find(is func(socket) bool) (socket, error) {
	b, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return socket{}, err
	}
	var found []socket
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 6 || f[3] != "01" { // ESTABLISHED
			continue
		}
		timer, when, _ := strings.Cut(f[5], ":")
		number, _ := strconv.ParseInt(timer, 16, 32)
		ticks, _ := strconv.ParseInt(when, 16, 64) // of a hundredth of a second
		s := socket{local: address(f[1]), remote: address(f[2]), timer: int(number), due: time.Duration(ticks) * 10 * time.Millisecond}
		if is(s) {
			found = append(found, s)
		}
	}
	if len(found) != 1 {
		return socket{}, fmt.Errorf("got %d sockets, want 1", len(found))
	}
	return found[0], nil
}

// address reads an IPv4 address of /proc/net/tcp: little-endian, in hexadecimal.
func address(text string) string {
	ip, port, _ := strings.Cut(text, ":")
	b, err := hex.DecodeString(ip)
	if err != nil || len(b) != net.IPv4len {
		return ""
	}
	n, _ := strconv.ParseUint(port, 16, 16)
	return net.JoinHostPort(net.IPv4(b[3], b[2], b[1], b[0]).String(), strconv.FormatUint(n, 10))
}
