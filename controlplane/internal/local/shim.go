package local

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// ShimCommand and HelloCommand are the subcommands of podway that pods run as:
// main hands their arguments to [ShimMain] and to hello.Main.
const (
	ShimCommand  = "pod-shim"
	HelloCommand = "hello"
)

// lockFD is the open lock file that a shim inherits.
const lockFD = 3

// How long the shim waits at the end of a run for what may hang: processes that
// don't die, and output that doesn't end.
const endLimit = 5 * time.Second

// ShimMain is the program `podway pod-shim <run folder>`: it runs one pod as the
// folder's spec says and reports to the folder's state. Only [Cluster] starts
// it, and hands it the locked lock file. SIGTERM and SIGINT stop the pod in
// order, SIGQUIT at once. It returns the exit status of the shim, which is 0
// whatever became of the pod.
func ShimMain(args []string) int {
	// The program is to be killed with the thread that started it; this one lives
	// as long as the process.
	runtime.LockOSThread()
	if len(args) != 1 || !inheritedLock(runFolder(args[0])) {
		fmt.Fprintln(os.Stderr, "pod-shim: only the local cluster of podway can start this")
		return 2
	}
	syscall.CloseOnExec(lockFD)
	s, err := newShim(runFolder(args[0]))
	if err != nil {
		fmt.Fprintf(os.Stderr, "pod-shim: %v\n", err)
		return 1
	}
	if err := s.run(); err != nil {
		fmt.Fprintf(os.Stderr, "pod-shim: %v\n", err)
		return 1
	}
	return 0
}

// inheritedLock reports whether lockFD is the lock file of a run. Without it the
// pod would run unseen, and perhaps twice.
func inheritedLock(folder runFolder) bool {
	var inherited, lock syscall.Stat_t
	return syscall.Fstat(lockFD, &inherited) == nil && syscall.Stat(folder.lock(), &lock) == nil &&
		inherited.Dev == lock.Dev && inherited.Ino == lock.Ino
}

// shim runs one pod. It is used by one goroutine.
type shim struct {
	folder   runFolder
	spec     spec
	state    state
	signals  chan os.Signal
	stopping bool

	output  *os.File // where programs write
	drained chan struct{}
}

func newShim(folder runFolder) (*shim, error) {
	sp, err := readJSON[spec](folder.spec())
	if err != nil {
		return nil, err
	}
	log, err := openLog(sp.Log)
	if err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("making a pipe: %w", err)
	}
	s := &shim{folder: folder, spec: sp, output: w, drained: make(chan struct{}), signals: make(chan os.Signal, 4)}
	// SIGHUP is caught to be ignored: to ignore it would hand that down to the
	// program.
	signal.Notify(s.signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP)
	go func() {
		defer close(s.drained)
		_, _ = io.Copy(log, r) // the log swallows its errors, and reading a pipe has none
	}()
	return s, nil
}

// run runs the pod to its end.
func (s *shim) run() error {
	if err := adoptOrphans(); err != nil {
		return err
	}
	pid := os.Getpid()
	s.state = state{Stage: stagePreparing, ShimPID: pid, ShimStart: startTime(pid)}
	if err := s.report(); err != nil {
		return err
	}
	if err := s.prepare(); err != nil {
		s.ended(1, reasonError, err.Error())
	} else {
		s.runMain()
	}
	s.clean()
	s.state.Stage, s.state.EndedAt = stageEnded, new(time.Now().UTC())
	return s.report()
}

// ended notes how the run ended.
func (s *shim) ended(code int, reason, message string) {
	s.state.ExitCode, s.state.Reason, s.state.Message = code, reason, message
}

func (s *shim) report() error { return writeJSON(s.folder.state(), s.state) }

// prepare makes what the program finds in its storage, if it is not there.
func (s *shim) prepare() error {
	set := s.spec.Setup
	if set == nil || exists(set.Creates) {
		return nil
	}
	if err := os.RemoveAll(set.Making); err != nil {
		return fmt.Errorf("preparing the storage: %w", err)
	}
	for _, c := range set.Commands {
		name := filepath.Base(c.Argv[0])
		p, err := s.start(c)
		if err != nil {
			return fmt.Errorf("preparing the storage: starting %s: %w", name, err)
		}
		if ws := s.supervise(p, syscall.SIGTERM); ws.ExitStatus() != 0 {
			return fmt.Errorf("preparing the storage: %s failed, see the logs", name)
		}
	}
	if err := os.Rename(set.Making, set.Creates); err != nil {
		return fmt.Errorf("preparing the storage: %w", err)
	}
	return nil
}

