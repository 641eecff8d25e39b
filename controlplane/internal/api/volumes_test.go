package api

import (
	"archive/zip"
	"context"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/files"
	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/tests/parts"
)

// newFiles returns files in a folder of the test. Nothing is done in the
// background; see runFiles.
func newFiles(t *testing.T, store Store) *files.Keeper {
	t.Helper()
	tree, err := files.OpenTree(filepath.Join(t.TempDir(), "volumes"))
	if err != nil {
		t.Fatal(err)
	}
	return files.NewKeeper(tree, files.Options{Store: store, Poll: 20 * time.Millisecond, AnswerWithin: time.Millisecond})
}

// runFiles copies snapshots and measures volumes until the end of the test.
func (f *fixture) runFiles() {
	ctx, cancel := context.WithCancel(context.WithoutCancel(f.t.Context()))
	var wg sync.WaitGroup
	wg.Go(func() { _ = f.files.Run(ctx) })
	f.t.Cleanup(func() { cancel(); wg.Wait() })
}

// putVolume makes a volume of the user "owner".
func (f *fixture) putVolume(id string, adjust ...func(*pods.Volume)) pods.Volume {
	f.t.Helper()
	v := f.putRow(pods.KindVolume, id, adjust...)
	v, err := f.files.Make(f.t.Context(), v)
	if err != nil {
		f.t.Fatal(err)
	}
	return v
}

// putSnapshotRow stores a snapshot that nobody has copied yet.
func (f *fixture) putSnapshotRow(id string, adjust ...func(*pods.Volume)) pods.Volume {
	f.t.Helper()
	return f.putRow(pods.KindSnapshot, id, append([]func(*pods.Volume){func(v *pods.Volume) {
		v.Source = &pods.SnapshotSource{Volume: "source", Path: "/"}
	}}, adjust...)...)
}

func (f *fixture) putRow(k pods.Kind, id string, adjust ...func(*pods.Volume)) pods.Volume {
	f.t.Helper()
	v := pods.Volume{
		VolumeKey: pods.VolumeKey{Kind: k, Tenant: "dev", ID: id}, UID: "uid" + string(k) + id, Owner: "owner", SizeLimit: 1024,
		Permissions: pods.Permissions{"owner": pods.LevelAdmin}, CreatedAt: noon, UpdatedAt: noon,
		State: pods.VolumeState{Status: pods.StatusCreating},
	}
	for _, a := range adjust {
		a(&v)
	}
	if err := f.store.CreateVolume(f.t.Context(), v); err != nil {
		f.t.Fatal(err)
	}
	return f.volume(v.VolumeKey)
}

func (f *fixture) volume(k pods.VolumeKey) pods.Volume {
	f.t.Helper()
	v, err := f.store.Volume(f.t.Context(), k)
	if err != nil {
		f.t.Fatal(err)
	}
	return v
}

// fill writes files into a volume that hold their own paths.
func (f *fixture) fill(v pods.Volume, paths ...string) {
	f.t.Helper()
	for _, p := range paths {
		if err := f.files.Write(f.t.Context(), v, p, strings.NewReader(p)); err != nil {
			f.t.Fatal(err)
		}
	}
}

// upload sends a form as the SDK does.
func (f *fixture) upload(path, token string, fields ...string) response {
	f.t.Helper()
	body, contentType := sdkForm(f.t, fields...)
	return f.call("POST", path, token, body, "Content-Type", contentType)
}

