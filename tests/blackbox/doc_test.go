// Package blackbox tests Podway as its users meet it: the real control plane
// and the real edge as processes, driven over REST, https, WebSocket, TLS and
// psql, one file per user story.
package blackbox
