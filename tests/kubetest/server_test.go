package kubetest_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/tapis-project/podway/tests/kubetest"
	"github.com/tapis-project/podway/tests/parts"
)

func TestTheServerIsSharedAndServes(t *testing.T) {
	srv := kubetest.Start(t)
	if again := kubetest.Start(t); again != srv {
		t.Error("got a second server, want the same")
	}
	config, err := clientcmd.BuildConfigFromFlags("", srv.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	version, err := kubernetes.NewForConfigOrDie(config).Discovery().ServerVersion()
	if err != nil {
		t.Fatal(err)
	}
	if version.Major != "1" {
		t.Errorf("got version %v, want 1.x", version)
	}
}

func TestKillAndRestartKeepTheData(t *testing.T) {
	srv := kubetest.StartPrivate(t)
	ns := srv.Namespace(t, nil)
	maps := srv.Client().CoreV1().ConfigMaps(ns)
	if _, err := maps.Create(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "kept"}, Data: map[string]string{"a": "b"},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}

	srv.Kill()
	if _, err := maps.Get(t.Context(), "kept", metav1.GetOptions{}); err == nil {
		t.Fatal("a killed server answered")
	}
	srv.Kill() // safe to call twice
	srv.Restart(t)
	got, err := maps.Get(t.Context(), "kept", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got.Data["a"] != "b" {
		t.Errorf("got %v, want a=b", got.Data)
	}

	srv.Stop(t)
	short, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if _, err := maps.Get(short, "kept", metav1.GetOptions{}); !errors.Is(err, context.DeadlineExceeded) && !os.IsTimeout(err) {
		t.Errorf("of a stopped server: got %v, want a timeout", err)
	}
	srv.Cont(t)
	if _, err := maps.Get(t.Context(), "kept", metav1.GetOptions{}); err != nil {
		t.Errorf("after Cont: got %v, want the object", err)
	}
}

func TestOtherUsersHaveOnlyTheirRights(t *testing.T) {
	srv := kubetest.Start(t)
	alice := kubernetes.NewForConfigOrDie(srv.UserConfig(t, "alice"))
	_, err := alice.CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{})
	if !apierrors.IsForbidden(err) {
		t.Errorf("got %v, want Forbidden", err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", srv.UserKubeconfig(t, "root", "system:masters"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kubernetes.NewForConfigOrDie(config).CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{}); err != nil {
		t.Errorf("got %v, want what a master may", err)
	}
}

func TestTheControlPlanesAccountHasItsRightsAndNoOthers(t *testing.T) {
	srv := kubetest.StartPrivate(t)
	path := filepath.Join(t.TempDir(), "kubeconfig")
	for range 2 { // the second finds everything there
		if err := kubetest.WriteAccount(t.Context(), srv.RESTConfig(), path); err != nil {
			t.Fatal(err)
		}
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatal(err)
	}
	core := kubernetes.NewForConfigOrDie(config).CoreV1()
	parts.Eventually(t, time.Minute, func() error { // rights take a moment to count
		_, err := core.Pods("").List(t.Context(), metav1.ListOptions{})
		return err
	})
	if _, err := core.Secrets("default").List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("reading secrets: got %v, want Forbidden", err)
	}
}

func TestPodSecurityIsEnforced(t *testing.T) {
	srv := kubetest.Start(t)
	ns := srv.Namespace(t, map[string]string{"pod-security.kubernetes.io/enforce": "restricted"})
	_, err := srv.Client().CoreV1().Pods(ns).Create(t.Context(), pod("loose", ""), metav1.CreateOptions{})
	if err == nil || !strings.Contains(err.Error(), "violates PodSecurity") {
		t.Errorf("got %v, want a violation of PodSecurity", err)
	}
}

func TestANamespaceGoesWithItsTest(t *testing.T) {
	srv := kubetest.Start(t)
	var name string
	t.Run("with objects that hold on", func(t *testing.T) {
		name = srv.Namespace(t, nil)
		p := pod("held", "")
		p.Finalizers = []string{"example.org/nobody-removes-this"}
		if _, err := srv.Client().CoreV1().Pods(name).Create(t.Context(), p, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	})
	if _, err := srv.Client().CoreV1().Namespaces().Get(t.Context(), name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("got %v, want NotFound", err)
	}
}

func TestCloseDeletesEverything(t *testing.T) {
	srv, err := kubetest.Launch(t.Context(), kubetest.Require(t))
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig := srv.Kubeconfig()
	srv.Close()
	srv.Close() // safe to call twice
	if _, err := os.Stat(kubeconfig); !os.IsNotExist(err) {
		t.Errorf("got %v, want no such file", err)
	}
	resp, err := http.Get(srv.URL())
	if err == nil {
		resp.Body.Close()
		t.Error("a closed server answered")
	}
}

// pod returns a pod with one container of an image, "hello" if that is "".
func pod(name, image string) *corev1.Pod {
	if image == "" {
		image = "docker.io/podway/hello:1"
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": name}},
		Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever,
			Containers:    []corev1.Container{{Name: "main", Image: image, Ports: []corev1.ContainerPort{{Name: "web", ContainerPort: 5000}}}},
		},
	}
}
