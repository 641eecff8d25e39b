package kubetest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/tapis-project/podway/deploy/cluster/pki"
	"github.com/tapis-project/podway/tests/parts"
)

// startLimit is how long etcd and the API server together may take to start. A
// busy machine with two cores needs half a minute.
const startLimit = 3 * time.Minute

// Server is a real etcd with a real kube-apiserver, on loopback. It is safe for
// concurrent use.
type Server struct {
	dir   string
	url   string
	ca    *pki.Authority
	admin pki.Pair
	probe *kubernetes.Clientset // of the administrator, without any limit

	mu   sync.Mutex // guards the processes
	etcd *process
	api  *process

	keep *os.File // while it is open, dir stays; see keepDir
}

// shared is the server of the test binary.
var shared struct {
	sync.Mutex
	server *Server
	err    error
}

// Start returns the API server that all tests of the test binary share, and
// starts it with the first call. It is ended, and its data deleted, with the
// test binary.
func Start(t testing.TB) *Server {
	t.Helper()
	bin := Require(t)
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil && shared.err == nil {
		shared.server, shared.err = Launch(context.Background(), bin)
	}
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	// A test before this one may have left it killed or stopped.
	shared.server.Restart(t)
	return shared.server
}

// StartPrivate starts an API server for one test, which may kill it. Flags are
// added to its command line. It is ended with the test.
func StartPrivate(t testing.TB, flags ...string) *Server {
	t.Helper()
	s, err := Launch(t.Context(), Require(t), flags...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// Launch starts an API server with the kube program and returns when it is
// ready. Flags are added to its command line. The caller must close the server;
// if it can't any more, the kernel and a shell do it.
func Launch(ctx context.Context, bin string, flags ...string) (s *Server, err error) {
	for range 3 {
		s, err = launch(ctx, bin, flags)
		// A port that was free can be taken by the time it is used.
		if err == nil || !strings.Contains(err.Error(), "address already in use") {
			break
		}
	}
	return s, err
}

func launch(ctx context.Context, bin string, flags []string) (*Server, error) {
	dir, err := os.MkdirTemp("", "podway-kubetest-")
	if err != nil {
		return nil, fmt.Errorf("making a folder for etcd: %w", err)
	}
	keep, err := keepDir(dir)
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	s := &Server{dir: dir, keep: keep}
	if err := s.launch(ctx, bin, flags); err != nil {
		s.Close()
		return nil, fmt.Errorf("launching an API server: %w", err)
	}
	return s, nil
}

func (s *Server) launch(ctx context.Context, bin string, flags []string) error {
	ports, err := freePorts(3)
	if err != nil {
		return err
	}
	s.url = "https://" + ports[0]
	if err := s.makeCertificates(); err != nil {
		return err
	}
	etcdURL, peerURL := "http://"+ports[1], "http://"+ports[2]
	s.etcd = &process{name: "etcd", bin: bin, dir: s.dir, args: []string{
		"--name=kubetest", "--data-dir=" + filepath.Join(s.dir, "etcd"),
		"--listen-client-urls=" + etcdURL, "--advertise-client-urls=" + etcdURL,
		"--listen-peer-urls=" + peerURL, "--initial-advertise-peer-urls=" + peerURL,
		"--initial-cluster=kubetest=" + peerURL,
		"--unsafe-no-fsync", // the data lives as long as the test
		"--log-level=warn",
	}}
	_, port, err := net.SplitHostPort(ports[0])
	if err != nil {
		return fmt.Errorf("reading a free port: %w", err)
	}
	in := func(name string) string { return filepath.Join(s.dir, name) }
	s.api = &process{name: "kube-apiserver", bin: bin, dir: s.dir, args: append([]string{
		"--etcd-servers=" + etcdURL,
		"--bind-address=127.0.0.1", "--secure-port=" + port, "--advertise-address=127.0.0.1",
		"--tls-cert-file=" + in("apiserver.crt"), "--tls-private-key-file=" + in("apiserver.key"),
		"--client-ca-file=" + in("ca.crt"),
		"--service-account-key-file=" + in("sa.pub"), "--service-account-signing-key-file=" + in("sa.key"),
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-cluster-ip-range=10.96.0.0/16",
		"--authorization-mode=RBAC",
		// Nothing here makes the service accounts that it asks for.
		"--disable-admission-plugins=ServiceAccount",
		// Nothing here is behind the "kubernetes" service.
		"--endpoint-reconciler-type=none",
		"--profiling=false",
	}, flags...)}
	if err := s.etcd.start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	if err := waitFor(ctx, s.etcd, func() error { return dial(ctx, ports[1]) }); err != nil {
		return err
	}
	if err := s.api.start(); err != nil {
		return err
	}
	return s.waitReady(ctx)
}

// makeCertificates makes the authority, and writes what the API server reads and
// the kubeconfig.
func (s *Server) makeCertificates() (err error) {
	if s.ca, err = pki.New("kubetest"); err != nil {
		return err
	}
	server, err := s.ca.Server("kube-apiserver", "127.0.0.1", "localhost")
	if err != nil {
		return err
	}
	if s.admin, err = s.ca.Client("admin", "system:masters"); err != nil {
		return err
	}
	private, public, err := pki.SigningKey()
	if err != nil {
		return err
	}
	config, err := s.ca.Kubeconfig(s.url, s.admin)
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{
		"ca.crt": s.ca.Cert(), "sa.key": private, "sa.pub": public, "kubeconfig": config,
	} {
		if err := os.WriteFile(filepath.Join(s.dir, name), content, 0o600); err != nil {
			return fmt.Errorf("writing certificates: %w", err)
		}
	}
	s.probe, err = kubernetes.NewForConfig(s.RESTConfig())
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	return server.Write(s.dir, "apiserver")
}

// URL returns the address of the API server, https://127.0.0.1:port.
func (s *Server) URL() string { return s.url }

// Kubeconfig returns the path of a kubeconfig for the administrator.
func (s *Server) Kubeconfig() string { return filepath.Join(s.dir, "kubeconfig") }

// RESTConfig returns a new configuration for clients of the administrator,
// without a limit of requests.
func (s *Server) RESTConfig() *rest.Config { return s.configFor(s.admin) }

// UserConfig returns a configuration for clients of another user, whose rights
// RBAC decides.
func (s *Server) UserConfig(t testing.TB, user string, groups ...string) *rest.Config {
	t.Helper()
	pair, err := s.ca.Client(user, groups...)
	if err != nil {
		t.Fatal(err)
	}
	return s.configFor(pair)
}

func (s *Server) configFor(user pki.Pair) *rest.Config {
	return &rest.Config{
		Host:            s.url,
		TLSClientConfig: rest.TLSClientConfig{CAData: s.ca.Cert(), CertData: user.Cert, KeyData: user.Key},
		QPS:             -1,
		UserAgent:       "kubetest",
	}
}

// UserKubeconfig writes a kubeconfig for another user to the test's folder and
// returns its path.
func (s *Server) UserKubeconfig(t testing.TB, user string, groups ...string) string {
	t.Helper()
	pair, err := s.ca.Client(user, groups...)
	if err != nil {
		t.Fatal(err)
	}
	config, err := s.ca.Kubeconfig(s.url, pair)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(path, config, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Client returns a client of the administrator.
func (s *Server) Client() kubernetes.Interface { return s.probe }

// Kill ends the API server with SIGKILL: connections break, and new ones are
// refused. etcd stays, so nothing that was answered is lost.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.api.kill()
}

// Restart starts the API server again, at the same address and with the same
// data, and returns when it is ready. It does nothing if it is.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.restart(context.Background()); err != nil {
		t.Fatalf("restarting the API server: %v", err)
	}
}

func (s *Server) restart(ctx context.Context) error {
	if s.api.cmd != nil && s.api.ended() != nil {
		s.api.kill()
	}
	if s.api.cmd == nil {
		if err := s.api.start(); err != nil {
			return err
		}
	}
	if err := s.api.signal(syscall.SIGCONT); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	return s.waitReady(ctx)
}

// Stop freezes the API server with SIGSTOP: connections stay, and nothing is
// answered, as with a network that drops packets.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	s.signal(t, syscall.SIGSTOP)
	pid := s.api.cmd.Process.Pid
	parts.Eventually(t, startLimit, func() error {
		if !frozen(pid) {
			return errors.New("the API server still runs")
		}
		return nil
	})
}

