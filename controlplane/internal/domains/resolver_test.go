package domains

import (
	"errors"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// bothPorts listens on UDP and TCP ports of the same number.
func bothPorts(t *testing.T) (net.PacketConn, net.Listener) {
	t.Helper()
	var err error
	for range 100 { // something else may have the other port
		var packets net.PacketConn
		if packets, err = new(net.ListenConfig).ListenPacket(t.Context(), "udp", "127.0.0.1:0"); err != nil {
			break
		}
		var streams net.Listener
		if streams, err = new(net.ListenConfig).Listen(t.Context(), "tcp", packets.LocalAddr().String()); err == nil {
			return packets, streams
		}
		packets.Close()
	}
	t.Fatal(err)
	return nil, nil
}

// testServer is a name server of the test's making, on UDP and TCP. answer fills in
// what it answers; false stays silent.
func testServer(t *testing.T, answer func(m *dns.Msg, tcp bool) bool) string {
	t.Helper()
	packets, streams := bothPorts(t)
	address := packets.LocalAddr().String()
	handler := func(tcp bool) dns.HandlerFunc {
		return func(w dns.ResponseWriter, q *dns.Msg) {
			m := new(dns.Msg)
			m.SetReply(q)
			if answer(m, tcp) {
				_ = w.WriteMsg(m)
			}
		}
	}
	for _, s := range []*dns.Server{{PacketConn: packets, Handler: handler(false)}, {Listener: streams, Handler: handler(true)}} {
		started, ended := make(chan struct{}), make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go func() {
			defer close(ended)
			_ = s.ActivateAndServe()
		}()
		<-started
		t.Cleanup(func() {
			_ = s.Shutdown()
			<-ended
		})
	}
	return address
}

// records answers with these, whatever the question.
func records(t *testing.T, lines ...string) func(*dns.Msg, bool) bool {
	t.Helper()
	var rrs []dns.RR
	for _, line := range lines {
		rr, err := dns.NewRR(line)
		if err != nil {
			t.Fatal(err)
		}
		rrs = append(rrs, rr)
	}
	return func(m *dns.Msg, _ bool) bool {
		for _, rr := range rrs {
			if k := rr.Header().Rrtype; k == dns.TypeCNAME || k == m.Question[0].Qtype {
				m.Answer = append(m.Answer, rr)
			}
		}
		return true
	}
}

func code(rcode int) func(*dns.Msg, bool) bool {
	return func(m *dns.Msg, _ bool) bool { m.Rcode = rcode; return true }
}

func silent(*dns.Msg, bool) bool { return false }

func newTestResolver(t *testing.T, servers ...string) *Resolver {
	t.Helper()
	r, err := NewResolver(ResolverOptions{Servers: servers, Timeout: 500 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestTXT(t *testing.T) {
	const name = "_tapis-pods.www.example.org"
	for _, tt := range []struct {
		name   string
		answer func(*dns.Msg, bool) bool
		want   []string
		fails  bool
	}{
		{"records are all returned", records(t, name+`. TXT "one"`, name+`. TXT "two"`), []string{"one", "two"}, false},
		{"parts of a record are joined", records(t, name+`. TXT "on" "e"`), []string{"one"}, false},
		{"a record in other case is found", records(t, `_TAPIS-pods.WWW.example.org. TXT "one"`), []string{"one"}, false},
		{"a record of another name does not count", records(t, `_tapis-pods.evil.example.org. TXT "one"`), nil, false},
		{
			"a record behind a CNAME counts",
			records(t, name+`. CNAME x.example.net.`, `x.example.net. TXT "one"`),
			[]string{"one"},
			false,
		},
		{
			"CNAMEs that run in circles end",
			records(t, name+`. CNAME x.example.net.`, `x.example.net. CNAME `+name+`.`), nil, false,
		},
		{"a name that does not exist has none", code(dns.RcodeNameError), nil, false},
		{"a name without such records has none", code(dns.RcodeSuccess), nil, false},
		{"a failure of the server tells nothing", code(dns.RcodeServerFailure), nil, true},
		{"a refusal tells nothing", code(dns.RcodeRefused), nil, true},
		{"silence tells nothing", silent, nil, true},
		{"the answer to another question tells nothing", func(m *dns.Msg, _ bool) bool {
			m.Question[0].Name = "other.example.org."
			return true
		}, nil, true},
		{"an answer that was cut is asked for again by TCP", func(m *dns.Msg, tcp bool) bool {
			m.Truncated = !tcp
			return !tcp || records(t, name+`. TXT "one"`)(m, tcp)
		}, []string{"one"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := newTestResolver(t, testServer(t, tt.answer)).TXT(t.Context(), name)
			if errors.Is(err, ErrNoAnswer) != tt.fails || (err != nil) != tt.fails {
				t.Fatalf("got error %v, want one: %v", err, tt.fails)
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestTarget(t *testing.T) {
	r := newTestResolver(t, testServer(t, records(t,
		"www.example.org. CNAME cdn.example.net.", "cdn.example.net. CNAME Web.pods.example.com.",
		"web.pods.example.com. A 192.0.2.7", "web.pods.example.com. AAAA 2001:db8::7", "other.example.org. A 192.0.2.8")))
	got, err := r.Target(t.Context(), "www.example.org")
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"cdn.example.net", "web.pods.example.com"}; !reflect.DeepEqual(got.Aliases, want) {
		t.Errorf("got aliases %v, want %v", got.Aliases, want)
	}
	var addresses []string
	for _, a := range got.Addresses {
		addresses = append(addresses, a.String())
	}
	if want := []string{"192.0.2.7", "2001:db8::7"}; !reflect.DeepEqual(addresses, want) {
		t.Errorf("got addresses %v, want %v", addresses, want)
	}
}

func TestTheNextServerIsAskedWhenOneTellsNothing(t *testing.T) {
	good := testServer(t, records(t, `www.example.org. TXT "one"`))
	r := newTestResolver(t, testServer(t, silent), testServer(t, code(dns.RcodeServerFailure)), good)
	got, err := r.TXT(t.Context(), "www.example.org")
	if err != nil || len(got) != 1 {
		t.Errorf("got %v, %v, want the record", got, err)
	}
}

func TestServersMayBeWrittenWithoutPort(t *testing.T) {
	r := newTestResolver(t, "192.0.2.1", "192.0.2.1:5353", "2001:db8::1", "[2001:db8::1]", "dns.example.org")
	want := []string{"192.0.2.1:53", "192.0.2.1:5353", "[2001:db8::1]:53", "[2001:db8::1]:53", "dns.example.org:53"}
	if !reflect.DeepEqual(r.servers, want) {
		t.Errorf("got %v, want %v", r.servers, want)
	}
}

func TestAnErrorNamesTheQuestion(t *testing.T) {
	_, err := newTestResolver(t, testServer(t, code(dns.RcodeServerFailure))).TXT(t.Context(), "www.example.org")
	if err == nil || !strings.Contains(err.Error(), "asking for TXT of www.example.org") || !strings.Contains(err.Error(), "SERVFAIL") {
		t.Errorf("got %v, want question and answer in it", err)
	}
}
