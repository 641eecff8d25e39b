package reconcile

import (
	"fmt"
	"slices"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// started follows a container that the cluster has accepted.
func (c Settings) started(s *step, d definition, o pods.Observation, now time.Time) {
	switch {
	case o.Terminating:
		s.state.Ready = false // somebody else ends it
		s.after = c.Recheck
	case gone(o):
		c.vanished(s, now)
	default:
		c.follow(s, d, o, now)
	}
}

// vanished starts a pod again whose container went away without having ended.
func (c Settings) vanished(s *step, now time.Time) {
	st := &s.state
	st.Ready = false
	seen := st.Container.Phase != "" // else the cluster may just not show it yet
	switch {
	case st.Status == pods.StatusError || st.Status == pods.StatusComplete:
	case st.Status == pods.StatusAvailable || seen:
		c.countVanished(s, now)
		c.startOverOrGiveUp(s, now, textVanished)
	case now.Sub(st.Since) < c.StallAfter:
		s.after = st.Since.Add(c.StallAfter).Sub(now)
	default:
		st.Attempts++
		c.startOverOrGiveUp(s, now, c.stalledText(st.Status))
	}
}

// startOverOrGiveUp starts a pod over unless that was tried too often.
func (c Settings) startOverOrGiveUp(s *step, now time.Time, event string) {
	if s.state.Attempts < c.MaxAttempts {
		c.startOver(s, now, event)
		return
	}
	s.fail(fmt.Sprintf(messageGaveUp, s.state.Attempts), now, textGaveUp)
}

// countVanished counts a run that did not last as a failed start. The first of
// them, and any run that did last, is started again at once.
func (c Settings) countVanished(s *step, now time.Time) {
	st := &s.state
	if st.StartedAt != nil && now.Sub(*st.StartedAt) >= c.SteadyAfter {
		st.Attempts, st.NextAttempt = 0, nil
		return
	}
	st.Attempts++
	st.Container.Message = messageVanished
	if st.Attempts > 1 {
		c.scheduleAttempt(s, now)
	}
}

func (c Settings) stalledText(status pods.Status) string {
	return fmt.Sprintf(textStalled, status, int(c.StallAfter.Minutes()))
}

// follow copies what the cluster shows of a container into the state.
func (c Settings) follow(s *step, d definition, o pods.Observation, now time.Time) {
	v := judge(o, d)
	failed := s.state.Status == pods.StatusError || s.state.Status == pods.StatusComplete
	if v.status == "" && failed {
		s.state.Ready = false
		return // it may come to run after all; until then the reason stays
	}
	s.state.Ready = v.status == pods.StatusAvailable && o.Ready
	s.state.Instance = o.Instance
	s.state.Container = pods.ContainerStatus{
		Phase: string(o.Phase), StartTime: utc(o.StartedAt), Message: v.message, RestartCount: o.Restarts,
	}
	if v.status == "" {
		return
	}
	s.keepLogs = v.ended && s.state.Status != v.status
	if v.status == pods.StatusAvailable && (s.state.Status != v.status || s.state.StartedAt == nil) {
		s.state.StartedAt, s.state.NextAttempt = &now, nil
	}
	s.to(v.status, now, v.event)
	if v.status == pods.StatusAvailable {
		c.timeToStop(s, d, now)
	}
}

// verdict is what an observed container means for the status.
type verdict struct {
	status  pods.Status // "" leaves it
	message string
	event   string
	ended   bool
}

// judge says what an observed container means. d may be without its effective
// definition.
func judge(o pods.Observation, d definition) verdict {
	switch {
	case o.Phase == pods.PhaseSucceeded, o.Terminated == reasonCompleted && o.ExitCode == 0:
		return verdict{pods.StatusComplete, messageSucceeded, textSucceeded, true}
	case o.Terminated != "" || o.Phase == pods.PhaseFailed:
		return verdict{pods.StatusError, fmt.Sprintf(messageTerminated, terminatedText(o, d.Resources)), textTerminated, true}
	case o.Waiting != "" && !slices.Contains(transientReasons, o.Waiting):
		return verdict{pods.StatusError, fmt.Sprintf(messageWaiting, waitingText(o)), textWaiting, false}
	case o.Phase == pods.PhaseRunning && o.Waiting == "":
		return verdict{pods.StatusAvailable, messageRunning, textAvailable, false}
	default:
		return verdict{message: initializingText(o)}
	}
}

// timeToStop keeps the deadline of a run, and turns the pod OFF when it is over.
func (c Settings) timeToStop(s *step, d definition, now time.Time) {
	if d.err == nil {
		s.state.StopAt = deadline(*s.state.StartedAt, d.Effective)
	}
	if s.state.StopAt == nil {
		return
	}
	left := s.state.StopAt.Sub(now)
	if left > 0 {
		s.after = left
		return
	}
	s.requested = pods.Off
	s.events = append(s.events, textTimeToStop)
	s.again = true
}

// deadline returns when a run has to end, nil for never.
func deadline(started time.Time, e pods.Effective) *time.Time {
	seconds := e.TimeToStopDefault
	if e.TimeToStopInstance != nil {
		seconds = *e.TimeToStopInstance
	}
	if seconds < 0 {
		return nil
	}
	return new(started.Add(time.Duration(seconds) * time.Second))
}

// utc returns t as the store keeps times.
func utc(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	return new(t.UTC().Truncate(time.Microsecond))
}
