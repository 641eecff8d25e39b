//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tapis-project/podway/tests/parts"
)

// sharedFiles makes a folder of the node that the control plane sees, too, and that
// the pods of a namespace mount: in place of the file server of an installation. It returns the
// settings that say so.
func sharedFiles(t *testing.T, namespace string) []string {
	t.Helper()
	const name, onNode = "e2e-files", "/var/lib/podway/e2e-files"
	// `make cluster` keeps the node's root file system beside the kubeconfig.
	dir := filepath.Join(filepath.Dir(adminKubeconfig(t)), "run", "root", onNode)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	k := client(t).CoreV1()
	_, err := k.PersistentVolumes().Create(t.Context(), &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")},
			AccessModes:                   []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany},
			StorageClassName:              name,
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
			PersistentVolumeSource:        corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: onNode}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.Background()
		err1 := k.PersistentVolumeClaims(namespace).Delete(ctx, name, metav1.DeleteOptions{})
		if apierrors.IsNotFound(err1) { // no pod came as far
			err1 = nil
		}
		err2 := k.PersistentVolumes().Delete(ctx, name, metav1.DeleteOptions{})
		if err := errors.Join(err1, err2, os.RemoveAll(dir)); err != nil {
			t.Error(err)
		}
	})
	return []string{"PODWAY_KUBE_FILES_CLAIM=" + name, "PODWAY_KUBE_FILES_CLASS=" + name, "PODWAY_VOLUMES_DIR=" + dir}
}

// A pod gets files that its owner uploaded, and its owner gets those that it
// writes; passwords reach it by its environment and are nowhere else.
func TestAVolumeAndSecretsOnKubernetes(t *testing.T) {
	s := start(t, "storage", sharedFiles(t, namespaceOf("storage"))...)
	u := s.Login("testuser")
	u.Call(http.MethodPost, "/v3/pods/volumes", `{"volume_id":"shared"}`)
	post(t, s, u, "/v3/pods/volumes/shared/upload/in/note.txt", map[string]string{"file": "a note"})
	const password = "correct horse battery"
	u.Call(http.MethodPost, "/v3/pods/secrets", fmt.Sprintf(`{"secret_id":"dbpass","secret_value":%q,"readable":false}`, password))
	create(t, u, `{"pod_id":"reader","image":"busybox",
		"command":["sh","-c","echo \"$DATABASE_URL\" | wc -c > /data/length; exec httpd -f -p 5000 -h /data"],
		"resources":{"mem_limit":256},
		"volume_mounts":{"shared":{"type":"tapisvolume","mount_path":"/data"}},
		"secret_map":{"PASS":"${secret:dbpass}","KEY":"${pods:random:32}"},
		"environment_variables":{"DATABASE_URL":"postgres://app:${pods:secrets:PASS}@db/app","SESSION_KEY":"${pods:secrets:KEY}"}}`)

	parts.Eventually(t, 30*time.Second, func() error {
		code, body, err := httpsGet(s, "reader", "/in/note.txt")
		if err == nil && (code != http.StatusOK || body != "a note") {
			err = fmt.Errorf("got %d %q, want the note", code, body)
		}
		return err
	})
	url := "postgres://app:" + password + "@db/app"
	if got, err := fetch(t, s, u, "/v3/pods/volumes/shared/contents/length"); err != nil || strings.TrimSpace(got) != fmt.Sprint(len(url)+1) {
		t.Errorf("what the pod wrote: got %q, %v, want %d", got, err, len(url)+1)
	}
	env := execute(t, u, "reader", "sh", "-c", "echo $DATABASE_URL; echo ${#SESSION_KEY}")
	if want := url + "\n32\n"; env != want {
		t.Errorf("the environment: got %q, want %q", env, want)
	}
	if text := podText(t, "reader"); strings.Contains(text, password) || !strings.Contains(text, `"secretKeyRef"`) {
		t.Error("the Pod holds a password in its text, or refers to no Secret")
	}

	// What is generated stays the same, and files outlive the run and the pod.
	key := execute(t, u, "reader", "sh", "-c", "echo $SESSION_KEY")
	restart(t, u, "reader")
	if got := execute(t, u, "reader", "sh", "-c", "echo $SESSION_KEY"); got != key {
		t.Error("the generated value is another one after a restart")
	}
	remove(t, u, "reader")
	if got, err := fetch(t, s, u, "/v3/pods/volumes/shared/contents/in/note.txt"); err != nil || got != "a note" {
		t.Errorf("the volume after the pod: got %q, %v", got, err)
	}
	u.Call(http.MethodDelete, "/v3/pods/volumes/shared", "")
	u.Call(http.MethodDelete, "/v3/pods/secrets/dbpass", "")
}

// podText returns a Pod as the cluster keeps it.
func podText(t *testing.T, id string) string {
	t.Helper()
	list, err := client(t).CoreV1().Pods("").List(t.Context(), metav1.ListOptions{LabelSelector: "podway.tapis.io/pod-id=" + id})
	if err != nil || len(list.Items) != 1 {
		t.Fatalf("got %d pods, %v, want one", len(list.Items), err)
	}
	text, err := json.Marshal(list.Items[0])
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
