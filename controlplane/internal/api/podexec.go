package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// Limits of one exec request.
const (
	maxCommands    = 100
	maxExecSeconds = 3600
	maxExecOutput  = 10 << 20 // bytes, stdout and stderr of all commands together
)

// execBody is what a client asks to run.
type execBody struct {
	commands       [][]string // argument vectors
	totalTimeout   time.Duration
	commandTimeout time.Duration
	failFast       bool
}

// execResult is what came of one command.
type execResult struct {
	Command     []string       `json:"command"` // as asked for, placeholders not filled in
	Stdout      string         `json:"stdout"`
	Stderr      string         `json:"stderr"`
	Success     any            `json:"success"` // true, false, or the text of a timeout
	ExitCode    *int           `json:"exit_code"`
	DurationSec float64        `json:"duration_sec"`
	Timestamp   pods.Timestamp `json:"timestamp"` // of its start
}

// execReport is what came of a whole request.
type execReport struct {
	ExecutionResults   []execResult `json:"execution_results"`
	TotalCommands      int          `json:"total_commands"`
	SuccessfulCommands int          `json:"successful_commands"`
}

// Why the rest of the commands did not run.
const (
	stoppedByTotal   = "Execution stopped due to total timeout. Consider increasing the total_timeout parameter."
	stoppedByCommand = "Execution stopped due to command timeout on latest command. Consider increasing the command_timeout parameter."
	stoppedByFailure = "Execution stopped due to command failure on latest command. Consider setting fail_on_non_success=False to continue through errors."
	stoppedByClient  = "Execution stopped because the client hung up."
)

// execPodCommands runs commands in the pod's container, one after another,
// without a shell. Commands that fail are part of the answer, not an error of
// the request.
func (s *server) execPodCommands(r *request) (answer, error) {
	body, err := decodeExec(r.body)
	if err != nil {
		return answer{}, err
	}
	creds, err := s.storedCredentials(r)
	if err != nil {
		return answer{}, err
	}
	run := execution{
		server: s, pod: r.pod, fill: pods.NewPlaceholders(r.pod, creds),
		body: body, output: &outputBudget{left: maxExecOutput},
	}
	report, why := run.all(r.Context())
	if err := s.audit(r, report, why); err != nil {
		// The commands were run: who asked must learn what came of them.
		traceOf(r.Request).failed(fmt.Errorf("recording commands: %w", err))
	}
	return answer{message: report.message(why), result: report}, nil
}

func (e execReport) message(why string) string {
	text := "All Commands Successful"
	if e.SuccessfulCommands < e.TotalCommands {
		text = fmt.Sprintf("%d of %d commands successful", e.SuccessfulCommands, e.TotalCommands)
	}
	if why != "" {
		text += " - " + why
	}
	return text
}

// line is what the pod's action log says about the run.
func (e execReport) line(user, why string) string {
	text := fmt.Sprintf("'%s' executed %d commands.", user, len(e.ExecutionResults))
	if why != "" {
		text += " (" + why + ")"
	}
	return text
}

// execution is a request under way.
type execution struct {
	*server

	pod    pods.Pod
	fill   pods.Placeholders
	body   execBody
	output *outputBudget
}

// all runs the commands until one of them ends the run, and says why it did;
// "" if all were run.
func (x *execution) all(ctx context.Context) (execReport, string) {
	ctx, cancel := context.WithTimeout(ctx, x.body.totalTimeout)
	defer cancel()
	report := execReport{ExecutionResults: []execResult{}, TotalCommands: len(x.body.commands)}
	for _, argv := range x.body.commands {
		if ctx.Err() != nil {
			return report, endOf(ctx)
		}
		result, why := x.one(ctx, argv)
		report.ExecutionResults = append(report.ExecutionResults, result)
		if result.Success == true {
			report.SuccessfulCommands++
		}
		if why != "" {
			return report, why
		}
	}
	return report, ""
}

// one runs a command. It says why no more may be run, "" if they may.
func (x *execution) one(ctx context.Context, argv []string) (execResult, string) {
	cmdCtx, cancel := context.WithTimeout(ctx, x.body.commandTimeout)
	defer cancel()
	stdout, stderr := &limitedBuffer{budget: x.output}, &limitedBuffer{budget: x.output}
	start := x.Now()
	code, err := x.run(cmdCtx, argv, stdout, stderr)
	result := execResult{
		Command: argv, Stdout: stdout.text(), Stderr: stderr.text(), Success: err == nil && code == 0,
		DurationSec: x.Now().Sub(start).Round(time.Millisecond).Seconds(), Timestamp: pods.At(start),
	}
	switch {
	case err == nil:
		result.ExitCode = &code
	case ctx.Err() != nil:
		result.Success = timeoutText(x.body.totalTimeout)
		return result, endOf(ctx)
	case cmdCtx.Err() != nil:
		result.Success = timeoutText(x.body.commandTimeout)
		if x.body.failFast {
			return result, stoppedByCommand
		}
		return result, ""
	default:
		if result.Stderr != "" {
			result.Stderr += "\n"
		}
		result.Stderr += failureText(err)
	}
	if result.Success != true && x.body.failFast {
		return result, stoppedByFailure
	}
	return result, ""
}

// run runs one command, with placeholders filled in.
func (x *execution) run(ctx context.Context, argv []string, stdout, stderr io.Writer) (int, error) {
	if err := x.runs(ctx, x.pod); err != nil {
		return 0, err
	}
	filled := make([]string, len(argv))
	for i, arg := range argv {
		filled[i] = x.fill.Replace(arg)
	}
	return x.Cluster.Exec(ctx, x.pod.Key, filled, stdout, stderr)
}

