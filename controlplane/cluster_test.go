package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/tapis-project/podway/controlplane/internal/config"
	"github.com/tapis-project/podway/controlplane/internal/kube"
	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// kubeConfig reads settings as serve does.
func kubeConfig(t *testing.T, env map[string]string) config.Config {
	t.Helper()
	c, err := config.FromEnv(func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestKubeOptions(t *testing.T) {
	c := kubeConfig(t, map[string]string{
		"PODWAY_CLUSTER": "kubernetes", "PODWAY_SITE": "tacc", "PODWAY_KUBE_ADDRESS_MODE": "pod-ip",
		"PODWAY_KUBE_ROOT_IMAGES": "mysql,ghcr.io/x/y:1", "PODWAY_KUBE_IMAGE_USERS": "postgres=999,mysql=27:28",
	})
	o, err := kubeOptions(c, pods.DefaultSettings(), &rest.Config{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]kube.ImageRule{
		"docker.io/library/mysql": {Root: true, User: 27, Group: 28}, "ghcr.io/x/y": {Root: true},
		"docker.io/library/postgres": {User: 999, Group: 999},
	}
	if !reflect.DeepEqual(o.Images, want) {
		t.Errorf("images: got %+v, want %+v", o.Images, want)
	}
	if o.Site != "tacc" || o.AddressMode != kube.PodIP || o.Grace != 30*time.Second || o.Max != pods.DefaultSettings().Max || o.PullPolicy != "Always" {
		t.Errorf("got %+v", o)
	}
}

func TestKubeProblemsNameTheirVariable(t *testing.T) {
	for name, value := range map[string]string{
		"PODWAY_KUBE_ROOT_IMAGES": "Not An Image", "PODWAY_KUBE_IMAGE_USERS": "Not An Image=1",
		"PODWAY_KUBE_QUEUES_FILE": "/no/such/file",
	} {
		_, err := kubeOptions(kubeConfig(t, map[string]string{name: value}), pods.DefaultSettings(), &rest.Config{}, nil)
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want %s to be named", err, name)
		}
	}
	c := kubeConfig(t, map[string]string{"PODWAY_CLUSTER": "kubernetes", "PODWAY_KUBECONFIG": "/no/such/file"})
	if _, err := openCluster(c, pods.DefaultSettings(), slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "PODWAY_KUBECONFIG") {
		t.Errorf("got %v, want PODWAY_KUBECONFIG to be named", err)
	}
}

func TestQueuesAreWhatUsersMayChoose(t *testing.T) {
	path := filepath.Join(t.TempDir(), "queues.json")
	if err := os.WriteFile(path, []byte(`[{"queue_name":"gpu"},{"queue_name":"default"}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := settings(kubeConfig(t, map[string]string{"PODWAY_CLUSTER": "kubernetes", "PODWAY_KUBE_QUEUES_FILE": path, "PODWAY_IMAGES": "nginx"}))
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"default", "gpu"}; !reflect.DeepEqual(s.ComputeQueues, want) {
		t.Errorf("queues: got %v, want %v", s.ComputeQueues, want)
	}
	if want := []string{"docker.io/library/nginx"}; !reflect.DeepEqual(s.ImageAllowList, want) {
		t.Errorf("images: got %v, want %v; those of the local cluster are not for this one", s.ImageAllowList, want)
	}
	plain, err := settings(kubeConfig(t, map[string]string{"PODWAY_CLUSTER": "kubernetes"}))
	if err != nil || !reflect.DeepEqual(plain.ComputeQueues, []string{"default"}) {
		t.Errorf("without queues: got %v, %v", plain.ComputeQueues, err)
	}
}

func TestTheLeadIsAgreedOnPerSite(t *testing.T) {
	c := kubeConfig(t, map[string]string{"PODWAY_SITE": "tacc", "PODWAY_KUBE_LEASE_NAMESPACE": "podway"})
	one, two := leadership(c, &rest.Config{}, nil), leadership(c, &rest.Config{}, nil)
	if one.Namespace != "podway" || one.Name != "podway-tacc" {
		t.Errorf("got the lease %s/%s", one.Namespace, one.Name)
	}
	if one.Identity == two.Identity {
		t.Errorf("got the identity %s twice", one.Identity)
	}
	if got := leadership(kubeConfig(t, nil), &rest.Config{}, nil).Namespace; got != "default" {
		t.Errorf("outside of a cluster: got the namespace %q, want default", got)
	}
}
