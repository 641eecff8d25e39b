package peer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// certifiedWithin is how long an edge may take to load its certificates.
const certifiedWithin = 5 * time.Minute

// CertifiedEdge returns a starter of an edge that keeps certificates itself, from the
// storage of the setup's namespace: the wildcards of zones, and for all other hosts
// one of their own. It is ready when it has n valid ones in memory.
func CertifiedEdge(n int, zones ...string) Starter {
	return func(ctx context.Context, s Setup) (*Peer, error) {
		p, err := s.edge(ctx, "Caddyfile.certificates", values{"Zones": wildcards(zones)}, s.withCache(n))
		if err != nil {
			return nil, err
		}
		if err := p.Admin.awaitCertificates(ctx, n); err != nil {
			p.Stop()
			return nil, fmt.Errorf("waiting for certificates: %w", err)
		}
		return p, nil
	}
}

// wildcards returns the option certificates of zones; without any the edge has one
// that no route is in.
func wildcards(zones []string) string {
	if len(zones) == 0 {
		return "*.none.test"
	}
	return "*." + strings.Join(zones, " *.")
}

// withCache returns what makes room in memory for n certificates in a configuration.
// Caddyfiles have no option for that.
func (s Setup) withCache(n int) func(context.Context, string) ([]string, error) {
	return func(ctx context.Context, file string) ([]string, error) {
		adapt := exec.CommandContext(ctx, s.EdgeProgram, "adapt", "--config", file, "--adapter", "caddyfile")
		adapt.Env = cleanEnv()
		out, err := adapt.Output()
		if err != nil {
			return nil, fmt.Errorf("adapting %s: %w", filepath.Base(file), err)
		}
		var config map[string]any
		if err := json.Unmarshal(out, &config); err != nil {
			return nil, fmt.Errorf("reading the configuration %s: %w", filepath.Base(file), err)
		}
		config["apps"].(map[string]any)["tls"].(map[string]any)["cache"] = map[string]int{"capacity": n + n/4 + 100}
		b, err := json.Marshal(config)
		if err != nil {
			return nil, err
		}
		path, err := s.write("edge.json", b)
		return []string{"run", "--config", path}, err
	}
}

// awaitCertificates waits until an edge has n valid certificates. It asks seldom: the
// answer is long.
func (a *Admin) awaitCertificates(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeoutCause(ctx, certifiedWithin, errors.New("the edge has not loaded all certificates"))
	defer cancel()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		got, err := a.certificates(ctx)
		if err != nil || got >= n {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: got %d, want %d", context.Cause(ctx), got, n)
		case <-tick.C:
		}
	}
}

// certificates returns how many valid certificates an edge has.
func (a *Admin) certificates(ctx context.Context) (int, error) {
	b, err := a.call(ctx, http.MethodGet, "/podway/certificates", nil)
	if err != nil {
		return 0, err
	}
	var list struct {
		Certificates []struct {
			Status string `json:"status"`
		} `json:"certificates"`
	}
	if err := json.Unmarshal(b, &list); err != nil {
		return 0, fmt.Errorf("reading the certificates of the edge: %w", err)
	}
	valid := 0
	for _, c := range list.Certificates {
		if c.Status == "valid" {
			valid++
		}
	}
	return valid, nil
}
