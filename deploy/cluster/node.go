//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/tapis-project/podway/deploy/cluster/image"
)

// part is a program of the node.
type part struct {
	name string   // of its log
	args []string // the program and its arguments
}

// node is the second process of the node: it starts all parts and starts them
// again when they end, and is itself what Kubernetes gets from elsewhere:
// registry, name server and storage.
type node struct {
	*cluster
	client kubernetes.Interface
	parts  sync.WaitGroup
}

// runNode runs the node. It does not return but by an error of the start.
func (c *cluster) runNode(ctx context.Context) error {
	// After the last report nobody reads them.
	signal.Ignore(syscall.SIGPIPE)
	n := &node{cluster: c}
	if err := n.start(ctx); err != nil {
		return err
	}
	report(ready)
	n.parts.Wait()
	return nil
}

// report tells whoever started the cluster how it gets on.
func report(line string) { fmt.Println(line) }

// start starts everything and returns when it works:
//
//  1. the network, and the registry that images come from;
//  2. etcd and the API server;
//  3. at the same time: controllers, scheduler, containerd, kubelet, kube-proxy;
//  4. storage and name server, as clients of the API server.
func (n *node) start(ctx context.Context) error {
	if err := n.raiseNetwork(ctx); err != nil {
		return err
	}
	if err := n.serveImages(ctx); err != nil {
		return err
	}
	for _, dir := range []string{logDir, podLogDir, etcdDir, kubeletDir, volumeDir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("making a folder: %w", err)
		}
	}
	n.run(ctx, n.etcd())
	if err := poll(ctx, "etcd", func(ctx context.Context) error { return dial(ctx, etcdAddr) }); err != nil {
		return err
	}
	if err := n.startAPI(ctx); err != nil {
		return err
	}
	for _, p := range n.workers() {
		n.run(ctx, p)
	}
	if err := n.serveStorage(ctx); err != nil {
		return err
	}
	if err := n.serveNames(ctx); err != nil {
		return err
	}
	return n.waitUsable(ctx)
}

// raiseNetwork configures the node's end of the cable.
func (n *node) raiseNetwork(ctx context.Context) error {
	err := ip(ctx,
		"link set lo up",
		fmt.Sprintf("address add %s/%d dev eth0", n.net.node, n.net.link.Bits()),
		"link set eth0 up",
		fmt.Sprintf("route add default via %s", n.net.host),
	)
	if err != nil {
		return err
	}
	// These are the node's own, not the machine's.
	for _, name := range []string{"ipv4/ip_forward", "bridge/bridge-nf-call-iptables"} {
		err := os.WriteFile(filepath.Join("/proc/sys/net", name), []byte("1"), 0o600)
		if errors.Is(err, os.ErrNotExist) && strings.HasPrefix(name, "bridge") {
			continue // the kernel lacks it, and kube-proxy is told
		}
		if err != nil {
			return fmt.Errorf("setting net/%s: %w", name, err)
		}
	}
	return nil
}

