//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tapis-project/podway/tests/parts"
	"github.com/tapis-project/podway/tests/system"
)

// remove deletes a pod and expects nothing of it to be left in the cluster.
func remove(t *testing.T, u system.User, pod string) {
	t.Helper()
	began := time.Now()
	u.Call(http.MethodDelete, "/v3/pods/"+pod, "")
	k := client(t)
	o := metav1.ListOptions{LabelSelector: "podway.tapis.io/pod-id=" + pod}
	parts.Eventually(t, startWithin, func() error {
		ctx := t.Context()
		core := k.CoreV1()
		podList, err1 := core.Pods("").List(ctx, o)
		services, err2 := core.Services("").List(ctx, o)
		secrets, err3 := core.Secrets("").List(ctx, o)
		claims, err4 := core.PersistentVolumeClaims("").List(ctx, o)
		if err := errors.Join(err1, err2, err3, err4); err != nil {
			return err
		}
		if n := len(podList.Items) + len(services.Items) + len(secrets.Items) + len(claims.Items); n > 0 {
			return fmt.Errorf("%d pods, %d services, %d secrets and %d claims are left",
				len(podList.Items), len(services.Items), len(secrets.Items), len(claims.Items))
		}
		return nil
	})
	t.Logf("nothing of %s was left %v after its deletion", pod, time.Since(began).Round(10*time.Millisecond))
}

// instance returns the id of the one container of a pod, "" while there is none.
func instance(t *testing.T, pod string) string {
	t.Helper()
	list, err := client(t).CoreV1().Pods("").List(t.Context(), metav1.ListOptions{LabelSelector: "podway.tapis.io/pod-id=" + pod})
	if err != nil || len(list.Items) != 1 || len(list.Items[0].Status.ContainerStatuses) != 1 {
		return ""
	}
	return list.Items[0].Status.ContainerStatuses[0].ContainerID
}

// restart restarts a pod and waits until its new container serves.
func restart(t *testing.T, u system.User, pod string) {
	t.Helper()
	before, began := instance(t, pod), time.Now()
	u.Call(http.MethodGet, "/v3/pods/"+pod+"/restart", "")
	awaitNewInstance(t, u, pod, before)
	t.Logf("%s was AVAILABLE again %v after its restart", pod, time.Since(began).Round(10*time.Millisecond))
}

// awaitNewInstance waits until a pod is AVAILABLE with another container than
// before.
func awaitNewInstance(t *testing.T, u system.User, pod, before string) {
	t.Helper()
	parts.Eventually(t, startWithin, func() error {
		if now := instance(t, pod); now == "" || now == before {
			return errors.New("no new container yet")
		}
		return nil
	})
	u.WaitStatus(pod, "AVAILABLE")
}
