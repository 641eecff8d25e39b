package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

var _ pods.DomainStore = (*Store)(nil)

// domainColumns are those of a claim, in the order of scanDomain.
const domainColumns = "tenant, pod_id, net, domain, state, token, reason, since, last_checked, confirmed_at, next_check, failures"

func scanDomain(row scanner) (pods.DomainClaim, error) {
	var c pods.DomainClaim
	var since, checked, confirmed, next int64
	err := row.Scan(&c.Pod.Tenant, &c.Pod.ID, &c.Net, &c.Domain, &c.State, &c.Token, &c.Reason,
		&since, &checked, &confirmed, &next, &c.Failures)
	c.Since, c.LastChecked = fromMicros(since), timeUnlessZero(checked)
	c.Confirmed, c.NextCheck = timeUnlessZero(confirmed), timeUnlessZero(next)
	return c, err
}

// Domains returns the claims that q selects.
func (s *Store) Domains(ctx context.Context, q pods.DomainQuery) ([]pods.DomainClaim, error) {
	if !storable(q.Tenant, string(q.Pod), q.Domain) {
		return nil, nil
	}
	var a arguments
	conditions := []string{"1 = 1"}
	for _, c := range []struct{ column, value string }{
		{"tenant", q.Tenant}, {"pod_id", string(q.Pod)}, {"domain", q.Domain}, {"state", string(q.State)},
	} {
		if c.value != "" {
			conditions = append(conditions, c.column+" = "+a.add(c.value))
		}
	}
	all, err := readAll(ctx, s, scanDomain, "select "+domainColumns+" from pod_domains where "+strings.Join(conditions, " and ")+" order by tenant, pod_id, domain", a...)
	if err != nil {
		return nil, fmt.Errorf("reading custom domains: %w", err)
	}
	return all, nil
}

// TakeDueDomains leases claims that are due.
func (s *Store) TakeDueDomains(ctx context.Context, now, until time.Time, limit int) ([]pods.DomainClaim, error) {
	var taken []pods.DomainClaim
	err := s.write(ctx, func(tx *sql.Tx) (err error) {
		// The condition stands there twice for Postgres, which looks again at rows that
		// another replica took while this one waited for them.
		taken, err = queryAll(ctx, tx, scanDomain, `
			update pod_domains set next_check = $2
			where next_check > 0 and next_check <= $1 and (tenant, pod_id, domain) in (
				select tenant, pod_id, domain from pod_domains
				where next_check > 0 and next_check <= $1
				order by next_check limit $3
			)
			returning `+domainColumns, now.UnixMicro(), until.UnixMicro(), limit)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("taking custom domains that are due: %w", err)
	}
	return taken, nil
}

// AskDomainChecks makes claims of a pod due.
func (s *Store) AskDomainChecks(ctx context.Context, k pods.Key, now, since time.Time) (int, error) {
	if !storable(k.Tenant, string(k.ID)) {
		return 0, nil
	}
	var n int64
	err := s.write(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `
			update pod_domains set next_check = $3, since = case when state = 'verified' then since else $3 end
			where tenant = $1 and pod_id = $2 and last_checked <= $4`,
			k.Tenant, k.ID, now.UnixMicro(), since.UnixMicro())
		if err != nil {
			return err
		}
		n, err = res.RowsAffected()
		return err
	})
	return int(n), doing("asking for checks of the custom domains of", k, err)
}

// syncDomains makes the claims of a pod whose row is held follow its definition.
func syncDomains(ctx context.Context, tx *sql.Tx, p pods.Pod, at time.Time) error {
	want := p.Definition.Domains()
	have, err := queryAll(ctx, tx, scanDomain,
		"select "+domainColumns+" from pod_domains where tenant = $1 and pod_id = $2", p.Tenant, p.ID)
	if err != nil {
		return fmt.Errorf("reading custom domains: %w", err)
	}
	for _, c := range have {
		net, wanted := want[c.Domain]
		delete(want, c.Domain)
		switch {
		case !wanted:
			_, err = tx.ExecContext(ctx, "delete from pod_domains where tenant = $1 and pod_id = $2 and domain = $3",
				p.Tenant, p.ID, c.Domain)
		case net != c.Net:
			_, err = tx.ExecContext(ctx, "update pod_domains set net = $4 where tenant = $1 and pod_id = $2 and domain = $3",
				p.Tenant, p.ID, c.Domain, net)
		}
		if err != nil {
			return fmt.Errorf("changing custom domain: %w", err)
		}
	}
	for _, domain := range slices.Sorted(maps.Keys(want)) {
		if err := insertDomain(ctx, tx, p, domain, want[domain], at); err != nil {
			return err
		}
	}
	if len(want) == 0 {
		return nil
	}
	return checkDomains(ctx, tx, p)
}

func insertDomain(ctx context.Context, tx *sql.Tx, p pods.Pod, domain, net string, at time.Time) error {
	_, err := tx.ExecContext(ctx, `
		insert into pod_domains (`+domainColumns+`)
		values ($1, $2, $3, $4, $5, $6, '', $7, 0, 0, $7, 0)`,
		p.Tenant, p.ID, net, domain, pods.DomainPending, pods.NewDomainToken(), at.UnixMicro())
	if err != nil {
		return fmt.Errorf("inserting custom domain: %w", err)
	}
	return nil
}