func TestVolumeOnTheWire(t *testing.T) {
	f := newFixture(t)
	const view = `{"volume_id":"data","description":"my data","size_limit":1024,"size":0,"status":"AVAILABLE",` +
		`"creation_ts":"2025-07-21T12:00:00.723000","update_ts":"2025-07-21T12:00:00.723000"}`
	for _, c := range []struct{ method, path, body, want string }{
		{
			"POST", "/v3/pods/volumes", `{"volume_id":"data","description":"my data"}`,
			`{"message":"Volume created successfully.","metadata":{},"result":` + view + `,"status":"success","version":"test"}`,
		},
		{
			"GET", "/v3/pods/volumes/data", "",
			`{"message":"Volume retrieved successfully.","metadata":{},"result":` + view + `,"status":"success","version":"test"}`,
		},
		{
			"GET", "/pods/volumes", "",
			`{"message":"Volumes retrieved successfully.","metadata":{},"result":[` + view + `],"status":"success","version":"test"}`,
		},
		{
			"PUT", "/v3/pods/volumes/data", `{"description":"my data","size_limit":null}`,
			`{"message":"Incoming data made no changes to volume. Is incoming data equal to current data?","metadata":{},"result":` + view + `,"status":"error","version":"test"}`,
		},
		{
			"PUT", "/v3/pods/volumes/data", `{"description":"","size_limit":7}`,
			`{"message":"Volume updated successfully.","metadata":{},"result":` +
				strings.NewReplacer(`"my data"`, `""`, "1024", "7").Replace(view) + `,"status":"success","version":"test"}`,
		},
		{
			"GET", "/v3/pods/volumes/data/list", "",
			`{"message":"Volume file listing retrieved successfully.","metadata":{},"result":[],"status":"success","version":"test"}`,
		},
		{
			"POST", "/v3/pods/volumes/data/permissions", `{"user":"friend","level":"USER"}`,
			`{"message":"Volume permissions updated successfully.","metadata":{},"result":{"permissions":["friend:USER","owner:ADMIN"]},"status":"success","version":"test"}`,
		},
		{
			"GET", "/v3/pods/volumes/data/permissions", "",
			`{"message":"Volume permissions retrieved successfully.","metadata":{},"result":{"permissions":["friend:USER","owner:ADMIN"]},"status":"success","version":"test"}`,
		},
		{
			"DELETE", "/v3/pods/volumes/data/permissions/friend", "",
			`{"message":"Volume permission deleted successfully.","metadata":{},"result":{"permissions":["owner:ADMIN"]},"status":"success","version":"test"}`,
		},
		{
			"DELETE", "/v3/pods/volumes/data", "",
			`{"message":"Volume successfully deleted.","metadata":{},"result":"","status":"success","version":"test"}`,
		},
	} {
		if r := f.want(http.StatusOK, c.method, c.path, "owner", c.body); r.body != c.want {
			t.Errorf("%s %s: got\n%s\nwant\n%s", c.method, c.path, r.body, c.want)
		}
	}
	f.want(http.StatusNotFound, "GET", "/v3/pods/volumes/data", "owner", "")
}

func TestSnapshotOnTheWire(t *testing.T) {
	f := newFixture(t)
	f.fill(f.putVolume("data"), "d/a", "d/b/c")
	f.runFiles()
	const view = `{"snapshot_id":"snap","source_volume_id":"data","source_volume_path":"/d","destination_path":"","description":"",` +
		`"size_limit":1024,"cron":"","retention_policy":"","size":%d,"status":"%s",` +
		`"creation_ts":"2025-07-21T12:00:00.723000","update_ts":"2025-07-21T12:00:00.723000"}`
	r := f.want(http.StatusOK, "POST", "/v3/pods/snapshots", "owner", `{"snapshot_id":"snap","source_volume_id":"data","source_volume_path":"/d"}`)
	e := r.envelope(t)
	if got := string(e.Result); e.text() != "Snapshot created successfully." ||
		(got != fmt.Sprintf(view, 0, "CREATING") && got != fmt.Sprintf(view, 1, "AVAILABLE")) {
		t.Errorf("got %s", r.body)
	}
	parts.Eventually(t, patience, func() error {
		r := f.want(http.StatusOK, "GET", "/v3/pods/snapshots/snap", "owner", "")
		if want := fmt.Sprintf(view, 1, "AVAILABLE"); string(r.envelope(t).Result) != want {
			return fmt.Errorf("got %s, want %s", r.body, want)
		}
		return nil
	})
	r = f.want(http.StatusOK, "GET", "/v3/pods/snapshots/snap/contents/b/c", "owner", "")
	if r.body != "d/b/c" {
		t.Errorf("got %q, want the file as it was", r.body)
	}
	for _, c := range []struct{ method, path, body, message string }{
		{"PUT", "/v3/pods/snapshots/snap", `{"cron":"0 * * * *"}`, "Snapshot updated successfully."},
		{"PUT", "/v3/pods/snapshots/snap", `{"cron":"0 * * * *"}`, "Incoming data made no changes to snapshot. Is incoming data equal to current data?"},
		{"GET", "/v3/pods/snapshots", "", "Snapshots retrieved successfully."},
		{"GET", "/v3/pods/snapshots/snap/list", "", "Snapshot file listing retrieved successfully."},
		{"GET", "/v3/pods/snapshots/snap/permissions", "", "Snapshot permissions retrieved successfully."},
		{"POST", "/v3/pods/snapshots/snap/permissions", `{"user":"x","level":"READ"}`, "Snapshot permissions updated successfully."},
		{"DELETE", "/v3/pods/snapshots/snap/permissions/x", "", "Snapshot permission deleted successfully."},
		{"DELETE", "/v3/pods/snapshots/snap", "", "Snapshot successfully deleted."},
	} {
		if got := f.want(http.StatusOK, c.method, c.path, "owner", c.body).envelope(t).text(); got != c.message {
			t.Errorf("%s %s: got %q, want %q", c.method, c.path, got, c.message)
		}
	}
}

