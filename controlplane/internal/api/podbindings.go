package api

import (
	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// claimed returns what a caller sets on a pod as it is stored: mounts and
// references to secrets carry the caller's name, and what may be secret is
// sealed. before is the definition that it comes over.
func (s *server) claimed(r *request, p pods.Pod, before, d pods.Definition) (pods.Definition, error) {
	level := p.Permissions.Level(r.who.User)
	if !level.Includes(pods.LevelAdmin) && s.Identity.Admin(r.Context(), r.who) {
		level = pods.LevelAdmin
	}
	d, err := pods.ClaimMounts(r.who.User, level, before, d)
	if err != nil {
		return d, err
	}
	d, err = pods.SealSecrets(s.Store, p.Key, r.who.User, before, d)
	return d, invalid(err)
}

// checkBindings reports whether a pod that shall start can have the volumes and
// secrets it refers to. A definition that can't be resolved is left to the
// reconciler, which tells so in the pod's status.
func (s *server) checkBindings(r *request, p pods.Pod) error {
	e, err := s.effective(r.Context(), s.Store, r.who.Tenant, p)
	if err != nil {
		return nil //nolint:nilerr // see above
	}
	return invalid(s.binder.Check(r.Context(), p, e))
}
