package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// newLog returns an empty log whose files hold size bytes each.
func newLog(t *testing.T, size int64) *rotatingLog {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log")
	if err := clearLog(path); err != nil {
		t.Fatal(err)
	}
	l, err := openLog(path)
	if err != nil {
		t.Fatal(err)
	}
	l.max = size
	t.Cleanup(func() { l.file.Close() })
	return l
}

func write(t *testing.T, l *rotatingLog, s string) {
	t.Helper()
	if n, err := l.Write([]byte(s)); n != len(s) || err != nil {
		t.Fatalf("Write: got %d, %v", n, err)
	}
}

func TestLogKeepsTheNewest(t *testing.T) {
	l := newLog(t, pods.MaxLogBytes)
	line := strings.Repeat("x", 1<<20-8)
	for n := range 25 {
		write(t, l, fmt.Sprintf("%07d", n)+line+"\n")
	}
	r, err := readLog(l.path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) != pods.MaxLogBytes {
		t.Fatalf("got %d bytes, want %d", len(b), pods.MaxLogBytes)
	}
	for n := range 10 {
		if got, want := string(b[n<<20:n<<20+7]), fmt.Sprintf("%07d", 15+n); got != want {
			t.Errorf("line %d: got %s, want %s", n, got, want)
		}
	}
}

func TestLogReaderGoesOnInTheNextFile(t *testing.T) {
	l := newLog(t, 10)
	r, err := readLog(l.path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var want, got bytes.Buffer
	for n := range 20 {
		s := fmt.Sprintf("%d,", n*n)
		want.WriteString(s)
		write(t, l, s)
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		got.Write(b)
	}
	if got.String() != want.String() {
		t.Fatalf("got %q, want %q", &got, &want)
	}
}

func TestLogReaderReadsWhatCameBeforeTheRotation(t *testing.T) {
	l := newLog(t, 10)
	write(t, l, "old ")
	r, err := readLog(l.path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if b, _ := io.ReadAll(r); string(b) != "old " {
		t.Fatalf("got %q", b)
	}
	write(t, l, "more ")
	write(t, l, "and new") // rotates
	if b, _ := io.ReadAll(r); string(b) != "more and new" {
		t.Fatalf("got %q, want all that was written since", b)
	}
}

func TestLogThatIsMissing(t *testing.T) {
	if _, err := readLog(filepath.Join(t.TempDir(), "log")); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("got %v, want %v", err, fs.ErrNotExist)
	}
}

func TestFollowedLogEnds(t *testing.T) {
	ended := make(chan struct{})
	close(ended)
	closed := make(chan struct{})
	close(closed)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	tests := []struct {
		name   string
		follow followedLog
		want   error
	}{
		{"with its run", followedLog{ctx: t.Context(), ended: ended}, nil},
		{"with its context", followedLog{ctx: cancelled}, context.Canceled},
		{"with the cluster", followedLog{ctx: t.Context(), closed: closed}, errClosed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := newLog(t, 10)
			write(t, l, "text")
			r, err := readLog(l.path)
			if err != nil {
				t.Fatal(err)
			}
			test.follow.log = r
			defer test.follow.Close()
			b, err := io.ReadAll(&test.follow)
			if string(b) != "text" || !errors.Is(err, test.want) {
				t.Fatalf("got %q, %v, want the text and %v", b, err, test.want)
			}
		})
	}
}