func TestVolumeRequestsThatAreRefused(t *testing.T) {
	f := newFixture(t)
	v := f.putVolume("data", func(v *pods.Volume) { v.Permissions["reader"] = pods.LevelRead })
	f.fill(v, "dir/file")
	f.putVolume("hers", func(v *pods.Volume) { v.Permissions = pods.Permissions{"her": pods.LevelAdmin} })
	for _, c := range []struct {
		name, method, path, token, body string
		status                          int
		message                         string
	}{
		{"an id that is taken", "POST", "/volumes", "owner", `{"volume_id":"data"}`, 409, "Key (volume_id)=(data) already exists. Choose another volume_id, or delete that volume first."},
		{"an id that is no name", "POST", "/volumes", "owner", `{"volume_id":"Data-1"}`, 400, "volume_id: volume_id must be lowercase alphanumeric. First character must be alpha."},
		{"a short id", "POST", "/volumes", "owner", `{"volume_id":"ab"}`, 400, "volume_id: volume_id length must be between 3-128 characters. Inputted length: 2"},
		{"a reserved id", "POST", "/volumes", "owner", `{"volume_id":"usage"}`, 400, "volume_id: volume_id overlaps with reserved ids: ['usage']"},
		{"no id", "POST", "/volumes", "owner", `{}`, 400, "body, volume_id: field required"},
		{"an unknown field", "POST", "/volumes", "owner", `{"volume_id":"new","x":1}`, 400, "body, x: extra fields not permitted"},
		{"a size that is none", "POST", "/volumes", "owner", `{"volume_id":"new","size_limit":0}`, 400, "size_limit: size_limit must be between 1 and 102400 MB. Got: 0"},
		{"a description that is not ASCII", "PUT", "/volumes/data", "owner", `{"description":"é"}`, 400, "description: description field may only contain ASCII characters."},
		{"a snapshot's field", "PUT", "/volumes/data", "owner", `{"cron":"x"}`, 400, "body, cron: extra fields not permitted"},
		{"the last ADMIN", "DELETE", "/volumes/data/permissions/owner", "owner", "", 400, "Operation would result in volume with no users in ADMIN role. Rolling back."},
		{"an entry that is not there", "DELETE", "/volumes/data/permissions/x", "owner", "", 404, "Could not find permission for volume with username x when deleting permission"},
		{"a path that leads out", "GET", "/volumes/data/contents/..%2Fhers/x", "owner", "", 400, "path: '..' is not allowed in a path; give the path from the root. Got '../hers/x'."},
		{"a path that leads out, in the query", "GET", "/volumes/data/list?path=..", "owner", "", 400, "path: '..' is not allowed in a path; give the path from the root. Got '..'."},
		{"two paths", "GET", "/volumes/data/contents/dir?path=dir", "owner", "", 400, "query, path: give the path once, in the URL's path or as the parameter path."},
		{"no path", "GET", "/volumes/data/contents", "owner", "", 400, "path, path: the path of a file or folder is needed; it can't be empty or '/'."},
		{"a folder", "GET", "/volumes/data/contents/dir", "owner", "", 400, "path: '/dir' is a folder. Use zip=true to get it as an archive."},
		{"a file that is not there", "GET", "/volumes/data/contents/nothing", "owner", "", 404, "There is no file or folder '/nothing'."},
		{"a folder that is not there", "GET", "/volumes/data/list?path=nothing", "owner", "", 404, "There is no file or folder '/nothing'."},
		{"an archive of nothing", "GET", "/volumes/data/contents/nothing?zip=true", "owner", "", 404, "There is no file or folder '/nothing'."},
		{"a flag that is none", "GET", "/volumes/data/contents/dir?zip=perhaps", "owner", "", 400, "query, zip: value could not be parsed to a boolean"},
		{"contents for a reader", "GET", "/volumes/data/contents/dir/file", "reader", "", 403, "Not authorized -- you do not have access to this endpoint. GET /pods/volumes/{volume_id}/contents/{path}"},
		{
			"a snapshot of a volume that one can only read", "POST", "/snapshots", "reader",
			`{"snapshot_id":"snap","source_volume_id":"data","source_volume_path":"/"}`, 400,
			"source_volume_id: User does not have permission to use source_volume_id. source_volume_id: data.",
		},
		{
			"a snapshot of somebody else's volume", "POST", "/snapshots", "owner",
			`{"snapshot_id":"snap","source_volume_id":"hers","source_volume_path":"/"}`, 400,
			"source_volume_id: source_volume_id must be a valid volume_id. Could not find volume_id: hers.",
		},
		{
			"a snapshot of nothing", "POST", "/snapshots", "owner",
			`{"snapshot_id":"snap","source_volume_id":"data","source_volume_path":"/nothing"}`, 400,
			"source_volume_path: There is no file or folder '/nothing' in volume data.",
		},
		{
			"a snapshot of a path without a slash", "POST", "/snapshots", "owner",
			`{"snapshot_id":"snap","source_volume_id":"data","source_volume_path":"dir"}`, 400,
			"source_volume_path: source_volume_path must start with '/'. Use '/' for the whole volume.",
		},
		{
			"a snapshot of a file to no path", "POST", "/snapshots", "owner",
			`{"snapshot_id":"snap","source_volume_id":"data","source_volume_path":"/dir/file"}`, 400,
			"destination_path: destination_path must be set if source_volume_path is a file so we can save to a proper path.",
		},
		{
			"a snapshot that is too large", "POST", "/snapshots", "owner",
			`{"snapshot_id":"snap","source_volume_id":"data","source_volume_path":"/","size_limit":4000}`, 400,
			"size_limit: size_limit must be between 1 and 3072 MB. Got: 4000",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := f.want(c.status, c.method, "/v3/pods"+c.path, c.token, c.body)
			if got := r.envelope(t).text(); got != c.message {
				t.Errorf("got %q, want %q", got, c.message)
			}
		})
	}
	if list, err := f.store.Volumes(t.Context(), pods.VolumeQuery{Kind: pods.KindSnapshot}); len(list) != 0 || err != nil {
		t.Errorf("got %v and %v, want no snapshot made", list, err)
	}
}

