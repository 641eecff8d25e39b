package podproxy

import (
	"context"

	"github.com/tapis-project/podway/caddymodules/gate"
	"github.com/tapis-project/podway/routes"
)

// gated reports whether a login or a share stands in front of the pod.
func gated(e *routes.Entry) bool { return e.Gate != nil || e.AccessGate != nil }

// admitted reports whether the gate before this handler has let a request pass.
// The gate removes the client's identity headers then, and sets its own.
func admitted(ctx context.Context) bool { return gate.Admitted(ctx) }
