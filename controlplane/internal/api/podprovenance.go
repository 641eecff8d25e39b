package api

import (
	"reflect"
	"strings"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// getPodProvenance answers with where the value of each field of a pod comes
// from: the pod, its templates, or a default.
func (s *server) getPodProvenance(r *request) (answer, error) {
	chain, err := pods.TemplateChain(r.Context(), s.Store, r.pod.Definition)
	if err != nil {
		return answer{}, invalid(err)
	}
	definitions := pods.Definitions(chain)
	e, err := pods.Resolve(r.pod.ID, r.who.Tenant.Domain(), s.Settings, r.pod.Definition, definitions...)
	v := pods.NewProvenance(r.pod, e, definitions...)
	pending, pendingErr := s.pendingRestart(r, e)
	if pendingErr != nil {
		return answer{}, pendingErr
	}
	v.PendingRestart = pending
	a := answer{message: "Pod provenance retrieved successfully.", result: v}
	if err != nil {
		a.warn(warning(r.pod, err))
	}
	return a, nil
}

// getPodOverrides answers with what was set on a pod, and nothing else.
func (s *server) getPodOverrides(r *request) (answer, error) {
	o := pods.NewOverrides(r.pod)
	o.Status = shownStatus(r.pod)
	return answer{message: "Pod overrides retrieved successfully.", result: o}, nil
}

// resetPodField gives fields of a pod back to its template. A running pod goes
// on as it is until it is restarted.
func (s *server) resetPodField(r *request) (answer, error) {
	fields, err := pods.DecodeReset(r.body)
	if err != nil {
		return answer{}, invalid(err)
	}
	p, err := s.change(r, func(p *pods.Pod) (pods.Event, error) {
		if p.Definition.Template.Or("") == "" {
			return pods.Event{}, invalidf("fields: the pod has no template that they could be reset to.")
		}
		reset, err := p.Definition.Reset(fields)
		if err != nil {
			return pods.Event{}, err
		}
		if reflect.DeepEqual(reset, p.Definition) {
			return pods.Event{}, invalidf("fields: nothing to reset; the pod sets none of them itself.")
		}
		p.Definition = reset
		if err := s.checkStored(r, *p); err != nil {
			return pods.Event{}, err
		}
		p.UpdatedAt = s.Now().UTC()
		return s.event("'%s' reset %s", r.who.User, strings.Join(fields, ", ")), nil
	})
	if err != nil {
		return answer{}, err
	}
	return s.podAnswer(r, p, "Pod fields reset successfully."), nil
}