// Cont lets the API server go on after Stop.
func (s *Server) Cont(t testing.TB) {
	t.Helper()
	s.signal(t, syscall.SIGCONT)
}

func (s *Server) signal(t testing.TB, sig syscall.Signal) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.api.signal(sig); err != nil {
		t.Fatal(err)
	}
}

// Close ends everything and deletes the data. It is safe to call twice.
func (s *Server) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range []*process{s.api, s.etcd} {
		if p != nil {
			p.kill()
		}
	}
	_ = os.RemoveAll(s.dir)
	s.keep.Close()
}

func (s *Server) waitReady(ctx context.Context) error {
	return waitFor(ctx, s.api, func() error {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		return s.probe.RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	})
}

// waitFor calls ready until it returns nil. The error says why it did not, or
// that the program ended.
func waitFor(ctx context.Context, p *process, ready func() error) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ready()
		if err == nil {
			return nil
		}
		if err := p.ended(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w: %w", p.name, ctx.Err(), err)
		case <-tick.C:
		}
	}
}

func dial(ctx context.Context, addr string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	return conn.Close()
}

// freePorts returns n addresses on loopback that were free a moment ago.
func freePorts(n int) ([]string, error) {
	addrs := make([]string, n)
	for i := range addrs {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("finding a free port: %w", err)
		}
		defer l.Close() // at the end, so that all differ
		addrs[i] = net.JoinHostPort("127.0.0.1", strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	}
	return addrs, nil
}

// keepDir has dir deleted when the returned file is closed, which the kernel
// does at the latest when this process ends: a test binary has no other place
// to tidy up that also works if it is killed.
func keepDir(dir string) (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("making a pipe: %w", err)
	}
	defer r.Close()
	// A server that is being killed meanwhile may still write, hence the loop.
	const script = `read -r _; for i in 1 2 3 4 5 6 7 8 9 10; do rm -rf -- "$0" 2>/dev/null && exit; sleep 0.2; done`
	cmd := exec.Command("/bin/sh", "-c", script, dir) // not CommandContext: it outlives every context
	cmd.Stdin = r
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is not for it
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("starting a shell: %w", err), w.Close())
	}
	go func() { _ = cmd.Wait() }()
	return w, nil
}
