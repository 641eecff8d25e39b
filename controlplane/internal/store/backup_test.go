package store

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/routes/keytext"
	"github.com/tapis-project/podway/tests/parts"
)

// addresses return addresses of new empty databases, by engine.
func addresses(t *testing.T) map[string]func() string {
	t.Helper()
	server := parts.StartPostgres(t)
	admin := openDB(t, server.DSN)
	n := 0
	return map[string]func() string{
		"sqlite": func() string { return "sqlite:" + filepath.Join(t.TempDir(), "podway.db") },
		"postgres": func() string {
			n++
			if _, err := admin.ExecContext(t.Context(), fmt.Sprintf("create database backup%d", n)); err != nil {
				t.Fatal(err)
			}
			return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/backup%d?sslmode=disable", server.Port, n)
		},
	}
}

// furnish puts something of every kind of value into a store.
func furnish(t *testing.T, s *Store) pods.Key {
	t.Helper()
	k := pods.Key{Tenant: "dev", ID: "web"}
	now := time.Unix(1_700_000_000, 123_000).UTC()
	p := pods.Pod{
		Key: k, UID: "u1", Site: "dev", Owner: "me", Requested: "ON", CreatedAt: now, UpdatedAt: now,
		Definition:  pods.Definition{Description: pods.Set("naïve \"quoted\" <&>\nline")},
		Permissions: pods.Permissions{"me": pods.LevelAdmin, "*": pods.LevelRead},
	}
	ctx := t.Context()
	err := errors.Join(
		s.CreatePod(ctx, p, pods.Credentials{UserUsername: "web", UserPassword: "pässword"}, pods.Event{At: now, Text: "made"}),
		s.SaveLogs(ctx, k, "u1", []byte{0, 1, 255, 254, '\n'}),
	)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func backedUp(t *testing.T, s *Store) ([]byte, Manifest) {
	t.Helper()
	var b bytes.Buffer
	m, err := s.Backup(t.Context(), &b, "test")
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), m
}

// contents are the sums of all tables.
func contents(m Manifest) map[string]int64 {
	all := map[string]int64{}
	for _, t := range m.Tables {
		all[t.Name] = t.Rows
	}
	return all
}

func TestABackupOfEitherEngineIsRestoredIntoEither(t *testing.T) {
	engines := addresses(t)
	for from, newFrom := range engines {
		for to, newTo := range engines {
			t.Run(from+" to "+to, func(t *testing.T) {
				source, target := migrated(t, newFrom()), opened(t, newTo(), testKeys(t, 1))
				k := furnish(t, source)
				archive, m := backedUp(t, source)
				if contents(m)["pods"] != 1 || contents(m)["pod_logs"] != 1 || len(m.Keys) != 1 {
					t.Fatalf("got %v, keys %v, want a pod, its log and its key", contents(m), m.Keys)
				}
				if _, err := target.Restore(t.Context(), bytes.NewReader(archive)); err != nil {
					t.Fatal(err)
				}
				sameStores(t, source, target, k)
				_, again := backedUp(t, target)
				if fmt.Sprint(contents(again)) != fmt.Sprint(contents(m)) {
					t.Errorf("got %v, want %v", contents(again), contents(m))
				}
			})
		}
	}
}

