package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/redis/go-redis/v9"

	"github.com/tapis-project/podway/controlplane/internal/api"
	"github.com/tapis-project/podway/controlplane/internal/config"
	"github.com/tapis-project/podway/controlplane/internal/login"
	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/controlplane/internal/tapis"
	"github.com/tapis-project/podway/routes/keytext"
	"github.com/tapis-project/podway/routes/redisgate"
	"github.com/tapis-project/podway/routes/redisroutes"
)

// gateKeyring reads the keys of the login gate; nil if none are set.
func gateKeyring(c config.Config) (*redisgate.Keyring, error) {
	switch {
	case c.GateKeyFile != "":
		ring, err := redisgate.ReadKeyring(c.GateKeyFile)
		if err != nil {
			return nil, fmt.Errorf("PODWAY_GATE_KEY_FILE: %w", err)
		}
		return ring, nil
	case c.GateKey != "":
		ring, err := redisgate.ParseKeyring(c.GateKey)
		if err != nil {
			return nil, fmt.Errorf("PODWAY_GATE_KEY: %w", err)
		}
		return ring, nil
	default:
		return nil, nil
	}
}

// serviceAccount returns our account in Tapis; nil if there is none.
func serviceAccount(c config.Config) *tapis.ServiceAccount {
	if c.Service.Password == "" {
		return nil
	}
	return &tapis.ServiceAccount{Tenant: c.Service.Tenant, Name: c.Service.Name, Password: c.Service.Password}
}

// openLogin returns what logs visitors of pods in; nil without keys for it.
func openLogin(p parts, client redis.UniversalClient) (*login.Service, error) {
	if p.gateKeys == nil {
		p.log.Warn("there is no gate key, so nobody can log in to pods; set PODWAY_GATE_KEY_FILE")
		return nil, nil
	}
	gate, err := redisgate.New(redisgate.Options{Client: client, Namespace: p.namespace, Keyring: p.gateKeys})
	if err != nil {
		return nil, err
	}
	lookup, err := redisroutes.NewLookup(client, p.namespace)
	if err != nil {
		return nil, err
	}
	return login.New(login.Options{
		Tapis: p.identity, Store: p.store, Gate: gate, Route: lookup.Route, Site: p.settings.Site, EdgePort: p.edgePort, Logger: p.log,
	})
}

// loginOf returns the logins for the API, nil if there are none.
func loginOf(l *login.Service) api.Login {
	if l == nil {
		return nil
	}
	return l
}

// sharesOf returns what publishes access tokens, nil if nothing does.
func sharesOf(l *login.Service) func(context.Context, pods.Key, map[string]string) error {
	if l == nil {
		return nil
	}
	return l.PublishShares
}

// gateKeyFile returns the file with the key of the login gate, made at first use.
func (d devConfig) gateKeyFile() (string, error) {
	path := filepath.Join(d.dir, "gate.key")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	f, err := os.CreateTemp(d.dir, ".gate-*.key") // with mode 0600
	if err != nil {
		return "", fmt.Errorf("keeping the gate key: %w", err)
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.WriteString(keytext.New() + "\n")
	if err = errors.Join(err, f.Close()); err == nil {
		// The control plane and the launcher may both be here: the first one wins, and
		// nobody reads half a key.
		err = os.Link(f.Name(), path)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("keeping the gate key: %w", err)
	}
	return path, nil
}

// gateKeyring reads the keys of the development system.
func (d devConfig) gateKeyring() (*redisgate.Keyring, error) {
	path, err := d.gateKeyFile()
	if err != nil {
		return nil, err
	}
	return redisgate.ReadKeyring(path)
}
