package login

import (
	"context"
	"maps"
	"slices"

	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/routes/redisgate"
)

// NewLinkSecret returns the secret of a new link.
func (s *Service) NewLinkSecret() string { return redisgate.NewSecret() }

// HashSecret returns what is kept of a secret for one host.
func (s *Service) HashSecret(k pods.AccessTokenKind, host, secret string) string {
	if k == pods.AccessPassword {
		return redisgate.HashPassword(host, secret)
	}
	return redisgate.HashLink(host, secret)
}

// PublishShares tells the edges which access tokens lead to a pod. hosts are those
// of its entries that have an access gate, by networking key.
func (s *Service) PublishShares(ctx context.Context, k pods.Key, hosts map[string]string) error {
	if len(hosts) == 0 {
		return nil
	}
	tokens, err := s.Store.AccessTokens(ctx, k)
	if err != nil {
		return err
	}
	for _, net := range slices.Sorted(maps.Keys(hosts)) {
		if err := s.Gate.SetShares(ctx, hosts[net], sharesAt(net, tokens)); err != nil {
			return err
		}
	}
	return nil
}

// WithdrawShares takes all access tokens of hosts away.
func (s *Service) WithdrawShares(ctx context.Context, hosts map[string]string) error {
	for _, host := range hosts {
		if err := s.Gate.SetShares(ctx, host, nil); err != nil {
			return err
		}
	}
	return nil
}

// sharesAt returns the tokens that count for one networking entry. Those revoked
// are among them, so that visitors can be told.
func sharesAt(net string, tokens []pods.AccessToken) []redisgate.Share {
	var shares []redisgate.Share
	for _, t := range tokens {
		hash, ok := t.Hashes[net]
		if !ok {
			continue // the entry is younger than the token
		}
		x := redisgate.Share{
			ID: t.ID, Kind: redisgate.ShareKind(t.Kind), Label: t.Label, Hash: hash, Created: t.CreatedAt, MaxUses: t.MaxUses, Revoked: t.Revoked,
		}
		if t.ExpiresAt != nil {
			x.Expires = *t.ExpiresAt
		}
		shares = append(shares, x)
	}
	return shares
}

// ShareUses returns how often the access tokens of hosts were redeemed, by id.
func (s *Service) ShareUses(ctx context.Context, hosts map[string]string) (map[string]pods.AccessTokenUses, error) {
	all := map[string]pods.AccessTokenUses{}
	for _, host := range hosts {
		uses, err := s.Gate.ShareUses(ctx, host)
		if err != nil {
			return nil, err
		}
		for id, u := range uses {
			sum := all[id]
			sum.Count += u.Count
			if u.Last.After(sum.Last) {
				sum.Last = u.Last
			}
			all[id] = sum
		}
	}
	return all, nil
}
