package leaks

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tapis-project/podway/tests/parts"
	"github.com/tapis-project/podway/tests/system"
)

func TestMain(m *testing.M) { system.Main(m) }

// limit is for what takes seconds, on a machine that is busy.
const limit = time.Minute

// installation is a control plane and an edge as they are deployed, with users of their
// own in Redis and files of their own.
type installation struct {
	t    *testing.T
	c    canaries
	dir  string
	env  []string // of the control plane
	tape string   // what every command printed

	redis    *parts.Redis
	admin    *redis.Client
	control  *parts.Process
	edge     *parts.Process
	apiPort  int
	edgePort int
	metrics  int
	token    string // of a user
	stranger string // of another one
}

func install(t *testing.T) *installation {
	t.Helper()
	i := &installation{t: t, c: canaries{}, dir: parts.ShortDir(t), apiPort: parts.FreePort(t), edgePort: parts.FreePort(t), metrics: parts.FreePort(t)}
	i.startRedis()
	tapis := system.Start(t)
	i.token, i.stranger = tapis.Login("testuser").Token, tapis.Login("otheruser").Token
	i.c["token of a user"], i.c["token of a stranger"] = i.token, i.stranger
	i.startControl(tapis.BaseURL())
	i.startEdge()
	return i
}

func (i *installation) file(name string) string { return filepath.Join(i.dir, name) }

func (i *installation) write(name, text string) string {
	i.t.Helper()
	if err := os.WriteFile(i.file(name), []byte(text), 0o600); err != nil {
		i.t.Fatal(err)
	}
	return i.file(name)
}

// startRedis starts a Redis with the users of the deployment.
func (i *installation) startRedis() {
	i.t.Helper()
	acl, err := os.ReadFile(filepath.Join(parts.Repo(), "deploy/redis/users.acl"))
	if err != nil {
		i.t.Fatal(err)
	}
	text := strings.ReplaceAll(string(acl), "CONTROL-PASSWORD", i.c.make("password of the control plane in Redis"))
	text += "user default off\nuser admin on >" + i.c.make("password of the admin of Redis") + " ~* &* +@all\n"
	file := filepath.Join(i.t.TempDir(), "users.acl") // which Redis writes anew, with a mode of its own
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		i.t.Fatal(err)
	}
	i.redis = parts.StartRedis(i.t, "--aclfile", file)
	i.admin = redis.NewClient(&redis.Options{Addr: i.redis.Addr, Username: "admin", Password: i.c["password of the admin of Redis"]})
	i.t.Cleanup(func() { _ = i.admin.Close() })
}

func (i *installation) startControl(tapis string) {
	i.t.Helper()
	redisURL := url.URL{Scheme: "redis", User: url.UserPassword("control", i.c["password of the control plane in Redis"]), Host: i.redis.Addr}
	i.env = append(os.Environ(),
		"PODWAY_LISTEN=127.0.0.1:"+strconv.Itoa(i.apiPort), "PODWAY_TAPIS_URL="+tapis, "PODWAY_REDIS_URL="+redisURL.String(),
		"PODWAY_STORE=sqlite:"+i.file("podway.db"), "PODWAY_STATE_DIR="+i.file("state"), "PODWAY_LOG_LEVEL=debug",
		"PODWAY_KEY_FILE="+i.write("store.key", i.c.key("key of the store")+"\n"),
		"PODWAY_GATE_KEY_FILE="+i.write("gate.key", i.c.key("key of the gate")+"\n"),
	)
	i.t.Cleanup(i.endPods)
	i.podway("migrate", "--seed")
	i.control = i.start(i.env, system.Program(i.t, "controlplane"), "serve")
	parts.Eventually(i.t, limit, func() error {
		_, err := i.call("", http.MethodGet, "/v3/healthcheck", "")
		return err
	})
}

// endPods ends the pods, which outlive their control plane.
func (i *installation) endPods() {
	state := i.file("state")
	if err := os.WriteFile(filepath.Join(state, "lock"), nil, 0o600); err != nil { // what podway dev leaves
		i.t.Error(err)
		return
	}
	cmd := exec.Command(system.Program(i.t, "controlplane"), "dev", "--clean")
	cmd.Env = append(os.Environ(), "PODWAY_STATE_DIR="+state)
	if out, err := cmd.CombinedOutput(); err != nil {
		i.t.Errorf("ending the pods: %v\n%s", err, out)
	}
}

