package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// wireReport is the result of an exec request as clients decode it.
type wireReport struct {
	ExecutionResults []struct {
		Command     []string `json:"command"`
		Stdout      string   `json:"stdout"`
		Stderr      string   `json:"stderr"`
		Success     any      `json:"success"`
		ExitCode    *int     `json:"exit_code"`
		DurationSec float64  `json:"duration_sec"`
		Timestamp   string   `json:"timestamp"`
	} `json:"execution_results"`
	TotalCommands      int `json:"total_commands"`
	SuccessfulCommands int `json:"successful_commands"`
}

// fakeShell knows some commands: ok, fail, sleep (until its context ends),
// twice (writes both streams at once), lost (the cluster fails).
func fakeShell(ctx context.Context, argv []string, stdout, stderr io.Writer) (int, error) {
	switch argv[0] {
	case "ok":
		_, _ = fmt.Fprint(stdout, strings.Join(argv[1:], " "))
		return 0, nil
	case "fail":
		_, _ = fmt.Fprint(stderr, "no")
		return 3, nil
	case "sleep":
		_, _ = fmt.Fprint(stdout, "zzz")
		<-ctx.Done()
		return -1, ctx.Err()
	case "twice":
		var wg sync.WaitGroup
		wg.Go(func() { fmt.Fprint(stdout, strings.Repeat("o", 8<<20)) })
		wg.Go(func() { fmt.Fprint(stderr, strings.Repeat("e", 8<<20)) })
		wg.Wait()
		return 0, nil
	case "gone":
		return 0, pods.Errorf(pods.NotFound, "The container does not run.")
	default:
		return 0, errors.New("dial tcp 10.0.0.1:10250: refused")
	}
}

func TestExec(t *testing.T) {
	for _, c := range []struct {
		name, body string
		message    string
		success    []any // of each command that was run
		log        string
	}{
		{
			"one command as a list of words", `{"commands":["ok","a b"]}`,
			"All Commands Successful",
			[]any{true},
			"'owner' executed 1 commands.",
		},
		{
			"several commands", `{"commands":[["ok"],["ok"]],"a field that is not known":1}`,
			"All Commands Successful",
			[]any{true, true},
			"'owner' executed 2 commands.",
		},
		{
			"a failure ends the run", `{"commands":[["ok"],["fail"],["ok"]]}`,
			"1 of 3 commands successful - " + stoppedByFailure,
			[]any{true, false},
			"'owner' executed 2 commands. (" + stoppedByFailure + ")",
		},
		{
			"unless it may not", `{"commands":[["fail"],["ok"],["gone"]],"fail_on_non_success":false}`,
			"1 of 3 commands successful",
			[]any{false, true, false},
			"'owner' executed 3 commands.",
		},
		{
			"a command that takes too long", `{"commands":[["ok"],["sleep"],["ok"]],"command_timeout":2}`,
			"1 of 3 commands successful - " + stoppedByCommand,
			[]any{true, "Timeout after 2 seconds."},
			"'owner' executed 2 commands. (" + stoppedByCommand + ")",
		},
		{
			"is no reason to stop if none is", `{"commands":[["sleep"],["ok"]],"command_timeout":2,"fail_on_non_success":false}`,
			"1 of 2 commands successful",
			[]any{"Timeout after 2 seconds.", true},
			"'owner' executed 2 commands.",
		},
		{
			"the time for all is always one", `{"commands":[["sleep"],["sleep"],["ok"]],"command_timeout":2,"total_timeout":3,"fail_on_non_success":false}`,
			"0 of 3 commands successful - " + stoppedByTotal,
			[]any{"Timeout after 2 seconds.", "Timeout after 3 seconds."},
			"'owner' executed 2 commands. (" + stoppedByTotal + ")",
		},
		{
			"a cluster that fails", `{"commands":["lost"]}`,
			"0 of 1 commands successful - " + stoppedByFailure,
			[]any{false},
			"'owner' executed 1 commands. (" + stoppedByFailure + ")",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cluster := newFakeCluster()
				cluster.exec = fakeShell
				cluster.run(stored("web"))
				body, err := decodeExec([]byte(c.body))
				if err != nil {
					t.Fatal(err)
				}
				x := execution{
					server: &server{Deps: Deps{Cluster: cluster, Now: time.Now}},
					pod:    stored("web"), body: body, output: &outputBudget{left: maxExecOutput},
				}
				report, why := x.all(t.Context())
				if got := report.message(why); got != c.message {
					t.Errorf("got message %q, want %q", got, c.message)
				}
				if got := report.line("owner", why); got != c.log {
					t.Errorf("got action log %q, want %q", got, c.log)
				}
				var success []any
				for _, e := range report.ExecutionResults {
					success = append(success, e.Success)
				}
				if !slices.Equal(success, c.success) {
					t.Errorf("got %v, want %v", success, c.success)
				}
			})
		})
	}
}

