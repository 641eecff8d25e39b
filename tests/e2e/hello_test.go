//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tapis-project/podway/tests/parts"
)

func TestHelloOnKubernetes(t *testing.T) {
	s := start(t, "hello")
	u := s.Login("testuser")
	create(t, u, `{"pod_id":"web","image":"podway/hello","resources":{"mem_limit":256}}`)

	get := func(path string) (int, string, error) { return httpsGet(s, "web", path) }
	parts.Eventually(t, 30*time.Second, func() error {
		code, body, err := get("/headers")
		if err == nil && (code != http.StatusOK || !json.Valid([]byte(body))) {
			err = fmt.Errorf("got %d %q", code, body)
		}
		return err
	})

	t.Run("logs", func(t *testing.T) {
		if got, _ := logs(t, u, "web"); !strings.Contains(got, "listens on") {
			t.Errorf("got logs %q", got)
		}
	})
	t.Run("events", func(t *testing.T) {
		var got struct {
			Events []struct {
				Reason string `json:"reason"`
			} `json:"events"`
		}
		u.Call(http.MethodGet, "/v3/pods/web/events", "").Into(t, &got)
		if len(got.Events) == 0 {
			t.Error("got no events of a pod that was scheduled and started")
		}
	})
	t.Run("exec", func(t *testing.T) {
		if got := execute(t, u, "web", "/podway", "--version"); !strings.Contains(got, "podway") {
			t.Errorf("got %q", got)
		}
	})
	t.Run("stop closes the route at once and start brings it back", func(t *testing.T) {
		u.Call(http.MethodGet, "/v3/pods/web/stop", "")
		parts.Eventually(t, time.Second, func() error {
			code, _, err := get("/")
			if err == nil && code != http.StatusServiceUnavailable {
				err = fmt.Errorf("got %d, want 503", code)
			}
			return err
		})
		u.WaitStatus("web", "STOPPED")
		u.Call(http.MethodGet, "/v3/pods/web/start", "")
		u.WaitStatus("web", "AVAILABLE")
	})
	t.Run("restart", func(t *testing.T) { restart(t, u, "web") })
	t.Run("a pod deleted behind our back comes back", func(t *testing.T) {
		before := instance(t, "web")
		k := client(t)
		list, err := k.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{LabelSelector: "podway.tapis.io/pod-id=web"})
		if err != nil || len(list.Items) != 1 {
			t.Fatalf("got %d pods, %v", len(list.Items), err)
		}
		if err := k.CoreV1().Pods(list.Items[0].Namespace).Delete(t.Context(), list.Items[0].Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		awaitNewInstance(t, u, "web", before)
	})
	remove(t, u, "web")
}
