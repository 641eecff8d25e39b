package api

import (
	"context"
	"errors"
	"fmt"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// shown is the effective definition as lists and answers show it: without
// templates, so that it tells what was set on the pod. If that is no valid pod,
// the error says why; the definition is complete even then.
func (s *server) shown(t pods.Tenant, p pods.Pod) (pods.Effective, error) {
	return pods.Show(p.ID, t.Domain(), s.Settings, p.Definition)
}

// view renders a pod. A pod that is to run but still counts as stopped is shown
// as REQUESTED: its start is the next thing that happens, and clients that wait
// for it must not take the old STOPPED for its outcome.
func (s *server) view(p pods.Pod, e pods.Effective) pods.View {
	p.State.Status = shownStatus(p)
	return pods.NewView(p, e)
}

func shownStatus(p pods.Pod) pods.Status {
	if p.Requested == pods.On && p.State.Status == pods.StatusStopped {
		return pods.StatusRequested
	}
	return p.State.Status
}

// podAnswer answers with a pod. It remains readable when its definition has
// become invalid; a warning says so then.
func (s *server) podAnswer(r *request, p pods.Pod, message string) answer {
	e, err := s.shown(r.who.Tenant, p)
	a := answer{message: message, result: s.view(p, e), metadata: map[string]any{}}
	if err != nil {
		a.metadata["warnings"] = []string{warning(p, err)}
	}
	if warnings := pods.SyntaxWarnings(e); len(warnings) > 0 {
		a.metadata["config_syntax_warnings"] = warnings
	}
	return a
}

// views renders a list of pods. Those whose definition has become invalid are
// left out and described in a warning each. An error is about the whole list.
func (s *server) views(ctx context.Context, l layering, t pods.Tenant, list []pods.Pod) (views []pods.View, warnings []string, err error) {
	views = make([]pods.View, 0, len(list))
	tags := newTagMemo(s.Store)
	for _, p := range list {
		e, err := s.layered(ctx, tags, l, t, p)
		if err != nil && pods.ErrorCode(err) != pods.Invalid {
			return nil, nil, err
		}
		if err != nil {
			warnings = append(warnings, warning(p, err))
			continue
		}
		views = append(views, s.view(p, e))
	}
	return views, warnings, nil
}

func warning(p pods.Pod, err error) string {
	return fmt.Sprintf("Pod %s failed validation: %v", p.ID, problemOf(err).message)
}

// check reports whether a pod could run as it is defined: its rules as a whole,
// its image, what needs an operator's approval, its names in DNS and in the
// cluster, and the cluster itself.
func (s *server) check(ctx context.Context, t pods.Tenant, p pods.Pod, c pods.Credentials) error {
	e, err := s.effective(ctx, s.Store, t, p)
	if err != nil {
		return invalid(err)
	}
	if err := allProblems(
		pods.AllowImage(ctx, s.Store, p.Tenant, e.Image, s.Settings),
		pods.CheckApproval(e, p.Permissions),
		pods.CheckNames(p.Site, p.Tenant, t.Domain(), p.ID, e.Networking),
		s.binder.Check(ctx, p, e),
	); err != nil {
		return invalid(err)
	}
	err = s.Cluster.Admit(ctx, pods.BuildWorkload(p, e, c))
	if pods.ErrorCode(err) == pods.Invalid {
		return invalid(err)
	}
	return err
}

// allProblems returns nil if every error is nil, the first error that is not
// about validity, or else one error with the messages of all of them.
func allProblems(errs ...error) error {
	all := &pods.Error{Code: pods.Invalid}
	for _, err := range errs {
		if err == nil {
			continue
		}
		e, ok := errors.AsType[*pods.Error](err)
		if !ok || e.Code != pods.Invalid {
			return err
		}
		all.Messages = append(all.Messages, e.Messages...)
	}
	if len(all.Messages) == 0 {
		return nil
	}
	return all
}
