package api

import (
	"net/url"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// podGate is where links and passwords were used that the service had made which
// this API is compatible with. Now that is at the pod's own host, where an edge
// keeps who used one apart from all other pods: people are sent there, with the
// secret of their link if they bring one. Programs are told so.
func (s *server) podGate(r *request) (answer, error) {
	if s.Login == nil {
		return answer{}, errNoLogin()
	}
	pod, net := netOf(r.param("pod_id_net"))
	to, err := s.Login.ShareURL(r.Context(), r.Host, pod, net)
	if err != nil {
		return answer{}, err
	}
	if secret := r.URL.Query().Get("access"); secret != "" {
		return sendOn(to + "?t=" + url.QueryEscape(secret)), nil
	}
	if navigates(r.Request) {
		return sendOn(to), nil
	}
	return answer{}, pods.Errorf(pods.Unauthorized, "Not authenticated. Links and passwords are used at the pod's own host: %s", to)
}