// serveImages serves the local images to containerd.
func (n *node) serveImages(ctx context.Context) error {
	images, err := image.NewRegistry(imageDir)
	if err != nil {
		return err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", registry)
	if err != nil {
		return fmt.Errorf("listening for image pulls: %w", err)
	}
	srv := &http.Server{Handler: images, ReadHeaderTimeout: 10 * time.Second}
	n.parts.Go(func() { slog.Error("serving images ended", "error", srv.Serve(l)) })
	return nil
}

// startAPI starts the API server and makes the client of it.
func (n *node) startAPI(ctx context.Context) error {
	n.run(ctx, n.apiServer())
	config, err := clientcmd.BuildConfigFromFlags("", configDir+"/admin.kubeconfig")
	if err != nil {
		return fmt.Errorf("reading the kubeconfig: %w", err)
	}
	config.QPS = -1
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	n.client = client
	err = poll(ctx, "the API server", func(ctx context.Context) error {
		return client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	})
	if err == nil {
		report("the API server is ready")
	}
	return err
}

// waitUsable returns when a pod could be created, and would run.
func (n *node) waitUsable(ctx context.Context) error {
	err := poll(ctx, "the default service account", func(ctx context.Context) error {
		_, err := n.client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
		return err
	})
	if err != nil {
		return err
	}
	report("controllers work")
	err = poll(ctx, "the node", func(ctx context.Context) error {
		got, err := n.client.CoreV1().Nodes().Get(ctx, nodeName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, c := range got.Status.Conditions {
			if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
				return nil
			}
		}
		return fmt.Errorf("node is not Ready: %v", got.Status.Conditions)
	})
	if err == nil {
		report("the node is Ready")
	}
	return err
}

// run starts a part, and starts it again when it ends: some end by themselves
// while others are not there yet, and tests kill some.
func (n *node) run(ctx context.Context, p part) {
	n.parts.Go(func() {
		for ctx.Err() == nil {
			err := p.run(ctx)
			slog.Warn("part ended, starting it again", "part", p.name, "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	})
}

func (p part) run(ctx context.Context) error {
	log, err := os.OpenFile(filepath.Join(logDir, p.name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.CommandContext(ctx, p.args[0], p.args[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	return cmd.Run()
}

// poll calls f until it returns nil; the error says what is missing.
func poll(ctx context.Context, what string, f func(context.Context) error) error {
	tell := time.Now().Add(10 * time.Second) // it is usual to wait a little
	for {
		short, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := f(short)
		cancel()
		if err == nil {
			return nil
		}
		if time.Now().After(tell) {
			slog.Info("still waiting", "for", what, "error", err)
			tell = time.Now().Add(10 * time.Second)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w: %w", what, ctx.Err(), err)
		case <-time.After(100 * time.Millisecond):
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

// etcdAddr is where etcd listens.
const etcdAddr = "127.0.0.1:2379"

// kube returns a part that is one of the programs in kube.
func kube(name string, flags ...string) part {
	return part{name: name, args: append([]string{binDir + "/kube", name}, flags...)}
}

func (n *node) etcd() part {
	return kube("etcd",
		"--name=podway", "--data-dir="+etcdDir, "--log-level=warn",
		"--listen-client-urls=http://"+etcdAddr, "--advertise-client-urls=http://"+etcdAddr,
		"--unsafe-no-fsync", // the data ends with the cluster
	)
}

func (n *node) apiServer() part {
	conf := func(name string) string { return filepath.Join(configDir, name) }
	return kube("kube-apiserver",
		"--etcd-servers=http://"+etcdAddr,
		"--bind-address="+n.net.node.String(), "--secure-port="+strconv.Itoa(apiPort), "--advertise-address="+n.net.node.String(),
		"--tls-cert-file="+conf("apiserver.crt"), "--tls-private-key-file="+conf("apiserver.key"),
		"--client-ca-file="+conf("ca.crt"),
		"--kubelet-client-certificate="+conf("kubelet-client.crt"), "--kubelet-client-key="+conf("kubelet-client.key"),
		"--kubelet-preferred-address-types=InternalIP",
		"--service-account-key-file="+conf("service-account.pub"), "--service-account-signing-key-file="+conf("service-account.key"),
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-cluster-ip-range="+n.net.services.String(),
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
		"--requestheader-client-ca-file="+conf("ca.crt"), "--requestheader-allowed-names=front-proxy",
		"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file="+conf("front-proxy.crt"), "--proxy-client-key-file="+conf("front-proxy.key"),
		"--profiling=false",
	)
}

// workers returns the parts that need the API server.
func (n *node) workers() []part {
	conf := func(name string) string { return filepath.Join(configDir, name) }
	identity := func(name string) []string {
		config := conf(name + ".kubeconfig")
		return []string{
			"--kubeconfig=" + config, "--authentication-kubeconfig=" + config, "--authorization-kubeconfig=" + config,
			"--bind-address=127.0.0.1", "--leader-elect=false", "--profiling=false",
		}
	}
	return []part{
		kube("kube-controller-manager", append(identity("kube-controller-manager"),
			"--service-account-private-key-file="+conf("service-account.key"), "--root-ca-file="+conf("ca.crt"),
			"--cluster-signing-cert-file="+conf("ca.crt"), "--cluster-signing-key-file="+conf("ca.key"),
			"--use-service-account-credentials=true", "--allocate-node-cidrs=false",
			"--service-cluster-ip-range="+n.net.services.String())...),
		kube("kube-scheduler", identity("kube-scheduler")...),
		{name: "containerd", args: []string{"containerd", "--config", conf("containerd.toml")}},
		kube("kubelet",
			"--config="+conf("kubelet.yaml"), "--kubeconfig="+conf("kubelet.kubeconfig"),
			"--root-dir="+kubeletDir, "--cert-dir="+kubeletDir+"/pki",
			"--hostname-override="+nodeName, "--node-ip="+n.net.node.String()),
		kube("kube-proxy", "--config="+conf("kube-proxy.yaml")),
	}
}
