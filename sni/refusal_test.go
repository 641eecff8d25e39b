package sni

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/neo4j/neo4j-go-driver/v5/neo4j"
	"github.com/neo4j/neo4j-go-driver/v5/neo4j/config"
	"github.com/redis/go-redis/v9"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/sni/boltwire"
	"github.com/tapis-project/podway/sni/snitest"
)

// refusing sets up a route of each protocol and reason, as in
// "bolt-stopped.pods.test", and returns what people shall read.
func (e *edge) refusing(t *testing.T, protocols ...routes.Protocol) map[string]string {
	t.Helper()
	reasons := map[string]struct {
		want   string
		change func(*routes.Route)
	}{
		"stopped":     {"this pod is stopped. Start it, then connect again.", func(r *routes.Route) { r.State = routes.Stopped }},
		"starting":    {"this pod is starting. Try again in a few seconds.", func(r *routes.Route) { r.State = routes.Starting }},
		"failed":      {"this pod failed to start. Its logs and action logs say why.", func(r *routes.Route) { r.State = routes.Error }},
		"denied":      {"this pod does not accept connections from your address. Its owner can change the pod's ip_allow_list.", func(r *routes.Route) { r.IPAllow = []string{"192.0.2.1"} }},
		"unreachable": {"the pod did not accept the connection. It may still be starting: try again in a few seconds.", func(*routes.Route) {}},
	}
	texts := map[string]string{}
	for _, p := range protocols {
		for name, reason := range reasons {
			r := snitest.Route(string(p)+"-"+name+".pods.test", p, "127.0.0.1:1")
			reason.change(&r)
			snitest.Set(t, e.table, r)
			texts[r.Host] = reason.want
		}
	}
	return texts
}

// tunnel returns a plain address from where connections go to a host of the edge,
// for clients that take no address besides the name.
func (e *edge) tunnel(t *testing.T, host string) string {
	return snitest.Serve(t, func(c *net.TCPConn) {
		up := e.client(e.dial(t), host)
		defer up.Close()
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = io.Copy(up, c)
			_ = up.CloseWrite()
		}()
		_, _ = io.Copy(c, up)
		c.Close()
		<-done
	}).Addr
}

func TestNeo4jDriverShowsWhy(t *testing.T) {
	e := startEdge(t, nil)
	for host, want := range e.refusing(t, routes.Bolt, routes.TCP) {
		t.Run(host, func(t *testing.T) {
			t.Parallel()
			driver, err := neo4j.NewDriverWithContext("bolt://"+e.tunnel(t, host), neo4j.BasicAuth("neo4j", "x", ""), func(c *config.Config) {
				c.ConnectionAcquisitionTimeout = limit
			})
			if err != nil {
				t.Fatal(err)
			}
			defer driver.Close(context.Background()) //nolint:errcheck // nothing is open
			if err := driver.VerifyConnectivity(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
			}
		})
	}
}

func TestMongoDriverShowsWhy(t *testing.T) {
	e := startEdge(t, nil)
	for host, want := range e.refusing(t, routes.MongoDB, routes.TCP) {
		t.Run(host, func(t *testing.T) {
			t.Parallel()
			client, err := mongo.Connect(options.Client().ApplyURI("mongodb://" + host + "/?directConnection=true").
				SetTLSConfig(&tls.Config{RootCAs: e.pool, MinVersion: tls.VersionTLS12}).
				SetServerSelectionTimeout(2 * time.Second).SetDialer(dialTo(e.addr)))
			if err != nil {
				t.Fatal(err)
			}
			defer client.Disconnect(context.Background()) //nolint:errcheck // nothing is open
			if err := client.Database("admin").RunCommand(t.Context(), bson.D{{Key: "ping", Value: 1}}).Err(); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
			}
		})
	}
}

// dialTo is a dialer with one destination.
type dialTo string

func (d dialTo) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", string(d))
}

func TestGoRedisShowsWhy(t *testing.T) {
	e := startEdge(t, nil)
	for host, want := range e.refusing(t, routes.Redis, routes.TCP) {
		t.Run(host, func(t *testing.T) {
			t.Parallel()
			client := redis.NewClient(&redis.Options{
				Addr: host + ":443", Dialer: func(ctx context.Context, _, _ string) (net.Conn, error) {
					raw, err := dialTo(e.addr).DialContext(ctx, "", "")
					if err != nil {
						return nil, err
					}
					return e.client(raw, host), nil
				}, MaxRetries: -1,
			})
			defer client.Close()
			if err := client.Get(t.Context(), "k").Err(); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
			}
		})
	}
}

// Neo4j Browser speaks Bolt in a WebSocket.
func TestBoltInAWebSocketIsToldWhy(t *testing.T) {
	e := startEdge(t, nil)
	for host, want := range e.refusing(t, routes.Bolt, routes.TCP) {
		t.Run(host, func(t *testing.T) {
			t.Parallel()
			ctx := withTimeout(t, limit)
			ws, res, err := websocket.Dial(ctx, "ws://"+e.tunnel(t, host), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer ws.CloseNow() //nolint:errcheck // it was read to its end
			if res.Body != nil {
				defer res.Body.Close()
			}
			inner := websocket.NetConn(ctx, ws, websocket.MessageBinary)
			// Proposals of the JavaScript driver: a manifest, 5.8 to 5.0, 4.4 to 4.2, 3.0.
			const hello = boltwire.Magic + "\x00\x00\x01\xff\x00\x08\x08\x05\x00\x02\x04\x04\x00\x00\x00\x03"
			if _, err := io.WriteString(inner, hello+"\x00\x03\xb1\x01\xa0\x00\x00"); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, 4)
			if _, err := io.ReadFull(inner, got); err != nil || string(got) != "\x00\x00\x06\x05" {
				t.Fatalf("got version %v, %v, want 5.6", got, err)
			}
			// Without the second message the edge would wait for more of them.
			if _, err := io.WriteString(inner, "\x00\x02\xb0\x02\x00\x00"); err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(inner)
			if !strings.Contains(string(b), want) || websocket.CloseStatus(err) != websocket.StatusTryAgainLater {
				t.Errorf("got %q, %v, want %q", b, err, want)
			}
		})
	}
}

func TestOtherClientsOfATCPRoute(t *testing.T) {
	e := startEdge(t, nil)
	e.refusing(t, routes.TCP)
	for _, tt := range []struct {
		name, send, want string
	}{
		{"a browser gets a status", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 503 Service Unavailable\r\n"},
		{"a protocol nobody knows is closed", "HELO there\r\n", ""},
		{"one that waits for the server is closed", "", ""},
		{"a head that is too long is closed", "GET / HTTP/1.1\r\nA: " + strings.Repeat("a", refusalBytes), ""},
		{"a Bolt client of the future is told that its version is unknown", boltwire.Magic + "\x00\x00\x01\xff" + strings.Repeat("\x00\x00\x00\x09", 3), "\x00\x00\x00\x00"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := e.connect(t, "tcp-stopped.pods.test")
			if _, err := io.WriteString(c, tt.send); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			b, err := io.ReadAll(c)
			if !strings.HasPrefix(string(b), tt.want) || tt.want == "" && len(b) > 0 {
				t.Errorf("got %q, %v, want %q", b, err, tt.want)
			}
			if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
				t.Error("it is left open")
			}
			if d := time.Since(start); d > refusalTimeout+soon {
				t.Error(fmt.Errorf("got the end after %v, want %v", d, refusalTimeout))
			}
		})
	}
}