func TestUploadAsTheSDKSendsIt(t *testing.T) {
	f := newFixture(t)
	f.putVolume("data")
	content := "\x00\xff binary\r\n--boundary\r\n"
	r := f.upload("/v3/pods/volumes/data/upload/a/b%20c/file.bin", "owner", "file", content)
	if e := r.envelope(t); r.status != http.StatusOK || e.text() != "Volume file upload successful." || string(e.Result) != `"/a/b c/file.bin"` {
		t.Fatalf("got %d: %s", r.status, r.body)
	}
	r = f.want(http.StatusOK, "GET", "/v3/pods/volumes/data/contents/a/b%20c/file.bin", "owner", "")
	for name, want := range map[string]string{
		"Content-Type": "application/octet-stream", "Content-Disposition": "attachment; filename=file.bin",
		"Content-Length": fmt.Sprint(len(content)), "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store",
	} {
		if got := r.header.Get(name); got != want {
			t.Errorf("got %s %q, want %q", name, got, want)
		}
	}
	if r.body != content {
		t.Errorf("got %q, want %q", r.body, content)
	}
	list := result[[]pods.FileView](t, f.want(http.StatusOK, "GET", "/v3/pods/volumes/data/list?path=/a/b+c/", "owner", ""))
	if len(list) != 1 || list[0].Path != "/a/b c/file.bin" || list[0].Name != "file.bin" || list[0].Type != "file" ||
		list[0].Size != int64(len(content)) || list[0].NativePermissions != "rw-rw-rw-" {
		t.Errorf("got %+v", list)
	}
}

