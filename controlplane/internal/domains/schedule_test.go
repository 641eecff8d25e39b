package domains

import (
	"strings"
	"testing"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// noon is when checks are made.
var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

func TestNext(t *testing.T) {
	settings := Settings{}.withDefaults()
	ago := func(d time.Duration) *time.Time { return new(noon.Add(-d)) }
	claim := func(s pods.DomainState, failures int, since time.Duration, confirmed *time.Time) pods.DomainClaim {
		return pods.DomainClaim{Domain: domain, State: s, Failures: failures, Since: *ago(since), Confirmed: confirmed}
	}
	yes, no, silence := verdict{finding: proven}, verdict{refuted, "no record."}, verdict{unknown, "no answer."}
	const never = -1
	for _, tt := range []struct {
		name     string
		claim    pods.DomainClaim
		verdict  verdict
		state    pods.DomainState
		failures int
		next     time.Duration
		line     string
	}{
		{"a proof verifies", claim(pods.DomainPending, 4, time.Minute, nil), yes, pods.DomainVerified, 0, time.Hour, "custom domain www.example.org verified"},
		{"a proof after a loss verifies again", claim(pods.DomainFailed, 4, time.Minute, nil), yes, pods.DomainVerified, 0, time.Hour, "verified"},
		{"a proof of what is verified changes nothing", claim(pods.DomainVerified, 2, time.Hour, ago(time.Hour)), yes, pods.DomainVerified, 0, time.Hour, ""},

		{"the first look comes soon again", claim(pods.DomainPending, 0, 0, nil), no, pods.DomainPending, 1, 10 * time.Second, ""},
		{"later looks come later", claim(pods.DomainPending, 3, time.Minute, nil), no, pods.DomainPending, 4, 80 * time.Second, ""},
		{"looks come hourly at last", claim(pods.DomainPending, 1_000_000, time.Hour, nil), no, pods.DomainPending, 1_000_001, time.Hour, ""},
		{"silence counts as well before a proof", claim(pods.DomainPending, 1, time.Minute, nil), silence, pods.DomainPending, 2, 20 * time.Second, ""},
		{"patience ends after a week", claim(pods.DomainPending, 200, 168*time.Hour, nil), no, pods.DomainFailed, 201, never, "not checked any more"},
		{"patience with what was lost ends, too", claim(pods.DomainFailed, 200, 168*time.Hour, nil), no, pods.DomainFailed, 201, never, "not checked any more"},

		{"what is verified survives one miss", claim(pods.DomainVerified, 0, time.Hour, ago(time.Hour)), no, pods.DomainVerified, 1, 5 * time.Minute, ""},
		{"and a second one", claim(pods.DomainVerified, 1, time.Hour, ago(time.Hour)), no, pods.DomainVerified, 2, 5 * time.Minute, ""},
		{"the third is a loss", claim(pods.DomainVerified, 2, time.Hour, ago(time.Hour)), no, pods.DomainFailed, 0, 10 * time.Second, "lost, its route is withdrawn: no record."},
		{"silence is no miss", claim(pods.DomainVerified, 2, time.Hour, ago(time.Hour)), silence, pods.DomainVerified, 2, 5 * time.Minute, ""},
		{"silence for three days is a loss", claim(pods.DomainVerified, 0, 999*time.Hour, ago(72*time.Hour)), silence, pods.DomainFailed, 0, 10 * time.Second, "lost"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, lines := settings.next(tt.claim, tt.verdict, noon)
			if got.State != tt.state || got.Failures != tt.failures {
				t.Errorf("got %s with %d failures, want %s with %d", got.State, got.Failures, tt.state, tt.failures)
			}
			if (got.NextCheck == nil) != (tt.next == never) || got.NextCheck != nil && got.NextCheck.Sub(noon) != tt.next {
				t.Errorf("got next check %v, want after %v", got.NextCheck, tt.next)
			}
			if line := strings.Join(lines, "\n"); !strings.Contains(line, tt.line) || (tt.line == "") != (line == "") {
				t.Errorf("got lines %q, want %q", line, tt.line)
			}
			if !strings.HasPrefix(got.Reason, tt.verdict.reason) || !got.LastChecked.Equal(noon) {
				t.Errorf("got reason %q at %v", got.Reason, got.LastChecked)
			}
		})
	}
}

func TestDefaultsFitToWhatIsSet(t *testing.T) {
	s := Settings{Recheck: time.Second, MaxBackoff: time.Second}.withDefaults()
	if s.Retry != time.Second || s.MinBackoff != time.Second {
		t.Errorf("got retry %v and first back-off %v, want neither above 1s", s.Retry, s.MinBackoff)
	}
}
