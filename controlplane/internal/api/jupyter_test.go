package api

import (
	"bytes"
	"context"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// fileCluster is a fakeCluster that takes files.
type fileCluster struct {
	*fakeCluster
	files map[string]string // by "pod path"
}

func (c *fileCluster) CopyTo(_ context.Context, k pods.Key, path string, size int64, r io.Reader) error {
	b, err := io.ReadAll(io.LimitReader(r, size))
	c.files[string(k.ID)+" "+path] = string(b)
	return err
}

func (*fileCluster) CopyFrom(context.Context, pods.Key, string) (pods.ContainerFile, io.ReadCloser, error) {
	return pods.ContainerFile{}, nil, pods.Errorf(pods.NotFound, "no file")
}

func (*fileCluster) ListFiles(context.Context, pods.Key, string) ([]pods.ContainerFile, error) {
	return nil, nil
}

// sdkForm is a form as the SDK sends it: each field is a file part without a
// type.
func sdkForm(t *testing.T, fields ...string) (body, contentType string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for i := 0; i < len(fields); i += 2 {
		name, filename, _ := strings.Cut(fields[i], "=")
		if filename == "" {
			filename = name
		}
		part, err := w.CreatePart(textproto.MIMEHeader{
			"Content-Disposition": {`form-data; name="` + name + `"; filename="` + filename + `"`},
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(part, fields[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String(), w.FormDataContentType()
}

func TestUploadsToJupyter(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	cluster := &fileCluster{fakeCluster: newFakeCluster(), files: map[string]string{}}
	f := newFixture(t, func(d *Deps) { d.Cluster = cluster })
	notebook := func(p *pods.Pod) {
		p.Definition = pods.Definition{Template: pods.Set("jupyterlab:noauth@2025-01-30-17:14:14")}
		p.Requested = pods.On
		p.Permissions["user"] = pods.LevelUser
	}
	f.put("lab", notebook)
	f.put("off", notebook, func(p *pods.Pod) { p.Requested = pods.Off })
	f.put("web", func(p *pods.Pod) { p.Requested = pods.On })
	huge := strings.Repeat("x", maxFormField+1)
	for _, c := range []struct {
		name   string
		pod    string
		form   []string
		status int
		want   string // the path it went to, or the start of the message
	}{
		{"a file, before its path", "lab", []string{"file=a.ipynb", "one", "path", "sub/a.ipynb"}, 200, "sub/a.ipynb"},
		{"a file, after its path", "lab", []string{"path", "b.ipynb", "file=a.ipynb", "two"}, 200, "b.ipynb"},
		{"a file that keeps its name", "lab", []string{"path", "sub/", "file=c.ipynb", "three"}, 200, "sub/c.ipynb"},
		{"a file without a path of its own", "lab", []string{"path", "", "file=d.ipynb", "four"}, 200, "d.ipynb"},
		{"a path from the root", "lab", []string{"path", "/home/jovyan/work/e.ipynb", "file", "five"}, 200, "e.ipynb"},
		{"an empty file", "lab", []string{"path", "f", "file", ""}, 200, "f"},
		{"a path that leaves the folder", "lab", []string{"path", "../.bashrc", "file", "x"}, 400, "body, path: must name a file below"},
		{"a path that leaves it later", "lab", []string{"path", "a/../../x", "file", "x"}, 400, "body, path: must name a file below"},
		{"another folder", "lab", []string{"path", "/home/jovyan/.ipython/x", "file", "x"}, 200, "home/jovyan/.ipython/x"},
		{"the folder itself", "lab", []string{"path", ".", "file", "x"}, 400, "body, path: must name a file below"},
		{"no file", "lab", []string{"path", "x"}, 400, "body, file: field required"},
		{"no path", "lab", []string{"file", "x"}, 400, "body, path: field required"},
		{"two files", "lab", []string{"path", "x", "file", "x", "file", "y"}, 400, "body, file: extra fields not permitted"},
		{"another field", "lab", []string{"path", "x", "file", "x", "mode", "7"}, 400, "body, mode: extra fields not permitted"},
		{"a long path", "lab", []string{"path", huge, "file", "x"}, 400, "body, path: ensure this value has at most"},
		{"a pod that is off", "off", []string{"path", "x", "file", "x"}, 404, "Pod off is not running. Start it first."},
		{"a pod that is no notebook server", "web", []string{"path", "x", "file", "x"}, 400, "Pod web is no Jupyter pod"},
	} {
		t.Run(c.name, func(t *testing.T) {
			clear(cluster.files)
			body, contentType := sdkForm(t, c.form...)
			token := "user"
			if c.pod == "web" {
				token = "owner"
			}
			r := f.want(c.status, "POST", "/v3/pods/jupyter/"+c.pod+"/upload", token, body, "Content-Type", contentType)
			if c.status != http.StatusOK {
				if got := r.envelope(t).text(); !strings.HasPrefix(got, c.want) || len(cluster.files) > 0 {
					t.Errorf("got message %q and files %v, want %q", got, cluster.files, c.want)
				}
				return
			}
			if _, ok := cluster.files["lab /home/jovyan/work/"+c.want]; !ok || result[jupyterUpload](t, r).Uploaded != c.want {
				t.Errorf("got files %v and %s, want %s", cluster.files, r.body, c.want)
			}
		})
	}
	t.Run("what is no form is refused", func(t *testing.T) {
		r := f.want(http.StatusBadRequest, "POST", "/v3/pods/jupyter/lab/upload", "user", `{"path":"x"}`)
		if got := r.envelope(t).text(); !strings.HasPrefix(got, "body: a form was expected") {
			t.Errorf("got message %q", got)
		}
	})
	t.Run("a form that is cut off is refused", func(t *testing.T) {
		body, contentType := sdkForm(t, "path", "x", "file", strings.Repeat("x", 1000))
		f.want(http.StatusBadRequest, "POST", "/v3/pods/jupyter/lab/upload", "user", body[:len(body)/2], "Content-Type", contentType)
	})
	t.Run("nothing is left on disk", func(t *testing.T) {
		if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "podway-upload-*")); len(left) > 0 {
			t.Errorf("got %v", left)
		}
	})
	t.Run("a cluster without files says so", func(t *testing.T) {
		f.deps.Cluster = cluster.fakeCluster
		body, contentType := sdkForm(t, "path", "x", "file", "x")
		r := f.want(http.StatusBadRequest, "POST", "/v3/pods/jupyter/lab/upload", "user", body, "Content-Type", contentType)
		if got := r.envelope(t).text(); got != "The cluster can't put files into pods." {
			t.Errorf("got message %q", got)
		}
	})
}