func TestUploadsThatAreRefused(t *testing.T) {
	f := newFixture(t)
	v := f.putVolume("small", func(v *pods.Volume) { v.SizeLimit = 1; v.Permissions["reader"] = pods.LevelRead })
	f.fill(v, "dir/file")
	body, contentType := sdkForm(t, "file", "x")
	big := strings.Repeat("x", 1<<20+1)
	for _, c := range []struct {
		name    string
		r       response
		status  int
		message string
	}{
		{"more than the limit", f.upload("/v3/pods/volumes/small/upload/big", "owner", "file", big), 413, "The volume 'small' has a size_limit of 1 MB and holds 1 MB: there is no room for this."},
		{"no file", f.upload("/v3/pods/volumes/small/upload/new", "owner"), 400, "body, file: field required"},
		{"another field", f.upload("/v3/pods/volumes/small/upload/new", "owner", "path", "x", "file", "x"), 400, "body, path: extra fields not permitted; the only field is file."},
		{"no form", f.call("POST", "/v3/pods/volumes/small/upload/new", "owner", `{}`), 400, `body: a form was expected; send it as multipart/form-data. Got: "application/json"`},
		{"a form that is cut off", f.call("POST", "/v3/pods/volumes/small/upload/new", "owner", body[:len(body)-20], "Content-Type", contentType), 400, "body: the form is cut off"},
		{"no path", f.upload("/v3/pods/volumes/small/upload/", "owner", "file", "x"), 400, "path, path: the path of a file is needed; it can't be empty or '/'."},
		{"a path that leads out", f.upload("/v3/pods/volumes/small/upload/%2e%2e/x", "owner", "file", "x"), 400, "path: '..' is not allowed in a path; give the path from the root. Got '../x'."},
		{"a folder's path", f.upload("/v3/pods/volumes/small/upload/dir", "owner", "file", "x"), 400, "path: '/dir' is a folder."},
		{"a path below a file", f.upload("/v3/pods/volumes/small/upload/dir/file/x", "owner", "file", "x"), 400, "path: '/dir/file/x' leads through 'file', which is no folder."},
		{"a reader's", f.upload("/v3/pods/volumes/small/upload/new", "reader", "file", "x"), 403, "Not authorized -- you do not have access to this endpoint. POST /pods/volumes/{volume_id}/upload/{path}"},
	} {
		if got := c.r.envelope(t).text(); c.r.status != c.status || got != c.message {
			t.Errorf("%s: got %d %q, want %d %q", c.name, c.r.status, got, c.status, c.message)
		}
	}
	list := result[[]pods.FileView](t, f.want(http.StatusOK, "GET", "/v3/pods/volumes/small/list", "owner", ""))
	if len(list) != 1 || f.volume(v.VolumeKey).State.Size != int64(len("dir/file")) {
		t.Errorf("got %+v of size %d, want the volume as it was", list, f.volume(v.VolumeKey).State.Size)
	}
}

func TestFoldersAreZipped(t *testing.T) {
	f := newFixture(t)
	f.fill(f.putVolume("data"), "top/a", "top/b/c", "top/ü.txt")
	for path, c := range map[string]struct {
		name  string
		files int
	}{
		"/v3/pods/volumes/data/contents/top?zip=True": {"top.zip", 3}, "/v3/pods/volumes/data/contents/top/b/?zip=1": {"b.zip", 1},
		"/v3/pods/volumes/data/contents?path=/top&zip=true": {"top.zip", 3}, "/v3/pods/volumes/data/contents/top/a?zip=true": {"a.zip", 1},
		"/v3/pods/volumes/data/contents/top/%C3%BC.txt?zip=true": {"ü.txt.zip", 1},
	} {
		r := f.want(http.StatusOK, "GET", path, "owner", "")
		disposition, params, err := mime.ParseMediaType(r.header.Get("Content-Disposition"))
		if err != nil || disposition != "attachment" || params["filename"] != c.name || r.header.Get("Content-Type") != "application/zip" {
			t.Errorf("%s: got headers %v and %v", path, r.header, err)
		}
		archive, err := zip.NewReader(strings.NewReader(r.body), int64(len(r.body)))
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, file := range archive.File {
			if file.Mode().IsRegular() {
				n++
			}
		}
		if n != c.files {
			t.Errorf("%s: got %d files, want %d", path, n, c.files)
		}
	}
}

func TestPartsOfAFile(t *testing.T) {
	f := newFixture(t)
	v := f.putVolume("data")
	if err := f.files.Write(t.Context(), v, "file", strings.NewReader("0123456789")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, value string
		status      int
		body        string
	}{
		{"Range", "bytes=3-5", 206, "345"},
		{"Range", "bytes=7-", 206, "789"},
		{"Range", "bytes=1-2,4-5", 200, "0123456789"},
		{"Range", "bytes=20-", 416, "invalid range: failed to overlap\n"},
		{"Range", "lines=1", 416, "invalid range\n"},
		{"If-None-Match", "*", 200, "0123456789"},
	} {
		r := f.want(c.status, "GET", "/v3/pods/volumes/data/contents/file", "owner", "", c.name, c.value)
		if r.body != c.body {
			t.Errorf("%s: %s: got %q, want %q", c.name, c.value, r.body, c.body)
		}
	}
}

