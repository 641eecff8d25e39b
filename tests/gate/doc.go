// Package gate tells how people and programs pass the login in front of pods: real
// Chromium, real database clients and a hostile pod, against programs that are the
// control plane, its development Tapis and an edge.
package gate
