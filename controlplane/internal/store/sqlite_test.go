package store

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/routes/keytext"
)

func TestSQLiteFileIsPrivateAndHoldsNoPassword(t *testing.T) {
	dir := t.TempDir()
	address := "sqlite:" + filepath.Join(dir, "podway.db")
	keys := testKeys(t, 1)
	s, err := Open(t.Context(), address, Options{Keyring: keys})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	createPod(t, s, "web")
	checkFiles(t, dir, "podway.db", "podway.db-wal", "podway.db-shm")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// Read only now: closing a file drops the locks SQLite has on it.
	b, err := os.ReadFile(filepath.Join(dir, "podway.db"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(b, []byte("uid-web")) {
		t.Error("the pod is not in the file")
	}
	if bytes.Contains(b, []byte("secret-")) {
		t.Error("a password is readable in the file")
	}
}

// checkFiles fails the test unless the files are there and only their owner can
// read them.
func checkFiles(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != 0o600 {
			t.Errorf("%s: got mode %v, want 0600", name, got)
		}
	}
}

func TestSQLitePaths(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, path := range []string{"relative.db", "with space & 100%25.db", "sch#rp.db", "a:b.db", filepath.Join(t.TempDir(), "absolute.db")} {
		s := migrated(t, "sqlite:"+path)
		createPod(t, s, "web")
		if _, err := os.Stat(path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestSQLiteWaitsForAnotherProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "podway.db")
	s := migrated(t, "sqlite:"+path)
	p := createPod(t, s, "web")
	release := holdLock(t, path)

	// Readers do not wait.
	if _, err := s.Pod(t.Context(), p.Key); err != nil {
		t.Error(err)
	}
	// A writer waits as long as its context lets it...
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if _, err := s.UpdatePod(ctx, p); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
	}
	// ...and goes on when the lock is free, without an error.
	done := make(chan error, 1)
	go func() {
		_, err := s.UpdatePod(t.Context(), p)
		done <- err
	}()
	release()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// holdLock takes the write lock of a file, as a backup tool could.
func holdLock(t *testing.T, path string) (release func()) {
	t.Helper()
	db, err := sql.Open("sqlite", sqliteURI(path, "immediate", nil))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := tx.Rollback(); err != nil {
			t.Error(err)
		}
	}
}

// writerEnv makes the test binary a process that creates pods in the database at
// the address it holds, for TestSQLiteSurvivesKill.
const writerEnv = "PODWAY_TEST_STORE_WRITER"

func runWriterIfAsked() {
	address := os.Getenv(writerEnv)
	if address == "" {
		return
	}
	if err := createForever(address); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// createForever creates pods and prints the id of each after the store has
// accepted it.
func createForever(address string) error {
	ctx := context.Background()
	keys, err := NewKeyring(bytes.Repeat([]byte{1}, keytext.Size))
	if err != nil {
		return err
	}
	s, err := Open(ctx, address, Options{Keyring: keys})
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	for i := 0; ; i++ {
		p, c := testPod(pods.ID(fmt.Sprint("pod", i)))
		if err := s.CreatePod(ctx, p, c, pods.Event{Text: "created"}); err != nil {
			return err
		}
		if _, err := fmt.Println(p.ID); err != nil {
			return err
		}
	}
}

func TestSQLiteSurvivesKill(t *testing.T) {
	address := "sqlite:" + filepath.Join(t.TempDir(), "podway.db")
	s := migrated(t, address)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), writerEnv+"="+address)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	var accepted []pods.ID
	for lines.Scan() {
		accepted = append(accepted, pods.ID(lines.Text()))
		if len(accepted) == 50 {
			if err := cmd.Process.Kill(); err != nil { // SIGKILL; the rest of its output still comes
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait()
	if len(accepted) < 50 {
		t.Fatalf("got %d pods from the writer, want 50: %s", len(accepted), stderr.String())
	}

	s = opened(t, address, testKeys(t, 1))
	if err := s.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, id := range accepted {
		k := pods.Key{Tenant: "dev", ID: id}
		_, err1 := s.Pod(t.Context(), k)
		_, err2 := s.Credentials(t.Context(), k)
		_, err3 := s.Events(t.Context(), k)
		if err := errors.Join(err1, err2, err3); err != nil {
			t.Errorf("%s was accepted: %v", id, err)
		}
	}
	var check string
	if err := s.reader.QueryRowContext(t.Context(), "pragma integrity_check").Scan(&check); err != nil || check != "ok" {
		t.Errorf("integrity check: got %q, %v", check, err)
	}
	createPod(t, s, "after")
}

func TestSQLiteConnectionSettings(t *testing.T) {
	s := migrated(t, "sqlite:"+filepath.Join(t.TempDir(), "podway.db"))
	for name, db := range map[string]*sql.DB{"writer": s.writer, "reader": s.reader} {
		for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "1", "foreign_keys": "1"} {
			var got string
			if err := db.QueryRowContext(t.Context(), "pragma "+pragma).Scan(&got); err != nil || got != want {
				t.Errorf("%s, %s: got %q, %v, want %q", name, pragma, got, err, want)
			}
		}
	}
	if _, err := s.reader.ExecContext(t.Context(), "delete from pods"); err == nil || !strings.Contains(err.Error(), "readonly") {
		t.Errorf("writing through the readers: got %v, want a refusal", err)
	}
}
