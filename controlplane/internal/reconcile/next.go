package reconcile

import (
	"fmt"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// definition is what a pod's sparse definition came to.
type definition struct {
	pods.Effective

	// domain below which the tenant's pods live; "" if the tenant can't be had.
	domain string

	// err says why Effective must not be started; it may be the zero value then.
	// Trouble with code Invalid or NotFound lies in the definition; any other
	// passes by itself.
	err error
}

// unusable reports whether the definition itself is at fault.
func (d definition) unusable() bool {
	code := pods.ErrorCode(d.err)
	return code == pods.Invalid || code == pods.NotFound
}

// effect is what a step asks of the cluster.
type effect int

const (
	noEffect effect = iota
	apply
	remove
	purge
)

// step is what to do now.
type step struct {
	state         pods.State     // to be written if it differs from the pod's
	events        []string       // for the action log, written with state
	clearInstance bool           // of time_to_stop_instance, with state
	requested     pods.Requested // to be written before state; "" leaves it
	keepLogs      bool           // save the container's output before the effect
	effect        effect

	// again asks for another pass at once, after for one when that time is over
	// and no event came sooner. Zero means that an event is all it takes.
	again bool
	after time.Duration
}

// to changes the status; the time and the event count only if it is a change.
func (s *step) to(status pods.Status, now time.Time, event string) {
	if s.state.Status == status {
		return
	}
	s.state.Status, s.state.Since = status, now
	if event != "" {
		s.events = append(s.events, event)
	}
}

// next decides the one step to take now. It is pure; TestNext is the state
// machine in table form.
func (c Settings) next(p pods.Pod, d definition, o pods.Observation, now time.Time) step {
	s := step{state: p.State}
	switch {
	case leftover(p, o):
		c.waitForPurge(&s, p)
	case p.Requested != pods.On:
		c.off(&s, p, o, now)
	case o.Foreign != "":
		s.fail(foreignText(o.Foreign), now, textForeign)
	default:
		c.on(&s, d, o, now)
	}
	return s
}

// leftover reports whether the cluster holds objects of an earlier pod with the
// same id.
func leftover(p pods.Pod, o pods.Observation) bool {
	return o.Foreign == "" && o.UID != "" && o.UID != p.UID && (exists(o) || o.Retained)
}

// exists reports whether anything that makes a pod run is in the cluster.
func exists(o pods.Observation) bool { return o.Present || o.Terminating }

// gone reports whether the cluster holds no container of the pod, be it that
// other objects are left.
func gone(o pods.Observation) bool { return !exists(o) || o.Phase == pods.PhaseNone }

// waitForPurge puts everything off until the objects of an earlier pod are gone.
func (c Settings) waitForPurge(s *step, p pods.Pod) {
	s.state.Ready = false
	if p.Requested == pods.On && s.state.Status == pods.StatusRequested {
		s.state.Container.Message = messageLeftover
	}
	s.effect = purge
	s.after = c.Recheck
}

// fail ends a start or a run in ERROR. Nothing is removed: what is left helps to
// find out why.
func (s *step) fail(message string, now time.Time, event string) {
	s.to(pods.StatusError, now, event)
	s.state.Ready = false
	s.state.NextAttempt = nil
	s.state.Container.Message = message
}

// off is next for a pod that shall not run, or not before it was stopped.
func (c Settings) off(s *step, p pods.Pod, o pods.Observation, now time.Time) {
	if o.Foreign != "" {
		o = pods.Observation{Key: o.Key} // not ours, so nothing to remove
	}
	stopped := p.State.Status == pods.StatusStopped || p.State.Status == ""
	switch {
	case stopped && !exists(o):
		c.atRest(s, p, now)
	case p.State.Status != pods.StatusDeleting:
		s.to(pods.StatusDeleting, now, fmt.Sprintf(textRemoving, p.Requested))
		s.state.Ready = false
		s.state.Attempts, s.state.NextAttempt = 0, nil
		s.again = true
	case exists(o):
		c.removeRun(s, o)
	default:
		text := textStopped
		if p.Requested == pods.Restart {
			text, s.requested, s.again = textRestarted, pods.On, true
		}
		s.stop(now, text)
		s.clearInstance = true
	}
}

// atRest leaves a stopped pod alone unless it shall start.
func (c Settings) atRest(s *step, p pods.Pod, now time.Time) {
	if p.Requested == pods.Restart {
		s.requested = pods.On
		s.to(pods.StatusRequested, now, textRequested)
		s.again = true
		return
	}
	s.to(pods.StatusStopped, now, "")
}

// removeRun asks the cluster to end a run. The container's last words are kept
// when it has ended; before that, in case nobody tells us about its end.
func (c Settings) removeRun(s *step, o pods.Observation) {
	s.effect = remove
	s.keepLogs = !o.Terminating || o.Terminated != ""
	s.after = c.Recheck
}

// stop forgets a run.
func (s *step) stop(now time.Time, event string) {
	s.to(pods.StatusStopped, now, event)
	s.state = pods.State{Status: s.state.Status, Since: s.state.Since, Version: s.state.Version}
	s.keepLogs = true // where the cluster still has them
}

// on is next for a pod that shall run.
func (c Settings) on(s *step, d definition, o pods.Observation, now time.Time) {
	switch s.state.Status {
	case pods.StatusRequested:
		c.requested(s, d, o, now)
	case pods.StatusSpawnerSetup:
		c.setup(s, d, o, now)
	case pods.StatusCreating, pods.StatusAvailable, pods.StatusError, pods.StatusComplete:
		c.started(s, d, o, now)
	case pods.StatusDeleting:
		c.retry(s, o, now)
	default:
		s.to(pods.StatusRequested, now, textRequested)
		s.again = true
	}
}

// requested waits for what a start needs.
func (c Settings) requested(s *step, d definition, o pods.Observation, now time.Time) {
	switch wait := untilAttempt(s.state, now); {
	case d.unusable():
		s.fail(unresolvedText(d.err), now, textUnresolved)
	case d.err != nil:
		// It is tried again as an error of this pass.
	case o.Terminating:
		s.state.Container.Message = messageLastRun
		s.after = c.Recheck
	case wait > 0:
		s.after = wait
	default:
		s.to(pods.StatusSpawnerSetup, now, "")
		s.state.NextAttempt = nil
		s.again = true
	}
}

func untilAttempt(st pods.State, now time.Time) time.Duration {
	if st.NextAttempt == nil {
		return 0
	}
	return st.NextAttempt.Sub(now)
}

// setup asks the cluster for the pod, again and again until it was accepted or
// refused; see applied and applyFailed.
func (c Settings) setup(s *step, d definition, o pods.Observation, now time.Time) {
	switch {
	case d.unusable():
		s.fail(unresolvedText(d.err), now, textUnresolved)
	case !exists(o) && now.Sub(s.state.Since) >= c.StallAfter:
		c.startOver(s, now, c.stalledText(s.state.Status))
	case d.err != nil:
		// It is tried again as an error of this pass.
	case o.Terminating:
		s.after = c.Recheck
	default:
		s.effect = apply
	}
}

// applied is the step after the cluster has accepted the pod.
func (c Settings) applied(p pods.Pod, now time.Time) step {
	s := step{state: p.State, again: true}
	s.to(pods.StatusCreating, now, textApplied)
	s.state.Container = pods.ContainerStatus{}
	return s
}

// applyFailed is the step after the cluster has refused the pod, or did not
// answer.
func (c Settings) applyFailed(p pods.Pod, err error, now time.Time) step {
	s := step{state: p.State}
	if outage(err) {
		// Not the pod's fault, so not an attempt. Whoever called takes care that
		// it is tried again.
		s.state.Container.Message = messageOutage
		return s
	}
	s.again = true
	s.state.Attempts++
	if pods.ErrorCode(err) == pods.Invalid {
		s.state.Attempts = c.MaxAttempts // the same answer would come again
	}
	c.scheduleAttempt(&s, now)
	s.to(pods.StatusDeleting, now, textApplyFailed)
	s.state.Container.Message = applyFailedText(err, s.state.Attempts, c.MaxAttempts)
	return s
}

func (c Settings) scheduleAttempt(s *step, now time.Time) {
	s.state.NextAttempt = new(now.Add(backoff(s.state.Attempts, c.AttemptBackoff, c.StallAfter)))
}

// retry removes what a failed start left, then starts over or gives up. It also
// ends a removal that was under way when the user changed their mind.
func (c Settings) retry(s *step, o pods.Observation, now time.Time) {
	switch {
	case exists(o):
		c.removeRun(s, o)
	case s.state.Attempts >= c.MaxAttempts:
		s.fail(s.state.Container.Message, now, textGaveUp)
	default:
		c.startOver(s, now, textVanished)
	}
}

// startOver makes a pod that shall run STOPPED, from where it starts again.
func (c Settings) startOver(s *step, now time.Time, event string) {
	was := s.state
	s.stop(now, event)
	s.clearInstance = was.StartedAt != nil // a start that is tried again is still the same run to its user
	if was.Attempts > 0 {
		s.state.Attempts, s.state.NextAttempt = was.Attempts, was.NextAttempt
		s.state.Container.Message = was.Container.Message
	}
	s.again = true
}
