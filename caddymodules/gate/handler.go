// Package gate is the HTTP handler that stands in front of pods that not everyone
// may open: visitors log in with Tapis, send a Tapis token, or use a link or a
// password that the pod's owner gave them. It comes before the handler podway.
//
//	:443 {
//		bind edge/
//		podway_gate {
//			key_file /etc/podway/gate.key
//		}
//		podway
//	}
//
// Who a visitor is, is found out once and remembered; whether they may pass is
// decided with each request, by the route in memory. The handler that follows has
// to refuse what was not admitted, to say what is to end when the visitor may not
// pass any more, and to keep trailers from saying who the visitor is:
//
//	if e.Gated() && !gate.Admitted(r.Context()) { refuse }
//	gate.OnRevoke(r.Context(), session)
//	if gate.Claims(r.Context(), name) { drop the trailer }
//
// Pods are hostile here: they get no cookie and no token of ours, see [takeCookies]
// and [takeToken], and nothing that a client claims to be, see [dropClaims].
package gate

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/tapis-project/podway/caddymodules/podway"
	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/routes/redisgate"
)

func init() { caddy.RegisterModule(new(Handler)) }

// Handler is the gate. Without a key it admits nobody.
type Handler struct {
	// Gate keys, shared with the control plane: 32 bytes in base64 each, the first
	// one seals. Placeholders such as {env.PODWAY_GATE_KEY} are replaced.
	Key string `json:"key,omitempty"`

	// File that holds the gate keys, in the place of Key. Placeholders are replaced.
	KeyFile string `json:"key_file,omitempty"`

	// How long a session lasts. Default: 8h, at most 720h.
	SessionLifetime caddy.Duration `json:"session_lifetime,omitempty"`

	// How long a session lasts that is not used. Default: 1h.
	SessionIdle caddy.Duration `json:"session_idle,omitempty"`

	// End sessions with the token of the login, if that is earlier.
	SessionUntilToken bool `json:"session_until_token,omitempty"`

	// Names of more headers that only the edge may set.
	IdentityHeaders []string `json:"identity_headers,omitempty"`

	settings settings
	guard    *guard // nil without a key
	guardKey string // in guards; "" if not taken
	table    *routes.Table
	log      *slog.Logger
}

// settings are the handler's options with their defaults.
type settings struct {
	lifetime, idle time.Duration
	untilToken     bool
	identity       []string // names of headers
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.podway_gate", New: func() caddy.Module { return new(Handler) }}
}

// Provision reads the keys and takes up what an earlier configuration knows. It
// does not wait for Redis.
func (h *Handler) Provision(ctx caddy.Context) (err error) {
	h.log = ctx.Slogger()
	app, err := podway.Get(ctx)
	if err != nil {
		return err
	}
	h.table = app.Table()
	h.settings = settings{
		lifetime:   time.Duration(cmp.Or(h.SessionLifetime, caddy.Duration(redisgate.SessionLifetime))),
		idle:       time.Duration(cmp.Or(h.SessionIdle, caddy.Duration(redisgate.SessionIdle))),
		untilToken: h.SessionUntilToken, identity: h.IdentityHeaders,
	}
	keys, err := h.keys()
	if err != nil || keys == "" {
		return err
	}
	opts, namespace, err := app.RedisOptions()
	if err != nil {
		return err
	}
	if h.guard, h.guardKey, err = takeGuard(opts, namespace, keys); err != nil {
		return err
	}
	lives.watch(h.table)
	h.guard.watch(h.table)
	app.SetAdmit(h.admitConnection)
	return register(ctx, h.guard)
}

// keys returns the text of the gate keys, "" if none are configured.
func (h *Handler) keys() (string, error) {
	repl := caddy.NewReplacer()
	key, file := repl.ReplaceAll(h.Key, ""), repl.ReplaceAll(h.KeyFile, "")
	switch {
	case key != "" && file != "":
		return "", errors.New("reading gate keys: give key or key_file, not both")
	case file == "":
		return key, nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("reading gate keys: %w", err)
	}
	if len(b) == 0 {
		return "", fmt.Errorf("reading gate keys: %s is empty", file)
	}
	return string(b), nil
}

// Validate checks values.
func (h *Handler) Validate() error {
	switch {
	case h.SessionLifetime < 0 || h.SessionIdle < 0:
		return errors.New("a time of sessions is negative")
	case h.settings.lifetime > redisgate.MaxSessionLifetime:
		return fmt.Errorf("session_lifetime is %v, at most %v are possible", h.settings.lifetime, redisgate.MaxSessionLifetime)
	}
	return nil
}

// Cleanup gives back what Provision took.
func (h *Handler) Cleanup() error {
	if h.guardKey == "" {
		return nil
	}
	_, err := guards.Delete(h.guardKey)
	return err
}

// ServeHTTP implements [caddyhttp.MiddlewareHandler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	own := takeCookies(r.Header)
	host := routes.NormalizeHost(r.Host)
	e := h.table.Lookup(host)
	if e == nil || e.Protocol != routes.HTTP || !e.Gated() {
		return next.ServeHTTP(w, r)
	}
	token, hasToken := takeToken(r.Header)
	dropClaims(r.Header, e, h.settings.identity)
	if h.guard == nil || !e.Allows(clientOf(r)) || isPreflight(r) {
		// What follows refuses whoever was not admitted, and answers preflights by the
		// route's own list.
		return next.ServeHTTP(w, r)
	}
	x := visit{
		guard: h.guard, settings: &h.settings, log: h.log,
		w: w, r: r, e: e, host: host, own: own, token: token, hasToken: hasToken, now: time.Now(),
	}
	if path := ownPath(r.URL); path != "" {
		x.serveOwn(path)
		return nil
	}
	return x.pass(h.table, next)
}

// clientOf returns the client's address, as the connection knows it.
func clientOf(r *http.Request) netip.Addr {
	a, _ := netip.ParseAddrPort(r.RemoteAddr) // an address of net/http
	return a.Addr().Unmap().WithZone("")
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.Validator             = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
