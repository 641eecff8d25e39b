package login

import (
	"crypto/subtle"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/routes/redisgate"
)

const (
	// stateCookie is the beginning of the name of the cookie that holds an attempt.
	// Each attempt has its own: people open several pods at once.
	stateCookie = "pods_state_"

	// maxAttempts is how many a browser may have under way.
	maxAttempts = 8

	// purpose is what attempts are sealed for.
	purpose = "login attempt"
)

// visits bounds how often a client may ask for a page of the login.
var visits = redisgate.Limit{Name: "tapis-login", Most: 60, Window: time.Minute}

// attempt is a login that is under way.
type attempt struct {
	State    string                 `json:"state"`
	Verifier string                 `json:"verifier"` // PKCE
	Login    redisgate.LoginRequest `json:"login"`
	Expires  time.Time              `json:"expires"`
}

// cookieOf returns the name of the cookie of a state. Without TLS, as in
// development, browsers refuse the prefix that makes sure that no other host sets
// it.
func cookieOf(t pods.Tenant, state string) string {
	name := stateCookie + redisgate.Hash(state)[:12]
	if secure(t) {
		return "__Host-" + name
	}
	return name
}

func secure(t pods.Tenant) bool { return strings.HasPrefix(t.BaseURL, "https://") }

// remember gives the attempt to the browser, sealed for the tenant.
func (s *Service) remember(w http.ResponseWriter, r *http.Request, t pods.Tenant, a attempt) error {
	sealed, err := redisgate.SealJSON(s.Gate.Keyring(), purpose, t.ID, a)
	if err != nil {
		return fmt.Errorf("sealing an attempt: %w", err)
	}
	old := slices.DeleteFunc(r.Cookies(), func(c *http.Cookie) bool {
		return !strings.HasPrefix(strings.TrimPrefix(c.Name, "__Host-"), stateCookie)
	})
	if len(old) >= maxAttempts {
		for _, c := range old {
			setCookie(w, t, c.Name, "", -1)
		}
	}
	setCookie(w, t, cookieOf(t, a.State), sealed, int(redisgate.AttemptTTL.Seconds()))
	return nil
}

// recall returns the attempt with a state that the browser has.
func (s *Service) recall(r *http.Request, t pods.Tenant, state string) (attempt, bool) {
	if state == "" || len(state) > 128 {
		return attempt{}, false
	}
	for _, c := range r.CookiesNamed(cookieOf(t, state)) {
		a, err := redisgate.OpenJSON[attempt](s.Gate.Keyring(), purpose, t.ID, c.Value)
		if err == nil && s.Now().Before(a.Expires) && subtle.ConstantTimeCompare([]byte(a.State), []byte(state)) == 1 {
			return a, true
		}
	}
	return attempt{}, false
}

// forget takes an attempt away from the browser.
func forget(w http.ResponseWriter, t pods.Tenant, state string) {
	setCookie(w, t, cookieOf(t, state), "", -1)
}

func setCookie(w http.ResponseWriter, t pods.Tenant, name, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // Secure wherever there is TLS
		Name: name, Value: value, Path: "/", MaxAge: maxAge, HttpOnly: true, Secure: secure(t), SameSite: http.SameSiteLaxMode,
	})
}

// clientOf returns the address that a request is counted for. Behind a proxy, which
// is near, it is the one that the proxy saw.
func clientOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	peer, err := netip.ParseAddr(host)
	if err != nil || !peer.IsPrivate() && !peer.IsLoopback() {
		return host
	}
	seen := r.Header.Values("X-Forwarded-For")
	if len(seen) == 0 {
		return host
	}
	list := strings.Split(seen[len(seen)-1], ",")
	addr, err := netip.ParseAddr(strings.TrimSpace(list[len(list)-1]))
	if err != nil {
		return host
	}
	return addr.Unmap().String()
}
