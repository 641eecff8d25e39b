//go:build e2e

// Package e2e tells the user stories on a real Kubernetes: real API server,
// kubelet and containers. `make e2e` starts the cluster and runs it; by hand:
//
//	make cluster
//	PODWAY_KUBECONFIG=$PWD/.cache/k8s/kubeconfig go test -tags e2e ./tests/e2e
package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/tapis-project/podway/tests/parts"
	"github.com/tapis-project/podway/tests/system"
)

// startWithin bounds create → AVAILABLE on a loaded machine with one node.
const startWithin = 2 * time.Minute

func TestMain(m *testing.M) { system.Main(m) }

// start starts a Podway whose pods run in the cluster.
func start(t *testing.T) *system.System {
	t.Helper()
	if os.Getenv("PODWAY_KUBECONFIG") == "" {
		t.Fatal("PODWAY_KUBECONFIG names no cluster; `make e2e` starts one")
	}
	s := system.Start(t,
		"PODWAY_CLUSTER=kubernetes",
		"PODWAY_IMAGES=podway/hello,postgres",
		// The postgres image of the test cluster runs as this user.
		"PODWAY_KUBE_IMAGE_USERS=postgres=999:999",
		// Small, so that a node of two processors holds all pods of the stories.
		"PODWAY_KUBE_CLAIM_SIZE=1Gi", "PODWAY_KUBE_GRACE=2",
	)
	s.StartEdge()
	return s
}

func create(t *testing.T, u system.User, body string) {
	t.Helper()
	began := time.Now()
	var p struct {
		PodID string `json:"pod_id"`
	}
	u.Call(http.MethodPost, "/v3/pods", body).Into(t, &p)
	u.WaitStatus(p.PodID, "AVAILABLE")
	t.Logf("%s was AVAILABLE after %v", p.PodID, time.Since(began).Round(10*time.Millisecond))
}

func TestHelloOnKubernetes(t *testing.T) {
	s := start(t)
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
		var l struct {
			Logs string `json:"logs"`
		}
		u.Call(http.MethodGet, "/v3/pods/web/logs", "").Into(t, &l)
		if !strings.Contains(l.Logs, "listens on") {
			t.Errorf("got logs %q", l.Logs)
		}
	})
	t.Run("events", func(t *testing.T) {
		var events []struct {
			Reason string `json:"reason"`
		}
		u.Call(http.MethodGet, "/v3/pods/web/events", "").Into(t, &events)
		if len(events) == 0 {
			t.Error("got no events of a pod that was scheduled and started")
		}
	})
	t.Run("exec", func(t *testing.T) {
		var r struct {
			Results []struct {
				Success any    `json:"success"`
				Stdout  string `json:"stdout"`
				Stderr  string `json:"stderr"`
			} `json:"execution_results"`
		}
		u.Call(http.MethodPost, "/v3/pods/web/exec", `{"commands":["/podway","--version"]}`).Into(t, &r)
		if len(r.Results) != 1 || r.Results[0].Success != true || !strings.Contains(r.Results[0].Stdout, "podway") {
			t.Errorf("got %+v", r)
		}
	})
	t.Run("time_to_stop", func(t *testing.T) {
		var p struct {
			TimeToStopTS    *string `json:"time_to_stop_ts"`
			StartInstanceTS *string `json:"start_instance_ts"`
		}
		u.Call(http.MethodPut, "/v3/pods/web", `{"time_to_stop_instance":300}`)
		parts.Eventually(t, 30*time.Second, func() error {
			u.Call(http.MethodGet, "/v3/pods/web", "").Into(t, &p)
			if p.TimeToStopTS == nil || p.StartInstanceTS == nil {
				return errors.New("no time_to_stop_ts")
			}
			const form = "2006-01-02T15:04:05.000000"
			from, err1 := time.Parse(form, *p.StartInstanceTS)
			to, err2 := time.Parse(form, *p.TimeToStopTS)
			if err := errors.Join(err1, err2); err != nil {
				return err
			}
			if to.Sub(from) != 300*time.Second {
				return fmt.Errorf("it stops %v after its start, want 300s", to.Sub(from))
			}
			return nil
		})
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
	t.Run("restart", func(t *testing.T) {
		before := instance(t, "web")
		u.Call(http.MethodGet, "/v3/pods/web/restart", "")
		parts.Eventually(t, startWithin, func() error {
			if now := instance(t, "web"); now == "" || now == before {
				return errors.New("no new container yet")
			}
			return nil
		})
		u.WaitStatus("web", "AVAILABLE")
	})
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
		parts.Eventually(t, startWithin, func() error {
			if now := instance(t, "web"); now == "" || now == before {
				return errors.New("no new container yet")
			}
			return nil
		})
		u.WaitStatus("web", "AVAILABLE")
	})
	remove(t, u, "web")
}

