// Package routestest has what tests of both halves put into routes.
package routestest

import _ "embed" // for the certificate

// Authority is the certificate of an authority of clients, in PEM. Nobody has its key.
//
//go:embed authority.pem
var Authority string
