// Package edge attacks real edges and breaks what they depend on: the program as
// it is built, with the limits it ships with, on loopback, with a real Redis.
// docs/security-tests.md says which test keeps which rule.
package edge
