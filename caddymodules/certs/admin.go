package certs

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/caddyserver/caddy/v2"

	"github.com/tapis-project/podway/caddymodules/internal/options"
)

func init() { caddy.RegisterModule(new(AdminAPI)) }

// AdminAPI adds to Caddy's admin API:
//
//	GET /podway/certificates   the certificates of zones and hosts, and their state
type AdminAPI struct{ app *App }

// CertificateList is the answer to GET /podway/certificates.
type CertificateList struct {
	Zones        map[string]string `json:"zones"` // domain → tenant
	Certificates []State           `json:"certificates"`
}

// CaddyModule returns the Caddy module information.
func (*AdminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.podway_certificates", New: func() caddy.Module { return new(AdminAPI) }}
}

// Provision finds the app, if it is configured.
func (a *AdminAPI) Provision(ctx caddy.Context) (err error) {
	a.app, err = options.App[App](ctx, "podway_certificates")
	return err
}

// Routes returns the routes of the admin API.
func (a *AdminAPI) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{{Pattern: "/podway/certificates", Handler: caddy.AdminHandlerFunc(a.serve)}}
}

func (a *AdminAPI) serve(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodGet {
		return caddy.APIError{HTTPStatus: http.StatusMethodNotAllowed, Err: errors.New("use GET")}
	}
	if a.app == nil {
		return caddy.APIError{HTTPStatus: http.StatusNotFound, Err: errors.New("the app podway_certificates is not configured")}
	}
	zones := a.app.zones.all()
	if zones == nil {
		zones = map[string]string{}
	}
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(CertificateList{Zones: zones, Certificates: a.app.states.list()})
}

// Interface guards
var (
	_ caddy.AdminRouter = (*AdminAPI)(nil)
	_ caddy.Provisioner = (*AdminAPI)(nil)
)
