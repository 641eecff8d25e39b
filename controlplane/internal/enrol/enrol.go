// Package enrol makes what an edge on a machine of its own needs: a user in Redis
// with the rights of an edge and no others, and its files.
//
//	kit, err := enrol.New(enrol.Options{Name: "paris", RedisURL: "rediss://redis.example.org", ...})
//	fmt.Println(kit.ACL)          // to be run in Redis, or kit.Create(ctx, client)
//	err = kit.Write("/etc/podway")
package enrol

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/tapis-project/podway/routes/redisroutes"
)

//go:embed Caddyfile
var caddyfile string

// rights are those of an edge in the namespace default, as an ACL file writes them.
const rights = "resetchannels &podway:{default}:gate:revoked %R~podway:{default}:* %RW~podway:{default}:cancel:* %W~podway:{default}:edges:status %W~podway:{default}:edges:answers:* %W~podway:{default}:connections %RW~podway:{default}:gate:handoff:* %RW~podway:{default}:gate:session:* %RW~podway:{default}:gate:logout:* %RW~podway:{default}:gate:shares:uses:* %RW~podway:{default}:gate:rate:* %RW~podway:{default}:certs:* -@all +hello +auth +ping +select +multi +exec +mget +get +getdel +set +setnx +incr +incrby +expire +pexpire +pttl +del +exists +eval +evalsha +time +hget +hgetall +hkeys +hscan +hset +hsetnx +hdel +hincrby +zadd +zrem +zrange +xadd +xread +xrange +publish +subscribe +unsubscribe"

// Options say which edge is made.
type Options struct {
	// Name of the edge: lower-case letters, digits and '-', 32 at most. Required.
	Name string

	// RedisURL is where the edge reaches Redis, in any form that
	// [redisroutes.ParseURL] reads; user and password in it are replaced. Required.
	RedisURL string

	// Namespace of the Podway. Default: "default".
	Namespace string

	// Upstreams are the networks that the edge may dial. Required.
	Upstreams []string
}

// Kit is what a new edge needs. It holds a password: print it, never log it.
type Kit struct {
	// ACL is the command that creates the user in Redis. It holds a hash of the
	// password only.
	ACL string

	// Env is the edge's environment file, with the password.
	Env string

	// Caddyfile is its configuration. It holds no secret.
	Caddyfile string
}

var nameRule = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)

// New makes a new password and all that holds it. It connects to nothing.
func New(o Options) (Kit, error) {
	if !nameRule.MatchString(o.Name) {
		return Kit{}, fmt.Errorf("%q is no name of an edge: lower-case letters, digits and '-', 32 at most", o.Name)
	}
	if len(o.Upstreams) == 0 {
		return Kit{}, errors.New("which networks may the edge dial? Without any it reaches no pod")
	}
	prefix, err := redisroutes.Key(o.Namespace, "")
	if err != nil {
		return Kit{}, fmt.Errorf("reading the namespace: %w", err)
	}
	user, password := "edge-"+o.Name, rand.Text()
	address, err := withLogin(o.RedisURL, user, password)
	if err != nil {
		return Kit{}, err
	}
	sum := sha256.Sum256([]byte(password))
	allowed := strings.ReplaceAll(rights, "podway:{default}:", prefix)
	return Kit{
		ACL: "ACL SETUSER " + user + " reset on #" + hex.EncodeToString(sum[:]) + " " + allowed,
		Env: "PODWAY_REDIS_URL=" + address + "\n" +
			"PODWAY_EDGE_UPSTREAMS=" + strings.Join(o.Upstreams, " ") + "\n" +
			"PODWAY_NAMESPACE=" + namespaceOf(prefix) + "\n",
		Caddyfile: caddyfile,
	}, nil
}

// namespaceOf returns the namespace in a prefix, "podway:{<namespace>}:".
func namespaceOf(prefix string) string {
	_, after, _ := strings.Cut(prefix, "{")
	namespace, _, _ := strings.Cut(after, "}")
	return namespace
}

// withLogin replaces who logs in. Errors never hold the address.
func withLogin(address, user, password string) (string, error) {
	scheme, rest, ok := strings.Cut(address, "://")
	if !ok {
		return "", errors.New(`the address of Redis must begin with "redis://" or "rediss://"`)
	}
	hosts, tail := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		hosts, tail = rest[:i], rest[i:]
	}
	hosts = hosts[strings.LastIndexByte(hosts, '@')+1:]
	full := scheme + "://" + url.UserPassword(user, password).String() + "@" + hosts + tail
	o, err := redisroutes.ParseURL(withoutFiles(full))
	if err != nil {
		return "", err
	}
	if err := redisroutes.CheckExposed(o); err != nil {
		return "", err
	}
	return full, nil
}

// withoutFiles removes the names of files, which are on the edge's machine.
func withoutFiles(address string) string {
	before, query, _ := strings.Cut(address, "?")
	var kept []string
	for part := range strings.SplitSeq(query, "&") {
		name, _, _ := strings.Cut(part, "=")
		if part != "" && name != "ca" && name != "cert" && name != "key" {
			kept = append(kept, part)
		}
	}
	if len(kept) == 0 {
		return before
	}
	return before + "?" + strings.Join(kept, "&")
}

// Create makes the user in Redis, as somebody who may change rights there, and has
// Redis keep it if it has an ACL file. An edge of the name that was enrolled before
// can't log in any more; it goes on with the connections it has until they break.
func (k Kit) Create(ctx context.Context, client redis.UniversalClient) error {
	args := make([]any, 0, 64)
	for word := range strings.FieldsSeq(k.ACL) {
		args = append(args, word)
	}
	if err := client.Do(ctx, args...).Err(); err != nil {
		return fmt.Errorf("creating the user in Redis: %w", err)
	}
	// Without an ACL file, Redis has its users from its configuration.
	if err := client.Do(ctx, "acl", "save").Err(); err != nil && !strings.Contains(err.Error(), "not configured to use an ACL file") {
		return fmt.Errorf("having Redis keep the user: %w", err)
	}
	return nil
}

// Write writes edge.env, readable by its owner only, and Caddyfile into a folder,
// which is made if need be. Files that exist are not replaced.
func (k Kit) Write(dir string) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("making the folder: %w", err)
	}
	for _, f := range []struct {
		name, content string
		mode          os.FileMode
	}{{"edge.env", k.Env, 0o600}, {"Caddyfile", k.Caddyfile, 0o640}} {
		if err := writeNew(filepath.Join(dir, f.name), f.content, f.mode); err != nil {
			return fmt.Errorf("writing %s: %w", f.name, err)
		}
	}
	return nil
}

func writeNew(path, content string, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.WriteString(content)
	return errors.Join(err, f.Close())
}
