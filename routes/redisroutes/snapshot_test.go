package redisroutes

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/tests/parts"
)

// nowhere is a Redis that refuses connections.
func nowhere(t testing.TB) *redis.UniversalOptions {
	return &redis.UniversalOptions{Addrs: []string{fmt.Sprintf("127.0.0.1:%d", parts.FreePort(t))}}
}

func testSnapshot(t testing.TB, n int) snapshot {
	t.Helper()
	s := snapshot{pos: position{epoch: "epoch", version: 1 << 40, digest: 0xdeadbeef}}
	for i := range n {
		e, err := routes.Compile(route(fmt.Sprint("pod", i), "default", "1"))
		if err != nil {
			t.Fatal(err)
		}
		s.entries = append(s.entries, e)
	}
	return s
}

func TestSnapshotRoundTrip(t *testing.T) {
	for _, n := range []int{0, 1, 1000} {
		file := snapshotFile(filepath.Join(t.TempDir(), "new", "routes.snap"))
		want := testSnapshot(t, n)
		for range 2 { // the second replaces the first
			if err := file.save(want); err != nil {
				t.Fatal(err)
			}
		}
		got, err := file.load()
		if err != nil {
			t.Fatal(err)
		}
		if got.pos != want.pos || len(got.entries) != n || got.skipped != 0 {
			t.Errorf("got %+v with %d routes, want %+v with %d", got.pos, len(got.entries), want.pos, n)
		}
		for i, e := range got.entries {
			if e.Host != want.entries[i].Host || e.Upstreams[0] != want.entries[i].Upstreams[0] {
				t.Errorf("got route %+v, want %+v", e.Route, want.entries[i].Route)
			}
		}
		info, err := os.Stat(string(file))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("got mode %v (%v), want 0600", info.Mode(), err)
		}
		left, err := os.ReadDir(filepath.Dir(string(file)))
		if err != nil || len(left) != 1 {
			t.Errorf("got files %v (%v), want one", left, err)
		}
	}
}

// Whatever is cut off, added or changed, the file is refused as a whole.
func TestDamagedSnapshotIsRefused(t *testing.T) {
	var buf bytes.Buffer
	if err := testSnapshot(t, 3).write(&buf); err != nil {
		t.Fatal(err)
	}
	whole := buf.Bytes()
	if _, err := readSnapshot(bytes.NewReader(whole)); err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		if _, err := readSnapshot(bytes.NewReader(whole[:i])); err == nil {
			t.Errorf("cut at byte %d: got accepted", i)
		}
		for _, bit := range []byte{1, 0x80} {
			b := bytes.Clone(whole)
			b[i] ^= bit
			if _, err := readSnapshot(bytes.NewReader(b)); err == nil {
				t.Errorf("byte %d changed by %#x: got accepted", i, bit)
			}
		}
	}
}

func FuzzReadSnapshot(f *testing.F) {
	var buf bytes.Buffer
	if err := testSnapshot(f, 2).write(&buf); err != nil {
		f.Fatal(err)
	}
	f.Add(buf.Bytes())
	f.Add([]byte(snapshotMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := readSnapshot(bytes.NewReader(b))
		if err != nil && len(s.entries) > len(b) {
			t.Errorf("got %d routes of %d bytes", len(s.entries), len(b))
		}
	})
}

func TestSnapshotSkipsWhatItCannotUse(t *testing.T) {
	s := testSnapshot(t, 3)
	bad := *s.entries[1]
	bad.Upstreams = nil // as if a newer version of the program had allowed that
	s.entries[1] = &bad
	file := filepath.Join(t.TempDir(), "routes.snap")
	if err := snapshotFile(file).save(s); err != nil {
		t.Fatal(err)
	}
	e := newEdge(t, WatcherOptions{Redis: nowhere(t), SnapshotFile: file})
	e.Restore()
	st := e.Status()
	if st.Routes != 2 || st.Version != 0 || st.Epoch != "epoch" {
		t.Errorf("got %+v, want 2 routes and no version, so that all are read again", st)
	}
}

func TestSnapshotIsIgnoredIfDamaged(t *testing.T) {
	file := filepath.Join(t.TempDir(), "routes.snap")
	if err := os.WriteFile(file, []byte("not a snapshot at all"), 0o600); err != nil {
		t.Fatal(err)
	}
	e := newEdge(t, WatcherOptions{Redis: nowhere(t), SnapshotFile: file})
	e.Restore()
	if st := e.Status(); st.Loaded || st.Routes != 0 || st.SnapshotErrors != 1 {
		t.Errorf("got %+v, want nothing loaded and 1 snapshot error", st)
	}
	_, err := snapshotFile(file).load()
	if !errors.Is(err, errCorrupt) {
		t.Errorf("got %v, want %v", err, errCorrupt)
	}
}