// TestAnArchiveThatFailsIsCutOff has a folder that can't be read below the one
// that is sent.
func TestAnArchiveThatFailsIsCutOff(t *testing.T) {
	f := newFixture(t)
	v := f.putVolume("data")
	f.fill(v, "top/a")
	f.deps.Files = brokenZip{f.files}
	srv := httptest.NewServer(New(f.deps))
	defer srv.Close()
	res := f.get(srv, "/v3/pods/volumes/data/contents/top?zip=true")
	defer res.Body.Close()
	if _, err := io.ReadAll(res.Body); err == nil {
		t.Error("got a whole answer, want a connection that is cut")
	}
	parts.Eventually(t, patience, func() error {
		if !strings.Contains(f.log.String(), "disk on fire") {
			return fmt.Errorf("got log %s, want the reason", f.log)
		}
		return nil
	})
}

// brokenZip fails in the middle of an archive.
type brokenZip struct{ pods.Files }

func (brokenZip) Zip(_ context.Context, _ pods.Volume, _ string, w io.Writer) error {
	_, _ = io.WriteString(w, strings.Repeat("PK half an archive", 10_000))
	return fmt.Errorf("disk on fire")
}

func TestAVolumeThatARunningPodMountsStays(t *testing.T) {
	f := newFixture(t)
	v := f.putVolume("data")
	p := f.put("web", func(p *pods.Pod) { p.State.Status = pods.StatusAvailable })
	bind := []pods.Binding{{Kind: pods.KindVolume, ID: "data"}}
	if err := f.store.SetBindings(t.Context(), p.Key, p.UID, bind, nil); err != nil {
		t.Fatal(err)
	}
	r := f.want(http.StatusConflict, "DELETE", "/v3/pods/volumes/data", "owner", "")
	if got, want := r.envelope(t).text(), "The volume 'data' is mounted by pods that are not stopped: web. Stop them first."; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	f.volume(v.VolumeKey)
	if err := f.store.DeletePod(t.Context(), p.Key); err != nil {
		t.Fatal(err)
	}
	f.want(http.StatusOK, "DELETE", "/v3/pods/volumes/data", "owner", "")
}

func TestMountsNeedPermission(t *testing.T) {
	f := newFixture(t)
	f.putVolume("mine")
	f.putVolume("used", func(v *pods.Volume) {
		v.Permissions = pods.Permissions{"her": pods.LevelAdmin, "owner": pods.LevelUser}
	})
	f.putVolume("read", func(v *pods.Volume) {
		v.Permissions = pods.Permissions{"her": pods.LevelAdmin, "owner": pods.LevelRead}
	})
	f.putVolume("hers", func(v *pods.Volume) { v.Permissions = pods.Permissions{"her": pods.LevelAdmin} })
	f.putSnapshotRow("making")
	f.putSnapshotRow("snap", func(v *pods.Volume) {
		v.State.Status = pods.StatusAvailable
		v.Permissions = pods.Permissions{"her": pods.LevelAdmin, "owner": pods.LevelRead}
	})
	f.putSnapshotRow("hersnap", func(v *pods.Volume) {
		v.State.Status, v.Permissions = pods.StatusAvailable, pods.Permissions{"her": pods.LevelAdmin}
	})
	for i, c := range []struct{ kind, id, user, want string }{
		{"tapisvolume", "mine", "owner", ""},
		{"tapisvolume", "used", "owner", ""},
		{"tapissnapshot", "snap", "owner", ""},
		{"tapisvolume", "hers", "admin", ""},
		{"tapisvolume", "read", "owner", "volume_mounts, read: User 'owner' does not have permission to mount volume_id: read. USER is needed."},
		{"tapisvolume", "hers", "owner", "volume_mounts, hers: volume_mounts key must be a valid volume_id when type == 'tapisvolume'. Could not find volume_id: hers."},
		{"tapisvolume", "nothing", "owner", "volume_mounts, nothing: volume_mounts key must be a valid volume_id when type == 'tapisvolume'. Could not find volume_id: nothing."},
		{"tapissnapshot", "mine", "owner", "volume_mounts, mine: volume_mounts key must be a valid snapshot_id when type == 'tapissnapshot'. Could not find snapshot_id: mine."},
		{"tapissnapshot", "hersnap", "owner", "volume_mounts, hersnap: volume_mounts key must be a valid snapshot_id when type == 'tapissnapshot'. Could not find snapshot_id: hersnap."},
		{"tapissnapshot", "making", "owner", "volume_mounts, making: snapshot making can't be mounted while its status is CREATING."},
	} {
		body := fmt.Sprintf(`{"pod_id":"pod%d","image":"podway/hello","status_requested":"OFF","volume_mounts":{"%s":{"type":"%s","mount_path":"/data"}}}`, i, c.id, c.kind)
		r := f.call("POST", "/v3/pods", c.user, body)
		if c.want == "" {
			view := result[pods.View](t, r)
			if m := view.VolumeMounts[c.id]; m.MountPath != "/data" || strings.Contains(r.body, "mounted_by") {
				t.Errorf("%s: got %s", c.id, r.body)
			}
			continue
		}
		if got := r.envelope(t).text(); r.status != http.StatusBadRequest || got != c.want {
			t.Errorf("%s: got %d %q, want %q", c.id, r.status, got, c.want)
		}
	}
}

