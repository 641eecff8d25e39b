//go:build e2e

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

	"github.com/tapis-project/podway/tests/parts"
	"github.com/tapis-project/podway/tests/system"
)

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

// upload puts a file into a pod.
func upload(t *testing.T, s *system.System, u system.User, pod, dest, content string) {
	t.Helper()
	post(t, s, u, "/v3/pods/"+pod+"/upload_to_pod", map[string]string{"dest_path": dest, "file": content})
}

// post sends a form as the SDK does: every field is a file part.
func post(t *testing.T, s *system.System, u system.User, path string, fields map[string]string) {
	t.Helper()
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for name, value := range fields {
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
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL(path), &body)
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
		t.Fatalf("POST %s: got %s %s", path, resp.Status, b)
	}
}

// download gets a file of a pod.
func download(t *testing.T, s *system.System, u system.User, pod, path string) (string, error) {
	t.Helper()
	return fetch(t, s, u, "/v3/pods/"+pod+"/download_from_pod?path="+path)
}

// fetch gets what the API answers with a file.
func fetch(t *testing.T, s *system.System, u system.User, path string) (string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL(path), nil)
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

// execute runs a command in a pod and returns what it writes.
func execute(t *testing.T, u system.User, pod string, argv ...string) string {
	t.Helper()
	command, err := json.Marshal(argv)
	if err != nil {
		t.Fatal(err)
	}
	var r struct {
		Results []struct {
			Success any    `json:"success"`
			Stdout  string `json:"stdout"`
			Stderr  string `json:"stderr"`
		} `json:"execution_results"`
	}
	u.Call(http.MethodPost, "/v3/pods/"+pod+"/exec", `{"commands":[`+string(command)+`]}`).Into(t, &r)
	if len(r.Results) != 1 || r.Results[0].Success != true {
		t.Fatalf("%q: got %+v", argv, r)
	}
	return r.Results[0].Stdout
}
