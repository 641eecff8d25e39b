//go:build !linux

package sni

import (
	"errors"
	"time"
)

// Parker exists on Linux only. On other systems every session has two goroutines.
type Parker struct{ after time.Duration }

type place struct{}

// NewParker returns an error: a nil *Parker is what works everywhere.
func NewParker(time.Duration) (*Parker, error) {
	return nil, errors.New("parking idle sessions: only Linux can")
}

// Close does nothing.
func (*Parker) Close() error { return nil }

// Parked returns 0.
func (*Parker) Parked() int { return 0 }

func (*Parker) park(*pump) bool { return false }
func (*Parker) forget(*pump)    {}
