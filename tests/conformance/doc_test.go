// Package conformance compares Podway with the Tapis Pods API that clients were
// written for, from outside: its specification with theirs, and its rules about
// changes with what clients rely on.
package conformance
