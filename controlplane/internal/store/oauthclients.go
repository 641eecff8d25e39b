package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

var _ pods.OAuthClientStore = (*Store)(nil)

// oauthContext binds the key of a client to its tenant.
func oauthContext(tenant string) string { return "oauth client of " + tenant }

func orNoClient(err error, tenant string) error {
	if errors.Is(err, sql.ErrNoRows) {
		return pods.Errorf(pods.NotFound, "There is no OAuth2 client for the tenant '%s'.", tenant)
	}
	return err
}

// OAuthClient returns the client of a tenant.
func (s *Store) OAuthClient(ctx context.Context, tenant string) (pods.OAuthClient, error) {
	var c pods.OAuthClient
	if !storable(tenant) {
		return c, orNoClient(sql.ErrNoRows, tenant)
	}
	var sealed string
	err := s.read(ctx, func() error {
		return s.reader.QueryRowContext(ctx, "select client_id, callback_url, sealed from oauth_clients where tenant = $1", tenant).
			Scan(&c.ID, &c.CallbackURL, &sealed)
	})
	if err != nil {
		return c, doing("reading OAuth2 client of", tenant, orNoClient(err, tenant))
	}
	key, err := s.keys.Open(sealed, oauthContext(tenant))
	c.Key = string(key)
	return c, doing("opening OAuth2 client of", tenant, err)
}

// SetOAuthClient replaces the client of a tenant.
func (s *Store) SetOAuthClient(ctx context.Context, tenant string, c pods.OAuthClient) error {
	if !storable(tenant, c.ID, c.CallbackURL) {
		return pods.Errorf(pods.Invalid, "the OAuth2 client must be valid UTF-8 without NUL characters.")
	}
	sealed := s.keys.Seal([]byte(c.Key), oauthContext(tenant))
	err := s.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `
			insert into oauth_clients (tenant, client_id, callback_url, sealed) values ($1, $2, $3, $4)
			on conflict (tenant) do update set
				client_id = excluded.client_id, callback_url = excluded.callback_url, sealed = excluded.sealed`,
			tenant, c.ID, c.CallbackURL, sealed)
		return err
	})
	return doing("writing OAuth2 client of", tenant, err)
}

// tenantKey is the key of an OAuth2 client.
type tenantKey string

// String returns the tenant.
func (k tenantKey) String() string { return "tenant " + string(k) }

func (s *Store) rekeyOAuthClients(ctx context.Context) (int, error) {
	scan := func(row scanner) (k tenantKey, err error) {
		err = row.Scan(&k)
		return k, err
	}
	keys, err := readAll(ctx, s, scan, "select tenant from oauth_clients where "+olderKey+" order by tenant", s.prefixArgs()...)
	if err != nil {
		return 0, fmt.Errorf("finding OAuth2 clients of older keys: %w", err)
	}
	return rekeyEach(keys, func(k tenantKey) error { return s.rekeyOAuthClient(ctx, string(k)) })
}

func (s *Store) rekeyOAuthClient(ctx context.Context, tenant string) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		var sealed string
		err := tx.QueryRowContext(ctx, "select sealed from oauth_clients where tenant = $1"+s.engine.forUpdate, tenant).Scan(&sealed)
		if err != nil {
			return orNoClient(err, tenant)
		}
		if sealed, err = s.reseal(sealed, oauthContext(tenant)); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "update oauth_clients set sealed = $2 where tenant = $1", tenant, sealed)
		return err
	})
}
