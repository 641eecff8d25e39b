// Gopher is the Go clients of the client matrix. It is a module of its own: what
// users connect with is no dependency of Podway.
//
//	gopher CLIENT ADDRESS WORD
//
// Each client connects to an address of docs/clients.md, writes the word, reads it
// back and prints what it is and what it read.
package main

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// timeout bounds one client.
const timeout = time.Minute

// client is what a command runs.
type client struct {
	module string // whose version is told
	run    func(ctx context.Context, address, word string) (read string, err error)
}

var clients = map[string]client{
	"pgx":    {"github.com/jackc/pgx/v5", throughPgx},
	"redis":  {"github.com/redis/go-redis/v9", throughRedis},
	"bolt":   {"github.com/neo4j/neo4j-go-driver/v5", throughBolt},
	"mongo":  {"go.mongodb.org/mongo-driver/v2", throughMongo},
	"http3":  {"github.com/quic-go/quic-go", throughHTTP3},
	"unary":  {"google.golang.org/grpc", throughUnary},
	"stream": {"google.golang.org/grpc", throughStream},
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "gopher:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 1 && args[0] == "serve-grpc" {
		return serveGRPC()
	}
	if len(args) != 3 {
		return fmt.Errorf("got %d arguments, want CLIENT ADDRESS WORD", len(args))
	}
	c, ok := clients[args[0]]
	if !ok {
		return fmt.Errorf("there is no client %q", args[0])
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	read, err := c.run(ctx, args[1], args[2])
	if err != nil {
		return err
	}
	fmt.Printf("tried %s\nread %s\n", version(c.module), read)
	return nil
}

// version names a module as docs/clients.md does: its last word that is no major
// version, and its version.
func version(module string) string {
	info, _ := debug.ReadBuildInfo()
	i := slices.IndexFunc(info.Deps, func(m *debug.Module) bool { return m.Path == module })
	if i < 0 {
		return "unknown"
	}
	words := strings.Split(module, "/")
	name := words[len(words)-1]
	if strings.Trim(name, "v0123456789") == "" {
		name = words[len(words)-2]
	}
	return name + " " + strings.TrimPrefix(info.Deps[i].Version, "v")
}
