package local

import (
	"context"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// How often a run is looked at. It starts with the first interval and slows down
// by a quarter each time, to the last.
const (
	firstInterval    = 20 * time.Millisecond
	startingInterval = 250 * time.Millisecond
	readyInterval    = 100 * time.Millisecond // a look at a lock, no more
	stoppingInterval = 50 * time.Millisecond
)

// How long a stop may take before more is done about it.
const (
	hurryLimit = 2 * time.Second          // then the shim is told to kill the program
	pushLimit  = 500 * time.Millisecond   // after that: then the shim is killed
	stopMargin = endLimit + 2*time.Second // beyond the grace: then the shim is killed
)

// dialLimit bounds one try of a port.
const dialLimit = 250 * time.Millisecond

// orphanLimit bounds the wait for processes that were killed.
const orphanLimit = 5 * time.Second

// minder watches one run. It is used by one goroutine.
type minder struct {
	*Cluster

	pod *pod
	run *run

	state    state
	ready    bool
	interval time.Duration
	asked    time.Time // when the shim was told to stop; zero: it was not
	pushed   time.Time // when the shim was told to kill the program; zero: it was not
}

// mind looks at a run once and then watches it to its end.
func (c *Cluster) mind(p *pod, r *run) {
	m := &minder{Cluster: c, pod: p, run: r, interval: firstInterval}
	if !r.alive() {
		m.ended()
		return
	}
	m.look()
	c.minders.Go(m.loop)
}

func (m *minder) loop() {
	timer := time.NewTimer(m.interval)
	defer timer.Stop()
	for m.run.alive() {
		m.look()
		timer.Reset(m.interval)
		select {
		case <-m.ctx.Done():
			return
		case <-m.run.wake:
		case <-timer.C:
		}
	}
	m.changes.Lock()
	defer m.changes.Unlock()
	m.ended()
}

// look brings what is known of the run up to date and does what is due. The
// shim was alive a moment ago.
func (m *minder) look() {
	limit := startingInterval
	if !m.state.ran() {
		m.readState()
	}
	switch stop, hurry := m.wanted(); {
	case stop:
		limit = stoppingInterval
		m.stop(hurry)
	case m.ready:
		limit = readyInterval
	case m.state.ran():
		m.probe()
	}
	m.interval = min(m.interval*5/4, limit)
}

// wanted reports whether the run shall end, and soon.
func (m *minder) wanted() (stop, hurry bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.run.removal != notRemoved, m.run.hurry.Load()
}

// readState reads what the shim reports, which may be nothing yet.
func (m *minder) readState() {
	st, err := readJSON[state](m.run.folder.state())
	if err != nil {
		return
	}
	m.state = st
	m.run.findProcess(st)
	if st.ran() {
		m.interval = firstInterval
		m.update(m.pod, func(o *pods.Observation) {
			o.Phase, o.StartedAt, o.Message = pods.PhaseRunning, st.StartedAt, ""
		})
	}
}

// probe sees whether the program serves.
func (m *minder) probe() {
	for _, key := range m.run.spec.Probe {
		if !accepts(m.ctx, m.run.spec.Addresses[key]) {
			return
		}
	}
	if m.run.image.ready != nil && !m.run.image.ready(m.run.spec.Dir) {
		return
	}
	m.ready = true
	m.update(m.pod, func(o *pods.Observation) {
		if o.Terminating {
			return
		}
		o.Ready, o.Addresses = true, map[string][]string{}
		for key, addr := range m.run.spec.Addresses {
			o.Addresses[key] = []string{addr}
		}
	})
}

// accepts reports whether an address accepts connections.
func accepts(ctx context.Context, addr string) bool {
	conn, err := (&net.Dialer{Timeout: dialLimit}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// stop tells the shim to stop, and insists if it takes too long.
func (m *minder) stop(hurry bool) {
	now := time.Now()
	switch {
	case m.run.process == nil: // not known yet
	case m.asked.IsZero():
		m.asked, m.interval = now, firstInterval
		m.signal(syscall.SIGTERM)
	case m.pushed.IsZero() && hurry && now.Sub(m.asked) > hurryLimit:
		m.pushed = now
		m.signal(syscall.SIGQUIT)
	case !m.pushed.IsZero() && now.Sub(m.pushed) > pushLimit, now.Sub(m.asked) > m.run.spec.Grace+stopMargin:
		m.signal(syscall.SIGKILL)
	}
}

// signal sends a signal to the shim. An error says that it has ended, which the
// next look at the lock tells too.
func (m *minder) signal(sig os.Signal) { _ = m.run.process.Signal(sig) }

// ended notes the end of a run, and removes it if that was asked for. changes is
// held, or the cluster is just being opened.
func (m *minder) ended() {
	if m.run.process != nil {
		_, _ = m.run.process.Wait() // fails for a shim that another process started
	}
	st, err := readJSON[state](m.run.folder.state())
	if err != nil || st.Stage != stageEnded {
		killLeftOver(st, m.run.spec.Instance)
		st.ExitCode, st.Reason, st.Message = 128+int(syscall.SIGKILL), reasonError, "the process was killed"
		m.log.Warn("the shim of a pod was killed", "tenant", m.pod.meta.Tenant, "pod_id", m.pod.meta.ID)
	}
	m.run.end()
	m.update(m.pod, func(o *pods.Observation) { terminated(o, st) })
	if m.run.removal == notRemoved {
		return
	}
	if err := m.discard(m.pod, m.run); err != nil {
		m.log.Error("a stopped pod can't be removed", "tenant", m.pod.meta.Tenant, "pod_id", m.pod.meta.ID, "error", err)
	}
}

// killLeftOver ends what runs on after a shim was killed.
func killLeftOver(st state, instance string) {
	if st.ShimPID == 0 {
		return // it was killed before it started anything
	}
	limit := time.Now().Add(orphanLimit)
	for time.Now().Before(limit) {
		left := leftOver(st, instance)
		if len(left) == 0 {
			return
		}
		for _, pid := range left {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// idle is the observation of a pod that left its folder and nothing else.
func idle(m meta) pods.Observation {
	return pods.Observation{Key: m.key(), UID: m.UID, Retained: true}
}

// pending is the observation of a run whose program was not started yet.
func pending(m meta, sp spec) pods.Observation {
	o := idle(m)
	o.Present, o.Phase, o.Instance = true, pods.PhasePending, sp.Instance
	return o
}

// terminated notes how a run ended.
func terminated(o *pods.Observation, st state) {
	o.Phase = pods.PhaseFailed
	if st.Reason == reasonCompleted {
		o.Phase = pods.PhaseSucceeded
	}
	o.Ready, o.Addresses = false, nil
	o.Terminated, o.ExitCode, o.Message, o.StartedAt = st.Reason, st.ExitCode, st.Message, st.StartedAt
}
