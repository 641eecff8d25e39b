package main

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/tapis-project/podway/controlplane/internal/config"
	"github.com/tapis-project/podway/routes/keytext"
)

func TestTheGateKeyIsMadeOnce(t *testing.T) {
	d := devConfig{dir: t.TempDir()}
	var wg sync.WaitGroup
	keys := make([]string, 8)
	for i := range keys {
		wg.Go(func() {
			ring, err := d.gateKeyring()
			if err != nil {
				t.Error(err)
				return
			}
			keys[i], _ = ring.SigningKey()
		})
	}
	wg.Wait()
	for _, k := range keys {
		if k != keys[0] {
			t.Fatalf("got the keys %v, want one", keys)
		}
	}
	info, err := os.Stat(filepath.Join(d.dir, "gate.key"))
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("got mode %o, want 600", got)
	}
	entries, err := os.ReadDir(d.dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("got %v and %v, want the key only", entries, err)
	}
}

func TestGateKeysFromTheEnvironment(t *testing.T) {
	key := keytext.New()
	if ring, err := gateKeyring(config.Config{}); ring != nil || err != nil {
		t.Errorf("without one: got %v, %v", ring, err)
	}
	if ring, err := gateKeyring(config.Config{GateKey: key}); ring == nil || err != nil {
		t.Errorf("got %v, %v", ring, err)
	}
	for _, c := range []config.Config{{GateKey: "not a key"}, {GateKeyFile: filepath.Join(t.TempDir(), "none")}} {
		if _, err := gateKeyring(c); err == nil || !strings.Contains(err.Error(), "PODWAY_GATE_KEY") || strings.Contains(err.Error(), "not a key") {
			t.Errorf("got %v, want the variable to be named and the key not", err)
		}
	}
}
