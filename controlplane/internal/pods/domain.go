package pods

import (
	"context"
	"crypto/rand"
	"strings"
	"time"
)

// DomainState says how far the proof is that a custom domain belongs to the
// owner of a pod.
type DomainState string

// The states of a custom domain.
const (
	DomainPending  DomainState = "pending"  // not proven yet
	DomainVerified DomainState = "verified" // proven; it has a route
	DomainFailed   DomainState = "failed"   // lost, or not proven in time; it has no route
)

// MaxDomains bounds the custom domains on all pods of one owner in a tenant.
const MaxDomains = 50

// challengePrefix is the label below which a domain's owner answers a challenge.
const challengePrefix = "_tapis-pods."

// DomainClaim is what a pod claims by naming a custom domain in an entry of its
// networking. Any number of pods may claim a name; one at most has it verified.
type DomainClaim struct {
	Pod    Key
	Net    string // networking key
	Domain string // as [NormalizeDomain] returns it

	State DomainState

	// Token is what the TXT record has to hold. Another pod's proof makes a new one,
	// so that records which were left in the zone prove nothing.
	Token string

	Reason string    // why it is not verified, for the pod's owner; "" if it is
	Since  time.Time // when the present challenge began

	LastChecked *time.Time // nil: never
	Confirmed   *time.Time // when all records were last found; nil: never under this challenge
	NextCheck   *time.Time // nil: not until somebody asks
	Failures    int        // checks in a row that did not find the records
}

// RecordName is the name of the TXT record that proves the claim.
func (c DomainClaim) RecordName() string { return challengePrefix + c.Domain }

// NewDomainToken returns a token for a new challenge, which nobody can guess.
func NewDomainToken() string { return strings.ToLower(rand.Text()) }

// DomainStore keeps the claims of pods. CreatePod and UpdatePod of [Store] make
// them follow the definition: what a definition names for the first time is
// claimed, PENDING and due at once; what it names no longer is given up. They go
// with their pod. All methods are safe for concurrent use.
type DomainStore interface {
	// Domains returns the claims that a query selects, ordered by tenant, pod and
	// domain.
	Domains(ctx context.Context, q DomainQuery) ([]DomainClaim, error)

	// TakeDueDomains returns at most limit claims whose NextCheck is not after now,
	// and moves it to until: nobody else takes them before that.
	TakeDueDomains(ctx context.Context, now, until time.Time, limit int) ([]DomainClaim, error)

	// SaveDomainCheck writes what a check of a claim came to (all fields but Net and
	// Token) and appends the events to the pod's log, in one transaction. Conflict if
	// the claim is gone or has got another Token meanwhile.
	//
	// A claim that becomes verified takes the domain from the pod that had it, whose
	// claim is failed then, and gives every other claim of the domain a new Token
	// and makes it due.
	// It returns the pods whose routes change: none unless some state did.
	SaveDomainCheck(ctx context.Context, c DomainClaim, events ...Event) ([]Key, error)

	// AskDomainChecks makes the claims of a pod due now that were not checked after
	// the time since, and gives those that are not verified new patience. It returns
	// how many there are.
	AskDomainChecks(ctx context.Context, k Key, now, since time.Time) (int, error)
}

// DomainQuery selects claims. The zero value selects every one of the site.
type DomainQuery struct {
	Tenant string      // "" means all tenants
	Pod    ID          // with Tenant; "" means all pods
	Domain string      // "" means all names
	State  DomainState // "" means all states
}

// Domains returns the custom domains that a definition names: networking keys by
// domain.
func (d Definition) Domains() map[string]string {
	domains := map[string]string{}
	for key, n := range d.Networking.Or(nil) {
		if domain := n.CustomDomain.Or(""); domain != "" {
			domains[domain] = key
		}
	}
	return domains
}

// WithoutDomains returns d without custom domains: they belong to one pod, and
// not to those that are made like it. d is not changed.
func (d Definition) WithoutDomains() Definition {
	entries, ok := d.Networking.Get()
	if !ok {
		return d
	}
	kept := make(map[string]NetDef, len(entries))
	for key, n := range entries {
		n.CustomDomain = Opt[string]{}
		kept[key] = n
	}
	d.Networking = Set(kept)
	return d
}
