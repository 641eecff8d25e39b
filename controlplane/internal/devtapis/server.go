package devtapis

import (
	"cmp"
	"crypto/rsa"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Options configure a [Server]. The zero value is a tenant dev with the
// [DefaultUsers], kept in memory.
type Options struct {
	BaseURL string // of the first tenant; default "http://dev.localhost:8000"
	Tenant  string // id of the first tenant; default "dev"
	Site    string // id of the one site; default "dev"

	// Others are more tenants, each with its own key, for tests of what belongs
	// to another tenant.
	Others []Tenant

	// DevHosts are the hosts to which the first tenant is shown with the base URL
	// that was typed. Default: [DevHosts].
	DevHosts []string

	// Users who can log in. Default: [DefaultUsers].
	Users []User

	// Services are the service accounts that can get tokens, with passwords.
	Services map[string]string

	// Dir is the folder where keys and OAuth2 clients are kept, so that tokens
	// survive a restart. It is created if absent. Empty: in memory only.
	Dir string

	Now    func() time.Time // default: time.Now
	Logger *slog.Logger     // default: slog.Default()
}

// Tenant is a tenant to serve.
type Tenant struct {
	ID      string
	BaseURL string // "http://other.localhost:8000", without trailing slash
}

// User is a person who can log in.
type User struct {
	Name     string
	Password string
	Roles    []string // in the Security Kernel
	Tenant   string   // id; "": a user of this name exists in every tenant
}

// DefaultUsers returns the users of a development system: two persons and one
// admin of pods, each with the name as password.
func DefaultUsers() []User {
	return []User{
		{Name: "testuser", Password: "testuser"},
		{Name: "otheruser", Password: "otheruser"},
		{Name: "testadmin", Password: "testadmin", Roles: []string{"pods_admin"}},
	}
}

// DevHosts returns the hosts by which a development system is usually typed:
// this machine, and this machine as seen from a container.
func DevHosts() []string { return []string{"localhost", "127.0.0.1", "::1", "172.17.0.1"} }

// Server is a Tapis. It is an [http.Handler] for paths below /v3 and safe for
// concurrent use.
type Server struct {
	site     string
	tenants  []*tenant // the first one is the site's admin tenant
	devHosts []string
	users    []User
	services map[string]string
	clients  *clientStore
	codes    *shortLived[code]
	sessions *shortLived[session]

	mux *http.ServeMux
	now func() time.Time
	log *slog.Logger
}

// tenant is a tenant with its key.
type tenant struct {
	Tenant
	host      string // of BaseURL
	key       *rsa.PrivateKey
	publicKey string // PEM
}

// New returns a Server. It makes a key for each tenant that has none in
// [Options.Dir] yet.
func New(o Options) (*Server, error) {
	s := &Server{
		site:     cmp.Or(o.Site, "dev"),
		devHosts: o.DevHosts,
		users:    o.Users,
		services: o.Services,
		now:      o.Now,
		log:      cmp.Or(o.Logger, slog.Default()),
	}
	if s.devHosts == nil {
		s.devHosts = DevHosts()
	}
	if s.users == nil {
		s.users = DefaultUsers()
	}
	if s.now == nil {
		s.now = time.Now
	}
	first := Tenant{ID: cmp.Or(o.Tenant, "dev"), BaseURL: cmp.Or(o.BaseURL, "http://dev.localhost:8000")}
	for _, t := range append([]Tenant{first}, o.Others...) {
		if err := s.addTenant(t, o.Dir); err != nil {
			return nil, err
		}
	}
	var err error
	if s.clients, err = openClients(o.Dir); err != nil {
		return nil, err
	}
	s.codes, s.sessions = newCodes(s.now), newSessions(s.now)
	s.mux = s.routes()
	return s, nil
}

// tenantID keeps ids usable as file names and as host labels.
var tenantID = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)

