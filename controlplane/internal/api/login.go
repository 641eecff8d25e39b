package api

import (
	"context"
	"net/http"
	"strings"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// Login is what the API needs to log visitors of pods in, and to share pods with
// people who have no account.
type Login interface {
	// Start and Callback are the two pages of a login. They write the whole answer,
	// or nothing and return an error.
	Start(w http.ResponseWriter, r *http.Request) error
	Callback(w http.ResponseWriter, r *http.Request) error

	// LoginURL returns where a person logs in to a pod's entry, that is at the pod's
	// own host. apiHost is the host that was asked. NotFound if nobody can.
	LoginURL(ctx context.Context, apiHost, pod, net string) (string, error)

	// ShareURL is the same for a link or a password.
	ShareURL(ctx context.Context, apiHost, pod, net string) (string, error)

	// LogoutEverywhere ends all sessions of a user, at all pods. Unavailable if that
	// is not known to have worked.
	LogoutEverywhere(ctx context.Context, tenant, user string) error

	// NewLinkSecret makes the secret of a link, HashSecret what is kept of a secret
	// for one host.
	NewLinkSecret() string
	HashSecret(k pods.AccessTokenKind, host, secret string) string

	// PublishShares tells the edges of the access tokens of a pod, WithdrawShares
	// that there are none. ShareUses returns how often they were redeemed, by id.
	// hosts are those of entries with an access gate, by networking key.
	PublishShares(ctx context.Context, k pods.Key, hosts map[string]string) error
	WithdrawShares(ctx context.Context, hosts map[string]string) error
	ShareUses(ctx context.Context, hosts map[string]string) (map[string]pods.AccessTokenUses, error)
}

// errNoLogin says that there are no logins here.
func errNoLogin() error {
	return pods.Errorf(pods.Unavailable, "Logins to pods are not set up: the service has no gate key.")
}

// loginStart is where edges send visitors who have to log in.
func (s *server) loginStart(r *request) (answer, error) {
	if s.Login == nil {
		return answer{}, errNoLogin()
	}
	return s.loginPage(r, s.Login.Start), nil
}

// loginPage has the answer written by one of the pages of a login.
func (s *server) loginPage(r *request, page func(http.ResponseWriter, *http.Request) error) answer {
	return answer{stream: func(w http.ResponseWriter) error {
		err := page(w, r.Request)
		if err != nil {
			s.fail(w, r.Request, err)
		}
		return err
	}}
}

// loginCallback is where Tapis sends visitors back to.
func (s *server) loginCallback(r *request) (answer, error) {
	if s.Login == nil {
		return answer{}, errNoLogin()
	}
	return s.loginPage(r, s.Login.Callback), nil
}

// logoutEverywhere ends the caller's sessions at all pods.
func (s *server) logoutEverywhere(r *request) (answer, error) {
	if s.Login == nil {
		return answer{}, errNoLogin()
	}
	if err := s.Login.LogoutEverywhere(r.Context(), r.who.Tenant.ID, r.who.User); err != nil {
		return answer{}, err
	}
	return answer{message: "You are logged out of all pods.", result: ""}, nil
}

// navigates reports whether a request is a person's who opens a page, as far as
// proxies pass that on.
func navigates(r *http.Request) bool {
	mode := r.Header.Get("Sec-Fetch-Mode")
	return (mode == "" || mode == "navigate") && strings.Contains(r.Header.Get("Accept"), "text/html")
}
