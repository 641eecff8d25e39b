package tapis

import (
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// snapshot is the tenants and sites as they were read at one time. It is
// immutable.
type snapshot struct {
	tenants map[string]*tenant // by id
	hosts   map[string]*tenant // by host name, see hostName
	sites   map[string]siteRecord
	readAt  time.Time
}

// tenant is a tenant with what is needed to verify its users.
type tenant struct {
	pods.Tenant
	key    *rsa.PublicKey // nil if there is no readable one
	keyID  keyID
	keyPEM string // of key
	kernel string // base URL of its Security Kernel, without trailing slash

	authenticator string // base URL of its OAuth2 server, without trailing slash
	issuer        string // "iss" of its tokens; "": unknown
}

// tenantRecord is a tenant in the Tenants API.
type tenantRecord struct {
	TenantID       string `json:"tenant_id"`
	BaseURL        string `json:"base_url"`
	SiteID         string `json:"site_id"`
	PublicKey      string `json:"public_key"` // PEM
	SecurityKernel string `json:"security_kernel"`
	Authenticator  string `json:"authenticator"`
	TokenService   string `json:"token_service"`
	Status         string `json:"status"` // "active", "draft" or "inactive"
}

// siteRecord is a site in the Tenants API.
type siteRecord struct {
	SiteID            string `json:"site_id"`
	Primary           bool   `json:"primary"`
	SiteAdminTenantID string `json:"site_admin_tenant_id"`

	// TenantBaseURLTemplate is how the primary site names the tenants of other
	// sites, for example "https://${tenant_id}.tapis.io".
	TenantBaseURLTemplate string `json:"tenant_base_url_template"`
}

// newSnapshot builds a snapshot from the results of the Tenants API. A record
// that is not usable is left out with a warning: it hurts its own tenant only.
func newSnapshot(tenants, sites []json.RawMessage, now time.Time, log *slog.Logger) *snapshot {
	s := &snapshot{
		tenants: make(map[string]*tenant, len(tenants)),
		hosts:   make(map[string]*tenant, len(tenants)),
		sites:   make(map[string]siteRecord, len(sites)),
		readAt:  now,
	}
	for _, raw := range sites {
		var r siteRecord
		if err := json.Unmarshal(raw, &r); err != nil {
			log.Warn("ignoring an unreadable site", "error", err)
			continue
		}
		s.sites[r.SiteID] = r
	}
	for _, raw := range tenants {
		var r tenantRecord
		if err := json.Unmarshal(raw, &r); err != nil {
			log.Warn("ignoring an unreadable tenant", "error", err)
			continue
		}
		s.addTenant(r, log)
	}
	s.addPrimaryHosts()
	return s
}

func (s *snapshot) addTenant(r tenantRecord, log *slog.Logger) {
	if r.Status != "" && !strings.EqualFold(r.Status, "active") {
		return
	}
	t, err := r.tenant()
	if err != nil {
		log.Warn("ignoring a tenant", "tenant", r.TenantID, "error", err)
		return
	}
	t.keyPEM = r.PublicKey
	t.key, t.keyID, err = parseKey(r.PublicKey)
	if err != nil {
		log.Warn("tenant has no usable key, its tokens can't be verified", "tenant", r.TenantID, "error", err)
	}
	if _, taken := s.tenants[t.ID]; taken {
		log.Warn("ignoring the second tenant of this id", "tenant", t.ID)
		return
	}
	s.tenants[t.ID] = t
	host := t.Domain()
	if other, taken := s.hosts[host]; taken {
		log.Warn("two tenants have one host, it stays with the first", "tenant", t.ID, "host", host, "first", other.ID)
		return
	}
	s.hosts[host] = t
}

// tenant checks the record's names and addresses.
func (r tenantRecord) tenant() (*tenant, error) {
	if r.TenantID == "" || r.SiteID == "" {
		return nil, errors.New("tenant_id or site_id is missing")
	}
	base, err := parseBaseURL(r.BaseURL)
	if err != nil {
		return nil, fmt.Errorf("base_url: %w", err)
	}
	kernel := base + "/v3/security"
	if r.SecurityKernel != "" {
		if kernel, err = parseBaseURL(r.SecurityKernel); err != nil {
			return nil, fmt.Errorf("security_kernel: %w", err)
		}
	}
	authenticator := base + "/v3/oauth2"
	if r.Authenticator != "" {
		if authenticator, err = parseBaseURL(r.Authenticator); err != nil {
			return nil, fmt.Errorf("authenticator: %w", err)
		}
	}
	return &tenant{
		Tenant: pods.Tenant{ID: r.TenantID, Site: r.SiteID, BaseURL: base},
		kernel: kernel, authenticator: authenticator, issuer: r.TokenService,
	}, nil
}

// addPrimaryHosts adds the names under which the primary site serves each
// tenant. A tenant's own name goes before such a name of another.
func (s *snapshot) addPrimaryHosts() {
	for _, site := range s.sites {
		if !site.Primary || !strings.Contains(site.TenantBaseURLTemplate, "${tenant_id}") {
			continue
		}
		for id, t := range s.tenants {
			u, err := url.Parse(strings.ReplaceAll(site.TenantBaseURLTemplate, "${tenant_id}", id))
			if err != nil || u.Host == "" {
				continue
			}
			if host := hostName(u.Host); s.hosts[host] == nil {
				s.hosts[host] = t
			}
		}
	}
}

// speaksFor reports whether services that the tenant admin signed for may act
// for users of t: it must be the admin tenant of t's site or of the primary one.
func (s *snapshot) speaksFor(admin string, t *tenant) bool {
	for _, site := range s.sites {
		if site.SiteAdminTenantID == admin && (site.Primary || site.SiteID == t.Site) {
			return true
		}
	}
	return false
}

// parseBaseURL checks a base URL and returns it with a lower-case host and
// without trailing slash.
func parseBaseURL(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil {
		return "", fmt.Errorf("parsing Tapis URL: %w", err)
	}
	if (u.Scheme != "https" && u.Scheme != "http") || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", fmt.Errorf("parsing Tapis URL: %q is not like https://tacc.tapis.io", s)
	}
	u.Host = strings.ToLower(u.Host)
	return strings.TrimRight(u.String(), "/"), nil
}

// hostName returns the name in an HTTP Host: in lower case, without port,
// brackets and trailing dot.
//
//	hostName("Tacc.Tapis.io.:443")  tacc.tapis.io
//	hostName("[::1]:8000")          ::1
func hostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	} else if len(host) > 2 && host[0] == '[' && host[len(host)-1] == ']' {
		host = host[1 : len(host)-1]
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