func TestPostgresKeepsItsDataOnKubernetes(t *testing.T) {
	s := start(t)
	u := s.Login("testuser")
	create(t, u, `{"pod_id":"db","image":"postgres","networking":{"default":{"protocol":"postgres","port":5432}},
		"environment_variables":{"POSTGRES_USER":"<<TAPIS_user_username>>","POSTGRES_PASSWORD":"<<TAPIS_user_password>>","POSTGRES_DB":"postgres",
			"PGDATA":"/var/lib/postgresql/data/pgdata"},
		"volume_mounts":{"data":{"type":"pvc","mount_path":"/var/lib/postgresql/data"}}}`)
	var c struct {
		Password string `json:"user_password"`
	}
	u.Call(http.MethodGet, "/v3/pods/db/credentials", "").Into(t, &c)

	query := func(sql string) (string, error) { return psql(t, s, "db", c.Password, sql) }
	parts.Eventually(t, startWithin, func() error { _, err := query("select 1"); return err })
	if _, err := query("create table kept(n int); insert into kept values (42)"); err != nil {
		t.Fatal(err)
	}
	u.Call(http.MethodGet, "/v3/pods/db/stop", "")
	u.WaitStatus("db", "STOPPED")
	if _, err := query("select 1"); err == nil || !strings.Contains(err.Error(), "this pod is stopped") {
		t.Errorf("psql to a stopped pod: got %v, want it told in psql's own words", err)
	}
	u.Call(http.MethodGet, "/v3/pods/db/start", "")
	u.WaitStatus("db", "AVAILABLE")
	parts.Eventually(t, startWithin, func() error {
		out, err := query("select n from kept")
		if err == nil && out != "42" {
			err = fmt.Errorf("got %q, want 42", out)
		}
		return err
	})

	t.Run("upload and download", func(t *testing.T) {
		upload(t, s, u, "db", "/tmp/note.txt", "a note")
		got, err := download(t, s, u, "db", "/tmp/note.txt")
		if err != nil || got != "a note" {
			t.Errorf("got %q, %v", got, err)
		}
	})
	remove(t, u, "db")
}

func TestFailuresAreToldOnKubernetes(t *testing.T) {
	s := start(t)
	u := s.Login("testuser")
	u.Call(http.MethodPost, "/v3/pods", `{"pod_id":"nosuch","image":"podway/hello:nosuchtag"}`)
	u.WaitStatus("nosuch", "ERROR")
	var p struct {
		StatusContainer struct {
			Message string `json:"message"`
		} `json:"status_container"`
	}
	u.Call(http.MethodGet, "/v3/pods/nosuch", "").Into(t, &p)
	if !strings.Contains(strings.ToLower(p.StatusContainer.Message), "image") {
		t.Errorf("got message %q, want it to name the image", p.StatusContainer.Message)
	}
	remove(t, u, "nosuch")
}

// remove deletes a pod and expects nothing of it to be left in the cluster.
func remove(t *testing.T, u system.User, pod string) {
	t.Helper()
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
}

func client(t *testing.T) kubernetes.Interface {
	t.Helper()
	c, err := clientcmd.BuildConfigFromFlags("", os.Getenv("PODWAY_KUBECONFIG"))
	if err != nil {
		t.Fatal(err)
	}
	k, err := kubernetes.NewForConfig(c)
	if err != nil {
		t.Fatal(err)
	}
	return k
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

func httpsGet(s *system.System, pod, path string) (int, string, error) {
	pem, err := os.ReadFile(s.CAFile())
	if err != nil {
		return 0, "", err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(s.EdgePort)))
		},
	}
	c := http.Client{Transport: transport, Timeout: 5 * time.Second}
	resp, err := c.Get(fmt.Sprintf("https://%s:%d%s", system.Host(pod), s.EdgePort, path))
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

func psql(t *testing.T, s *system.System, pod, password, sql string) (string, error) {
	t.Helper()
	cmd := exec.Command(parts.Require(t, "psql"), fmt.Sprintf(
		"host=%s hostaddr=127.0.0.1 port=%d sslmode=verify-full sslrootcert=%s user=%s dbname=postgres connect_timeout=5",
		system.Host(pod), s.EdgePort, s.CAFile(), pod), "-X", "-A", "-t", "-q", "-c", sql)
	cmd.Env = append(os.Environ(), "PGPASSWORD="+password)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("psql: %w\n%s", err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// upload sends a file as the SDK does: every field is a file part.
func upload(t *testing.T, s *system.System, u system.User, pod, dest, content string) {
	t.Helper()
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for name, value := range map[string]string{"dest_path": dest, "file": content} {
		part, err := w.CreateFormFile(name, name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(part, value); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequest(http.MethodPost, s.URL("/v3/pods/"+pod+"/upload_to_pod"), &body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", w.FormDataContentType())
	req.Header.Set("X-Tapis-Token", u.Token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(resp.Body)
		t.Fatalf("upload: got %s %s", resp.Status, b)
	}
}

func download(t *testing.T, s *system.System, u system.User, pod, path string) (string, error) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, s.URL("/v3/pods/"+pod+"/download_from_pod?path="+path), nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("X-Tapis-Token", u.Token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return string(b), err
}
