package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tapis-project/podway/routes/redisroutes"
)

// How long the program may take to answer, on a machine that has much to do, and
// to end.
const (
	startWithin = time.Minute
	stopWithin  = 30 * time.Second
)

// podway is a running control plane.
type podway struct {
	client

	dir     string // of its state
	redis   string // address
	process *os.Process
	stop    context.CancelFunc
	done    chan struct{} // closed at its end
}

// moduleRoot returns the folder of this module.
func moduleRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("finding the module: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// buildPodway builds the control plane into dir.
func buildPodway(ctx context.Context, dir, repo string) (string, error) {
	path := filepath.Join(dir, "podway")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", path, "./controlplane")
	cmd.Dir, cmd.Env = repo, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the control plane: %w\n%s", err, out)
	}
	return path, nil
}

// startPodway starts the control plane in development mode with its pods in the
// cluster that the kubeconfig names, and returns when it answers. Stop it.
func startPodway(ctx context.Context, bin, dir, kubeconfig string) (*podway, error) {
	return startDev(ctx, bin, dir,
		"PODWAY_CLUSTER=kubernetes", "PODWAY_KUBECONFIG="+kubeconfig, "PODWAY_KUBE_QUOTA=none",
		"PODWAY_IMAGES="+image, "PODWAY_MUTATIONS_PER_MINUTE=0")
}

// startTapis starts the control plane in development mode for its Tapis and its
// Redis, which other control planes use, and logs in. Stop it.
func startTapis(ctx context.Context, bin, dir string) (*podway, error) {
	p, err := startDev(ctx, bin, dir)
	if err != nil {
		return nil, err
	}
	if err := p.login(ctx); err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

func startDev(ctx context.Context, bin, dir string, env ...string) (*podway, error) {
	ports, err := freePorts(ctx, 3)
	if err != nil {
		return nil, err
	}
	state := filepath.Join(dir, "state")
	env = append(env, "PODWAY_STATE_DIR="+state,
		"PODWAY_API_PORT="+ports[0], "PODWAY_EDGE_PORT="+ports[1], "PODWAY_REDIS_PORT="+ports[2])
	p := &podway{
		client: newClient("http://localhost:" + ports[0]), dir: state, redis: net.JoinHostPort("127.0.0.1", ports[2]),
	}
	return p, p.start(ctx, filepath.Join(dir, "podway.log"), env, bin, "dev")
}

// startServe starts a control plane as installations run it, on a store, with the
// Tapis and the Redis of another one. Stop it.
func startServe(ctx context.Context, bin, dir string, e engine, db database, tapis *podway) (*podway, error) {
	ports, err := freePorts(ctx, 1)
	if err != nil {
		return nil, err
	}
	password, err := tapis.redisPassword()
	if err != nil {
		return nil, err
	}
	key := filepath.Join(dir, "store.key")
	if err := os.WriteFile(key, []byte("a key of 32 bytes, for measuring"), 0o600); err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	env := []string{
		"PODWAY_LISTEN=127.0.0.1:" + ports[0], "PODWAY_STORE=" + db.address, "PODWAY_KEY_FILE=" + key,
		"PODWAY_STATE_DIR=" + filepath.Join(dir, "serve-"+e.name), "PODWAY_NAMESPACE=bench-" + strings.ToLower(e.name),
		"PODWAY_REDIS_URL=redis://:" + password + "@" + tapis.redis, "PODWAY_TAPIS_URL=" + tapis.base,
		"PODWAY_MUTATIONS_PER_MINUTE=0", "PODWAY_LOG_LEVEL=warn",
	}
	migrate := exec.CommandContext(ctx, bin, "migrate")
	migrate.Env = append(cleanEnv(), env...)
	if out, err := migrate.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("preparing the store: %w\n%s", err, out)
	}
	p := &podway{client: newClient("http://localhost:" + ports[0])}
	return p, p.start(ctx, filepath.Join(dir, e.name+".log"), env, bin, "serve")
}

// start runs the program and returns when it answers.
func (p *podway) start(ctx context.Context, logFile string, env []string, bin string, args ...string) error {
	log, err := os.Create(logFile)
	if err != nil {
		return fmt.Errorf("making a log file: %w", err)
	}
	defer log.Close()
	running, cancel := context.WithCancel(ctx)
	cmd := exec.CommandContext(running, bin, args...)
	cmd.Env = append(cleanEnv(), env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = endWithUs()
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopWithin
	if err := cmd.Start(); err != nil {
		cancel()
		return fmt.Errorf("starting the control plane: %w", err)
	}
	p.process, p.done = cmd.Process, make(chan struct{})
	go func() {
		_ = cmd.Wait() // why it ended is in its log
		close(p.done)
	}()
	p.stop = func() { cancel(); <-p.done }
	if err := p.waitReady(ctx); err != nil {
		p.stop()
		return fmt.Errorf("%w; its log ends:\n%s", err, tail(log.Name()))
	}
	return nil
}

// cleanEnv is our environment without what is set for other Podways.
func cleanEnv() []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "PODWAY_") {
			env = append(env, kv)
		}
	}
	return env
}

func (p *podway) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	return poll(ctx, 100*time.Millisecond, func() (bool, error) {
		select {
		case <-p.done:
			return false, errors.New("the control plane ended at its start")
		default:
		}
		return p.call(ctx, http.MethodGet, "/v3/healthcheck", nil, nil) == nil, nil
	})
}

// redisPassword returns the password of the built-in Redis.
func (p *podway) redisPassword() (string, error) {
	password, err := os.ReadFile(filepath.Join(p.dir, "redis.password"))
	if err != nil {
		return "", fmt.Errorf("reading the password of the route table: %w", err)
	}
	return strings.TrimSpace(string(password)), nil
}

// published counts the pods with a route.
func (p *podway) published(ctx context.Context) (int, error) {
	password, err := p.redisPassword()
	if err != nil {
		return 0, err
	}
	client := redis.NewClient(&redis.Options{Addr: p.redis, Password: password})
	defer client.Close()
	table, err := redisroutes.NewPublisher(redisroutes.PublisherOptions{Client: client})
	if err != nil {
		return 0, err
	}
	pods, err := table.Pods(ctx)
	return len(pods), err
}

// poll calls f until it is done, fails, or ctx ends.
func poll(ctx context.Context, every time.Duration, f func() (done bool, err error)) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if done, err := f(); done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// freePorts returns n ports of loopback that were free a moment ago.
func freePorts(ctx context.Context, n int) ([]string, error) {
	ports := make([]string, n)
	for i := range ports {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("finding a free port: %w", err)
		}
		defer l.Close() // at the end, so that all differ
		ports[i] = strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// tail returns the last part of a file, for an error message.
func tail(path string) string {
	const most = 2 << 10
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-most):])
}
