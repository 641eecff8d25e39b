// Package caddymodules lists the modules that make a Caddy server an edge of
// Podway. Import it for its side effects:
//
//	import _ "github.com/tapis-project/podway/caddymodules"
package caddymodules

import (
	// Each registers modules; docs/caddyfile has a page on every one of them.
	_ "github.com/tapis-project/podway/caddymodules/certs"
	_ "github.com/tapis-project/podway/caddymodules/certs/rfc2136"
	_ "github.com/tapis-project/podway/caddymodules/gate"
	_ "github.com/tapis-project/podway/caddymodules/listeners"
	_ "github.com/tapis-project/podway/caddymodules/podproxy"
	_ "github.com/tapis-project/podway/caddymodules/podway"
)