func sameStores(t *testing.T, a, b *Store, k pods.Key) {
	t.Helper()
	read := func(s *Store) string {
		p, err1 := s.Pod(t.Context(), k)
		c, err2 := s.Credentials(t.Context(), k)
		logs, err3 := s.Logs(t.Context(), k)
		events, err4 := s.Events(t.Context(), k)
		if err := errors.Join(err1, err2, err3, err4); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%+v %+v %q %v", p, c, logs, events)
	}
	if got, want := read(b), read(a); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestParentsComeFirst(t *testing.T) {
	s := migrated(t, "sqlite:"+filepath.Join(t.TempDir(), "podway.db"))
	tables, err := s.tables(t.Context(), s.reader)
	if err != nil {
		t.Fatal(err)
	}
	for child, parent := range map[string]string{"pod_state": "pods", "template_tags": "templates", "volume_usage": "volumes", "secret_permissions": "secrets"} {
		if i, j := slices.Index(tables, parent), slices.Index(tables, child); i < 0 || j < i {
			t.Errorf("got %s at %d and %s at %d, want it behind", parent, i, child, j)
		}
	}
}

func TestABackupIsOfOneMoment(t *testing.T) {
	for name, address := range addresses(t) {
		t.Run(name, func(t *testing.T) {
			s := migrated(t, address())
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- writePods(ctx, s) }()
			for range 5 {
				_, m := backedUp(t, s)
				rows := contents(m)
				if rows["pods"] != rows["pod_state"] || rows["pods"] != rows["pod_credentials"] || rows["pods"] != rows["pod_events"] {
					t.Errorf("got %v, want as many of each", rows)
				}
			}
			stop()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

// writePods creates pods until ctx ends.
func writePods(ctx context.Context, s *Store) error {
	for i := 0; ctx.Err() == nil; i++ {
		p := pods.Pod{Key: pods.Key{Tenant: "dev", ID: pods.ID(fmt.Sprint("pod", i))}, UID: fmt.Sprint(i), Owner: "me", Requested: "ON"}
		if err := s.CreatePod(ctx, p, pods.Credentials{}, pods.Event{Text: "made"}); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

func TestABackupThatIsDamagedIsRefused(t *testing.T) {
	s := migrated(t, "sqlite:"+filepath.Join(t.TempDir(), "podway.db"))
	furnish(t, s)
	good, _ := backedUp(t, s)
	flip := func(at int) []byte {
		b := bytes.Clone(good)
		b[at] ^= 1
		return b
	}
	for name, b := range map[string][]byte{
		"empty":                   nil,
		"something else":          []byte("hello"),
		"cut in the middle":       good[:len(good)/2],
		"cut at the end":          good[:len(good)-4],
		"a bit in the middle":     flip(len(good) / 2),
		"a bit of the checksum":   flip(len(good) - 6),
		"a changed word, zipped":  edited(t, good, `"me"`, `"us"`),
		"a changed row, zipped":   edited(t, good, "naïve", "nAïve"),
		"a changed count, zipped": edited(t, good, `"rows": 1`, `"rows": 2`),
	} {
		t.Run(name, func(t *testing.T) {
			target := opened(t, "sqlite:"+filepath.Join(t.TempDir(), "podway.db"), testKeys(t, 1))
			if _, err := target.Restore(t.Context(), bytes.NewReader(b)); !errors.Is(err, ErrBadBackup) {
				t.Errorf("got %v, want %v", err, ErrBadBackup)
			}
		})
	}
}

// edited changes a word in an archive, and packs it again as gzip does.
func edited(t *testing.T, archive []byte, from, to string) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(plain, []byte(from)) {
		t.Fatalf("there is no %q in the backup", from)
	}
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(bytes.Replace(plain, []byte(from), []byte(to), 1))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestWhatARestoreRefuses(t *testing.T) {
	source := migrated(t, "sqlite:"+filepath.Join(t.TempDir(), "podway.db"))
	furnish(t, source)
	archive, _ := backedUp(t, source)

	if _, err := source.Restore(t.Context(), bytes.NewReader(archive)); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("got %v, want that the store is not empty", err)
	}
	keys, err := NewKeyring(bytes.Repeat([]byte{99}, keytext.Size))
	if err != nil {
		t.Fatal(err)
	}
	other, err := Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "podway.db"), Options{Keyring: keys})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := other.Restore(t.Context(), bytes.NewReader(archive)); err == nil || !strings.Contains(err.Error(), "not in the keyring") {
		t.Errorf("got %v, want that the key lacks", err)
	}
}

func TestABackupOfAnOlderReleaseIsBroughtUpToDate(t *testing.T) {
	old := opened(t, "sqlite:"+filepath.Join(t.TempDir(), "podway.db"), testKeys(t, 1))
	p, err := old.provider()
	if err != nil {
		t.Fatal(err)
	}
	sources := p.ListSources()
	before := sources[len(sources)-2].Version
	if _, err := p.UpTo(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	m := Manifest{Format: BackupFormat}
	// As that release did it.
	if err := old.writeBackup(t.Context(), &b, &m); err != nil {
		t.Fatal(err)
	}

	target := opened(t, "sqlite:"+filepath.Join(t.TempDir(), "podway.db"), testKeys(t, 1))
	if m, err = target.Restore(t.Context(), bytes.NewReader(b.Bytes())); err != nil || m.Schema != before {
		t.Fatalf("got version %d, %v, want %d", m.Schema, err, before)
	}
	if err := target.Ready(t.Context()); err != nil {
		t.Error(err)
	}
}
