package api

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/tests/parts"
)

// containerFiles is a fakeCluster whose pods hold files, by path.
type containerFiles struct {
	*fakeCluster
	files map[string]string
	cut   bool // files end before they should
}

func (c *containerFiles) CopyTo(_ context.Context, _ pods.Key, path string, size int64, r io.Reader) error {
	b, err := io.ReadAll(r)
	if err == nil && int64(len(b)) != size {
		err = fmt.Errorf("got %d bytes, want %d", len(b), size)
	}
	c.files[path] = string(b)
	return err
}

func (c *containerFiles) CopyFrom(_ context.Context, _ pods.Key, path string) (pods.ContainerFile, io.ReadCloser, error) {
	content, ok := c.files[path]
	if !ok {
		return pods.ContainerFile{}, nil, pods.Errorf(pods.NotFound, "there is no '%s'", path)
	}
	info := pods.ContainerFile{Name: path[strings.LastIndexByte(path, '/')+1:], Size: int64(len(content))}
	if c.cut {
		info.Size += 100_000
		content += strings.Repeat("x", 99_000)
	}
	return info, io.NopCloser(strings.NewReader(content)), nil
}

func (c *containerFiles) ListFiles(_ context.Context, _ pods.Key, path string) ([]pods.ContainerFile, error) {
	if content, ok := c.files[path]; ok {
		return []pods.ContainerFile{{Name: path[strings.LastIndexByte(path, '/')+1:], Size: int64(len(content)), Mode: 0o600, ModifiedAt: noon}}, nil
	}
	if path != "/data" {
		return nil, pods.Errorf(pods.NotFound, "there is no '%s'", path)
	}
	return []pods.ContainerFile{
		{Name: "a", Size: 1, Mode: 0o644, ModifiedAt: noon}, {Name: "sub", Mode: fs.ModeDir | 0o755, ModifiedAt: noon},
	}, nil
}

// newPodFiles returns an API with a pod "web" that runs and one, "off", that does
// not.
func newPodFiles(t *testing.T) (*fixture, *containerFiles) {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	cluster := &containerFiles{fakeCluster: newFakeCluster(), files: map[string]string{}}
	f := newFixture(t, func(d *Deps) { d.Cluster = cluster })
	cluster.run(f.put("web", func(p *pods.Pod) { p.Requested, p.State.Status = pods.On, pods.StatusAvailable }))
	f.put("off")
	f.put("starting", func(p *pods.Pod) { p.Requested, p.State.Status = pods.On, pods.StatusCreating })
	return f, cluster
}

