package files

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

func newJob(from, to string) *copyJob {
	return &copyJob{
		source: key("data"), sourceUID: uidOf(key("data")), from: from,
		target: snapshotKey("snap"), targetUID: uidOf(snapshotKey("snap")), to: to,
		limit: 1 << 20, progress: func(int64) error { return nil },
	}
}

func TestCopy(t *testing.T) {
	names := []string{"a", "d/b", "d/e/", "d/link -> ../../../etc", pods.ReservedFilePrefix + "x"}
	for _, c := range []struct {
		name, from, to string
		want           map[string]string
	}{
		{"the whole volume", ".", ".", map[string]string{"a": "a", "d/": "", "d/b": "d/b", "d/e/": "", "d/link": "-> ../../../etc"}},
		{"a folder", "d", ".", map[string]string{"b": "d/b", "e/": "", "link": "-> ../../../etc"}},
		{"a folder to another path", "d", "x/y", map[string]string{"x/": "", "x/y/": "", "x/y/b": "d/b", "x/y/e/": "", "x/y/link": "-> ../../../etc"}},
		{"a file", "d/b", "x/c", map[string]string{"x/": "", "x/c": "d/b"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tree := newTree(t)
			source := newVolume(t, tree, key("data"), names...)
			then := time.Unix(1_000_000, 0)
			if err := os.Chtimes(filepath.Join(source, "d/b"), then, then); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(filepath.Join(source, "d"), 0o500); err != nil {
				t.Fatal(err)
			}
			for range 2 { // the second time it does nothing
				if err := tree.copy(t.Context(), newJob(c.from, c.to)); err != nil {
					t.Fatal(err)
				}
			}
			dir := filepath.Join(tree.Dir(), "dev/snapshots/snap")
			if got := contents(t, dir); !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
			if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o777 {
				t.Errorf("got %v and %v, want a folder that pods can use", info.Mode(), err)
			}
			for name, content := range c.want {
				if content != "d/b" {
					continue
				}
				info, err := os.Stat(filepath.Join(dir, name))
				if err != nil || !info.ModTime().Equal(then) || info.Mode().Perm() != 0o644 {
					t.Errorf("%s: got %v, %v and %v, want the time of the original and a mode that all can read", name, info.ModTime(), info.Mode(), err)
				}
			}
			if got := contents(t, filepath.Join(tree.Dir(), stagingDir)); len(got) != 0 {
				t.Errorf("got %v, want nothing left in staging", got)
			}
		})
	}
}

func TestCopyThatFailsLeavesNothing(t *testing.T) {
	stop := errors.New("stop")
	for _, c := range []struct {
		name   string
		change func(*copyJob)
		want   func(error) bool
	}{
		{"the source is missing", func(j *copyJob) { j.from = "nothing" }, code(pods.NotFound)},
		{"the source is a link", func(j *copyJob) { j.from = "out" }, code(pods.Invalid)},
		{"the source lies behind a link", func(j *copyJob) { j.from = "outdir/secret" }, code(pods.Invalid)},
		{"the source is a pipe", func(j *copyJob) { j.from, j.to = "pipe", "x" }, code(pods.Invalid)},
		{"a file without a destination", func(j *copyJob) { j.from = "a.txt" }, code(pods.Invalid)},
		{"more than the limit", func(j *copyJob) { j.limit = 5 }, code(pods.TooLarge)},
		{"the work is lost", func(j *copyJob) { j.progress = func(int64) error { return stop } }, func(err error) bool { return errors.Is(err, stop) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			tree, _ := hostile(t)
			j := newJob(".", ".")
			c.change(j)
			if err := tree.copy(t.Context(), j); !c.want(err) {
				t.Errorf("got %v", err)
			}
			if got := contents(t, filepath.Join(tree.Dir(), "dev/snapshots")); len(got) != 0 {
				t.Errorf("got %v, want no snapshot", got)
			}
			if got := contents(t, filepath.Join(tree.Dir(), stagingDir)); len(got) != 0 {
				t.Errorf("got %v, want nothing left in staging", got)
			}
		})
	}
}

func code(c pods.Code) func(error) bool {
	return func(err error) bool { return pods.ErrorCode(err) == c }
}

func TestCopyEndsWithItsContext(t *testing.T) {
	tree := newTree(t)
	newVolume(t, tree, key("data"), "a", "b", "c")
	ctx, cancel := context.WithCancel(t.Context())
	j := newJob(".", ".")
	j.progress = func(int64) error { cancel(); return nil }
	if err := tree.copy(ctx, j); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

func TestCopyClearsWhatAnEarlierAttemptLeft(t *testing.T) {
	tree := newTree(t)
	newVolume(t, tree, key("data"), "a")
	j := newJob(".", ".")
	fillDir(t, tree.Dir(), stagingDir+"/"+j.targetUID+"-abc/half", stagingDir+"/another-abc/half")
	if err := tree.copy(t.Context(), j); err != nil {
		t.Fatal(err)
	}
	got := contents(t, filepath.Join(tree.Dir(), stagingDir))
	if len(got) != 2 || got["another-abc/half"] == "" {
		t.Errorf("got %v, want only what belongs to another snapshot", got)
	}
}

func TestCopyIsBoundedInDepth(t *testing.T) {
	tree := newTree(t)
	newVolume(t, tree, key("data"), strings.Repeat("d/", maxDepth+2)+"x")
	wantCode(t, "copy", tree.copy(t.Context(), newJob(".", ".")), pods.Invalid)
}
