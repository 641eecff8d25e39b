package devtapis

import "net/http"

// rolesResult is the answer of the Security Kernel.
type rolesResult struct {
	Names []string `json:"names"`
}

// getRoles answers GET /v3/security/user/roles/{user}?tenant=. It asks for no
// token: the roles of a development system are in its documentation.
func (s *Server) getRoles(r *http.Request) (any, error) {
	t := s.tenant(r.URL.Query().Get("tenant"))
	if t == nil {
		return nil, problemf(http.StatusBadRequest, "The query parameter tenant must name a tenant.")
	}
	names := []string{}
	if u, ok := s.user(t, r.PathValue("user")); ok {
		names = append(names, u.Roles...)
	}
	return rolesResult{Names: names}, nil
}
