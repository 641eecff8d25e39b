// Package certs tests how edges get certificates: real edges, a real Redis, a real
// DNS server and Pebble, a certificate authority that speaks ACME and rejects some
// good nonces on purpose. `make certs-test` installs what they need and runs them.
package certs
