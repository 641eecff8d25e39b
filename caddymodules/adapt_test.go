package caddymodules_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/tapis-project/podway/routes/keytext"
)

var update = flag.Bool("update", false, "write what Caddyfiles adapt to into testdata")

const separator = "----------\n"

// TestAdapt compares what Caddyfiles in testdata adapt to, below the line, or
// the error they give.
func TestAdapt(t *testing.T) {
	files, err := filepath.Glob("testdata/adapt/*.caddyfiletest")
	if err != nil || len(files) == 0 {
		t.Fatalf("got %d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".caddyfiletest"), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			in, want, _ := strings.Cut(string(b), separator)
			got := adapt(t, []byte(in))
			if *update {
				if err := os.WriteFile(file, []byte(in+separator+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// adapt returns the JSON of a Caddyfile, or its error.
func adapt(t *testing.T, in []byte) string {
	t.Helper()
	cfg, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt(in, map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return err.Error() + "\n"
	}
	for _, w := range warnings {
		if !strings.Contains(w.Message, "not formatted") {
			t.Errorf("warning: %v", w)
		}
	}
	var out bytes.Buffer
	if err := json.Indent(&out, cfg, "", "\t"); err != nil {
		t.Fatal(err)
	}
	out.WriteByte('\n')
	return out.String()
}

// TestConfigurationsAreValid provisions the configurations that come with the
// edge, and a few that must be refused.
func TestConfigurationsAreValid(t *testing.T) {
	dir := t.TempDir()
	for name, value := range map[string]string{
		"HOME": dir, "XDG_DATA_HOME": dir, "XDG_CONFIG_HOME": dir, "PODWAY_EDGE_DIR": dir,
		"PODWAY_EDGE_SNAPSHOT":         filepath.Join(dir, "routes.snap"),
		"PODWAY_CERTIFICATES_KEY_FILE": filepath.Join(dir, "certificates.key"),
		"PODWAY_CERTIFICATES_MIRROR":   filepath.Join(dir, "certificates"),
	} {
		t.Setenv(name, value)
	}
	valid := func(t *testing.T, in []byte) error {
		t.Helper()
		b, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(in, map[string]any{"filename": "Caddyfile"})
		if err != nil {
			t.Fatal(err)
		}
		var cfg caddy.Config
		if err := json.Unmarshal(b, &cfg); err != nil {
			t.Fatal(err)
		}
		return caddy.Validate(&cfg)
	}
	if err := os.WriteFile(filepath.Join(dir, "certificates.key"), []byte(keytext.New()), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"../Caddyfile.example", "../Caddyfile.acme.example", "../edge/Caddyfile.dev"} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := valid(t, b); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}

	for _, tt := range []struct{ name, option, want string }{
		{"a Redis that is no URL", "redis 127.0.0.1:6379", "parsing redis url"},
		{"a Redis on the network without TLS", "redis redis://redis.example:6379", "needs TLS and a password"},
		{"upstreams that are no networks", "upstreams pods", `"pods" is not an IP address or CIDR`},
		{"load balancers that are no networks", "proxy_protocol_from 10.0.0.0/33", "reading proxy_protocol_from"},
		{"certificates for no name", "certificates https://x", "reading certificates"},
		{"a negative limit", "limits {\nmax_connections -1\n}", "a limit is negative"},
	} {
		err := valid(t, []byte("{\nadmin off\npodway {\n"+tt.option+"\n}\n}\n"))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
	if err := valid(t, []byte("{\nadmin off\npodway {\nredis redis://redis.example\ninsecure_redis\n}\n}\n")); err != nil {
		t.Errorf("insecure_redis: %v", err)
	}
}
