// Package domains gives pods names of their owners' own: a whole Podway, an edge,
// and a real DNS server in which the test is the owner of example.org.
package domains
