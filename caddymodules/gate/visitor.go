package gate

import (
	"sync/atomic"
	"time"

	"github.com/tapis-project/podway/routes"
)

// kind is how somebody proved that they may pass.
type kind int

const (
	byNothing kind = iota // the path needs no proof
	bySession
	byToken
	byShare
)

// visitor is somebody who may pass as long as the proof counts. It is kept between
// requests, and safe for concurrent use.
type visitor struct {
	kind     kind
	key      string // of the session in Redis or the token in its cache, or the share's id
	username string // "" for a share
	tenant   string // of the user
	label    string // of the share, fit for a header
	version  int    // of the share
	created  time.Time
	expires  time.Time

	// Of a session: what the browser sends, where, for which pod, and how long it
	// lasts unused.
	id, host, pod string
	idle          time.Duration

	used    atomic.Int64 // Unix nanoseconds of the last request
	touched atomic.Int64 // and of the last time that Redis was told of one
	told    atomic.Pointer[told]
	ended   atomic.Bool // the session is over: the visitor could not pass once
}

// told is what a pod is told of a visitor, made once for many requests.
type told struct {
	entry  *routes.Entry
	host   string
	until  time.Time
	fields []field
}

// mayPass reports whether a route lets the visitor pass now. Whether their share
// still counts is another question.
func (v *visitor) mayPass(e *routes.Entry, now time.Time) bool {
	switch {
	case !now.Before(v.expires):
		return false
	case v.kind == byShare:
		return e.AccessGate != nil
	default:
		return e.Admits(v.tenant, v.username)
	}
}