// runMain runs the pod's program to its end and notes how it ended.
func (s *shim) runMain() {
	if s.stopping {
		s.ended(128+int(syscall.SIGTERM), reasonError, "the pod was stopped before its program started")
		return
	}
	p, err := s.start(s.spec.Main)
	if err != nil {
		s.ended(128, reasonStartError, fmt.Sprintf("starting %s: %v", s.spec.Main.Argv[0], err))
		return
	}
	s.state.Stage, s.state.PID, s.state.StartedAt = stageRunning, p.pid, new(time.Now().UTC())
	if err := s.report(); err != nil {
		// Nobody would learn that the program runs.
		kill(p.pid)
		<-p.done
		s.ended(128, reasonStartError, err.Error())
		return
	}
	s.ended(ending(s.supervise(p, s.spec.StopSignal)))
}

// ending says in words how a program ended.
func ending(ws syscall.WaitStatus) (code int, reason, message string) {
	switch {
	case ws.Signaled():
		return 128 + int(ws.Signal()), reasonError, fmt.Sprintf("the program was ended by signal %d (%v)", ws.Signal(), ws.Signal())
	case ws.ExitStatus() != 0:
		return ws.ExitStatus(), reasonError, fmt.Sprintf("the program ended with status %d", ws.ExitStatus())
	default:
		return 0, reasonCompleted, ""
	}
}

// child is a started program.
type child struct {
	pid  int
	done <-chan syscall.WaitStatus
}

func (s *shim) start(c command) (child, error) {
	stdin, err := input(c.Stdin)
	if err != nil {
		return child{}, err
	}
	defer stdin.Close()
	stdout := s.output
	if c.Quiet {
		if stdout, err = os.OpenFile(os.DevNull, os.O_WRONLY, 0); err != nil {
			return child{}, err
		}
		defer stdout.Close()
	}
	pid, err := syscall.ForkExec(c.Argv[0], c.Argv, &syscall.ProcAttr{
		Dir: s.spec.Dir, Env: s.spec.Env, Sys: s.spec.User.sysProcAttr(),
		Files: []uintptr{stdin.Fd(), stdout.Fd(), s.output.Fd()},
	})
	if err != nil {
		return child{}, err
	}
	done := make(chan syscall.WaitStatus, 1)
	go func() { done <- reap(pid) }()
	return child{pid: pid, done: done}, nil
}

// input returns a file that reads as text.
func input(text string) (*os.File, error) {
	if text == "" {
		return os.Open(os.DevNull)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("making a pipe: %w", err)
	}
	go func() {
		defer w.Close()
		// A program that doesn't read its input says so by its exit status.
		_, _ = io.WriteString(w, text)
	}()
	return r, nil
}

// reap collects ended children, adopted ones too, until pid is among them.
func reap(pid int) syscall.WaitStatus {
	for {
		var ws syscall.WaitStatus
		got, err := syscall.Wait4(-1, &ws, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil || got == pid:
			return ws
		}
	}
}

// supervise waits for the end of a program and passes the wish to stop on to it.
func (s *shim) supervise(p child, stop syscall.Signal) syscall.WaitStatus {
	var overdue <-chan time.Time
	for {
		select {
		case ws := <-p.done:
			return ws
		case <-overdue:
			kill(p.pid)
		case sig := <-s.signals:
			switch {
			case sig == syscall.SIGQUIT:
				s.stopping = true
				kill(p.pid)
			case sig != syscall.SIGHUP && !s.stopping:
				s.stopping = true
				_ = syscall.Kill(p.pid, stop)
				overdue = time.After(s.spec.Grace)
			}
		}
	}
}

// kill ends a program and its process group. An error says that they ended
// already.
func kill(pid int) {
	_ = syscall.Kill(-pid, syscall.SIGKILL)
	_ = syscall.Kill(pid, syscall.SIGKILL)
}

// clean ends whatever the programs left behind and waits for the rest of the
// output.
func (s *shim) clean() {
	s.output.Close()
	limit := time.Now().Add(endLimit)
	for time.Now().Before(limit) {
		killDescendants(s.state.PID)
		_, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		if errors.Is(err, syscall.ECHILD) {
			break
		}
		time.Sleep(2 * time.Millisecond)
	}
	select {
	case <-s.drained:
	case <-time.After(time.Until(limit)):
	}
}
