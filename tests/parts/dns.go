package parts

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// DNS is a real DNS server (Knot) that is primary for some zones and takes updates
// of them that are signed with its key.
type DNS struct {
	Addr string // 127.0.0.1:port, UDP and TCP

	// The TSIG key that updates and transfers need: its name, "hmac-sha256", base64.
	KeyName, KeyAlgorithm, Key string

	t    testing.TB
	bin  string
	conf string
	stop func()
}

// StartDNS starts a DNS server. In each zone every name has the address 127.0.0.1.
func StartDNS(t testing.TB, zones ...string) *DNS {
	t.Helper()
	port := FreePort(t)
	d := &DNS{
		t: t, bin: Require(t, "knotd", "/usr/sbin/knotd"), Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)),
		KeyName: "test", KeyAlgorithm: "hmac-sha256", Key: "c2VjcmV0IG9mIHRoZSB0ZXN0cywgMzIgYnl0ZXMgbG9uZw==",
	}
	// The path of its control socket is short, so the test's own folder won't do.
	dir, err := os.MkdirTemp("", "podway-dns-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	var conf strings.Builder
	fmt.Fprintf(&conf, "server:\n  rundir: %s\n  listen: 127.0.0.1@%d\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n", dir, port)
	fmt.Fprintf(&conf, "database:\n  storage: %s\nlog:\n  - target: stderr\n    any: warning\n", dir)
	fmt.Fprintf(&conf, "key:\n  - id: %s\n    algorithm: %s\n    secret: %s\n", d.KeyName, d.KeyAlgorithm, d.Key)
	fmt.Fprintf(&conf, "acl:\n  - id: signed\n    key: %s\n    action: [update, transfer]\nzone:\n", d.KeyName)
	for _, zone := range zones {
		fmt.Fprintf(&conf, "  - domain: %s\n    storage: %s\n    file: %s.zone\n    acl: signed\n", zone, dir, zone)
		text := fmt.Sprintf("$ORIGIN %s.\n$TTL 1\n@ SOA ns.%[1]s. admin.%[1]s. 1 3600 600 86400 1\n@ NS ns\n@ A 127.0.0.1\nns A 127.0.0.1\n* A 127.0.0.1\n", zone)
		if err := os.WriteFile(filepath.Join(dir, zone+".zone"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d.conf = filepath.Join(dir, "knot.conf")
	if err := os.WriteFile(d.conf, []byte(conf.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	d.Start()
	t.Cleanup(d.Kill)
	return d
}

// Start starts the server again after Kill, on the same port, with what was changed.
func (d *DNS) Start() {
	d.t.Helper()
	cmd, done := run(d.t, d.bin, []string{"-c", d.conf}, nil)
	d.stop = func() {
		_ = cmd.Process.Kill()
		<-done
	}
	waitTCP(d.t, d.Addr, done)
}

// Kill ends the server with SIGKILL and waits for its end. It is safe to call twice.
func (d *DNS) Kill() {
	if d.stop != nil {
		d.stop()
	}
	d.stop = nil
}

// Set replaces the records of a name in a zone. Records are written without their
// name, as in `TXT "word"`. None leaves what the zone has for every name.
func (d *DNS) Set(zone, name string, records ...string) {
	d.t.Helper()
	m := new(dns.Msg)
	m.SetUpdate(dns.Fqdn(zone))
	m.RemoveName([]dns.RR{d.record(name, "A 127.0.0.1")})
	for _, text := range records {
		m.Insert([]dns.RR{d.record(name, text)})
	}
	key := dns.Fqdn(d.KeyName)
	m.SetTsig(key, dns.HmacSHA256, 300, time.Now().Unix())
	c := dns.Client{Net: "tcp", TsigSecret: map[string]string{key: d.Key}, Timeout: 30 * time.Second}
	answer, _, err := c.ExchangeContext(d.t.Context(), m, d.Addr)
	if err != nil || answer.Rcode != dns.RcodeSuccess {
		d.t.Fatalf("changing %s: got %v, %v", name, answer, err)
	}
}

func (d *DNS) record(name, text string) dns.RR {
	d.t.Helper()
	rr, err := dns.NewRR(dns.Fqdn(name) + " 1 " + text)
	if err != nil {
		d.t.Fatal(err)
	}
	return rr
}
