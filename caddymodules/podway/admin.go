package podway

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddytls"

	"github.com/tapis-project/podway/caddymodules/internal/options"
	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/sni"
)

func init() { caddy.RegisterModule(new(AdminAPI)) }

// maxListed bounds the lists of the admin API.
const maxListed = 10000

// AdminAPI adds to Caddy's admin API what operators ask about the edge:
//
//	GET    /podway/status          is it ready, are routes and certificates there
//	GET    /podway/sync            is the table as published
//	GET    /podway/routes          the routes, by host; ?limit= and ?after=<host>
//	GET    /podway/routes/<host>   the route a client that asks for host gets
//	GET    /podway/lookup?host=    the same
//	GET    /podway/sessions        what goes on, oldest first; ?host= and ?limit=
//	DELETE /podway/sessions        end those of ?host=, or the one with ?id=
//	POST   /podway/routes/confirm  drop routes that are held although Redis lacks them
//	POST   /podway/drain           accept no more connections; what goes on goes on
type AdminAPI struct{ app *App }

// CaddyModule returns the Caddy module information.
func (*AdminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.podway", New: func() caddy.Module { return new(AdminAPI) }}
}

// Provision finds the app, if it is configured.
func (a *AdminAPI) Provision(ctx caddy.Context) (err error) {
	a.app, err = options.App[App](ctx, "podway")
	return err
}

// Routes returns the routes of the admin API.
func (a *AdminAPI) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{{Pattern: "/podway/", Handler: caddy.AdminHandlerFunc(a.serve)}}
}

func (a *AdminAPI) serve(w http.ResponseWriter, r *http.Request) error {
	if a.app == nil {
		return refuse(http.StatusNotFound, errors.New("the app podway is not configured"))
	}
	path := strings.TrimPrefix(r.URL.Path, "/podway/")
	if host, ok := strings.CutPrefix(path, "routes/"); ok && host != "confirm" {
		path = "lookup"
		r.URL.RawQuery = url.Values{"host": {host}}.Encode()
	}
	methods, known := a.operations()[path]
	if !known {
		return refuse(http.StatusNotFound, errors.New("known are status, sync, routes, routes/<host>, routes/confirm, lookup, sessions and drain"))
	}
	serve, ok := methods[r.Method]
	if !ok {
		return refuse(http.StatusMethodNotAllowed, fmt.Errorf("use %s", strings.Join(slices.Sorted(maps.Keys(methods)), " or ")))
	}
	return serve(w, r)
}

// operations returns what can be asked, by path and method.
func (a *AdminAPI) operations() map[string]map[string]caddy.AdminHandlerFunc {
	type methods = map[string]caddy.AdminHandlerFunc
	return map[string]methods{
		"status":         {http.MethodGet: a.status},
		"sync":           {http.MethodGet: a.sync},
		"routes":         {http.MethodGet: a.listRoutes},
		"routes/confirm": {http.MethodPost: a.confirm},
		"lookup":         {http.MethodGet: a.lookup},
		"sessions":       {http.MethodGet: a.listSessions, http.MethodDelete: a.kick},
		"drain":          {http.MethodPost: a.drain},
	}
}

func (a *AdminAPI) status(w http.ResponseWriter, _ *http.Request) error {
	return answer(w, a.app.status())
}

func (a *AdminAPI) sync(w http.ResponseWriter, _ *http.Request) error {
	return answer(w, a.app.status().Routes)
}

func (a *AdminAPI) confirm(w http.ResponseWriter, _ *http.Request) error {
	return answer(w, map[string]int{"dropped": a.app.store.watcher.Confirm()})
}

// kick ends sessions.
func (a *AdminAPI) kick(w http.ResponseWriter, r *http.Request) error {
	host, id := r.URL.Query().Get("host"), r.URL.Query().Get("id")
	var n uint64
	if id != "" {
		var err error
		if n, err = strconv.ParseUint(id, 10, 64); err != nil {
			return refuse(http.StatusBadRequest, errors.New("id is not a number"))
		}
	}
	if (host == "") == (id == "") {
		return refuse(http.StatusBadRequest, errors.New("say which sessions: ?host= or ?id="))
	}
	return answer(w, a.app.endSessions(host, n, "admin api"))
}

// drain closes the listening sockets.
func (a *AdminAPI) drain(w http.ResponseWriter, _ *http.Request) error {
	return answer(w, a.app.refuseNew("admin api"))
}

