package clients

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/tapis-project/podway/tests/nodeenv"
	"github.com/tapis-project/podway/tests/parts"
	"github.com/tapis-project/podway/tests/pythonenv"
	"github.com/tapis-project/podway/tests/toolcache"
)

// runner runs one client: it connects, writes the word, and returns what it read
// back. Clients whose version is pinned tell it.
type runner func(t *testing.T, m *machine, connect, word string) (read, tried string)

// gopher builds the clients in Go and returns the program.
func gopher(t *testing.T) string {
	t.Helper()
	built.once.Do(func() {
		built.path = filepath.Join(toolcache.Dir("go"), "gopher")
		toolcache.Run(t, source(t, "gopher"), parts.Require(t, "go"), "build", "-o", built.path, ".")
	})
	return built.path
}

// built is the program of gopher. The go command links it again only if it changed.
var built struct {
	once sync.Once
	path string
}

// inGo runs a client of the folder gopher.
func inGo(client string) runner {
	return func(t *testing.T, m *machine, connect, word string) (string, string) {
		return told(t, m, []string{m.trust(trustOpenSSL)}, gopher(t), client, connect, word)
	}
}

// inPython runs a client of the folder python.
func inPython(library string) runner {
	return func(t *testing.T, m *machine, connect, word string) (string, string) {
		python := pythonenv.Make(t, filepath.Join("python", "requirements.txt"))
		return told(t, m, []string{m.trust(trustOpenSSL)}, python, source(t, "python", "client.py"), library, connect, word)
	}
}

// inNode runs a client of the folder node.
func inNode(library string) runner {
	return func(t *testing.T, m *machine, connect, word string) (string, string) {
		env := []string{m.trust(trustNode), "NODE_PATH=" + nodeenv.Make(t, filepath.Join("node", "package.json"))}
		return told(t, m, env, nodeenv.Node(t), source(t, "node", "client.js"), library, connect, word)
	}
}

// inChromium runs a client in a page.
func inChromium(client string) runner {
	return func(t *testing.T, m *machine, connect, word string) (string, string) {
		env := []string{
			"NODE_PATH=" + nodeenv.Make(t, filepath.Join("node", "package.json")),
			"CHROMIUM=" + parts.Require(t, "chromium"), "PAGE=" + m.here("https://web."+zone+"/"),
		}
		return told(t, m, env, nodeenv.Node(t), source(t, "node", "browser.js"), client, connect, word)
	}
}

// source returns the path of a program beside this file.
func source(t *testing.T, path ...string) string {
	t.Helper()
	abs, err := filepath.Abs(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return abs
}

// told runs a program that tells what was tried and read.
func told(t *testing.T, m *machine, env []string, name string, args ...string) (read, tried string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*limit)
	defer cancel()
	cmd := m.command(ctx, name, args...)
	cmd.Env = append(cmd.Env, env...)
	out := outputOf(t, cmd)
	return after(out, "read "), after(out, "tried ")
}

// after returns the line that begins with a word, without that.
func after(out, word string) string {
	for line := range strings.Lines(out) {
		if rest, ok := strings.CutPrefix(line, word); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

// inShell runs a command of docs/clients.md with more arguments, and takes what it
// read from its output. The variable makes it trust the edge, "" for none.
func inShell(program, variable string, args func(word string) []string, read func(out string) string) runner {
	return func(t *testing.T, m *machine, connect, word string) (string, string) {
		t.Helper()
		parts.Require(t, program)
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		cmd := shell(ctx, m, connect, args(word)...)
		if variable != "" {
			cmd.Env = append(cmd.Env, m.trust(variable))
		}
		return read(outputOf(t, cmd)), ""
	}
}

// shell prepares a command line with more arguments.
func shell(ctx context.Context, m *machine, line string, args ...string) *exec.Cmd {
	return m.command(ctx, "sh", append([]string{"-c", "exec " + line + ` "$@"`, "sh"}, args...)...)
}

// outputOf runs a client and returns what it wrote.
func outputOf(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s%s", err, log.String(), out.String())
	}
	return out.String()
}

// inPsql runs psql.
func inPsql() runner {
	sql := func(word string) []string {
		return []string{"--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--command", fmt.Sprintf("insert into seen values ('%s') returning word", word)}
	}
	return inShell("psql", "", sql, strings.TrimSpace)
}

// inRedisCLI runs redis-cli.
func inRedisCLI() runner {
	sets := func(word string) []string { return []string{"set", word, word, "get"} }
	return func(t *testing.T, m *machine, connect, word string) (string, string) {
		run := inShell("redis-cli", trustOpenSSL, sets, strings.TrimSpace)
		run(t, m, connect, word) // answers what was there before: nothing
		return run(t, m, connect, word)
	}
}

// inMongosh runs MongoDB's shell.
func inMongosh(t *testing.T, m *machine, connect, word string) (string, string) {
	modules := nodeenv.Make(t, filepath.Join("node", "mongosh", "package.json"))
	ctx, cancel := context.WithTimeout(t.Context(), 2*limit)
	defer cancel()
	script := fmt.Sprintf("db.seen.insertOne({word: %q}); print('tried mongosh ' + version()); print('read ' + db.seen.findOne({word: %q}).word)", word, word)
	cmd := shell(ctx, m, connect, "--quiet", "--norc", "--eval", script)
	cmd.Env = append(cmd.Env, m.trust(trustOpenSSL), "PATH="+filepath.Join(modules, ".bin")+":"+os.Getenv("PATH"))
	out := outputOf(t, cmd)
	return after(out, "read "), after(out, "tried ")
}

// inMariaDB runs MariaDB's client, through stunnel with the configuration of
// docs/clients.md.
func inMariaDB(t *testing.T, m *machine, connect, word string) (string, string) {
	const documented = "3306"
	port := strconv.Itoa(parts.FreePort(t))
	conf := filepath.Join(t.TempDir(), "pod.conf")
	if err := os.WriteFile(conf, []byte(m.here(strings.ReplaceAll(tunnel(t), documented, port))), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := m.command(context.Background(), parts.Require(t, "stunnel"), conf)
	start(t, cmd)
	accepts(t, net.JoinHostPort("127.0.0.1", port))
	sql := func(word string) []string {
		return []string{"--skip-column-names", "--batch", "--execute", fmt.Sprintf("insert into seen values ('%s'); select word from seen where word = '%s'", word, word)}
	}
	return inShell("mariadb", "", sql, strings.TrimSpace)(t, m, strings.ReplaceAll(connect, documented, port), word)
}

// inCurl runs curl, which has to speak a version of HTTP.
func inCurl(version string) runner {
	posts := func(word string) []string {
		return []string{"--silent", "--show-error", "--fail", "--data", word, "--write-out", "\n%{http_version}"}
	}
	return inShell("curl", trustCurl, posts, func(out string) string {
		word, got, _ := strings.Cut(out, "\n")
		if got != version {
			return fmt.Sprintf("%s by HTTP/%s", word, got)
		}
		return word
	})
}

// inCurlEvents runs curl until the first event has come, of a stream that goes on.
func inCurlEvents(t *testing.T, m *machine, connect, word string) (string, string) {
	parts.Require(t, "curl")
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := shell(ctx, m, connect, "--silent", "--show-error", "--get", "--data", "word="+word)
	cmd.Env = append(cmd.Env, m.trust(trustCurl))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		t.Errorf("reading events: %v", err)
	}
	cancel()
	_ = cmd.Wait() // it was killed
	return strings.TrimSpace(strings.TrimPrefix(line, "data: ")), ""
}
