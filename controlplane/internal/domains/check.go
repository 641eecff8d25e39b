package domains

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// DNS is what a check asks; a [Resolver] does. An error means that nothing is
// known; a name that does not exist is none.
type DNS interface {
	TXT(ctx context.Context, name string) ([]string, error)
	Target(ctx context.Context, name string) (Target, error)
}

// finding is what a check came to.
type finding string

const (
	proven  finding = "proven"
	refuted finding = "refuted" // an answer says that a record is not there
	unknown finding = "unknown" // there was no answer
)

// verdict is a finding with its reason, for the pod's owner.
type verdict struct {
	finding finding
	reason  string // "" if proven
}

// check looks for the records of a claim whose entry has a host.
func check(ctx context.Context, d DNS, c pods.DomainClaim, host string) verdict {
	if v := checkTXT(ctx, d, c); v.finding != proven {
		return v
	}
	return checkTarget(ctx, d, c.Domain, host)
}

func checkTXT(ctx context.Context, d DNS, c pods.DomainClaim) verdict {
	texts, err := d.TXT(ctx, c.RecordName())
	switch {
	case err != nil:
		return unanswered(c.RecordName())
	case slices.ContainsFunc(texts, func(t string) bool { return strings.TrimSpace(t) == c.Token }):
		return verdict{finding: proven}
	case len(texts) == 0:
		return verdict{refuted, fmt.Sprintf("There is no TXT record at %s yet. Create it with the value %s.", c.RecordName(), c.Token)}
	default:
		return verdict{refuted, fmt.Sprintf("The TXT record at %s has another value. Make it %s.", c.RecordName(), c.Token)}
	}
}

func checkTarget(ctx context.Context, d DNS, domain, host string) verdict {
	t, err := d.Target(ctx, domain)
	if err != nil {
		return unanswered(domain)
	}
	if slices.Contains(t.Aliases, host) {
		return verdict{finding: proven}
	}
	ours, err := d.Target(ctx, host)
	if err != nil {
		return unanswered(host)
	}
	for _, addr := range t.Addresses {
		if slices.Contains(ours.Addresses, addr) {
			return verdict{finding: proven}
		}
	}
	return verdict{refuted, fmt.Sprintf("The TXT record is right, but %s does not lead here. Make it a CNAME of %s, "+
		"or, where there can be none, give it the addresses of that name.", domain, host)}
}

func unanswered(name string) verdict {
	return verdict{unknown, fmt.Sprintf("The name servers of %s do not answer.", name)}
}