// Status is the answer to GET /podway/status.
type Status struct {
	// Ready says that clients are served as published: routes are loaded and
	// there is a certificate for each configured name.
	Ready bool `json:"ready"`
	// Draining says that no connections are accepted any more.
	Draining bool `json:"draining"`
	// Certificates says for each configured name whether there is one.
	Certificates map[string]bool `json:"certificates"`
	Routes       RoutesStatus    `json:"routes"`
	Connections  int             `json:"connections"`
	Sessions     int             `json:"sessions"`
}

// RoutesStatus is what is known about the table.
type RoutesStatus struct {
	Count          int       `json:"count"`
	Loaded         bool      `json:"loaded"` // filled, from Redis or from the snapshot
	Synced         bool      `json:"synced"` // as published
	StaleSeconds   float64   `json:"stale_seconds"`
	LastContact    time.Time `json:"last_contact,omitzero"`
	Epoch          string    `json:"epoch"`
	Version        uint64    `json:"version"`
	Bad            int       `json:"bad"`  // hosts whose record can't be used
	Held           int       `json:"held"` // served although Redis lacks them
	Resyncs        uint64    `json:"resyncs"`
	SnapshotErrors uint64    `json:"snapshot_errors"`
}

func (a *App) status() Status {
	w := a.store.watcher.Status()
	s := Status{
		Ready:        w.Loaded && !leaving.Load(),
		Draining:     leaving.Load(),
		Certificates: map[string]bool{},
		Routes: RoutesStatus{
			Count: w.Routes, Loaded: w.Loaded, Synced: w.Synced, StaleSeconds: w.Stale.Seconds(), LastContact: w.LastContact,
			Epoch: w.Epoch, Version: w.Version, Bad: w.BadRecords, Held: w.Held, Resyncs: w.Resyncs, SnapshotErrors: w.SnapshotErrors,
		},
		Connections: a.preface.Open(),
		Sessions:    sessions.Len(),
	}
	for _, name := range a.Certificates {
		s.Certificates[name] = hasCertificate(name)
		s.Ready = s.Ready && s.Certificates[name]
	}
	return s
}

// hasCertificate reports whether there is a certificate for a name. Caddy has no
// cache of certificates, and panics, before the first configuration is ready and
// once the last one ends, while sessions may still be drained.
func hasCertificate(name string) (there bool) {
	defer func() { there = recover() == nil && there }()
	return len(caddytls.AllMatchingCertificates(name)) > 0
}

// RouteList is the answer to GET /podway/routes.
type RouteList struct {
	Routes []routes.Route `json:"routes"`
	// Next is the value of ?after= for the rest, "" if there is none.
	Next string `json:"next,omitempty"`
}

func (a *AdminAPI) listRoutes(w http.ResponseWriter, r *http.Request) error {
	limit, err := limitOf(r)
	if err != nil {
		return err
	}
	return answer(w, a.app.routeList(r.URL.Query().Get("after"), limit))
}

func (a *AdminAPI) lookup(w http.ResponseWriter, r *http.Request) error {
	host := r.URL.Query().Get("host")
	e := a.app.lookup(host)
	if e == nil {
		return refuse(http.StatusNotFound, fmt.Errorf("no route for %q", host))
	}
	return answer(w, e.Route)
}

// SessionList is the answer to GET /podway/sessions.
type SessionList struct {
	Sessions []sni.Info `json:"sessions"`
	Total    int        `json:"total"` // of all hosts
}

func (a *AdminAPI) listSessions(w http.ResponseWriter, r *http.Request) error {
	limit, err := limitOf(r)
	if err != nil {
		return err
	}
	list := SessionList{Sessions: sessions.List(r.URL.Query().Get("host"), limit), Total: sessions.Len()}
	if list.Sessions == nil {
		list.Sessions = []sni.Info{}
	}
	return answer(w, list)
}

func limitOf(r *http.Request) (int, error) {
	s := r.URL.Query().Get("limit")
	if s == "" {
		return maxListed, nil
	}
	var n int
	if err := json.Unmarshal([]byte(s), &n); err != nil || n < 1 || n > maxListed {
		return 0, refuse(http.StatusBadRequest, fmt.Errorf("limit is not between 1 and %d", maxListed))
	}
	return n, nil
}

func answer(w http.ResponseWriter, v any) error {
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(v)
}

func refuse(status int, err error) error { return caddy.APIError{HTTPStatus: status, Err: err} }

// Interface guards
var (
	_ caddy.AdminRouter = (*AdminAPI)(nil)
	_ caddy.Provisioner = (*AdminAPI)(nil)
)
