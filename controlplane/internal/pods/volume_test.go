package pods

import (
	"encoding/json"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParsePath(t *testing.T) {
	for path, want := range map[string]string{
		"": ".", "/": ".", ".": ".", "//": ".", "a": "a", "/a": "a", "a/": "a", "/a//b/./c/": "a/b/c", "a b/ü": "a b/ü",
		`a\b`: `a\b`, "...": "...", "a..b": "a..b", strings.Repeat("x", 255): strings.Repeat("x", 255), "\xff": "\xff",
	} {
		if got, err := ParsePath(path); got != want || err != nil {
			t.Errorf("%q: got %q and %v, want %q", path, got, err, want)
		}
	}
	for _, path := range []string{
		"..", "/..", "a/../b", "a/..", "a\x00b", strings.Repeat("x", 256), strings.Repeat("a/", 2500), strings.Repeat("a/", 513),
		ReservedFilePrefix + "x", "a/" + ReservedFilePrefix + "x/b",
	} {
		got, err := ParsePath(path)
		if ErrorCode(err) != Invalid {
			t.Errorf("%q: got %q and %v, want invalid", path, got, err)
		}
		if e, _ := errors.AsType[*Error](err); e != nil && len(e.Messages[0]) > 400 {
			t.Errorf("%q: got a message of %d bytes", path[:20], len(e.Messages[0]))
		}
	}
}

// TestParsedPathsStayInside checks what all who use a path rely on.
func TestParsedPathsStayInside(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOf(rapid.SampledFrom([]string{"..", ".", "", "a", "b c", "\x00", "...", "/", `..\`})).Draw(t, "parts")
		path := strings.Join(parts, "/") + rapid.String().Draw(t, "end")
		got, err := ParsePath(path)
		if err != nil {
			return
		}
		if !fs.ValidPath(got) && strings.ToValidUTF8(got, "") == got {
			t.Fatalf("%q: got %q, which is no path of io/fs", path, got)
		}
		again, err := ParsePath(ShownPath(got))
		if again != got || err != nil {
			t.Fatalf("%q: got %q and %v from what is shown for %q", path, again, err, got)
		}
	})
}

func TestVolumeKeysAreFolders(t *testing.T) {
	for k, want := range map[VolumeKey]string{
		{Kind: KindVolume, Tenant: "dev", ID: "data"}:   "dev/volumes/data",
		{Kind: KindSnapshot, Tenant: "dev", ID: "data"}: "dev/snapshots/data",
	} {
		if got := k.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestFileView(t *testing.T) {
	for _, c := range []struct {
		file FileInfo
		want string
	}{
		{
			FileInfo{Path: "/a/b.txt", Mode: 0o644, Size: 3, ModifiedAt: time.Date(2025, 7, 21, 14, 0, 1, 999, time.FixedZone("", 7200))},
			`{"path":"/a/b.txt","name":"b.txt","type":"file","size":3,"lastModified":"2025-07-21T12:00:01Z","nativePermissions":"rw-r--r--"}`,
		},
		{
			FileInfo{Path: "/", Mode: fs.ModeDir | 0o777},
			`{"path":"/","name":"/","type":"dir","size":0,"lastModified":"0001-01-01T00:00:00Z","nativePermissions":"rwxrwxrwx"}`,
		},
		{
			FileInfo{Path: "/l", Mode: fs.ModeSymlink | 0o777},
			`{"path":"/l","name":"l","type":"symbolic_link","size":0,"lastModified":"0001-01-01T00:00:00Z","nativePermissions":"rwxrwxrwx"}`,
		},
		{
			FileInfo{Path: "/p", Mode: fs.ModeNamedPipe | fs.ModeSetuid},
			`{"path":"/p","name":"p","type":"other/unknown","size":0,"lastModified":"0001-01-01T00:00:00Z","nativePermissions":"---------"}`,
		},
	} {
		got, err := json.Marshal(NewFileView(c.file))
		if string(got) != c.want || err != nil {
			t.Errorf("got\n%s and %v, want\n%s", got, err, c.want)
		}
	}
}

func TestSizesAreRoundedUp(t *testing.T) {
	for bytes, want := range map[int64]int64{0: 0, 1: 1, 1 << 20: 1, 1<<20 + 1: 2} {
		if got := sizeMB(bytes); got != want {
			t.Errorf("%d bytes: got %d MB, want %d", bytes, got, want)
		}
	}
}

func TestDecodeNewSnapshotKeepsWhatWasWritten(t *testing.T) {
	got, err := DecodeNewSnapshot([]byte(`{"snapshot_id":"snap","source_volume_id":"data","source_volume_path":"//a/","destination_path":"/b/","cron":"x"}`))
	want := NewSnapshot{ID: "snap", SourceVolume: "data", SourcePath: "//a/", Destination: "/b/", SizeLimit: 1024, Cron: "x"}
	if got != want || err != nil {
		t.Errorf("got %+v and %v, want %+v", got, err, want)
	}
}

func TestDecodeNewSnapshotRefuses(t *testing.T) {
	for body, want := range map[string]string{
		`{}`: "body, snapshot_id: field required\nbody, source_volume_id: field required\nbody, source_volume_path: field required",
		`{"snapshot_id":"snap","source_volume_id":"data","source_volume_path":"/a/../b"}`:                     "source_volume_path: '..' is not allowed in a path; give the path from the root. Got '/a/../b'.",
		`{"snapshot_id":"snap","source_volume_id":"data","source_volume_path":"/","destination_path":"../x"}`: "destination_path: '..' is not allowed in a path; give the path from the root. Got '../x'.",
		`{"snapshot_id":"snap","source_volume_id":"data","source_volume_path":7}`:                             "body, source_volume_path: str type expected",
		`{"snapshot_id":"snap","source_volume_id":"data","source_volume_path":"/","size_limit":"1"}`:          "body, size_limit: value is not a valid integer",
		`{"snapshot_id":"snap","source_volume_id":"data","source_volume_path":"/","retention_policy":"é"}`:    "retention_policy: retention_policy field may only contain ASCII characters.",
	} {
		_, err := DecodeNewSnapshot([]byte(body))
		e, ok := errors.AsType[*Error](err)
		if !ok || strings.Join(e.Messages, "\n") != want {
			t.Errorf("%s: got %v, want %s", body, err, want)
		}
	}
}

func TestVolumePatchChangesWhatItSets(t *testing.T) {
	v := Volume{VolumeKey: VolumeKey{Kind: KindSnapshot}, Description: "a", SizeLimit: 5, Source: &SnapshotSource{Volume: "data", Cron: "old", RetentionPolicy: "keep"}}
	before := *v.Source
	patch, err := DecodeVolumePatch(KindSnapshot, []byte(`{"description":"","cron":"new","size_limit":null}`), DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	got := patch.Apply(v)
	if got.Description != "" || got.SizeLimit != 5 || *got.Source != (SnapshotSource{Volume: "data", Cron: "new", RetentionPolicy: "keep"}) {
		t.Errorf("got %+v with source %+v", got, *got.Source)
	}
	if *v.Source != before {
		t.Errorf("got %+v, want the volume itself as it was", *v.Source)
	}
}

func TestASmallBoundIsTheDefaultSize(t *testing.T) {
	s := DefaultSettings()
	s.MaxVolumeSize = 100
	if got, err := DecodeNewVolume([]byte(`{"volume_id":"data"}`), s); got.SizeLimit != 100 || err != nil {
		t.Errorf("got %+v and %v, want a limit of 100", got, err)
	}
}
