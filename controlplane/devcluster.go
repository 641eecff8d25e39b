package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/config"
	"github.com/tapis-project/podway/controlplane/internal/kube"
	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// useKubeconfig makes this process, and those it starts, run pods in the cluster
// that a kubeconfig file names. "" leaves everything as it is.
func useKubeconfig(path string) error {
	if path == "" {
		return nil
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("finding the kubeconfig file: %w", err)
	}
	return errors.Join(os.Setenv("PODWAY_CLUSTER", "kubernetes"), os.Setenv("PODWAY_KUBECONFIG", path))
}

// openCluster opens what runs the pods in dev mode.
func (d devConfig) openCluster(c config.Config, s pods.Settings, log *slog.Logger) (cluster, error) {
	c.StateDir = d.dir
	if os.Getenv("PODWAY_KUBE_PULL_POLICY") == "" {
		c.Kube.PullPolicy = "IfNotPresent" // images of a try are in no registry
	}
	return openCluster(c, s, log)
}

// purgeWithin bounds the removal of all pods of a Kubernetes cluster.
const purgeWithin = 2 * time.Minute

// purgeKube removes every pod of this site from the Kubernetes cluster, storage
// included, if one is used.
func (d devConfig) purgeKube(ctx context.Context) error {
	c, err := config.FromEnv(os.Getenv)
	if err != nil || c.Cluster != "kubernetes" {
		return err
	}
	opened, err := d.openCluster(c, pods.DefaultSettings(), slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer opened.close()
	ctx, cancel := context.WithTimeout(ctx, purgeWithin)
	defer cancel()
	if k, ok := opened.Cluster.(*kube.Cluster); ok {
		if err := k.Synced(ctx); err != nil {
			return err
		}
	}
	for {
		left, err := opened.List(ctx)
		if err != nil || len(left) == 0 {
			return err
		}
		for _, o := range left {
			if err := opened.Purge(ctx, o.Key); err != nil {
				return err
			}
		}
		select {
		case <-time.After(500 * time.Millisecond): // they take their time to stop
		case <-ctx.Done():
			return fmt.Errorf("%d pods are still being removed: %w", len(left), ctx.Err())
		}
	}
}
