// Command podway-edge is the data plane of Podway: a Caddy server that routes
// TLS connections to pods by their host name.
//
//	podway-edge run --config Caddyfile.example --adapter caddyfile
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/tapis-project/podway/caddymodules"
)

func main() { caddycmd.Main() }
