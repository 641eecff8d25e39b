//go:build linux

package main

import (
	"bytes"
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"text/template"

	"github.com/tapis-project/podway/deploy/cluster/pki"
)

// Where things are on the node.
const (
	configDir  = "/etc/podway"
	logDir     = "/var/log/podway"
	podLogDir  = "/var/log/pods"
	etcdDir    = "/var/lib/etcd"
	kubeletDir = "/var/lib/kubelet"
	volumeDir  = "/var/lib/podway/volumes"
	binDir     = "/opt/podway/bin"
	imageDir   = "/opt/podway/images"
	socket     = "/run/containerd/containerd.sock"
	registry   = "127.0.0.1:5000"
	pauseImage = "registry.podway/pause:1"
)

//go:embed configs
var configs embed.FS

// settings are what the configuration files are filled with.
type settings struct {
	Node, NodeName, Pods                 string
	Cgroup, Socket, Registry, PauseImage string
	KubeletDir, PodLogDir, Conf          string
	// Whether bridged packets are seen by the address translation.
	Bridged bool
}

func (c *cluster) settings() settings {
	_, err := os.Stat("/proc/sys/net/bridge/bridge-nf-call-iptables")
	return settings{
		Node: c.net.node.String(), NodeName: nodeName, Pods: c.net.pods.String(),
		Cgroup: "/" + cgroup, Socket: socket, Registry: registry, PauseImage: pauseImage,
		KubeletDir: kubeletDir, PodLogDir: podLogDir, Conf: configDir, Bridged: err == nil,
	}
}

// files are the configuration files of the node by their name in configs.
var files = map[string]string{
	"containerd.toml": configDir + "/containerd.toml",
	"hosts.toml":      configDir + "/registries/_default/hosts.toml",
	"bridge.json":     configDir + "/cni/10-bridge.conflist",
	"kubelet.yaml":    configDir + "/kubelet.yaml",
	"kube-proxy.yaml": configDir + "/kube-proxy.yaml",
}

// writeConfigs writes the configuration files to the node's file system.
func (c *cluster) writeConfigs() error {
	t, err := template.New("").Option("missingkey=error").ParseFS(configs, "configs/*")
	if err != nil {
		return fmt.Errorf("reading the configuration templates: %w", err)
	}
	for name, path := range files {
		var b bytes.Buffer
		if err := t.ExecuteTemplate(&b, name, c.settings()); err != nil {
			return fmt.Errorf("filling in %s: %w", name, err)
		}
		if err := os.MkdirAll(filepath.Dir(c.inRoot(path)), 0o755); err != nil { //nolint:gosec // as /etc is
			return fmt.Errorf("making a folder on the node: %w", err)
		}
		if err := os.WriteFile(c.inRoot(path), b.Bytes(), 0o600); err != nil {
			return fmt.Errorf("writing %s: %w", name, err)
		}
	}
	return nil
}

// clients are the programs of the node that call the API server, and who they
// are there.
var clients = map[string][]string{ // name, then groups
	"admin":                   {"admin", "system:masters"},
	"kube-controller-manager": {"system:kube-controller-manager"},
	"kube-scheduler":          {"system:kube-scheduler"},
	"kube-proxy":              {"system:kube-proxy"},
	"kubelet":                 {"system:node:" + nodeName, "system:nodes"},
}

// writeCertificates writes certificates, keys and kubeconfigs to the node's file
// system.
func (c *cluster) writeCertificates() error {
	ca, err := pki.New("podway-cluster")
	if err != nil {
		return err
	}
	dir := c.inRoot(configDir)
	for file, who := range clients {
		pair, err := ca.Client(who[0], who[1:]...)
		if err != nil {
			return err
		}
		config, err := ca.Kubeconfig(c.net.api(), pair)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, file+".kubeconfig"), config, 0o600); err != nil {
			return fmt.Errorf("writing a kubeconfig: %w", err)
		}
	}
	own, err := ca.Pair()
	if err != nil {
		return err
	}
	server, err := ca.Server("kube-apiserver", c.net.node.String(), c.net.apiService.String(), "127.0.0.1", "localhost",
		"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
	if err != nil {
		return err
	}
	toKubelet, err := ca.Client("kube-apiserver", "system:masters")
	if err != nil {
		return err
	}
	proxy, err := ca.Client("front-proxy")
	if err != nil {
		return err
	}
	for name, pair := range map[string]pki.Pair{"ca": own, "apiserver": server, "kubelet-client": toKubelet, "front-proxy": proxy} {
		if err := pair.Write(dir, name); err != nil {
			return err
		}
	}
	private, public, err := pki.SigningKey()
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{"service-account.key": private, "service-account.pub": public} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return fmt.Errorf("writing the key of service accounts: %w", err)
		}
	}
	return nil
}

// writeKubeconfig gives the administrator's kubeconfig to whoever owns the
// cluster's folder.
func (c *cluster) writeKubeconfig() error {
	config, err := os.ReadFile(c.inRoot(configDir + "/admin.kubeconfig"))
	if err != nil {
		return fmt.Errorf("reading the kubeconfig: %w", err)
	}
	part := c.kubeconfig() + ".part"
	if err := os.WriteFile(part, config, 0o600); err != nil {
		return fmt.Errorf("writing the kubeconfig: %w", err)
	}
	if err := c.giveToOwner(part); err != nil {
		return fmt.Errorf("giving the kubeconfig away: %w", err)
	}
	return os.Rename(part, c.kubeconfig())
}