func TestUploadToPod(t *testing.T) {
	f, cluster := newPodFiles(t)
	for _, c := range []struct {
		name   string
		pod    string
		form   []string
		status int
		want   string // the path it went to, or the message
	}{
		{"the file first", "web", []string{"file=x", "one", "dest_path", "/data/a b"}, 200, "/data/a b"},
		{"the path first", "web", []string{"dest_path", "/data/c", "file", "two"}, 200, "/data/c"},
		{"a path that is not clean", "web", []string{"dest_path", "/data/../d//e", "file", ""}, 200, "/d/e"},
		{"a path from the root, without a slash", "web", []string{"dest_path", "data/f", "file", "three"}, 200, "/data/f"},
		{"what a shell would take for more", "web", []string{"dest_path", "/data/$(reboot); x", "file", "four"}, 200, "/data/$(reboot); x"},
		{"an empty path", "web", []string{"dest_path", " ", "file", "x"}, 400, "body, dest_path: dest_path must not be empty."},
		{"a path with NUL", "web", []string{"dest_path", "/a\x00b", "file", "x"}, 400, "body, dest_path: must be a path of at most 4096 bytes without NUL."},
		{"no path", "web", []string{"file", "x"}, 400, "body, dest_path: field required"},
		{"no file", "web", []string{"dest_path", "/x"}, 400, "body, file: field required"},
		{"a pod that is off", "off", []string{"dest_path", "/x", "file", "x"}, 404, "Pod off is not running: its status_requested is OFF. Start it first."},
		{"a pod that is starting", "starting", []string{"dest_path", "/x", "file", "x"}, 404, "The pod has no running container. Its status is CREATING."},
	} {
		t.Run(c.name, func(t *testing.T) {
			clear(cluster.files)
			r := f.upload("/v3/pods/"+c.pod+"/upload_to_pod", "owner", c.form...)
			if r.status != c.status {
				t.Fatalf("got status %d: %s", r.status, r.body)
			}
			if c.status != http.StatusOK {
				if got := r.envelope(t).text(); got != c.want || len(cluster.files) > 0 {
					t.Errorf("got %q and files %q, want %q", got, cluster.files, c.want)
				}
				return
			}
			if _, ok := cluster.files[c.want]; !ok || r.envelope(t).text() != "File uploaded to pod successfully." {
				t.Errorf("got files %q and %s, want %q", cluster.files, r.body, c.want)
			}
		})
	}
	r := f.upload("/v3/pods/web/upload_to_pod", "owner", "dest_path", "rel/x", "file", "x")
	if got, want := string(r.envelope(t).Result), `{"uploaded":"rel/x","pod_name":"web"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	lines := f.lines(pods.Key{Tenant: "dev", ID: "web"})
	if got, want := lines[len(lines)-1], "'owner' uploaded a file to the pod."; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestListPodFiles(t *testing.T) {
	f, cluster := newPodFiles(t)
	cluster.files["/etc/hosts"] = "localhost"
	const data = `[{"path":"/data/a","name":"a","type":"file","size":1,"lastModified":"2025-07-21T12:00:00Z","nativePermissions":"rw-r--r--"},` +
		`{"path":"/data/sub","name":"sub","type":"dir","size":0,"lastModified":"2025-07-21T12:00:00Z","nativePermissions":"rwxr-xr-x"}]`
	const hosts = `[{"path":"/etc/hosts","name":"hosts","type":"file","size":9,"lastModified":"2025-07-21T12:00:00Z","nativePermissions":"rw-------"}]`
	for path, want := range map[string]string{
		"list_files/data": data, "list_files/data/": data, "list_files?path=/data": data, "list_files/?path=/data/": data,
		"list_files/etc/../data": data, "list_files/etc/hosts": hosts,
	} {
		r := f.want(http.StatusOK, "GET", "/v3/pods/web/"+path, "owner", "")
		if got := string(r.envelope(t).Result); got != want || r.envelope(t).text() != "Pod file listing retrieved successfully." {
			t.Errorf("%s: got %s, want %s", path, r.body, want)
		}
	}
}

func TestDownloadFromPod(t *testing.T) {
	f, cluster := newPodFiles(t)
	cluster.files["/data/ü \"x\".txt"] = "content\x00"
	for _, path := range []string{"download_from_pod/data/%C3%BC%20%22x%22.txt", "download_from_pod?path=/data/%C3%BC+%22x%22.txt"} {
		r := f.want(http.StatusOK, "GET", "/v3/pods/web/"+path, "owner", "")
		if r.body != "content\x00" || r.header.Get("Content-Type") != "application/octet-stream" || r.header.Get("Content-Length") != "8" ||
			r.header.Get("Content-Disposition") != `attachment; filename*=utf-8''%C3%BC%20%22x%22.txt` {
			t.Errorf("%s: got %q with %v", path, r.body, r.header)
		}
	}
}

func TestPodFilesThatCantBeHad(t *testing.T) {
	f, _ := newPodFiles(t)
	for path, want := range map[string]string{
		"web/download_from_pod/nothing":     "404 there is no '/nothing'",
		"web/list_files/nothing":            "404 there is no '/nothing'",
		"web/list_files/data?path=/data":    "400 query, path: give the path once, in the URL's path or as the parameter path.",
		"web/list_files?path=data":          "400 query, path: must be absolute, or given in the URL's path.",
		"web/download_from_pod?path=/a%00b": "400 query, path: must be a path of at most 4096 bytes without NUL.",
		"off/download_from_pod/x":           "404 Pod off is not running: its status_requested is OFF. Start it first.",
		"off/list_files":                    "404 Pod off is not running: its status_requested is OFF. Start it first.",
	} {
		r := f.call("GET", "/v3/pods/"+path, "owner", "")
		if got := fmt.Sprint(r.status, " ", r.envelope(t).text()); got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
}

func TestADownloadThatEndsEarlyIsCutOff(t *testing.T) {
	f, cluster := newPodFiles(t)
	cluster.files["/x"] = "half"
	cluster.cut = true
	srv := httptest.NewServer(New(f.deps))
	defer srv.Close()
	res := f.get(srv, "/v3/pods/web/download_from_pod/x")
	defer res.Body.Close()
	if _, err := io.ReadAll(res.Body); err == nil {
		t.Error("got a whole answer, want a connection that is cut")
	}
	parts.Eventually(t, patience, func() error {
		if !strings.Contains(f.log.String(), "error=EOF") {
			return fmt.Errorf("got log %s, want the reason", f.log)
		}
		return nil
	})
}