func TestMountsBelongToWhoMadeThem(t *testing.T) {
	f := newFixture(t)
	f.putVolume("anns", func(v *pods.Volume) { v.Permissions = pods.Permissions{"ann": pods.LevelAdmin} })
	f.putVolume("bobs", func(v *pods.Volume) { v.Permissions = pods.Permissions{"bob": pods.LevelAdmin} })
	p := f.put("web", func(p *pods.Pod) { p.Permissions["ann"], p.Permissions["bob"] = pods.LevelUser, pods.LevelUser })
	mount := func(fields string) string { return `{"volume_mounts":{` + fields + `}}` }
	const anns, bobs = `"anns":{"type":"tapisvolume","mount_path":"/a"}`, `"bobs":{"type":"tapisvolume","mount_path":"/b"}`
	const moved = `"anns":{"type":"tapisvolume","mount_path":"/moved"}`
	const notBobs = "volume_mounts, anns: was mounted by 'ann'. Only that user, or an ADMIN of the pod, can change it."
	for _, c := range []struct {
		name, user, body string
		status           int
		message          string
	}{
		{"a user mounts what is theirs", "ann", mount(anns), 200, "Pod updated successfully."},
		{"another adds to it", "bob", mount(anns + "," + bobs), 200, "Pod updated successfully."},
		{"another can't change it", "bob", mount(moved + "," + bobs), 403, notBobs},
		{"another can't remove it", "bob", mount(bobs), 403, notBobs},
		{"another can't clear all", "bob", `{"volume_mounts":null}`, 403, notBobs},
		{"an ADMIN who may not use the volume can't change it", "owner", mount(moved + "," + bobs), 400, "volume_mounts, anns: volume_mounts key must be a valid volume_id when type == 'tapisvolume'. Could not find volume_id: anns."},
		{"an ADMIN can remove it", "owner", mount(bobs), 200, "Pod updated successfully."},
	} {
		r := f.want(c.status, "PUT", "/v3/pods/web", c.user, c.body)
		if got := r.envelope(t).text(); got != c.message {
			t.Errorf("%s: got %q, want %q", c.name, got, c.message)
		}
	}
	if m := f.pod(p.Key).Definition.VolumeMounts.Or(nil)["bobs"]; m.MountedBy != "bob" {
		t.Errorf("got %+v, want a mount of bob's", m)
	}
	// Without bob the pod can't be started any more.
	f.want(http.StatusOK, "DELETE", "/v3/pods/web/permissions/bob", "owner", "")
	r := f.want(http.StatusBadRequest, "GET", "/v3/pods/web/start", "owner", "")
	if got, want := r.envelope(t).text(), "volume_mounts, bobs: it was mounted by 'bob', who has no permission on the pod any more. Mount it again, or remove it."; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	f.want(http.StatusOK, "GET", "/v3/pods/web/stop", "owner", "")
}

