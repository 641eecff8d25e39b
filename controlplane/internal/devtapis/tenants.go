package devtapis

import (
	"net/http"
	"slices"
	"strings"
)

// tenantResult is a tenant as the Tenants API shows it.
type tenantResult struct {
	TenantID         string   `json:"tenant_id"`
	BaseURL          string   `json:"base_url"`
	SiteID           string   `json:"site_id"`
	Status           string   `json:"status"`
	PublicKey        string   `json:"public_key"`
	TokenService     string   `json:"token_service"`
	SecurityKernel   string   `json:"security_kernel"`
	Authenticator    string   `json:"authenticator"`
	Owner            string   `json:"owner"`
	AdminUser        string   `json:"admin_user"`
	TokenGenServices []string `json:"token_gen_services"`
	Description      string   `json:"description"`
}

func (s *Server) listTenants(r *http.Request) (any, error) {
	list := make([]tenantResult, 0, len(s.tenants))
	for _, t := range s.tenants {
		list = append(list, s.tenantResult(t, r))
	}
	return list, nil
}

func (s *Server) getTenant(r *http.Request) (any, error) {
	t := s.tenant(r.PathValue("id"))
	if t == nil {
		return nil, problemf(http.StatusNotFound, "Tenant %s not found.", r.PathValue("id"))
	}
	return s.tenantResult(t, r), nil
}

func (s *Server) tenantResult(t *tenant, r *http.Request) tenantResult {
	base := s.baseURL(t, r)
	return tenantResult{
		TenantID:         t.ID,
		BaseURL:          base,
		SiteID:           s.site,
		Status:           "active",
		PublicKey:        t.publicKey,
		TokenService:     base + "/v3/tokens",
		SecurityKernel:   base + "/v3/security",
		Authenticator:    base + "/v3/oauth2",
		Owner:            "dev@localhost",
		AdminUser:        "dev",
		TokenGenServices: []string{},
		Description:      "Tenant of a development system",
	}
}

// baseURL returns the base URL of a tenant as r is to see it; see the package's
// documentation.
func (s *Server) baseURL(t *tenant, r *http.Request) string {
	if t != s.tenants[0] || !slices.Contains(s.devHosts, hostName(r.Host)) {
		return t.BaseURL
	}
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// siteResult is the site as the Sites API shows it.
type siteResult struct {
	SiteID                string   `json:"site_id"`
	Primary               bool     `json:"primary"`
	BaseURL               string   `json:"base_url"`
	TenantBaseURLTemplate string   `json:"tenant_base_url_template"`
	SiteAdminTenantID     string   `json:"site_admin_tenant_id"`
	Services              []string `json:"services"`
}

func (s *Server) listSites(r *http.Request) (any, error) {
	return []siteResult{s.siteResult(r)}, nil
}

func (s *Server) getSite(r *http.Request) (any, error) {
	if id := r.PathValue("id"); id != s.site {
		return nil, problemf(http.StatusNotFound, "Site %s not found.", id)
	}
	return s.siteResult(r), nil
}

func (s *Server) siteResult(r *http.Request) siteResult {
	first := s.tenants[0]
	return siteResult{
		SiteID:                s.site,
		Primary:               true,
		BaseURL:               s.baseURL(first, r),
		TenantBaseURLTemplate: baseURLTemplate(first.Tenant),
		SiteAdminTenantID:     first.ID,
		Services:              []string{"pods"},
	}
}

// baseURLTemplate turns a tenant's base URL into the pattern of all of them:
// http://dev.localhost:8000 becomes http://${tenant_id}.localhost:8000.
func baseURLTemplate(t Tenant) string {
	scheme, host, _ := strings.Cut(t.BaseURL, "://")
	return scheme + "://${tenant_id}." + strings.TrimPrefix(host, t.ID+".")
}
