package gate

import (
	"context"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// admissionVar is the name under which Caddy's variables of a request hold its
// admission. A context or a header of its own would cost each request a copy.
const admissionVar = "podway_gate"

// admission is what tells the handler that follows that a request may pass. Only
// this package makes one.
type admission struct{ request *request }

// admit lets a request pass.
func admit(ctx context.Context, x *request) {
	caddyhttp.SetVar(ctx, admissionVar, admission{x})
}

// Admitted reports whether the gate let a request of Caddy's pass. The headers of
// such a request that say who the visitor is are the gate's own. It is false for
// requests of hosts without a gate.
func Admitted(ctx context.Context) bool {
	_, ok := caddyhttp.GetVar(ctx, admissionVar).(admission)
	return ok
}

// OnRevoke has r ended as soon as the visitor may not pass any more, at once if
// that is so already. Who passes an admitted request on has to say by this what is
// to end. For requests that were not admitted it does nothing.
func OnRevoke(ctx context.Context, r Revoker) {
	if a, ok := caddyhttp.GetVar(ctx, admissionVar).(admission); ok {
		a.request.onRevoke(r)
	}
}

// Claims reports whether a header of an admitted request is one that only the edge
// may set. The gate has removed those of the client; trailers, which come after the
// body and which some servers mix with headers, are left to who passes them on.
func Claims(ctx context.Context, name string) bool {
	a, ok := caddyhttp.GetVar(ctx, admissionVar).(admission)
	return ok && isClaim(name, a.request.entry, a.request.identity)
}
