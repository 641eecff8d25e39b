package peer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"time"
)

// Edge starts a Podway edge with its limits for one client raised, and returns
// when it is ready and its routes are as published.
func Edge(ctx context.Context, s Setup) (*Peer, error) {
	return s.edge(ctx, "Caddyfile.edge", values{}, func(_ context.Context, file string) ([]string, error) {
		return []string{"run", "--config", file, "--adapter", "caddyfile"}, nil
	})
}

// edge starts an edge with a configuration, and the arguments that its file takes. It
// returns when the edge is ready and its routes are as published.
func (s Setup) edge(ctx context.Context, conf string, v values, args func(ctx context.Context, file string) ([]string, error)) (*Peer, error) {
	addrs, err := freeAddrs(ctx, 1)
	if err != nil {
		return nil, err
	}
	// The path of a Unix socket is short, and each edge has its own.
	_, port, _ := net.SplitHostPort(addrs[0])
	socket := filepath.Join(s.Dir, port+".sock")
	v["HTTPS"], v["Port"], v["Socket"] = addrs[0], port, socket
	file, err := s.configure(conf, v)
	if err != nil {
		return nil, err
	}
	line, err := args(ctx, file)
	if err != nil {
		return nil, err
	}
	p, err := s.launch(ctx, &Peer{TCP: addrs[0], HTTPS: addrs[0], Admin: newAdmin(socket)}, command{
		path: s.EdgeProgram, args: line,
	})
	if err != nil {
		return nil, err
	}
	if err := p.await(ctx, p.Admin.synced); err != nil {
		p.Stop()
		return nil, err
	}
	return p, nil
}

// Admin is the admin API of an edge.
type Admin struct{ client *http.Client }

func newAdmin(socket string) *Admin {
	return &Admin{&http.Client{Timeout: startWithin, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}}
}

// Status is what an edge says of itself.
type Status struct {
	Ready  bool `json:"ready"`
	Routes struct {
		Count  int  `json:"count"`
		Synced bool `json:"synced"`
	} `json:"routes"`
}

// Status asks the edge how it is.
func (a *Admin) Status(ctx context.Context) (Status, error) {
	var s Status
	b, err := a.call(ctx, http.MethodGet, "/podway/status", nil)
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return s, fmt.Errorf("reading the status of the edge: %w", err)
	}
	return s, nil
}

func (a *Admin) synced(ctx context.Context) error {
	s, err := a.Status(ctx)
	if err == nil && (!s.Ready || !s.Routes.Synced) {
		err = errors.New("its routes are not those of Redis yet")
	}
	return err
}

// Reload has the edge load its configuration again. Each call changes the level
// of its log, since an unchanged configuration is not loaded. It returns when the
// new configuration serves.
func (a *Admin) Reload(ctx context.Context) error {
	b, err := a.call(ctx, http.MethodGet, "/config/", nil)
	if err != nil {
		return err
	}
	before, after := `"level":"ERROR"`, `"level":"PANIC"`
	if !bytes.Contains(b, []byte(before)) {
		before, after = after, before
	}
	changed := strings.Replace(string(b), before, after, 1)
	if changed == string(b) {
		return errors.New("reloading the edge: its configuration has no level of the log")
	}
	_, err = a.call(ctx, http.MethodPost, "/load", strings.NewReader(changed))
	return err
}

// Profile returns a CPU profile of the edge over a time, as pprof reads it.
func (a *Admin) Profile(ctx context.Context, d time.Duration) ([]byte, error) {
	return a.call(ctx, http.MethodGet, fmt.Sprintf("/debug/pprof/profile?seconds=%d", max(1, int(d.Seconds()))), nil)
}

func (a *Admin) call(ctx context.Context, method, path string, body io.Reader) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://localhost"+path, body)
	if err != nil {
		return nil, fmt.Errorf("asking the edge: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := a.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking the edge: %w", err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %.200s", res.Status, b)
	}
	if err != nil {
		return nil, fmt.Errorf("asking the edge for %s: %w", path, err)
	}
	return b, nil
}