func TestExecResults(t *testing.T) {
	f := newFixture(t)
	p := f.put("web")
	f.cluster.run(p)
	var ran []string
	f.cluster.exec = func(ctx context.Context, argv []string, stdout, stderr io.Writer) (int, error) {
		ran = argv
		return fakeShell(ctx, argv, stdout, stderr)
	}
	t.Run("placeholders are filled in, and not shown", func(t *testing.T) {
		r := f.want(http.StatusOK, "POST", "/v3/pods/web/exec", "owner", `{"commands":["ok","<<TAPIS_pod_id>>","<<tapissecret_user_password>>"]}`)
		got := result[wireReport](t, r).ExecutionResults[0]
		if want := []string{"ok", "web", "usersecret"}; !slices.Equal(ran, want) {
			t.Errorf("ran %q, want %q", ran, want)
		}
		if want := []string{"ok", "<<TAPIS_pod_id>>", "<<tapissecret_user_password>>"}; !slices.Equal(got.Command, want) {
			t.Errorf("got command %q, want %q", got.Command, want)
		}
		if got.ExitCode == nil || *got.ExitCode != 0 || got.Timestamp != "2025-07-21T12:00:00.723000" {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("the run is in the action log, and does not move the time of the last update", func(t *testing.T) {
		lines := f.lines(p.Key)
		if got := lines[len(lines)-1]; got != "'owner' executed 1 commands." {
			t.Errorf("got %q", got)
		}
		if got := f.pod(p.Key).UpdatedAt; !got.Equal(p.UpdatedAt) {
			t.Errorf("got UpdatedAt %v, want %v", got, p.UpdatedAt)
		}
	})
	t.Run("an exit code is told", func(t *testing.T) {
		got := result[wireReport](t, f.want(http.StatusOK, "POST", "/v3/pods/web/exec", "owner", `{"commands":["fail"]}`)).ExecutionResults[0]
		if got.ExitCode == nil || *got.ExitCode != 3 || got.Stderr != "no" || got.Success != false {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("an error of the cluster is told in general", func(t *testing.T) {
		got := result[wireReport](t, f.want(http.StatusOK, "POST", "/v3/pods/web/exec", "owner", `{"commands":["lost"]}`)).ExecutionResults[0]
		if got.ExitCode != nil || strings.Contains(got.Stderr, "10.0.0.1") || got.Stderr == "" {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("output is kept up to the limit", func(t *testing.T) {
		got := result[wireReport](t, f.want(http.StatusOK, "POST", "/v3/pods/web/exec", "owner", `{"commands":[["twice"],["twice"]]}`)).ExecutionResults
		kept := 0
		for _, e := range got {
			kept += len(e.Stdout) + len(e.Stderr)
		}
		if kept != maxExecOutput || len(got) != 2 {
			t.Errorf("got %d bytes of %d commands, want %d of 2", kept, len(got), maxExecOutput)
		}
	})
	t.Run("nothing is run in what an earlier pod with the same id left behind", func(t *testing.T) {
		p.UID, ran = "uid-of-another", nil
		f.cluster.run(p)
		got := result[wireReport](t, f.want(http.StatusOK, "POST", "/v3/pods/web/exec", "owner", `{"commands":["ok"]}`)).ExecutionResults[0]
		if ran != nil || got.Success != false || !strings.Contains(got.Stderr, "no running container") {
			t.Errorf("ran %q, got %+v", ran, got)
		}
	})
}

func TestExecIsRecordedEvenIfTheClientHangsUp(t *testing.T) {
	f := newFixture(t)
	p := f.put("web")
	f.cluster.run(p)
	ctx, hangUp := context.WithCancel(t.Context())
	f.cluster.exec = func(context.Context, []string, io.Writer, io.Writer) (int, error) { hangUp(); return 0, ctx.Err() }
	s := &server{Deps: f.deps}
	s.Timeout = patience
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req := &request{Request: r, pod: p, who: pods.Principal{User: "owner", Tenant: fakeTenant("dev")}, body: []byte(`{"commands":["ok"]}`)}
	for _, op := range operations() {
		if op.id == "exec_pod_commands" {
			req.op = &op
		}
	}
	if _, err := s.execPodCommands(req); err != nil {
		t.Fatal(err)
	}
	want := "'owner' executed 1 commands. (" + stoppedByClient + ")"
	if got := f.lines(p.Key); got[len(got)-1] != want {
		t.Errorf("got action log %q, want it to end with %q", got, want)
	}
}

func TestProgramNames(t *testing.T) {
	for first, want := range map[string]string{
		"ls": "ls", "/usr/bin/env": "env", "mysql -psecret": "mysql", "PASSWORD=secret login": "PASSWORD", "/": "/",
	} {
		if got := programName(first); got != want {
			t.Errorf("programName(%q): got %q, want %q", first, got, want)
		}
	}
}
