package clients

import (
	"crypto/rand"
	"maps"
	"slices"
	"strings"
	"testing"
)

// runners run the clients of docs/clients.md, by their names there.
var runners = map[string]runner{
	"psql":                                 inPsql(),
	"psql, when the client sends no name":  inPsql(),
	"pgx (Go)":                             inGo("pgx"),
	"pgx, TLS at once":                     inGo("pgx"),
	"pg (JavaScript)":                      inNode("pg"),
	"pg, TLS at once":                      inNode("pg"),
	"psycopg 3 (Python)":                   inPython("psycopg"),
	"psycopg 3, TLS at once":               inPython("psycopg"),
	"psycopg2 (Python)":                    inPython("psycopg2"),
	"psycopg2, TLS at once":                inPython("psycopg2"),
	"redis-cli":                            inRedisCLI(),
	"go-redis (Go)":                        inGo("redis"),
	"ioredis (JavaScript)":                 inNode("ioredis"),
	"redis (JavaScript)":                   inNode("redis"),
	"redis (Python)":                       inPython("redis"),
	"neo4j-go-driver, neo4j+s":             inGo("bolt"),
	"neo4j-go-driver (Go)":                 inGo("bolt"),
	"neo4j-driver (JavaScript)":            inNode("neo4j-driver"),
	"neo4j-driver, in a browser":           inChromium("bolt"),
	"neo4j (Python)":                       inPython("neo4j"),
	"mongosh":                              inMongosh,
	"mongo-driver (Go)":                    inGo("mongo"),
	"mongodb (JavaScript)":                 inNode("mongodb"),
	"pymongo (Python)":                     inPython("pymongo"),
	"mariadb, through stunnel":             inMariaDB,
	"curl, HTTP/1.1":                       inCurl("1.1"),
	"curl, HTTP/2":                         inCurl("2"),
	"quic-go (Go), HTTP/3":                 inGo("http3"),
	"curl, server-sent events":             inCurlEvents,
	"ws (JavaScript), WebSocket":           inNode("ws"),
	"websockets (Python), WebSocket":       inPython("websockets"),
	"Chromium, a page with a WebSocket":    inChromium("page"),
	"grpc-go (Go), one answer":             inGo("unary"),
	"grpc-go, a stream in both directions": inGo("stream"),
}

func TestClients(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a whole edge and many clients")
	}
	addrs, served := startPods(t)
	m := startMachine(t, served)
	t.Run("each client of the documents reads what it wrote", func(t *testing.T) {
		for _, r := range table(t) {
			name := r.pod(t)
			for i, protocol := range pods[name].protocols {
				if addrs[name] != "" {
					t.Run(r.client+" as "+string(protocol), func(t *testing.T) { roundTrip(t, m, r, i, addrs[name]) })
				}
			}
		}
	})
	t.Run("Ctrl-C in psql ends the query", func(t *testing.T) { interruptPsql(t, m, addrs["db"]) })
	t.Run("a driver cancels its query in TLS", func(t *testing.T) { cancelInTLS(t, m) })
	t.Run("psql without a name is told how to say it", func(t *testing.T) { psqlWithoutName(t, m) })
	t.Run("redis-cli without a name is refused at once", func(t *testing.T) { redisWithoutName(t, m) })
	if heavy {
		t.Run("mariadb without a tunnel is told what to do", func(t *testing.T) { mariadbWithoutTunnel(t, m) })
	}
}

func TestDocumentsListTheClientsThatAreRun(t *testing.T) {
	var listed []string
	for _, r := range table(t) {
		listed = append(listed, r.client)
	}
	slices.Sort(listed)
	if want := slices.Sorted(maps.Keys(runners)); !slices.Equal(listed, want) {
		t.Errorf("docs/clients.md lists\n%q, want\n%q", listed, want)
	}
}

// roundTrip runs one client against the pod whose server is at addr, with the i-th
// of its protocols.
func roundTrip(t *testing.T, m *machine, r row, i int, addr string) {
	name := r.pod(t)
	connect := strings.ReplaceAll(r.connect, name+"."+zone, named(name, i)+"."+zone)
	word := strings.ToLower(rand.Text())
	read, tried := runners[r.client](t, m, m.here(connect), word)
	if read != word {
		t.Errorf("got %q, want %q", read, word)
	}
	if tried != "" && tried != r.tried {
		t.Errorf("got version %q, want the one of docs/clients.md, %q", tried, r.tried)
	}
	if landed := pods[name].landed; landed != nil {
		if err := landed(t.Context(), addr, word); err != nil {
			t.Error(err)
		}
	}
}
