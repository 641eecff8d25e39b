package files

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/controlplane/internal/store"
	"github.com/tapis-project/podway/controlplane/internal/store/tempstore"
	"github.com/tapis-project/podway/tests/parts"
)

// clock is a clock that a test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// bench is a keeper with a real store and tree.
type bench struct {
	*Keeper
	t     testing.TB
	clock *clock
	db    *store.Store
}

func newBench(t testing.TB, adjust ...func(*Options)) *bench {
	t.Helper()
	tree, err := OpenTree(filepath.Join(t.TempDir(), "root"))
	if err != nil {
		t.Fatal(err)
	}
	db := tempstore.New(t)
	c := &clock{now: time.Date(2025, 7, 21, 12, 0, 0, 0, time.UTC)}
	o := Options{Store: db, Poll: 20 * time.Millisecond, AnswerWithin: limit, Now: c.Now}
	for _, a := range adjust {
		a(&o)
	}
	return &bench{Keeper: NewKeeper(tree, o), t: t, clock: c, db: db}
}

// run runs the keeper until stop is called, or the test ends.
func (b *bench) run() (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(b.t.Context()))
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := b.Run(ctx); err != nil {
			b.t.Error(err)
		}
	})
	stop = func() { cancel(); wg.Wait() }
	b.t.Cleanup(stop)
	return stop
}

// row returns a volume as the API stores it first.
func (b *bench) row(k pods.VolumeKey, uid string) pods.Volume {
	now := b.now()
	return pods.Volume{
		VolumeKey: k, UID: uid, Owner: "ann", SizeLimit: 1, Permissions: pods.Permissions{"ann": pods.LevelAdmin},
		CreatedAt: now, UpdatedAt: now, State: pods.VolumeState{Status: pods.StatusCreating},
	}
}

// stored stores a row and returns it as it is then.
func (b *bench) stored(v pods.Volume) pods.Volume {
	b.t.Helper()
	if err := b.db.CreateVolume(b.t.Context(), v); err != nil {
		b.t.Fatal(err)
	}
	return b.read(v.VolumeKey)
}

