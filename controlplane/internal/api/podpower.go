package api

import (
	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// stopPod asks for a pod to be off, whatever it does now.
func (s *server) stopPod(r *request) (answer, error) {
	return s.setRequested(r, pods.Off, "'%s' ran stop_pod, set to OFF", "Updated pod's status_requested to OFF.")
}

// startPod asks for a stopped pod to run. A pod in any other state has to be
// stopped or restarted, so that nobody takes an ERROR for a slow start.
func (s *server) startPod(r *request) (answer, error) {
	return s.setRequested(r, pods.On, "'%s' ran start_pod, set to ON and REQUESTED", "Updated pod's status_requested to ON and requested pod.")
}

// restartPod asks for a pod to be stopped and started again; a stopped one is
// just started.
func (s *server) restartPod(r *request) (answer, error) {
	grab, err := r.queryBool("grab_latest_template_tag")
	if err != nil {
		return answer{}, err
	}
	if grab && r.pod.Definition.Template.Or("") != "" {
		return s.restartWithLatest(r)
	}
	return s.setRequested(r, pods.Restart, "'%s' ran restart_pod, set to RESTART", "Updated pod's status_requested to RESTART.")
}

// restartWithLatest restarts a pod with the newest version of the tag that its
// template is.
func (s *server) restartWithLatest(r *request) (answer, error) {
	p, err := s.change(r, func(p *pods.Pod) (pods.Event, error) {
		before := p.Definition.Template.Or("")
		ref, err := pods.ParseTemplateRef(before)
		if err != nil {
			return pods.Event{}, invalid(err)
		}
		p.Definition.Template = pods.Set(ref.Newest().String())
		if _, err := s.pin(r.Context(), r.who, &p.Definition); err != nil {
			return pods.Event{}, invalid(err)
		}
		if err := s.checkStored(r, *p); err != nil {
			return pods.Event{}, err
		}
		p.Requested = pods.Restart
		p.UpdatedAt = s.Now().UTC()
		return s.event("'%s' ran restart_pod, set to RESTART, template: %s→%s", r.who.User, before, p.Definition.Template.Or("")), nil
	})
	if err != nil {
		return answer{}, err
	}
	return s.podAnswer(r, p, "Updated pod's status_requested to RESTART."), nil
}

// setRequested changes what is asked of a pod. The log text names the caller.
func (s *server) setRequested(r *request, wish pods.Requested, log, message string) (answer, error) {
	p, err := s.change(r, func(p *pods.Pod) (pods.Event, error) {
		if wish == pods.On && shownStatus(*p) != pods.StatusStopped {
			return pods.Event{}, pods.Errorf(pods.Invalid,
				"Pod must be in 'STOPPED' status to run 'start_pod'. Please run 'stop_pod' or 'restart_pod' instead.")
		}
		if wish != pods.Off {
			if err := s.checkBindings(r, *p); err != nil {
				return pods.Event{}, err
			}
		}
		p.Requested = wish
		p.UpdatedAt = s.Now().UTC()
		return s.event(log, r.who.User), nil
	})
	if err != nil {
		return answer{}, err
	}
	return s.podAnswer(r, p, message), nil
}
