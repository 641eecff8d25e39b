package api

import (
	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// permissions is the answer of every operation on permissions.
type permissions struct {
	Permissions []string `json:"permissions"` // "user:LEVEL", by user
}

// getPodPermissions answers with who may do what on a pod.
func (s *server) getPodPermissions(r *request) (answer, error) {
	return answer{
		message: "Pod permissions retrieved successfully.",
		result:  permissions{r.pod.Permissions.List()},
	}, nil
}

// setPodPermission gives a user a level on a pod.
func (s *server) setPodPermission(r *request) (answer, error) {
	g, err := pods.DecodeGrant(r.body)
	if err != nil {
		return answer{}, invalid(err)
	}
	admin := s.Identity.Admin(r.Context(), r.who)
	p, err := s.change(r, func(p *pods.Pod) (pods.Event, error) {
		var err error
		if p.Permissions, err = p.Permissions.SetLevel(pods.KindPod, g, admin); err != nil {
			return pods.Event{}, err
		}
		p.UpdatedAt = s.Now().UTC()
		return s.event("'%s' set permission for '%s' to %s", r.who.User, g.User, g.Level), nil
	})
	if err != nil {
		return answer{}, err
	}
	return answer{message: "Pod permissions updated successfully.", result: permissions{p.Permissions.List()}}, nil
}

// deletePodPermission takes a user's entry away.
func (s *server) deletePodPermission(r *request) (answer, error) {
	user := r.param("user")
	p, err := s.change(r, func(p *pods.Pod) (pods.Event, error) {
		var err error
		if p.Permissions, err = p.Permissions.Remove(pods.KindPod, user); err != nil {
			return pods.Event{}, err
		}
		p.UpdatedAt = s.Now().UTC()
		return s.event("'%s' deleted permission for '%s'", r.who.User, user), nil
	})
	if err != nil {
		return answer{}, err
	}
	return answer{message: "Pod permission deleted successfully.", result: permissions{p.Permissions.List()}}, nil
}