func (b *bench) read(k pods.VolumeKey) pods.Volume {
	b.t.Helper()
	v, err := b.db.Volume(b.t.Context(), k)
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

// volume makes a volume and fills it as fillDir does.
func (b *bench) volume(id string, names ...string) pods.Volume {
	b.t.Helper()
	v, err := b.Make(b.t.Context(), b.stored(b.row(key(id), "uid"+id)))
	if err != nil {
		b.t.Fatal(err)
	}
	if v.State.Status != pods.StatusAvailable {
		b.t.Fatalf("got %+v, want an available volume", v)
	}
	fillDir(b.t, b.dir(v), names...)
	return v
}

func (b *bench) dir(v pods.Volume) string { return filepath.Join(b.tree.Dir(), v.String()) }

// snapshot returns the row of a snapshot of a volume.
func (b *bench) snapshot(id, from, to string) pods.Volume {
	v := b.row(snapshotKey(id), "uid"+id)
	v.Source = &pods.SnapshotSource{Volume: "data", Path: from, Destination: to}
	return v
}

func (b *bench) await(what string, f func() error) {
	b.t.Helper()
	parts.Eventually(b.t, limit, func() error {
		if err := f(); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return nil
	})
}

// awaitStatus waits until a volume has a status and returns it.
func (b *bench) awaitStatus(k pods.VolumeKey, want pods.Status) pods.Volume {
	b.t.Helper()
	var v pods.Volume
	b.await("status", func() error {
		if v = b.read(k); v.State.Status != want {
			return fmt.Errorf("got %s (%s), want %s", v.State.Status, v.State.Message, want)
		}
		return nil
	})
	return v
}

func (b *bench) write(v pods.Volume, path string, size int) error {
	return b.Write(b.t.Context(), v, path, bytes.NewReader(make([]byte, size)))
}

func TestAVolumeIsUsableAtOnce(t *testing.T) {
	b := newBench(t)
	v := b.volume("data")
	if err := b.write(v, "dir/file", 10); err != nil {
		t.Fatal(err)
	}
	files, more, err := b.List(t.Context(), v, "dir")
	if err != nil || more || len(files) != 1 || files[0].Size != 10 {
		t.Errorf("got %v, %v and %v, want the file", files, more, err)
	}
	r, info, err := b.Open(t.Context(), v, "dir/file")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if content, err := io.ReadAll(r); len(content) != 10 || info.Path != "/dir/file" || err != nil {
		t.Errorf("got %d bytes, %+v and %v, want the file", len(content), info, err)
	}
	if info, err := b.Stat(t.Context(), v, "."); err != nil || !info.Mode.IsDir() || info.Name() != "/" {
		t.Errorf("got %+v and %v, want the root", info, err)
	}
	if got := b.read(v.VolumeKey); got.State.Version != v.State.Version || got.State.Size != 10 {
		t.Errorf("got %+v, want the size of the file and the version that Make returned, %d", got.State, v.State.Version)
	}
}

func TestAVolumeThatCantBeMadeLeavesNothing(t *testing.T) {
	b := newBench(t)
	b.volume("other")
	fillDir(t, b.tree.Dir(), "dev/volumes/data/somebodys")
	v := b.stored(b.row(key("data"), "uid1"))
	_, err := b.Make(t.Context(), v)
	wantCode(t, "Make", err, pods.Conflict)
	_, err = b.db.Volume(t.Context(), v.VolumeKey)
	wantCode(t, "the row", err, pods.NotFound)
	if got := contents(t, filepath.Join(b.tree.Dir(), "dev/volumes/data")); len(got) != 1 {
		t.Errorf("got %v, want somebody's files as they were", got)
	}
}

func TestTheLimitIsEnforced(t *testing.T) {
	b := newBench(t)
	v := b.volume("data")
	const mb = 1 << 20
	steps := []struct {
		name string
		path string
		size int
		want pods.Code
		sum  int64
	}{
		{"a file that fits", "a", mb / 2, "", mb / 2},
		{"one that does not", "b", mb/2 + 1, pods.TooLarge, mb / 2},
		{"the last bytes", "b", mb / 2, "", mb},
		{"one too many", "c", 1, pods.TooLarge, mb},
		{"a shorter file in place of a longer one needs room while it comes", "b", 1, pods.TooLarge, mb},
	}
	for _, s := range steps {
		wantCode(t, s.name, b.write(v, s.path, s.size), s.want)
		if got := b.read(v.VolumeKey).State.Size; got != s.sum {
			t.Errorf("%s: got size %d, want %d", s.name, got, s.sum)
		}
	}
	if err := os.Remove(filepath.Join(b.dir(v), "a")); err != nil {
		t.Fatal(err)
	}
	b.run()
	b.clock.move(time.Hour)
	b.await("the size as it is", func() error {
		if got := b.read(v.VolumeKey).State.Size; got != mb/2 {
			return fmt.Errorf("got %d, want %d", got, mb/2)
		}
		return nil
	})
	if err := b.write(v, "b", 1); err != nil {
		t.Fatal(err)
	}
	if got := b.read(v.VolumeKey).State.Size; got != 1 {
		t.Errorf("got size %d, want 1: what was replaced counts no more", got)
	}
}

func TestUploadsAtTheSameTimeShareTheLimit(t *testing.T) {
	b := newBench(t)
	v := b.volume("data")
	var wg sync.WaitGroup
	var mu sync.Mutex
	done := 0
	for i := range 16 {
		wg.Go(func() {
			switch err := b.write(v, fmt.Sprint("file", i), 100<<10); pods.ErrorCode(err) {
			case "":
				mu.Lock()
				defer mu.Unlock()
				done++
			case pods.TooLarge:
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := b.read(v.VolumeKey).State.Size; done == 0 || done > 10 || got != int64(done)*100<<10 {
		t.Errorf("got %d files and size %d, want at most 10 and their size", done, got)
	}
}

func TestASmallSnapshotIsThereWithTheAnswer(t *testing.T) {
	b := newBench(t)
	b.volume("data", "d/a", "d/b")
	b.run()
	v, err := b.Make(t.Context(), b.stored(b.snapshot("snap", "/d", "")))
	if err != nil {
		t.Fatal(err)
	}
	if v.State.Status != pods.StatusAvailable || v.State.Size != 6 || v.State.LeaseUntil != nil {
		t.Errorf("got %+v, want an available snapshot of 6 bytes", v.State)
	}
	want := map[string]string{"a": "d/a", "b": "d/b"}
	if got := contents(t, b.dir(v)); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestALargeSnapshotIsCopiedInTheBackground(t *testing.T) {
	b := newBench(t, func(o *Options) { o.AnswerWithin = time.Nanosecond })
	b.volume("data", "a")
	v, err := b.Make(t.Context(), b.stored(b.snapshot("snap", "/", "")))
	if err != nil || v.State.Status != pods.StatusCreating {
		t.Fatalf("got %+v and %v, want one that is being made", v.State, err)
	}
	_, _, err = b.List(t.Context(), v, ".")
	wantCode(t, "List", err, pods.Conflict)
	wantCode(t, "Write", b.write(v, "x", 1), pods.Conflict)
	b.run()
	b.awaitStatus(v.VolumeKey, pods.StatusAvailable)
}

func TestASnapshotThatCantBeMadeTellsWhy(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*pods.Volume)
		want   string
	}{
		{"the source is gone", func(v *pods.Volume) { v.Source.Volume = "gone" }, "Volume with identifier volume_id: 'gone' not found"},
		{"the path is gone", func(v *pods.Volume) { v.Source.Path = "/gone" }, "There is no file or folder '/gone'."},
		{"it is too large", func(v *pods.Volume) { v.Source.Path = "/big" }, "size_limit of 1 MB"},
		{"a path that leads out", func(v *pods.Volume) { v.Source.Path = "/.." }, "'..' is not allowed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			source := b.volume("data")
			fillDir(t, b.dir(source), "big/")
			if err := os.WriteFile(filepath.Join(b.dir(source), "big/file"), make([]byte, 1<<20+1), 0o600); err != nil {
				t.Fatal(err)
			}
			b.run()
			row := b.snapshot("snap", "/", "")
			c.change(&row)
			v, err := b.Make(t.Context(), b.stored(row))
			if err != nil {
				t.Fatal(err)
			}
			if v.State.Status != pods.StatusError || !strings.Contains(v.State.Message, c.want) {
				t.Errorf("got %+v, want an ERROR that says %q", v.State, c.want)
			}
		})
	}
}

// TestAnotherProcessGoesOnWithACopy has a process take the work and die.
func TestAnotherProcessGoesOnWithACopy(t *testing.T) {
	b := newBench(t)
	b.volume("data", "a")
	v := b.stored(b.snapshot("snap", "/", ""))
	if _, ok, err := b.lease(t.Context(), v); !ok || err != nil {
		t.Fatalf("got %v and %v, want the lease", ok, err)
	}
	if worked, err := b.finishOne(t.Context()); worked || err != nil {
		t.Fatalf("got %v and %v, want nothing to do while the lease lasts", worked, err)
	}
	b.clock.move(2 * time.Minute)
	if worked, err := b.finishOne(t.Context()); !worked || err != nil {
		t.Fatalf("got %v and %v, want the work done", worked, err)
	}
	if got := b.read(v.VolumeKey).State.Status; got != pods.StatusAvailable {
		t.Errorf("got %s, want %s", got, pods.StatusAvailable)
	}
}

func TestACopyThatAnotherTookOverEnds(t *testing.T) {
	b := newBench(t)
	b.volume("data", "a", "b")
	v, ok, err := b.lease(t.Context(), b.stored(b.snapshot("snap", "/", "")))
	if !ok || err != nil {
		t.Fatal(err)
	}
	b.clock.move(2 * time.Minute)
	if _, ok, err := b.lease(t.Context(), b.read(v.VolumeKey)); !ok || err != nil { // the other one
		t.Fatal(err)
	}
	if err := b.copySnapshot(t.Context(), &v); !errors.Is(err, errLost) {
		t.Errorf("got %v, want %v", err, errLost)
	}
	if got := contents(t, filepath.Join(b.tree.Dir(), "dev")); got["snapshots/snap/"] != "" || len(got) > 5 {
		t.Errorf("got %v, want no snapshot", got)
	}
}

func TestACopyOfADeletedSnapshotEnds(t *testing.T) {
	b := newBench(t)
	b.volume("data", "a")
	v, _, err := b.lease(t.Context(), b.stored(b.snapshot("snap", "/", "")))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Remove(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	b.clock.move(time.Minute)
	if err := b.work(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	b.clock.move(48 * time.Hour)
	if _, err := b.clearTombstones(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, filepath.Join(b.tree.Dir(), "dev/snapshots")); len(got) != 0 {
		t.Errorf("got %v, want nothing", got)
	}
}

func TestAFaultOfOursIsTriedAgainAndThenTold(t *testing.T) {
	b := newBench(t)
	b.volume("data", "a")
	v := b.stored(b.snapshot("snap", "/", ""))
	// A file where a folder has to be is nothing that a user could do.
	if err := os.RemoveAll(filepath.Join(b.tree.Dir(), "dev/snapshots")); err != nil {
		t.Fatal(err)
	}
	fillDir(t, b.tree.Dir(), "dev/snapshots")
	for i := range maxAttempts {
		if got := b.read(v.VolumeKey).State; got.Status != pods.StatusCreating || got.Attempts != i {
			t.Fatalf("attempt %d: got %+v", i, got)
		}
		if worked, err := b.finishOne(t.Context()); !worked || err != nil {
			t.Fatalf("attempt %d: got %v and %v", i, worked, err)
		}
		if worked, _ := b.finishOne(t.Context()); worked {
			t.Fatal("got another attempt at once, want a pause")
		}
		b.clock.move(time.Hour)
	}
	if got := b.read(v.VolumeKey).State; got.Status != pods.StatusError || !strings.Contains(got.Message, "internal error") {
		t.Errorf("got %+v, want an error in general words", got)
	}
}

func TestADeletedVolumeIsKeptForTheGracePeriod(t *testing.T) {
	b := newBench(t)
	v := b.volume("data", "a")
	if err := b.Remove(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	again := b.volume("data", "new")
	if got := contents(t, b.dir(again)); !reflect.DeepEqual(got, map[string]string{"new": "new"}) {
		t.Errorf("got %v, want an empty volume", got)
	}
}

func TestTombstonesSurviveACrashAtAnyPoint(t *testing.T) {
	// What was done when the process died.
	for _, c := range []struct {
		name string
		done func(b *bench, v pods.Volume)
	}{
		{"only the row is gone", func(b *bench, v pods.Volume) {
			wantCode(b.t, "delete", b.db.DeleteVolume(b.t.Context(), v.VolumeKey, v.UID, b.now()), "")
		}},
		{"the folder is renamed, its mark is there", func(b *bench, v pods.Volume) {
			wantCode(b.t, "delete", b.db.DeleteVolume(b.t.Context(), v.VolumeKey, v.UID, b.now()), "")
			if err := os.Rename(b.dir(v), filepath.Join(b.tree.Dir(), tombstonesDir, v.UID)); err != nil {
				b.t.Fatal(err)
			}
		}},
		{"it is buried", func(b *bench, v pods.Volume) { wantCode(b.t, "remove", b.Remove(b.t.Context(), v), "") }},
		{"its files are half deleted", func(b *bench, v pods.Volume) {
			wantCode(b.t, "remove", b.Remove(b.t.Context(), v), "")
			if err := os.Remove(filepath.Join(b.tree.Dir(), tombstonesDir, v.UID, "a")); err != nil {
				b.t.Fatal(err)
			}
		}},
		{"its files are deleted, the tombstone is there", func(b *bench, v pods.Volume) {
			wantCode(b.t, "remove", b.Remove(b.t.Context(), v), "")
			if err := b.tree.purge(v.UID); err != nil {
				b.t.Fatal(err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			other := b.volume("other", "keep")
			v := b.volume("data", "a", "d/b")
			c.done(b, v)
			// Somebody takes the id again before the loop gets to it.
			again := b.row(key("data"), "second")
			made, err := b.Make(t.Context(), b.stored(again))
			if err != nil {
				t.Fatal(err)
			}
			if got := contents(t, b.dir(made)); len(got) != 0 {
				t.Fatalf("got %v, want nothing of the deleted volume", got)
			}
			fillDir(t, b.dir(made), "new")
			stop := b.run()
			b.clock.move(25 * time.Hour)
			b.await("the end of the tombstone", func() error {
				stones, err := b.db.Tombstones(t.Context())
				if err != nil || len(stones) > 0 {
					return fmt.Errorf("got %v and %w, want none", stones, err)
				}
				return nil
			})
			stop()
			want := map[string]string{"volumes/": "", "volumes/data/": "", "volumes/data/new": "new", "volumes/other/": "", "volumes/other/keep": "keep"}
			if got := contents(t, filepath.Join(b.tree.Dir(), other.Tenant)); !reflect.DeepEqual(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
			if got := contents(t, filepath.Join(b.tree.Dir(), tombstonesDir)); len(got) != 0 {
				t.Errorf("got %v, want nothing", got)
			}
		})
	}
}

func TestNothingIsDeletedBeforeTheGracePeriod(t *testing.T) {
	b := newBench(t)
	v := b.volume("data", "a")
	if err := b.Remove(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	b.clock.move(24*time.Hour - time.Second)
	if _, err := b.clearTombstones(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"a": "a"}
	if got := contents(t, filepath.Join(b.tree.Dir(), tombstonesDir, v.UID)); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestFoldersThatTheStoreDoesNotKnowStay(t *testing.T) {
	b := newBench(t)
	b.volume("data")
	fillDir(t, b.tree.Dir(), "dev/volumes/restored/a", "elsewhere/snapshots/s/b")
	b.run()
	b.clock.move(1000 * time.Hour)
	b.await("a measurement", func() error {
		if b.read(key("data")).State.MeasuredAt.Before(b.now()) {
			return errors.New("not yet")
		}
		return nil
	})
	got := contents(t, b.tree.Dir())
	if got["dev/volumes/restored/a"] == "" || got["elsewhere/snapshots/s/b"] == "" {
		t.Errorf("got %v, want the unknown folders whole", got)
	}
}

func TestAShareThatIsNotMountedIsNotFilled(t *testing.T) {
	b := newBench(t)
	v := b.volume("data", "a")
	if err := os.Rename(b.tree.Dir(), b.tree.Dir()+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(b.tree.Dir(), 0o700); err != nil {
		t.Fatal(err)
	}
	_, _, err := b.List(t.Context(), v, ".")
	wantCode(t, "List", err, pods.Unavailable)
	_, err = b.Make(t.Context(), b.stored(b.row(key("second"), "uid2")))
	wantCode(t, "Make", err, pods.Unavailable)
	if got := contents(t, b.tree.Dir()); len(got) != 0 {
		t.Errorf("got %v, want an empty folder", got)
	}
}

func TestSizesAreMeasured(t *testing.T) {
	b := newBench(t)
	v := b.volume("data", "12345")
	b.run()
	b.clock.move(11 * time.Minute)
	b.await("the first measurement", func() error {
		if got := b.read(v.VolumeKey).State.Size; got != 5 {
			return fmt.Errorf("got size %d, want 5", got)
		}
		return nil
	})
	fillDir(t, b.dir(v), "678")
	b.clock.move(11 * time.Minute)
	b.await("the second measurement", func() error {
		usage, err := b.db.VolumeUsage(t.Context(), v.VolumeKey, 10)
		if err != nil || len(usage) != 2 || usage[0].Size != 8 || usage[1].Size != 5 {
			return fmt.Errorf("got %v and %w, want 8 and 5", usage, err)
		}
		return nil
	})
}
