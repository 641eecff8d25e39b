package devtapis

import (
	"net/http"
)

// profile is a user as the authenticator shows one.
type profile struct {
	Username    string  `json:"username"`
	Email       string  `json:"email"`
	GivenName   string  `json:"given_name"`
	LastName    string  `json:"last_name"`
	Phone       *string `json:"phone"`
	MobilePhone *string `json:"mobile_phone"`
	CreateTime  *string `json:"create_time"`
	DN          string  `json:"dn"`
	UID         *int    `json:"uid"`
}

func newProfile(u User, t *tenant) profile {
	return profile{
		Username:  u.Name,
		Email:     u.Name + "@" + t.host,
		GivenName: u.Name,
		LastName:  "Dev",
		DN:        "cn=" + u.Name + ",ou=tenants." + t.ID + ",dc=tapis",
	}
}

// getUserinfo answers GET /v3/oauth2/userinfo: who has this token.
func (s *Server) getUserinfo(r *http.Request) (any, error) {
	name, err := s.caller(r)
	if err != nil {
		return nil, err
	}
	return s.profile(r, name)
}

func (s *Server) getProfile(r *http.Request) (any, error) {
	if _, err := s.caller(r); err != nil {
		return nil, err
	}
	return s.profile(r, r.PathValue("user"))
}

func (s *Server) profile(r *http.Request, name string) (any, error) {
	t := s.tenantOf(r)
	u, ok := s.user(t, name)
	if !ok {
		return nil, problemf(http.StatusNotFound, "Profile of user %s not found.", name)
	}
	return newProfile(u, t), nil
}

func (s *Server) listProfiles(r *http.Request) (any, error) {
	if _, err := s.caller(r); err != nil {
		return nil, err
	}
	t := s.tenantOf(r)
	list := []profile{}
	for _, u := range s.usersOf(t) {
		list = append(list, newProfile(u, t))
	}
	return list, nil
}
