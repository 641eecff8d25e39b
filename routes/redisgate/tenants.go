package redisgate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/tapis-project/podway/routes/redisroutes"
)

// Tenant is what edges have to know about a tenant to log its users in and to
// verify their tokens.
type Tenant struct {
	ID     string `json:"tenant"`
	SiteID string `json:"site_id"`

	// Issuer is the "iss" of the tenant's tokens: the URL of its token service.
	Issuer string `json:"issuer"`

	// PublicKeys verify the tenant's tokens: PEM, RSA. More than one while a key
	// is replaced.
	PublicKeys []string `json:"public_keys"`

	// LoginURL is the tenant's base URL, where the path /v3/pods/login is served:
	// "https://tacc.tapis.io".
	LoginURL string `json:"login_url"`
}

// SetTenants makes the published tenants exactly these and tells every edge if
// that is news.
func (s *Store) SetTenants(ctx context.Context, tenants []Tenant) error {
	want := make(map[string]string, len(tenants))
	for _, t := range tenants {
		b, err := json.Marshal(t)
		if err != nil {
			return fmt.Errorf("publishing tenant %q: %w", t.ID, err)
		}
		want[t.ID] = string(b)
	}
	changed, err := s.replaceHash(ctx, s.key("tenants"), want)
	if err != nil {
		return fmt.Errorf("publishing tenants: %w", err)
	}
	if !changed {
		return nil
	}
	return s.Publish(ctx, Event{Kind: TenantsChanged})
}

// Tenants returns the published tenants by id. Records that can't be read are
// missing.
func (s *Store) Tenants(ctx context.Context) (map[string]Tenant, error) {
	return readTenants(ctx, s.client, s.key("tenants"))
}

// ReadTenants is [Store.Tenants] for those who have no gate key.
func ReadTenants(ctx context.Context, client redis.UniversalClient, namespace string) (map[string]Tenant, error) {
	key, err := redisroutes.Key(namespace, "gate:tenants")
	if err != nil {
		return nil, fmt.Errorf("reading tenants: %w", err)
	}
	return readTenants(ctx, client, key)
}

func readTenants(ctx context.Context, client redis.UniversalClient, key string) (map[string]Tenant, error) {
	all, err := client.HGetAll(ctx, key).Result()
	if err != nil {
		return nil, fmt.Errorf("reading tenants: %w", err)
	}
	return decodeHash[Tenant](all), nil
}

// replaceHash makes a hash exactly want, in one step, and reports whether it was
// another one.
func (s *Store) replaceHash(ctx context.Context, key string, want map[string]string) (changed bool, err error) {
	have, err := s.client.HGetAll(ctx, key).Result()
	if err != nil {
		return false, err
	}
	if maps.Equal(have, want) {
		return false, nil
	}
	_, err = s.client.TxPipelined(ctx, func(tx redis.Pipeliner) error {
		cmds := []error{tx.Del(ctx, key).Err()}
		if len(want) > 0 {
			cmds = append(cmds, tx.HSet(ctx, key, want).Err())
		}
		return errors.Join(cmds...)
	})
	return err == nil, err
}

// decodeHash decodes the values of a hash and leaves out what is none.
func decodeHash[T any](all map[string]string) map[string]T {
	out := make(map[string]T, len(all))
	for _, id := range slices.Sorted(maps.Keys(all)) {
		var v T
		if json.Unmarshal([]byte(all[id]), &v) == nil {
			out[id] = v
		}
	}
	return out
}