// endOf says why the context of a run ended.
func endOf(ctx context.Context) string {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return stoppedByTotal
	}
	return stoppedByClient
}

func timeoutText(d time.Duration) string {
	return fmt.Sprintf("Timeout after %d seconds.", int(d.Seconds()))
}

// failureText says why a command could not be run, as far as the caller may know.
func failureText(err error) string {
	if e, ok := errors.AsType[*pods.Error](err); ok && e.Code != pods.Internal {
		return strings.Join(e.Messages, " ")
	}
	return "The command could not be run: the cluster did not answer as expected."
}

// outputBudget is what may still be kept of the output of a request's commands.
// It is safe for concurrent use: a cluster may write both streams at once.
type outputBudget struct {
	mu   sync.Mutex
	left int // bytes
}

// take returns how many of n bytes may be kept, and counts them.
func (b *outputBudget) take(n int) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n = min(n, b.left)
	b.left -= n
	return n
}

// limitedBuffer keeps what is written to it as long as the budget lasts, and
// drops the rest: a command must not fail because it talks too much.
type limitedBuffer struct {
	bytes.Buffer
	budget *outputBudget
}

func (b *limitedBuffer) Write(p []byte) (int, error) {
	b.Buffer.Write(p[:b.budget.take(len(p))])
	return len(p), nil
}

// text returns what was kept as it can stand in JSON.
func (b *limitedBuffer) text() string { return strings.ToValidUTF8(b.String(), "\uFFFD") }

// audit writes what was run into the pod's action log and into ours: program
// names only, since arguments may be secret.
func (s *server) audit(r *request, report execReport, why string) error {
	programs := make([]string, 0, len(report.ExecutionResults))
	for _, e := range report.ExecutionResults {
		programs = append(programs, programName(e.Command[0]))
	}
	s.Logger.InfoContext(r.Context(), "commands executed in pod",
		slog.String("tenant", r.pod.Tenant), slog.String("pod_id", string(r.pod.ID)), slog.String("user", r.who.User),
		slog.Any("programs", programs), slog.Int("successful", report.SuccessfulCommands))
	// The commands were run, whether the client still waits or not.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), s.Timeout)
	defer cancel()
	_, err := s.change(r.during(ctx), func(*pods.Pod) (pods.Event, error) { return s.event("%s", report.line(r.who.User, why)), nil })
	return err
}

// programName returns what may be told of a command: the name of its program.
// Some clients send a whole line as the first word, for example "X=secret login".
func programName(first string) string {
	word, _, _ := strings.Cut(strings.TrimSpace(first), " ")
	name, _, _ := strings.Cut(path.Base(word), "=")
	return name
}

// decodeExec reads the body of an exec request. Fields it does not know are
// ignored, as clients are used to.
func decodeExec(body []byte) (execBody, error) {
	var fields struct {
		Commands       json.RawMessage `json:"commands"`
		TotalTimeout   *int            `json:"total_timeout"`
		CommandTimeout *int            `json:"command_timeout"`
		FailFast       *bool           `json:"fail_on_non_success"`
	}
	if err := json.Unmarshal(body, &fields); err != nil {
		return execBody{}, execTypeError(err)
	}
	x := execBody{failFast: fields.FailFast == nil || *fields.FailFast}
	var err error
	if x.totalTimeout, err = seconds("total_timeout", fields.TotalTimeout, 300); err != nil {
		return execBody{}, err
	}
	if x.commandTimeout, err = seconds("command_timeout", fields.CommandTimeout, 60); err != nil {
		return execBody{}, err
	}
	x.commands, err = decodeCommands(fields.Commands)
	return x, err
}

// execTypeError words the errors of encoding/json as validation errors.
func execTypeError(err error) error {
	e, ok := errors.AsType[*json.UnmarshalTypeError](err)
	switch {
	case !ok:
		return invalidf("body: not valid JSON: %v", err)
	case e.Field == "":
		return invalidf("body: a JSON object was expected")
	default:
		return invalidf("body, %s: %s was expected, got %s", e.Field, e.Type, e.Value)
	}
}

func seconds(field string, n *int, def int) (time.Duration, error) {
	if n == nil {
		return time.Duration(def) * time.Second, nil
	}
	if *n < 1 || *n > maxExecSeconds {
		return 0, invalidf("body, %s: %d is not between 1 and %d seconds", field, *n, maxExecSeconds)
	}
	return time.Duration(*n) * time.Second, nil
}

// decodeCommands reads a list of argument vectors, or a single one.
func decodeCommands(raw json.RawMessage) ([][]string, error) {
	if len(raw) == 0 {
		return nil, invalidf("body, commands: field required")
	}
	var one []string
	var many [][]string
	if err := json.Unmarshal(raw, &one); err == nil {
		if len(one) > 0 {
			many = [][]string{one}
		}
	} else if err := json.Unmarshal(raw, &many); err != nil {
		return nil, invalidf("body, commands: a list of strings (one command and its arguments) or a list of such lists was expected")
	}
	if len(many) == 0 {
		return nil, invalidf("body, commands: at least one command is needed")
	}
	if len(many) > maxCommands {
		return nil, invalidf("body, commands: %d commands, at most %d are allowed", len(many), maxCommands)
	}
	for i, argv := range many {
		if len(argv) == 0 || argv[0] == "" {
			return nil, invalidf("body, commands, %d: the command is empty", i)
		}
	}
	return many, nil
}