func TestStartWithoutSnapshotAndRedis(t *testing.T) {
	e := newEdge(t, WatcherOptions{Redis: nowhere(t), SnapshotFile: filepath.Join(t.TempDir(), "none.snap")})
	e.run()
	e.reaches("stale", func(s Status) bool { return s.Stale > 50*time.Millisecond })
	if st := e.Status(); st.Loaded || st.Synced || st.SnapshotErrors != 0 || !st.LastContact.IsZero() {
		t.Errorf("got %+v, want nothing", st)
	}
}

func TestUnwritableSnapshotIsCounted(t *testing.T) {
	s := startMini(t)
	cp := startControlPlane(t, s)
	cp.set("db", "1")
	// A folder that is a file: no rights are needed for that to fail.
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	e := startEdge(t, s, func(o *WatcherOptions) { o.SnapshotFile = filepath.Join(file, "routes.snap") })
	e.serves(cp.hosts())
	e.reaches("counted", func(s Status) bool { return s.SnapshotErrors > 1 }) // reading and writing
}

// The edge is killed and restarted while Redis is away, then follows again.
func TestRestartFromSnapshotWithoutRedis(t *testing.T) {
	onServers(t, func(t *testing.T, s *server) {
		cp := startControlPlane(t, s)
		for i := range 10 {
			cp.set(fmt.Sprint("pod", i), "1")
		}
		cp.complete()
		file := filepath.Join(t.TempDir(), "routes.snap")
		keep := func(o *WatcherOptions) { o.SnapshotFile = file }
		first := startEdge(t, s, keep)
		first.serves(cp.hosts())
		// Not stopped: its file has to be there before that.
		parts.Eventually(t, limit, func() error {
			snap, err := snapshotFile(file).load()
			if err == nil && snap.pos.version != first.Status().Version {
				err = fmt.Errorf("got version %d", snap.pos.version)
			}
			return err
		})
		s.kill()

		second := startEdge(t, s, keep)
		second.serves(cp.hosts())
		if st := second.Status(); !st.Loaded || st.Synced || st.Version != first.Status().Version {
			t.Errorf("got %+v, want loaded from the snapshot", st)
		}

		s.start()
		cp.watch()
		for _, e := range []*edge{first, second} {
			e.reaches("whole again", func(s Status) bool { return s.Synced && s.Held == 0 && s.Epoch != "" })
			e.serves(cp.hosts())
		}
	})
}

// Routes that are held when an edge is restarted are held on, and dropped once
// the control plane has published everything.
func TestHoldOutlivesARestart(t *testing.T) {
	onServers(t, func(t *testing.T, s *server) {
		cp := startControlPlane(t, s)
		for i := range 4 {
			cp.set(fmt.Sprint("pod", i), "1")
		}
		cp.complete()
		old := cp.hosts()
		file := filepath.Join(t.TempDir(), "routes.snap")
		keep := func(o *WatcherOptions) { o.SnapshotFile = file }
		e := startEdge(t, s, keep)
		e.serves(old)
		s.do(t, "flushall")
		again := startControlPlane(t, s)
		for i := range 3 { // few enough are missing to pass for changes that were missed
			again.set(fmt.Sprint("pod", i), "2")
		}
		both := maps.Clone(old)
		maps.Copy(both, again.hosts())
		for range 3 {
			e.serves(both)
			e.reaches("holding", func(s Status) bool { return s.Synced && s.Held == 1 })
			e.stop()
			e = startEdge(t, s, keep)
		}
		again.complete()
		e.serves(again.hosts())
	})
}

// Half of the table vanishes within a complete epoch: not even a restart makes an
// edge believe that.
func TestMassLossIsHeldOverARestart(t *testing.T) {
	onServers(t, func(t *testing.T, s *server) {
		cp := startControlPlane(t, s)
		for i := range 4 {
			cp.set(fmt.Sprint("pod", i), "1")
		}
		cp.complete()
		file := filepath.Join(t.TempDir(), "routes.snap")
		keep := func(o *WatcherOptions) { o.SnapshotFile = file }
		e := startEdge(t, s, keep)
		e.serves(cp.hosts())
		e.stop()
		s.do(t, "del", "podway:{default}:routes", "podway:{default}:log")
		for range 3 {
			e = startEdge(t, s, keep)
			e.reaches("holding", func(s Status) bool { return s.Synced && s.Held == 4 })
			e.serves(cp.hosts())
			e.stop()
		}
		if _, err := snapshotFile(file).load(); errors.Is(err, fs.ErrNotExist) {
			t.Error("got no snapshot")
		}
	})
}