func (s *Server) addTenant(t Tenant, dir string) error {
	if !tenantID.MatchString(t.ID) || s.tenant(t.ID) != nil {
		return fmt.Errorf("adding tenant %q: ids are unique, in lower-case letters, digits and dashes", t.ID)
	}
	u, err := url.Parse(t.BaseURL)
	if err != nil {
		return fmt.Errorf("adding tenant %q: %w", t.ID, err)
	}
	if u.Host == "" || strings.HasSuffix(t.BaseURL, "/") {
		return fmt.Errorf("adding tenant %q: base URL %q is not like http://dev.localhost:8000", t.ID, t.BaseURL)
	}
	key, err := loadKey(dir, t.ID)
	if err != nil {
		return fmt.Errorf("adding tenant %q: %w", t.ID, err)
	}
	public, err := publicPEM(key)
	if err != nil {
		return fmt.Errorf("adding tenant %q: %w", t.ID, err)
	}
	s.tenants = append(s.tenants, &tenant{Tenant: t, host: hostName(u.Host), key: key, publicKey: public})
	return nil
}

// routes lists the endpoints.
func (s *Server) routes() *http.ServeMux {
	mux := http.NewServeMux()
	for pattern, h := range map[string]handler{
		"GET /v3/sites":      s.listSites,
		"GET /v3/sites/{id}": s.getSite,

		"GET /v3/tenants":      s.listTenants,
		"GET /v3/tenants/{id}": s.getTenant,

		"POST /v3/oauth2/tokens":             s.createToken,
		"GET /v3/oauth2/userinfo":            s.getUserinfo,
		"GET /v3/oauth2/profiles":            s.listProfiles,
		"GET /v3/oauth2/profiles/{user}":     s.getProfile,
		"GET /v3/oauth2/clients":             s.listClients,
		"POST /v3/oauth2/clients":            s.createClient,
		"GET /v3/oauth2/clients/{client}":    s.getClient,
		"PUT /v3/oauth2/clients/{client}":    s.updateClient,
		"DELETE /v3/oauth2/clients/{client}": s.deleteClient,
		"POST /v3/tokens":                    s.createServiceToken,
		"GET /v3/security/user/roles/{user}": s.getRoles,
		"/":                                  notFound,
	} {
		mux.Handle(pattern, s.handle(h))
	}
	// Forms of other sites must not log anybody in or give consent.
	guard := http.NewCrossOriginProtection()
	for pattern, h := range map[string]http.HandlerFunc{
		"GET /v3/oauth2/authorize":  s.getAuthorize,
		"POST /v3/oauth2/authorize": s.postAuthorize,
		"GET /v3/oauth2/login":      s.getLogin,
		"POST /v3/oauth2/login":     s.postLogin,
		"GET /v3/oauth2/logout":     s.getLogout,
		"POST /v3/oauth2/logout":    s.postLogout,
	} {
		mux.Handle(pattern, guard.Handler(http.MaxBytesHandler(h, maxBody)))
	}
	return mux
}

// ServeHTTP answers a request to any of the services.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// BaseURL returns the base URL of the first tenant.
func (s *Server) BaseURL() string { return s.tenants[0].BaseURL }

// tenant returns a tenant by id, nil if there is none.
func (s *Server) tenant(id string) *tenant {
	i := slices.IndexFunc(s.tenants, func(t *tenant) bool { return t.ID == id })
	if i < 0 {
		return nil
	}
	return s.tenants[i]
}

// tenantOf returns the tenant whose host was asked; the first one for every
// other host, because a development machine has many names.
func (s *Server) tenantOf(r *http.Request) *tenant {
	i := slices.IndexFunc(s.tenants, func(t *tenant) bool { return t.host == hostName(r.Host) })
	return s.tenants[max(i, 0)]
}

// user returns a user of a tenant by name, and whether there is one.
func (s *Server) user(t *tenant, name string) (User, bool) {
	for _, u := range s.usersOf(t) {
		if u.Name == name {
			return u, true
		}
	}
	return User{}, false
}

func (s *Server) usersOf(t *tenant) []User {
	var us []User
	for _, u := range s.users {
		if u.Tenant == "" || u.Tenant == t.ID {
			us = append(us, u)
		}
	}
	return us
}

// hostName returns the name in an HTTP Host, in lower case and without port.
func hostName(host string) string {
	return strings.ToLower((&url.URL{Host: host}).Hostname())
}
