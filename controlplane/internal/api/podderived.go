package api

import (
	"errors"
	"maps"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// derivedParams are the parameters of [server.getDerivedPod].
var derivedParams = []param{
	boolParam("resolve_secrets", false, "Fill in the values of `secret_map`. For ADMINs of the pod; noted in the audit log of each secret."),
	boolParam("reveal_write_only", false, "With `resolve_secrets`: also those of secrets that can't be read. For admins of the service."),
	boolParam("check_unresolved", false, "List in the metadata what stands for something but is not filled in."),
	boolParam("include_configs", false, "Show the content of configuration files: as it is written, and with `resolve_secrets` as the pod gets it."),
}

// derivedWish is what the caller of [server.getDerivedPod] asks for.
type derivedWish struct{ resolve, reveal, unresolved, configs bool }

func (r *request) derivedWish() (w derivedWish, err error) {
	for name, wish := range map[string]*bool{
		"resolve_secrets": &w.resolve, "reveal_write_only": &w.reveal, "check_unresolved": &w.unresolved, "include_configs": &w.configs,
	} {
		var e error
		*wish, e = r.queryBool(name)
		err = errors.Join(err, e)
	}
	return w, err
}

// getDerivedPod answers with the pod as it is started: templates applied and
// placeholders in its environment filled in; with its secrets only if an ADMIN
// asks for them.
func (s *server) getDerivedPod(r *request) (answer, error) {
	wish, err := r.derivedWish()
	if err != nil {
		return answer{}, err
	}
	if err := s.mayReveal(r, wish); err != nil {
		return answer{}, err
	}
	chain, err := pods.TemplateChain(r.Context(), s.Store, r.pod.Definition)
	if err != nil {
		return answer{}, invalid(err)
	}
	e, err := pods.Resolve(r.pod.ID, r.who.Tenant.Domain(), s.Settings, r.pod.Definition, pods.Definitions(chain)...)
	if err != nil {
		return answer{}, invalid(err)
	}
	creds, err := s.shownCredentials(r)
	if err != nil {
		return answer{}, err
	}
	a := answer{message: "Final derived pod retrieved successfully.", metadata: map[string]any{}}
	noteQuestions(a.metadata, pods.TemplateQuestions(pods.Definitions(chain)...))
	if warnings := pods.SyntaxWarnings(e); len(warnings) > 0 {
		a.metadata["config_syntax_warnings"] = warnings
	}
	if wish.unresolved {
		a.metadata["unresolved_patterns"] = pods.Unresolved(e)
	}
	if pending, err := s.pendingRestart(r, e); err != nil {
		return answer{}, err
	} else if len(pending) > 0 {
		a.metadata["pending_restart"] = pending
	}
	e = pods.FillPlaceholders(r.pod, e, creds)
	view := s.view(r.pod, e)
	if !wish.configs {
		view.VolumeMounts = pods.WithoutConfigs(view.VolumeMounts)
	}
	if wish.resolve {
		if err := s.revealSecrets(r, wish, &a, e, &view); err != nil {
			return answer{}, err
		}
	}
	a.result = view
	return a, nil
}

// mayReveal decides who may see the values of a pod's secrets: an ADMIN could
// look into the container as well; what its owner made unreadable takes the admin
// role.
func (s *server) mayReveal(r *request, wish derivedWish) error {
	if !wish.resolve && !wish.reveal {
		return nil
	}
	if s.Identity.Admin(r.Context(), r.who) {
		return nil
	}
	if wish.reveal || !r.pod.Permissions.Level(r.who.User).Includes(pods.LevelAdmin) {
		return notAuthorized(r.op)
	}
	return nil
}

// revealSecrets fills in the values of secrets. What is wrong with a reference is
// told in the metadata: the caller may be looking for just that.
func (s *server) revealSecrets(r *request, wish derivedWish, a *answer, e pods.Effective, view *pods.View) error {
	a.metadata["secrets_resolved"] = false
	values, err := s.binder.Reveal(r.Context(), r.pod, e, r.who.User, wish.reveal)
	if pods.ErrorCode(err) == pods.Invalid {
		problem, _ := errors.AsType[*pods.Error](err)
		a.metadata["secret_resolution_errors"] = problem.Messages
		return nil
	}
	if err != nil {
		return err
	}
	env := maps.Clone(view.EnvironmentVariables)
	pods.FillSecrets(env, values)
	pods.FillConfigs(view.VolumeMounts, values)
	view.EnvironmentVariables, view.SecretMap = env, values
	a.metadata["secrets_resolved"] = true
	return nil
}

// noteQuestions puts into the metadata of an answer what the pod's templates ask
// for.
func noteQuestions(metadata map[string]any, q pods.Questions) {
	if len(q.Required)+len(q.Optional) > 0 {
		metadata["available_placeholders"] = q
	}
	if len(q.Volumes) > 0 {
		metadata["volume_placeholders"] = q.Volumes
	}
}

// pendingRestart lists the fields in which what runs differs from the pod's
// definition.
func (s *server) pendingRestart(r *request, e pods.Effective) ([]string, error) {
	started, err := s.Store.Started(r.Context(), r.pod.Key)
	if err != nil {
		return nil, err
	}
	return pods.PendingRestart(r.pod, e, started), nil
}
