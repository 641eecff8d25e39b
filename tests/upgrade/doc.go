// Package upgrade replaces every part of an installation by its next version, one after
// the other, while clients of all kinds come and stay: control planes, which share a
// PostgreSQL and lead in turn on a real Kubernetes API server; edges, by the hand-over of
// their socket and by a drain behind a balancer; and Redis, which loses everything.
//
// No new connection may fail. Sessions may end only with their edge, and only with the
// goodbye of their protocol. docs/operations/upgrade.md tells operators the same steps.
package upgrade
