package devtapis

import (
	"net/http"
)

// sessionCookie says which session a browser has. It has no prefix __Host-, which
// not every browser takes without TLS.
const sessionCookie = "tapis_session"

// sessionUser returns who is logged in with a browser.
func (s *Server) sessionUser(t *tenant, r *http.Request) (string, bool) {
	c, err := r.Cookie(sessionCookie)
	if err != nil {
		return "", false
	}
	x, ok := s.sessions.get(c.Value)
	return x.user, ok && x.tenant == t.ID
}

// getLogin answers GET /v3/oauth2/login with the form.
func (s *Server) getLogin(w http.ResponseWriter, r *http.Request) {
	s.loginPage(w, http.StatusOK, readAuthorization(r.URL.Query(), ""), "", "")
}

func (s *Server) loginPage(w http.ResponseWriter, status int, a authorization, user, wrong string) {
	s.page(w, status, pageData{
		Title: "Log in", Form: "/v3/oauth2/login", Hidden: a, Kind: "login", User: user, Problem: wrong,
	})
}

// postLogin begins a session, and goes on with what a client had asked for.
func (s *Server) postLogin(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		s.failPage(w, problemf(http.StatusBadRequest, "The form can't be read."))
		return
	}
	t, a, name := s.tenantOf(r), readAuthorization(r.PostForm, "client_"), r.PostForm.Get("username")
	u, ok := s.user(t, name)
	if !ok || !equal(u.Password, r.PostForm.Get("password")) {
		s.loginPage(w, http.StatusUnauthorized, a, name, "Invalid username/password combination.")
		return
	}
	setSession(w, s.sessions.add(session{t.ID, u.Name}), int(sessionTTL.Seconds()))
	if a.ClientID == "" {
		s.page(w, http.StatusOK, pageData{Title: "Logged in", Kind: "done", User: u.Name, Text: "You are logged in as " + u.Name + "."})
		return
	}
	redirect(w, http.StatusSeeOther, "/v3/oauth2/authorize?"+a.query())
}

// getLogout asks whether to log out.
func (s *Server) getLogout(w http.ResponseWriter, r *http.Request) {
	user, _ := s.sessionUser(s.tenantOf(r), r)
	s.page(w, http.StatusOK, pageData{Title: "Log out?", Form: "/v3/oauth2/logout", Kind: "logout", User: user})
}

// postLogout ends the session of a browser.
func (s *Server) postLogout(w http.ResponseWriter, r *http.Request) {
	if c, err := r.Cookie(sessionCookie); err == nil {
		s.sessions.take(c.Value)
	}
	setSession(w, "", -1)
	s.page(w, http.StatusOK, pageData{Title: "Logged out", Kind: "done", Text: "You are logged out of the development Tapis."})
}

func setSession(w http.ResponseWriter, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // a development Tapis has no TLS
		Name: sessionCookie, Value: value, Path: "/v3/oauth2", MaxAge: maxAge, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// redirect sends a browser on. [http.Redirect] would clean the URL of a client.
func redirect(w http.ResponseWriter, status int, to string) {
	w.Header().Set("Location", to)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
}
