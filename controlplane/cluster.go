package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"

	"github.com/tapis-project/podway/controlplane/internal/config"
	"github.com/tapis-project/podway/controlplane/internal/kube"
	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// cluster is what runs the pods, and how it is held.
type cluster struct {
	pods.Cluster

	close func()

	// lead calls run while this control plane is the one that may change pods. Nil:
	// it always is.
	lead func(ctx context.Context, run func(context.Context) error) error
}

// openCluster opens what the configuration names.
func openCluster(c config.Config, s pods.Settings, log *slog.Logger) (cluster, error) {
	if c.Cluster == "kubernetes" {
		return openKube(c, s, log)
	}
	local, err := openLocal(c.StateDir, volumesDir(c, c.StateDir), log)
	if err != nil {
		return cluster{}, err
	}
	return cluster{Cluster: local, close: local.Close}, nil
}

func openKube(c config.Config, s pods.Settings, log *slog.Logger) (cluster, error) {
	kube.LogTo(log)
	access, err := kube.LoadConfig(c.Kube.Kubeconfig)
	if err != nil {
		return cluster{}, fmt.Errorf("PODWAY_KUBECONFIG: %w", err)
	}
	options, err := kubeOptions(c, s, access, log)
	if err != nil {
		return cluster{}, err
	}
	k, err := kube.New(options)
	if err != nil {
		return cluster{}, err
	}
	return cluster{Cluster: k, close: k.Close, lead: func(ctx context.Context, run func(context.Context) error) error {
		// What the cluster holds is known in a moment, unless it does not answer;
		// before that every pod would only fail to be looked at.
		short, cancel := context.WithTimeout(ctx, syncWithin)
		defer cancel()
		if err := k.Synced(short); err != nil && ctx.Err() == nil {
			log.Warn("the cluster does not answer; going on without it", "error", err)
		}
		if !strings.HasPrefix(c.Store, "postgres") { // any other store has one control plane only
			return run(ctx)
		}
		return kube.RunAsLeader(ctx, leadership(c, access, log), run)
	}}, nil
}

// syncWithin bounds the wait for what the cluster holds.
const syncWithin = 10 * time.Second

// kubeOptions turns settings into options.
func kubeOptions(c config.Config, s pods.Settings, access *rest.Config, log *slog.Logger) (kube.Options, error) {
	k := c.Kube
	queues, queuesErr := kubeQueues(k)
	images, imagesErr := kubeImages(k)
	return kube.Options{
		REST: access, Site: c.Site, Namespace: k.Namespace, Unmanaged: k.Unmanaged,
		AddressMode: kube.AddressMode(k.AddressMode), NodeAddresses: k.NodeAddresses, ClusterDomain: k.ClusterDomain,
		Queues: queues, Images: images, PullPolicy: corev1.PullPolicy(k.PullPolicy), PullSecrets: k.PullSecrets,
		RuntimeClass: k.RuntimeClass, Grace: time.Duration(k.GraceSeconds) * time.Second,
		EphemeralRequest: k.EphemeralRequest, EphemeralLimit: k.EphemeralLimit,
		StorageClass: k.StorageClass, ClaimSize: k.ClaimSize,
		Files: kube.Files{Claim: k.FilesClaim, Class: k.FilesClass, NFSServer: k.NFSServer, NFSPath: k.NFSPath},
		Network: kube.Network{
			EdgeNamespace: k.EdgeNamespace, EdgePods: k.EdgePods, EdgeCIDRs: k.EdgeCIDRs,
			DNSCIDRs: k.DNSCIDRs, AllowCIDRs: k.AllowCIDRs, DenyCIDRs: k.DenyCIDRs,
		},
		Quota: k.Quota, Default: s.Default, Max: s.Max, Logger: log,
	}, errors.Join(queuesErr, imagesErr)
}

// kubeQueues reads the compute queues; nil if there are none.
func kubeQueues(k config.Kube) (map[string]kube.Queue, error) {
	if k.QueuesFile == "" {
		return nil, nil
	}
	queues, err := kube.LoadQueues(k.QueuesFile)
	if err != nil {
		return nil, fmt.Errorf("PODWAY_KUBE_QUEUES_FILE: %w", err)
	}
	return queues, nil
}

// queueNames lists what users may choose; nil if there is nothing to choose.
func queueNames(c config.Config) ([]string, error) {
	if c.Cluster != "kubernetes" {
		return nil, nil
	}
	queues, err := kubeQueues(c.Kube)
	return slices.Sorted(maps.Keys(queues)), err
}

// kubeImages joins what is set for single images.
func kubeImages(k config.Kube) (map[string]kube.ImageRule, error) {
	rules := map[string]kube.ImageRule{}
	var errs []error
	for _, image := range k.RootImages {
		name, err := pods.CanonicalImage(image)
		if err != nil {
			errs = append(errs, fmt.Errorf("PODWAY_KUBE_ROOT_IMAGES: %q: %w", image, err))
		}
		rules[name] = kube.ImageRule{Root: true}
	}
	for image, user := range k.ImageUsers {
		name, err := pods.CanonicalImage(image)
		if err != nil {
			errs = append(errs, fmt.Errorf("PODWAY_KUBE_IMAGE_USERS: %q: %w", image, err))
		}
		rules[name] = kube.ImageRule{Root: rules[name].Root, User: user.User, Group: user.Group}
	}
	return rules, errors.Join(errs...)
}

// namespaceFile tells a pod of Kubernetes which namespace it is in.
const namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// leadership is how the control planes of a site, which share a store, agree on who
// changes pods.
func leadership(c config.Config, access *rest.Config, log *slog.Logger) kube.Leadership {
	l := kube.Leadership{REST: access, Namespace: c.Kube.LeaseNamespace, Name: "podway-" + c.Site, Logger: log}
	if l.Namespace == "" {
		own, _ := os.ReadFile(namespaceFile) // it is not there outside of the cluster
		l.Namespace = strings.TrimSpace(string(own))
	}
	if l.Namespace == "" {
		l.Namespace = corev1.NamespaceDefault
	}
	host, _ := os.Hostname() // it is for people; what follows makes it unique
	l.Identity = host + "-" + strings.ToLower(rand.Text()[:8])
	return l
}
