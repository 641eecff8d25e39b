package local

import (
	"bytes"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/tests/parts"
)

func TestExec(t *testing.T) {
	c := open(t, stateDir(t))
	w := workload("web", "podway/hello")
	w.Env = map[string]string{"GREETING": "hi"}
	ready(t, c, w)
	script(t, c, w.Key, "printf '#!/bin/sh\necho script' > script && chmod 700 script && touch plain")
	tests := []struct {
		name       string
		argv       []string
		wantCode   int
		wantOut    string
		wantStderr string // a part
	}{
		{"a program is found in PATH", []string{"echo", "a b", "c"}, 0, "a b c\n", ""},
		{"no shell sees the arguments", []string{"echo", "$GREETING", ";", "*"}, 0, "$GREETING ; *\n", ""},
		{"the environment is the pod's", []string{"sh", "-c", "echo $GREETING"}, 0, "hi\n", ""},
		{"a path is seen from the storage", []string{"./script"}, 0, "script\n", ""},
		{"the exit code is the program's", []string{"sh", "-c", "exit 42"}, 42, "", ""},
		{"a program that kills itself", []string{"sh", "-c", "kill -9 $$"}, 137, "", ""},
		{"a program that does not exist", []string{"no-such-program"}, 127, "", "no-such-program"},
		{"a path that does not exist", []string{"/no/such/program"}, 127, "", "no such file"},
		{"a file that is no program", []string{"./plain"}, 126, "", "permission denied"},
		{"there is no input", []string{"cat"}, 0, "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code, err := c.Exec(t.Context(), w.Key, test.argv, &stdout, &stderr)
			if err != nil || code != test.wantCode || stdout.String() != test.wantOut {
				t.Fatalf("got %d, %v, stdout %q, stderr %q, want %d, nil, %q", code, err, &stdout, &stderr, test.wantCode, test.wantOut)
			}
			if !strings.Contains(stderr.String(), test.wantStderr) {
				t.Errorf("got stderr %q, want %q in it", &stderr, test.wantStderr)
			}
		})
	}
	t.Run("a command needs a program", func(t *testing.T) {
		if _, err := c.Exec(t.Context(), w.Key, nil, io.Discard, io.Discard); pods.ErrorCode(err) != pods.Invalid {
			t.Fatalf("got %v, want code invalid", err)
		}
	})
	t.Run("what a command leaves running is killed", func(t *testing.T) {
		out := script(t, c, w.Key, "sleep 600 >/dev/null 2>&1 & echo $!")
		pid, err := strconv.Atoi(strings.TrimSpace(out))
		if err != nil {
			t.Fatal(err)
		}
		awaitGone(t, "the command's child", pid)
	})
}

func TestExecEndsWithThePod(t *testing.T) {
	c := open(t, stateDir(t))
	w := workload("web", "podway/hello")
	ready(t, c, w)
	r, stdout, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	done := make(chan error, 1)
	go func() {
		_, err := c.Exec(t.Context(), w.Key, []string{"sh", "-c", "echo on; sleep 600"}, stdout, io.Discard)
		done <- err
	}()
	if _, err := r.Read(make([]byte, 10)); err != nil { // it runs
		t.Fatal(err)
	}
	if err := c.Remove(t.Context(), w.Key); err != nil {
		t.Fatal(err)
	}
	var got error
	parts.Eventually(t, limit, func() error {
		select {
		case got = <-done:
			return nil
		default:
			return io.ErrNoProgress
		}
	})
	stdout.Close()
	if pods.ErrorCode(got) != pods.NotFound {
		t.Fatalf("got %v, want an error with code not_found", got)
	}
}
