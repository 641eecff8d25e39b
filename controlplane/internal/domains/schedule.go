package domains

import (
	"cmp"
	"fmt"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// Settings are the verifier's patience. A zero field means its default.
type Settings struct {
	// Poll is the time between two looks for claims that are due. Default: 2s, at
	// most Recheck.
	Poll time.Duration

	// Workers check this many names at a time. Default: 16.
	Workers int

	// Timeout bounds one check. Default: 15s.
	Timeout time.Duration

	// Recheck is the time between two checks of a name that is verified.
	// Default: 1h.
	Recheck time.Duration

	// Retry is the time to the next check of a verified name that was not found, or
	// of which nothing was heard. Default: 5m, at most Recheck.
	Retry time.Duration

	// MaxFailures is how many checks in a row have to say that the records of a
	// verified name are not there until its route is withdrawn. Default: 3.
	MaxFailures int

	// Forget is how long a verified name keeps its route while nothing is heard of
	// it. Default: 72h.
	Forget time.Duration

	// MinBackoff is the wait after the first check of a name that is not verified;
	// it doubles with each check, up to MaxBackoff. Default: 10s and 1h.
	MinBackoff, MaxBackoff time.Duration

	// GiveUp is how long a name that is not verified is checked by itself.
	// Default: 168h, a week.
	GiveUp time.Duration
}

// withDefaults returns s with its zero fields filled in.
func (s Settings) withDefaults() Settings {
	s.Workers = cmp.Or(s.Workers, 16)
	s.Timeout = cmp.Or(s.Timeout, 15*time.Second)
	s.Recheck = cmp.Or(s.Recheck, time.Hour)
	s.Poll = min(cmp.Or(s.Poll, 2*time.Second), s.Recheck)
	s.Retry = min(cmp.Or(s.Retry, 5*time.Minute), s.Recheck)
	s.MaxFailures = cmp.Or(s.MaxFailures, 3)
	s.Forget = cmp.Or(s.Forget, 72*time.Hour)
	s.MaxBackoff = cmp.Or(s.MaxBackoff, time.Hour)
	s.MinBackoff = min(cmp.Or(s.MinBackoff, 10*time.Second), s.MaxBackoff)
	s.GiveUp = cmp.Or(s.GiveUp, 7*24*time.Hour)
	return s
}

// next returns a claim after a check, and lines for the action log of its pod. It
// is pure.
func (s Settings) next(c pods.DomainClaim, v verdict, now time.Time) (pods.DomainClaim, []string) {
	c.LastChecked, c.Reason = &now, v.reason
	switch {
	case v.finding == proven:
		return s.confirmed(c, now)
	case c.State == pods.DomainVerified:
		return s.missed(c, v, now)
	default:
		return s.unproven(c, now)
	}
}

// confirmed is a claim whose records were found.
func (s Settings) confirmed(c pods.DomainClaim, now time.Time) (pods.DomainClaim, []string) {
	var lines []string
	if c.State != pods.DomainVerified {
		lines = append(lines, fmt.Sprintf("custom domain %s verified", c.Domain))
	}
	c.State, c.Failures, c.Confirmed = pods.DomainVerified, 0, &now
	c.NextCheck = new(now.Add(s.Recheck))
	return c, lines
}

// missed is a verified claim whose records were not found this time.
func (s Settings) missed(c pods.DomainClaim, v verdict, now time.Time) (pods.DomainClaim, []string) {
	c.NextCheck = new(now.Add(s.Retry))
	if v.finding == refuted {
		c.Failures++
	}
	heard := c.Since
	if c.Confirmed != nil {
		heard = *c.Confirmed
	}
	if c.Failures < s.MaxFailures && now.Sub(heard) < s.Forget {
		return c, nil
	}
	c.State, c.Failures, c.Since = pods.DomainFailed, 0, now
	c.NextCheck = new(now.Add(s.MinBackoff))
	return c, []string{fmt.Sprintf("custom domain %s lost, its route is withdrawn: %s", c.Domain, v.reason)}
}

// unproven is a claim that was not verified and still is not.
func (s Settings) unproven(c pods.DomainClaim, now time.Time) (pods.DomainClaim, []string) {
	c.Failures++
	if now.Sub(c.Since) < s.GiveUp {
		c.NextCheck = new(now.Add(s.backoff(c.Failures)))
		return c, nil
	}
	c.State, c.NextCheck = pods.DomainFailed, nil
	c.Reason += " It was not found for so long that nobody looks any more; ask for a check when it is there."
	return c, []string{fmt.Sprintf("custom domain %s is not checked any more: it was not proven in time", c.Domain)}
}

// backoff returns the wait after the n-th check.
func (s Settings) backoff(n int) time.Duration {
	d := s.MinBackoff
	for range n - 1 {
		if d >= s.MaxBackoff {
			break
		}
		d *= 2
	}
	return min(d, s.MaxBackoff)
}