func TestUsage(t *testing.T) {
	f := newFixture(t)
	v := f.putVolume("data", func(v *pods.Volume) { v.SizeLimit = 1 })
	f.putVolume("new")
	f.putVolume("hers", func(v *pods.Volume) { v.Permissions = pods.Permissions{"her": pods.LevelAdmin} })
	for i, size := range []int64{1, 3 << 20} {
		if err := f.store.AddVolumeUsage(t.Context(), v.VolumeKey, v.UID, size, noon.Add(time.Duration(i)*time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	const newest = `{"id":"data@2025-07-21T12:01:00.723000","object_id":"data","object_type":"volume","tenant_id":"dev","site_id":"dev",` +
		`"size_mb":3,"size_limit_mb":1,"over_limit":true,"measured_at":"2025-07-21T12:01:00.723000"}`
	for path, want := range map[string]string{
		"/v3/pods/volumes/data/usage?limit=1": `{"message":"Volume usage retrieved successfully.","metadata":{"last_measured_at":"2025-07-21T12:01:00.723000","unmeasured":[],` +
			`"warnings":["Volume data holds more than its size_limit."]},"result":[` + newest + `],"status":"success","version":"test"}`,
		"/v3/pods/volumes/usage": `{"message":"Volume usage retrieved successfully.","metadata":{"last_measured_at":"2025-07-21T12:01:00.723000","unmeasured":["new"],` +
			`"warnings":["Volume data holds more than its size_limit."]},"result":[` + newest + `],"status":"success","version":"test"}`,
		"/v3/pods/snapshots/usage": `{"message":"Snapshot usage retrieved successfully.","metadata":{"last_measured_at":null,"unmeasured":[],"warnings":[]},"result":[],"status":"success","version":"test"}`,
	} {
		if r := f.want(http.StatusOK, "GET", path, "owner", ""); r.body != want {
			t.Errorf("%s: got\n%s\nwant\n%s", path, r.body, want)
		}
	}
	all := result[[]pods.UsageView](t, f.want(http.StatusOK, "GET", "/v3/pods/volumes/data/usage", "owner", ""))
	if len(all) != 2 || all[1].SizeMB != 1 {
		t.Errorf("got %+v, want both measurements", all)
	}
}

func TestVolumesOfTheWholeTenantInAdminMode(t *testing.T) {
	f := newFixture(t)
	f.putVolume("data")
	f.putVolume("admins", func(v *pods.Volume) { v.Permissions = pods.Permissions{"admin": pods.LevelRead} })
	r := f.want(http.StatusOK, "GET", "/v3/pods/volumes", "admin", "", "X-Pods-Admin", "true")
	if list := result[[]pods.VolumeView](t, r); len(list) != 2 {
		t.Errorf("got %+v, want all volumes", list)
	}
	want := `{"admin_mode":true,"user_accessible_ids":["admins"],"msg":"Admin mode: all volumes of the tenant are shown, not only your own."}`
	if got := string(r.envelope(t).Metadata["admin_context"]); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if list := result[[]pods.VolumeView](t, f.want(http.StatusOK, "GET", "/v3/pods/volumes?search=ADM&limit=5", "admin", "")); len(list) != 1 {
		t.Errorf("got %+v, want the admin's own", list)
	}
}

func TestAnErrorOfACopyIsTold(t *testing.T) {
	f := newFixture(t)
	f.putSnapshotRow("snap", func(v *pods.Volume) { v.State.Status, v.State.Message = pods.StatusError, "The source is gone." })
	f.putSnapshotRow("half", func(v *pods.Volume) { v.State.Copied = 12 })
	r := f.want(http.StatusOK, "GET", "/v3/pods/snapshots/snap", "owner", "")
	if got := string(r.envelope(t).Metadata["message"]); got != `"The source is gone."` {
		t.Errorf("got %s, want the reason", r.body)
	}
	r = f.want(http.StatusOK, "GET", "/v3/pods/snapshots/half", "owner", "")
	if got := string(r.envelope(t).Metadata["progress"]); got != `{"copied_bytes":12}` {
		t.Errorf("got %s, want the progress", r.body)
	}
	r = f.want(http.StatusConflict, "GET", "/v3/pods/snapshots/half/list", "owner", "")
	if got, want := r.envelope(t).text(), "The files of snapshot 'half' can't be used: its status is CREATING."; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestUploadsAreNotKeptInMemory sends more than the memory that may be used.
func TestUploadsAreNotKeptInMemory(t *testing.T) {
	f := newFixture(t)
	v := f.putVolume("data")
	srv := httptest.NewServer(New(f.deps))
	defer srv.Close()
	const size = 64 << 20
	pr, pw := io.Pipe()
	form := multipart.NewWriter(pw)
	go func() {
		part, err := form.CreateFormFile("file", "big")
		if err == nil {
			_, err = io.CopyN(part, zeros{}, size)
		}
		if err == nil {
			err = form.Close()
		}
		_ = pw.CloseWithError(err)
	}()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL+"/v3/pods/volumes/data/upload/big", pr)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Tapis-Token", "owner")
	req.Header.Set("Content-Type", form.FormDataContentType())
	res, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusOK {
		t.Fatalf("got %s: %s", res.Status, b)
	}
	if got := f.volume(v.VolumeKey).State.Size; got != size {
		t.Errorf("got size %d, want %d", got, size)
	}
	if left, err := os.ReadDir(os.TempDir()); err == nil {
		for _, e := range left {
			if strings.HasPrefix(e.Name(), "multipart-") {
				t.Errorf("a file is left in the temporary folder: %s", e.Name())
			}
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
