package blackbox

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/tapis-project/podway/tests/parts"
	"github.com/tapis-project/podway/tests/system"
)

func TestMain(m *testing.M) { system.Main(m) }

// podway is a running Podway, and its clients.
type podway struct {
	*system.System

	t *testing.T
}

// prepare makes a system on free ports without starting it.
func prepare(t *testing.T, env ...string) *podway {
	t.Helper()
	return &podway{System: system.New(t, env...), t: t}
}

// start starts a system and waits until both halves serve.
func start(t *testing.T) *podway {
	t.Helper()
	s := prepare(t)
	s.StartControl()
	s.StartEdge()
	return s
}

// user calls the API as somebody.
type user struct {
	system.User

	t *testing.T
}

func (s *podway) login(name string) user { return user{s.Login(name), s.t} }

// podView is the part of a pod's wire form that the stories look at.
type podView struct {
	PodID           string `json:"pod_id"`
	Status          string `json:"status"`
	StatusRequested string `json:"status_requested"`
	StatusContainer struct {
		Message string `json:"message"`
	} `json:"status_container"`
	StartInstanceTS *string `json:"start_instance_ts"`
	Networking      map[string]struct {
		URL      string `json:"url"`
		Protocol string `json:"protocol"`
		Port     int    `json:"port"`
	} `json:"networking"`
}

func (u user) pod(id string) podView {
	u.t.Helper()
	var p podView
	u.Call(http.MethodGet, "/v3/pods/"+id, "").Into(u.t, &p)
	return p
}

// waitStatus waits until a pod has a status.
func (u user) waitStatus(id, want string, limit time.Duration) {
	u.t.Helper()
	parts.Eventually(u.t, limit, func() error {
		if p := u.pod(id); p.Status != want {
			return fmt.Errorf("pod %s is %s (%s), want %s", id, p.Status, p.StatusContainer.Message, want)
		}
		return nil
	})
}

// create makes a pod and waits until it is AVAILABLE.
func (u user) create(body string, limit time.Duration) {
	u.t.Helper()
	var p podView
	u.Call(http.MethodPost, "/v3/pods", body).Into(u.t, &p)
	u.waitStatus(p.PodID, "AVAILABLE", limit)
}

func (u user) password(pod string) string {
	u.t.Helper()
	var c struct {
		UserUsername string `json:"user_username"`
		UserPassword string `json:"user_password"`
	}
	u.Call(http.MethodGet, "/v3/pods/"+pod+"/credentials", "").Into(u.t, &c)
	if c.UserUsername != pod || c.UserPassword == "" {
		u.t.Fatalf("credentials of %s: got user %q and %d characters of password", pod, c.UserUsername, len(c.UserPassword))
	}
	return c.UserPassword
}

// web is an HTTP client that finds every host at the edge and trusts its root.
func (s *podway) web(h2 bool) *http.Client {
	proto := new(http.Protocols)
	proto.SetHTTP1(!h2)
	proto.SetHTTP2(h2)
	roots, err := s.Roots()
	if err != nil {
		s.t.Fatal(err)
	}
	t := &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		Protocols:         proto,
		ForceAttemptHTTP2: h2,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", s.EdgeAddr())
		},
	}
	s.t.Cleanup(t.CloseIdleConnections)
	return &http.Client{Transport: t, Timeout: 10 * time.Second}
}

// url is the address of a path on a pod's host, port included.
func (s *podway) url(pod, path string) string {
	return fmt.Sprintf("https://%s:%d%s", system.Host(pod), s.EdgePort, path)
}

// psql runs a statement as the owner of a Postgres pod would.
func (s *podway) psql(pod, password, sql string) (string, error) {
	conninfo := fmt.Sprintf("host=%s hostaddr=127.0.0.1 port=%d sslmode=verify-full sslrootcert=%s user=%s dbname=postgres connect_timeout=10",
		system.Host(pod), s.EdgePort, s.CAFile(), pod)
	cmd := exec.Command(parts.Require(s.t, "psql"), conninfo, "-X", "-A", "-t", "-c", sql)
	cmd.Env = append(os.Environ(), "PGPASSWORD="+password)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("psql: %w\n%s", err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// get asks an https path of a pod and returns status, protocol and body.
func (s *podway) get(c *http.Client, pod, path string) (*http.Response, string, error) {
	resp, err := c.Get(s.url(pod, path))
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp, string(b), err
}
