package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

var _ pods.AccessTokenStore = (*Store)(nil)

func noAccessToken(id string) error {
	return pods.Errorf(pods.NotFound, "Access token with identifier '%s' not found", id)
}

// AddAccessToken writes a new token. It holds the pod's row, so that the tokens it
// counts stay that many.
func (s *Store) AddAccessToken(ctx context.Context, uid string, t pods.AccessToken) error {
	if !storable(t.ID, t.Label, t.CreatedBy) {
		return pods.Errorf(pods.Invalid, "access tokens must be valid UTF-8 without NUL characters.")
	}
	hashes, err := json.Marshal(t.Hashes)
	if err != nil {
		return fmt.Errorf("encoding access token: %w", err)
	}
	err = s.writePod(ctx, t.Pod, uid, func(tx *sql.Tx, _ heldPod) error {
		var have int
		err := tx.QueryRowContext(ctx, "select count(*) from access_tokens where tenant = $1 and pod_id = $2 and not revoked", t.Pod.Tenant, t.Pod.ID).Scan(&have)
		if err != nil {
			return fmt.Errorf("counting access tokens: %w", err)
		}
		if have >= pods.MaxAccessTokens {
			return pods.Errorf(pods.Invalid, "The pod has %d access tokens, more are not allowed. Revoke some.", have)
		}
		_, err = tx.ExecContext(ctx, `
			insert into access_tokens (tenant, pod_id, id, label, kind, created_by, created_at, expires_at, max_uses, revoked, hashes)
			values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
			t.Pod.Tenant, t.Pod.ID, t.ID, t.Label, t.Kind, t.CreatedBy, t.CreatedAt.UnixMicro(), microsOrZero(t.ExpiresAt), t.MaxUses, t.Revoked, string(hashes))
		return err
	})
	return doing("adding access token to", t.Pod, err)
}

// AccessTokens returns the tokens of a pod, the oldest first.
func (s *Store) AccessTokens(ctx context.Context, k pods.Key) ([]pods.AccessToken, error) {
	if !storable(k.Tenant, string(k.ID)) {
		return nil, nil
	}
	all, err := readAll(ctx, s, scanAccessToken, `
		select tenant, pod_id, id, label, kind, created_by, created_at, expires_at, max_uses, revoked, hashes
		from access_tokens where tenant = $1 and pod_id = $2 order by created_at, id`, k.Tenant, k.ID)
	return all, doing("reading access tokens of", k, err)
}

func scanAccessToken(row scanner) (pods.AccessToken, error) {
	var t pods.AccessToken
	var created, expires int64
	var hashes string
	err := row.Scan(&t.Pod.Tenant, &t.Pod.ID, &t.ID, &t.Label, &t.Kind, &t.CreatedBy, &created, &expires, &t.MaxUses, &t.Revoked, &hashes)
	if err != nil {
		return t, err
	}
	t.CreatedAt = fromMicros(created)
	t.ExpiresAt = timeUnlessZero(expires)
	if err := json.Unmarshal([]byte(hashes), &t.Hashes); err != nil {
		return t, fmt.Errorf("decoding access token: %w", err)
	}
	return t, nil
}

// RevokeAccessToken ends a token for good.
func (s *Store) RevokeAccessToken(ctx context.Context, k pods.Key, id string) error {
	if !storable(k.Tenant, string(k.ID), id) {
		return noAccessToken(id)
	}
	err := s.write(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, "update access_tokens set revoked = $4 where tenant = $1 and pod_id = $2 and id = $3", k.Tenant, k.ID, id, true)
		if err != nil {
			return err
		}
		return orNoRow(res, noAccessToken(id))
	})
	return doing("revoking access token of", k, err)
}
