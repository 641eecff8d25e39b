package seed

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tapis-project/podway/controlplane/internal/kube"
	"github.com/tapis-project/podway/controlplane/internal/local"
	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/controlplane/internal/store/tempstore"
	"github.com/tapis-project/podway/tests/kubetest"
)

// workloads returns what a cluster is asked to run for each version that is built
// in, by template. The pod is called like its template.
func workloads(t *testing.T) map[string]pods.Workload {
	t.Helper()
	s := tempstore.New(t)
	load(t, s, Options{Dev: true})
	templates, err := Templates(true)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]pods.Workload{}
	for _, built := range templates {
		for i, tag := range built.Tags {
			own := pods.Definition{Template: pods.Set(built.ID + ":" + tag.Tag)}
			if a := answers[built.ID]; a != nil {
				own.SecretMap = pods.Set(a)
			}
			chain, err := pods.TemplateChain(t.Context(), s, own)
			if err != nil {
				t.Fatal(err)
			}
			id := pods.ID(built.ID + string(rune('a'+i)))
			e, err := pods.Resolve(id, "dev.example.org", pods.DefaultSettings(), own, pods.Definitions(chain)...)
			if err != nil {
				t.Fatal(err)
			}
			p := pods.Pod{Key: pods.Key{Tenant: "dev", ID: id}, UID: "uid-of-" + string(id), Site: "dev", Owner: "ann", Definition: own}
			all[built.ID+":"+tag.Tag] = pods.BuildWorkload(p, e, pods.NewCredentials(id))
		}
	}
	return all
}

// TestTemplatesMakeKubernetesPods creates a pod of each version on a real API
// server, in a namespace that takes restricted pods only.
func TestTemplatesMakeKubernetesPods(t *testing.T) {
	server := kubetest.Start(t)
	namespace := server.Namespace(t, map[string]string{"pod-security.kubernetes.io/enforce": "restricted"})
	c, err := kube.New(kube.Options{REST: server.RESTConfig(), Site: "dev", Namespace: namespace, Unmanaged: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := c.Synced(ctx); err != nil {
		t.Fatal(err)
	}
	for name, w := range workloads(t) {
		t.Run(name, func(t *testing.T) {
			if err := c.Admit(t.Context(), w); err != nil {
				t.Fatal(err)
			}
			if err := c.Apply(t.Context(), w); err != nil {
				t.Fatal(err)
			}
			p, err := server.Client().CoreV1().Pods(namespace).Get(t.Context(), pods.ObjectName("dev", w.Key), metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			checkKubernetesPod(t, *p, w)
		})
	}
}

func checkKubernetesPod(t *testing.T, p corev1.Pod, w pods.Workload) {
	t.Helper()
	container := p.Spec.Containers[0]
	if container.Image != w.Image || len(container.VolumeMounts) != len(w.VolumeMounts) {
		t.Errorf("got image %s with mounts %v, want %s with %v", container.Image, container.VolumeMounts, w.Image, w.VolumeMounts)
	}
	for _, v := range container.Env {
		if v.Value != "" && v.Value == w.Credentials.UserPassword {
			t.Errorf("got the password in the specification, as %s", v.Name)
		}
	}
}

// TestTemplatesRunLocally admits what development is meant to try.
func TestTemplatesRunLocally(t *testing.T) {
	c, err := local.Open(local.Options{Dir: t.TempDir(), Self: "/bin/false"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	all := workloads(t)
	for _, name := range []string{"postgres:17", "postgres:latest", "hello:latest", "fastapi:latest", "fastapi:fastapinetworked", "jupyterlab:noauth"} {
		if err := c.Admit(t.Context(), all[name]); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
