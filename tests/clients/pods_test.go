package clients

import (
	"context"
	"fmt"
	"testing"

	"github.com/tapis-project/podway/routes"
)

// pod is a real server that docs/clients.md connects to.
type pod struct {
	// Protocols its route may have: clients are run once with each.
	protocols []routes.Protocol

	// Whether it takes long to fetch, see heavy.
	heavy bool

	// Starts the server, and returns its address.
	start func(t *testing.T) (addr string)

	// Looks for a word where the client wrote it, past the edge. Nil: a client that
	// reads its word has found it in the server.
	landed func(ctx context.Context, addr, word string) error
}

// pods are the servers, by the name in docs/clients.md.
var pods = map[string]pod{
	"web":   {protocols: []routes.Protocol{routes.HTTP}, start: startWeb},
	"rpc":   {protocols: []routes.Protocol{routes.HTTP}, start: startRPC},
	"db":    {protocols: []routes.Protocol{routes.Postgres, routes.TCP}, start: startPostgres, landed: landedInPostgres},
	"cache": {protocols: []routes.Protocol{routes.TCP, routes.Redis}, start: startRedis, landed: landedInRedis},
	"graph": {protocols: []routes.Protocol{routes.TCP, routes.Bolt}, start: startNeo4j, heavy: true},
	"docs":  {protocols: []routes.Protocol{routes.TCP, routes.MongoDB}, start: startMongo, heavy: true},
	"sql":   {protocols: []routes.Protocol{routes.TCP}, start: startMariaDB, heavy: true},
}

// named is the name of a pod in a run with its i-th protocol.
func named(name string, i int) string {
	if i == 0 {
		return name
	}
	return fmt.Sprintf("%s%d", name, i+1)
}

// startPods starts the servers and returns their addresses, by name, and routes.
func startPods(t *testing.T) (addrs map[string]string, served []routes.Route) {
	t.Helper()
	addrs = map[string]string{}
	for name, p := range pods {
		if p.heavy && !heavy {
			continue
		}
		addrs[name] = p.start(t)
		for i, protocol := range p.protocols {
			served = append(served, route(named(name, i), protocol, addrs[name]))
		}
	}
	return addrs, served
}
