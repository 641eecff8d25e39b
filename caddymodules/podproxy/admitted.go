package podproxy

import (
	"context"

	"github.com/tapis-project/podway/caddymodules/gate"
	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/sni"
)

// gated reports whether a login or a share stands in front of the pod.
func gated(e *routes.Entry) bool { return e.Gate != nil || e.AccessGate != nil }

// admitted reports whether the gate before this handler has let a request pass.
// The gate removes the client's identity headers then, and sets its own.
func admitted(ctx context.Context) bool { return gate.Admitted(ctx) }

// endWithVisitor has a session of a request end when the gate says that its visitor
// may not pass any more.
func endWithVisitor(ctx context.Context, s *sni.Session) { gate.OnRevoke(ctx, s) }

// claims reports whether a name is that of a header which only the gate may set.
func claims(ctx context.Context, name string) bool { return gate.Claims(ctx, name) }