// checkDomains bounds the claims of a pod's owner.
func checkDomains(ctx context.Context, tx *sql.Tx, p pods.Pod) error {
	var n int
	err := tx.QueryRowContext(ctx, `
		select count(*) from pod_domains d join pods p on p.tenant = d.tenant and p.id = d.pod_id
		where d.tenant = $1 and p.owner = $2`, p.Tenant, p.Owner).Scan(&n)
	if err != nil {
		return fmt.Errorf("counting custom domains: %w", err)
	}
	if n > pods.MaxDomains {
		return pods.Errorf(pods.Invalid, "networking.custom_domain: the pods of '%s' may have %d custom domains at most.",
			p.Owner, pods.MaxDomains)
	}
	return nil
}

// SaveDomainCheck writes what a check of a claim came to.
func (s *Store) SaveDomainCheck(ctx context.Context, c pods.DomainClaim, events ...pods.Event) ([]pods.Key, error) {
	var changed []pods.Key
	err := s.write(ctx, func(tx *sql.Tx) error {
		rivals, err := s.holdClaimants(ctx, tx, c)
		if err != nil {
			return err
		}
		was, err := domainState(ctx, tx, c)
		if err != nil {
			return err
		}
		changed = nil
		if c.State != was {
			changed = []pods.Key{c.Pod}
		}
		if c.State == pods.DomainVerified && was != c.State {
			lost, err := challengeRivals(ctx, tx, c, rivals)
			if err != nil {
				return err
			}
			changed = append(lost, changed...)
		}
		if err := updateDomain(ctx, tx, c); err != nil {
			return err
		}
		return appendEvents(ctx, tx, c.Pod, events...)
	})
	return changed, doing("saving the check of a custom domain of", c.Pod, err)
}

// holdClaimants locks the pods that a check of c may change, in one order for
// all, and returns the other claims of its domain.
func (s *Store) holdClaimants(ctx context.Context, tx *sql.Tx, c pods.DomainClaim) (rivals []pods.DomainClaim, err error) {
	keys := []pods.Key{c.Pod}
	if c.State == pods.DomainVerified {
		rivals, err = queryAll(ctx, tx, scanDomain, "select "+domainColumns+" from pod_domains where domain = $1", c.Domain)
		if err != nil {
			return nil, fmt.Errorf("reading claims of the domain: %w", err)
		}
		rivals = slices.DeleteFunc(rivals, func(r pods.DomainClaim) bool { return r.Pod == c.Pod })
	}
	for _, r := range rivals {
		keys = append(keys, r.Pod)
	}
	slices.SortFunc(keys, func(a, b pods.Key) int { return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.ID, b.ID)) })
	for _, k := range keys {
		// A rival that is gone is none any more.
		if _, err := s.hold(ctx, tx, k); err != nil && (k == c.Pod || pods.ErrorCode(err) != pods.NotFound) {
			return nil, orDomainConflict(err)
		}
	}
	return rivals, nil
}

// domainState returns the state of a claim whose pod is held.
func domainState(ctx context.Context, tx *sql.Tx, c pods.DomainClaim) (state pods.DomainState, err error) {
	err = tx.QueryRowContext(ctx, `
		select state from pod_domains where tenant = $1 and pod_id = $2 and domain = $3 and token = $4`,
		c.Pod.Tenant, c.Pod.ID, c.Domain, c.Token).Scan(&state)
	return state, orDomainConflict(orNotFound(err, c.Pod))
}

func orDomainConflict(err error) error {
	if pods.ErrorCode(err) == pods.NotFound {
		return pods.Errorf(pods.Conflict, "The custom domain was changed meanwhile.")
	}
	return err
}

// challengeRivals gives every other claim of a domain that was proven a new
// challenge, due at once: a check of the old one that is under way comes to nothing, and takes the domain from the pod that had it, which it returns.
func challengeRivals(ctx context.Context, tx *sql.Tx, c pods.DomainClaim, rivals []pods.DomainClaim) (lost []pods.Key, err error) {
	const reason = "The owner of this domain has proven it for another pod. To have it here again, create the TXT record anew: its value has changed."
	at := timeOf(c.LastChecked, c.Since)
	for _, r := range rivals {
		state := r.State
		if state == pods.DomainVerified {
			state = pods.DomainFailed
			lost = append(lost, r.Pod)
		}
		_, err := tx.ExecContext(ctx, `
			update pod_domains set state = $4, token = $5, reason = $6, since = $7, next_check = $7, confirmed_at = 0, failures = 0
			where tenant = $1 and pod_id = $2 and domain = $3`,
			r.Pod.Tenant, r.Pod.ID, r.Domain, state, pods.NewDomainToken(), reason, at.UnixMicro())
		if err != nil {
			return nil, fmt.Errorf("changing the challenge of %s: %w", r.Pod, err)
		}
		if state == r.State {
			continue
		}
		e := pods.Event{At: at, Text: fmt.Sprintf("custom domain %s was proven by another pod, its route is withdrawn", r.Domain)}
		if err := appendEvents(ctx, tx, r.Pod, e); err != nil {
			return nil, err
		}
	}
	return lost, nil
}

// timeOf returns *t, or def if that is nil.
func timeOf(t *time.Time, def time.Time) time.Time {
	if t == nil {
		return def
	}
	return *t
}

func updateDomain(ctx context.Context, tx *sql.Tx, c pods.DomainClaim) error {
	_, err := tx.ExecContext(ctx, `
		update pod_domains set state = $4, reason = $5, since = $6, last_checked = $7, confirmed_at = $8, next_check = $9, failures = $10
		where tenant = $1 and pod_id = $2 and domain = $3`,
		c.Pod.Tenant, c.Pod.ID, c.Domain, c.State, cleanText(c.Reason), c.Since.UnixMicro(),
		microsOrZero(c.LastChecked), microsOrZero(c.Confirmed), microsOrZero(c.NextCheck), c.Failures)
	if err != nil {
		return fmt.Errorf("updating custom domain: %w", err)
	}
	return nil
}
