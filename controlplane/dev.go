package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/tapis-project/podway/controlplane/internal/config"
	"github.com/tapis-project/podway/controlplane/internal/devtapis"
	"github.com/tapis-project/podway/controlplane/internal/local"
	"github.com/tapis-project/podway/controlplane/internal/seed"
	"github.com/tapis-project/podway/controlplane/internal/store"
	"github.com/tapis-project/podway/controlplane/internal/tapis"
)

// launchedVariable tells a control plane that a launcher holds the lock of the
// state folder for it.
const launchedVariable = "PODWAY_DEV_LAUNCHED"

// dev runs the control plane with everything it needs built in, until ctx ends.
// Pods are stopped at an orderly end; they survive a kill -9.
func dev(ctx context.Context, d devConfig) error {
	c, err := config.FromEnv(os.Getenv)
	if err != nil {
		return err
	}
	if os.Getenv(launchedVariable) == "" {
		unlock, err := d.prepare()
		if err != nil {
			return err
		}
		defer unlock()
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: c.LogLevel}))

	keys, err := store.LoadOrCreateKeyFile(filepath.Join(d.dir, "secret.key"))
	if err != nil {
		return err
	}
	st, err := store.Open(ctx, "sqlite:"+filepath.Join(d.dir, "podway.db"), store.Options{Keyring: keys})
	if err != nil {
		return err
	}
	defer st.Close()
	if err := st.Migrate(ctx); err != nil {
		return err
	}
	if _, err := seed.Load(ctx, st, seed.Options{Dev: true}); err != nil {
		return err
	}

	redisURL, stopRedis, err := d.startRedis(ctx)
	if err != nil {
		return err
	}
	defer stopRedis()

	gateKeys, err := d.gateKeyring()
	if err != nil {
		return err
	}
	service := tapis.ServiceAccount{Tenant: d.tenant, Name: "pods", Password: rand.Text()} // of this run
	tapisServer, err := devtapis.New(devtapis.Options{
		BaseURL: "http://" + d.tenantDomain() + ":" + strconv.Itoa(d.apiPort), Tenant: d.tenant, Site: c.Site,
		Dir: filepath.Join(d.dir, "tapis"), Services: map[string]string{service.Name: service.Password}, Logger: log,
	})
	if err != nil {
		return err
	}
	identity, err := tapis.New(tapis.Options{
		TenantsURL: tapisServer.BaseURL(), Site: c.Site, Service: &service, DevHosts: devtapis.DevHosts(), Transport: tapisServer.InProcess(), Logger: log,
	})
	if err != nil {
		return err
	}

	if c.Cluster != "local" {
		c.Images = append(local.Images(), c.Images...) // what people try, on every cluster
	}
	choices, err := settings(c)
	if err != nil {
		return err
	}
	cluster, err := d.openCluster(c, choices, log)
	if err != nil {
		return err
	}
	defer cluster.close()
	if processes, ok := cluster.Cluster.(*local.Cluster); ok {
		defer stopPods(processes, log)
	}
	// "db" is a good name for a try.
	choices.ShortestPodID = 2
	if err := checkPort(ctx, "PODWAY_API_PORT", d.apiPort); err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(d.apiPort)))
	if err != nil {
		return fmt.Errorf("listening for the API: %w", err)
	}
	return run(ctx, parts{
		store: st, cluster: cluster.Cluster, lead: cluster.lead, identity: identity, settings: choices, redisURL: redisURL, namespace: c.Namespace,
		volumes: volumesDir(c, d.dir), grace: time.Duration(c.VolumeGraceHours) * time.Hour,
		gateKeys: gateKeys, edgePort: d.edgePort, domains: newDomainOptions(c), listener: listener, extra: tapisServer, origins: c.AllowedOrigins, mutations: c.MutationsPerMinute, log: log,
	})
}

// startRedis starts the built-in Redis. It keeps nothing over a restart: edges
// hold on to their routes until all are published again.
func (d devConfig) startRedis(ctx context.Context) (url string, stop func(), err error) {
	url, err = d.redisURL()
	if err != nil {
		return "", nil, err
	}
	password, err := d.redisPassword()
	if err != nil {
		return "", nil, err
	}
	if err := checkPort(ctx, "PODWAY_REDIS_PORT", d.redisPort); err != nil {
		return "", nil, err
	}
	m := miniredis.NewMiniRedis()
	m.RequireAuth(password)
	if err := m.StartAddr(d.redisAddr()); err != nil {
		return "", nil, fmt.Errorf("starting the built-in Redis: %w", err)
	}
	done := make(chan struct{})
	go func() { // its clock stands still unless it is moved
		const step = time.Second
		tick := time.NewTicker(step)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				m.FastForward(step)
			case <-done:
				return
			}
		}
	}()
	return url, func() { close(done); m.Close() }, nil
}