// startEdge starts an edge from what an enrolment makes. It logs all it can.
func (i *installation) startEdge() {
	i.t.Helper()
	admin := url.URL{Scheme: "redis", User: url.UserPassword("admin", i.c["password of the admin of Redis"]), Host: i.redis.Addr}
	i.env = append(i.env, "PODWAY_REDIS_ADMIN_URL="+admin.String())
	i.podway("edge", "enrol", "paris", "--redis", "redis://"+i.redis.Addr, "--upstreams", "127.0.0.0/8", "--out", i.file("edge"))
	env, err := os.ReadFile(i.file("edge/edge.env"))
	if err != nil {
		i.t.Fatal(err)
	}
	address, _, _ := strings.Cut(string(env[bytes.Index(env, []byte("PODWAY_REDIS_URL=")):]), "\n")
	parsed, err := url.Parse(strings.TrimPrefix(address, "PODWAY_REDIS_URL="))
	if err != nil {
		i.t.Fatal(err)
	}
	i.c["password of the edge in Redis"], _ = parsed.User.Password()

	caddyfile, err := os.ReadFile(i.file("edge/Caddyfile"))
	if err != nil {
		i.t.Fatal(err)
	}
	talkative := i.write("Caddyfile", strings.Replace(string(caddyfile), "\n{\n", "\n{\n\tdebug\n", 1))
	cert, key := i.certificate()
	vars := append(strings.Split(strings.TrimSpace(string(env)), "\n"), parts.EdgeHome(i.dir)...)
	vars = append(vars,
		"PODWAY_EDGE_HANDOVER="+i.file("handover.sock"),
		"PODWAY_EDGE_SNAPSHOT="+i.file("routes.snap"), "PODWAY_EDGE_BIND=127.0.0.1", "PODWAY_EDGE_PORT="+strconv.Itoa(i.edgePort),
		"PODWAY_EDGE_METRICS_PORT="+strconv.Itoa(i.metrics), "PODWAY_EDGE_CERT="+cert, "PODWAY_EDGE_CERT_KEY="+key,
		"PODWAY_GATE_KEY_FILE="+i.file("gate.key"), "PODWAY_EDGE_GRACE=1s",
	)
	i.edge = i.start(vars, system.Program(i.t, "edge"), "run", "--config", talkative, "--adapter", "caddyfile")
}

func (i *installation) start(env []string, name string, args ...string) *parts.Process {
	i.t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = i.dir, env
	return parts.StartProcess(i.t, cmd)
}

// podway runs a command of the control plane, and notes what it prints.
func (i *installation) podway(args ...string) {
	i.t.Helper()
	cmd := exec.CommandContext(i.t.Context(), system.Program(i.t, "controlplane"), args...)
	cmd.Env = i.env
	out, err := cmd.CombinedOutput()
	i.tape += string(out)
	if err != nil {
		i.t.Fatalf("podway %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// call calls the API with a token, and returns what is answered.
func (i *installation) call(token, method, path, body string) (string, error) {
	ctx, cancel := context.WithTimeout(i.t.Context(), limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://localhost:"+strconv.Itoa(i.apiPort)+path, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("X-Tapis-Token", token)
	}
	return read(http.DefaultClient.Do(req))
}

// must is call as the user, which has to succeed.
func (i *installation) must(method, path, body string) string {
	i.t.Helper()
	text, err := i.call(i.token, method, path, body)
	if err != nil {
		i.t.Fatal(err)
	}
	return text
}

// read returns the headers and the body of an answer, with an error unless it is 200.
func read(resp *http.Response, err error) (string, error) {
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var text bytes.Buffer
	if err := resp.Header.Write(&text); err != nil {
		return "", err
	}
	if _, err := io.Copy(&text, resp.Body); err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s %.300s", resp.Request.Method, resp.Request.URL.Path, resp.Status, &text)
	}
	return text.String(), err
}

// certificate makes a certificate for the edge with openssl, as an admin does.
func (i *installation) certificate() (cert, key string) {
	i.t.Helper()
	cert, key = i.file("tls.crt"), i.file("tls.key")
	cmd := exec.CommandContext(i.t.Context(), parts.Require(i.t, "openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
		"-nodes", "-days", "2", "-subj", "/CN=test", "-addext", "subjectAltName=DNS:*.pods.localhost", "-keyout", key, "-out", cert)
	if out, err := cmd.CombinedOutput(); err != nil {
		i.t.Fatalf("%v\n%s", err, out)
	}
	if err := errors.Join(os.Chmod(cert, 0o600), os.Chmod(key, 0o600)); err != nil {
		i.t.Fatal(err)
	}
	pem, err := os.ReadFile(key)
	if err != nil {
		i.t.Fatal(err)
	}
	i.c["private key of the edge's certificate"] = strings.Split(string(pem), "\n")[1]
	return cert, key
}

// basic is the form that passwords have in a header.
func basic(user, password string) string {
	return base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
}