// stopPods ends all processes of the local cluster. Their pods stay requested
// and run again with the next start.
func stopPods(c *local.Cluster, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if err := c.StopAll(ctx); err != nil {
		log.Error("stopping pods failed", "error", err)
	}
}

// clean stops the pods a killed control plane left and deletes the state
// folder, if it is one.
func (d devConfig) clean(ctx context.Context, out io.Writer) error {
	if _, err := os.Stat(d.dir); errors.Is(err, os.ErrNotExist) {
		fmt.Fprintf(out, "Nothing to delete: %s does not exist.\n", d.dir)
		return nil
	}
	if _, err := os.Stat(filepath.Join(d.dir, "lock")); err != nil {
		return fmt.Errorf("%s does not look like a state folder of podway dev: it has no file named lock; delete it by hand if you are sure", d.dir)
	}
	unlock, err := d.prepare()
	if err != nil {
		return err
	}
	defer unlock()
	if err := d.purgePods(ctx); err != nil {
		return err
	}
	if err := d.purgeKube(ctx); err != nil {
		return err
	}
	if err := os.RemoveAll(d.dir); err != nil {
		return fmt.Errorf("deleting the state folder: %w", err)
	}
	fmt.Fprintf(out, "Deleted %s.\n", d.dir)
	return nil
}

// purgePods removes every pod of the local cluster, storage included: some of
// it may lie outside of the state folder.
func (d devConfig) purgePods(ctx context.Context) error {
	cluster, err := openLocal(d.dir, "", slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer cluster.Close()
	left, err := cluster.List(ctx)
	if err != nil {
		return err
	}
	for _, o := range left {
		if err := cluster.Purge(ctx, o.Key); err != nil {
			return err
		}
	}
	return cluster.StopAll(ctx)
}

// edgeEnv is what an edge needs to know to serve the pods of this control plane;
// edge/Caddyfile.dev reads it.
func (d devConfig) edgeEnv() ([]string, error) {
	redisURL, err := d.redisURL()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(d.dir, "edge")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the edge's folder: %w", err)
	}
	gateKey, err := d.gateKeyFile()
	if err != nil {
		return nil, err
	}
	return []string{
		"PODWAY_GATE_KEY_FILE=" + gateKey,
		"PODWAY_EDGE_PORT=" + strconv.Itoa(d.edgePort),
		"PODWAY_EDGE_DIR=" + dir,
		"PODWAY_EDGE_ADMIN=unix/" + socketPath(dir) + "|0600",
		"PODWAY_EDGE_CA_FILE=" + d.caFile(),
		"PODWAY_EDGE_CERTIFICATES=*.pods." + d.tenantDomain(),
		"PODWAY_EDGE_UPSTREAMS=" + d.upstreams(),
		"PODWAY_REDIS_URL=" + redisURL,
	}, nil
}

// upstreams are the networks the edge may dial pods in: those of local processes,
// or what clusters use.
func (d devConfig) upstreams() string {
	if os.Getenv("PODWAY_CLUSTER") == "kubernetes" {
		return "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10 fc00::/7"
	}
	return "127.0.0.0/8"
}

// socketPath is where the edge's admin API listens: in its folder, unless that
// makes the path longer than a socket's may be.
func socketPath(dir string) string {
	path := filepath.Join(dir, "admin.sock")
	if len(path) <= 100 {
		return path
	}
	sum := sha256.Sum256([]byte(dir))
	return filepath.Join(os.TempDir(), fmt.Sprintf("podway-edge-%x.sock", sum[:8]))
}

// printEdgeEnv prints the environment of an edge for eval in a shell.
func (d devConfig) printEdgeEnv(out io.Writer) error {
	unlock, err := d.prepare()
	if err == nil {
		defer unlock()
	} // else: in use, and therefore prepared
	env, err := d.edgeEnv()
	if err != nil {
		return err
	}
	for _, kv := range env {
		name, value := cutEnv(kv)
		fmt.Fprintf(out, "export %s='%s'\n", name, value)
	}
	return nil
}
