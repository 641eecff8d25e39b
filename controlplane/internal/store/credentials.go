package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// sealedCredentials is what is sealed; its JSON form is stored for as long as
// the pod lives.
type sealedCredentials struct {
	AdminUsername string `json:"admin_username"`
	AdminPassword string `json:"admin_password"`
	UserUsername  string `json:"user_username"`
	UserPassword  string `json:"user_password"`
}

// seal binds credentials to their pod: copied to the row of another one, they do
// not open.
func (s *Store) seal(k pods.Key, c pods.Credentials) (string, error) {
	plain, err := json.Marshal(sealedCredentials(c))
	if err != nil {
		return "", fmt.Errorf("encoding credentials: %w", err)
	}
	return s.keys.Seal(plain, k.String()), nil
}

func insertCredentials(ctx context.Context, tx *sql.Tx, k pods.Key, sealed string) error {
	_, err := tx.ExecContext(ctx, `
		insert into pod_credentials (tenant, pod_id, sealed) values ($1, $2, $3)`, k.Tenant, k.ID, sealed)
	if err != nil {
		return fmt.Errorf("inserting credentials: %w", err)
	}
	return nil
}

// Credentials returns the generated credentials of a pod.
func (s *Store) Credentials(ctx context.Context, k pods.Key) (pods.Credentials, error) {
	if !storable(k.Tenant, string(k.ID)) {
		return pods.Credentials{}, notFound(k)
	}
	var sealed string
	err := s.read(ctx, func() error {
		return s.reader.QueryRowContext(ctx, `
			select sealed from pod_credentials where tenant = $1 and pod_id = $2`, k.Tenant, k.ID,
		).Scan(&sealed)
	})
	if err != nil {
		return pods.Credentials{}, doing("reading credentials of", k, orNotFound(err, k))
	}
	c, err := s.unseal(k, sealed)
	return c, doing("opening credentials of", k, err)
}

func (s *Store) unseal(k pods.Key, sealed string) (pods.Credentials, error) {
	plain, err := s.keys.Open(sealed, k.String())
	if err != nil {
		return pods.Credentials{}, err
	}
	var c sealedCredentials
	if err := json.Unmarshal(plain, &c); err != nil {
		return pods.Credentials{}, fmt.Errorf("decoding credentials: %w", err)
	}
	return pods.Credentials(c), nil
}

// rekeyCredentials seals the credentials that an older key sealed again.
func (s *Store) rekeyCredentials(ctx context.Context) (int, error) {
	var keys []pods.Key
	err := s.read(ctx, func() (err error) {
		keys, err = s.sealedByOlderKeys(ctx)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("finding credentials of older keys: %w", err)
	}
	return rekeyEach(keys, func(k pods.Key) error { return s.rekey(ctx, k) })
}

func (s *Store) sealedByOlderKeys(ctx context.Context) ([]pods.Key, error) {
	prefix := s.keys.prefix()
	rows, err := s.reader.QueryContext(ctx, `
		select tenant, pod_id from pod_credentials where substr(sealed, 1, $1) <> $2
		order by tenant, pod_id`, len(prefix), prefix)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var keys []pods.Key
	for rows.Next() {
		var k pods.Key
		if err := rows.Scan(&k.Tenant, &k.ID); err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, rows.Err()
}

func (s *Store) rekey(ctx context.Context, k pods.Key) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		if _, err := s.hold(ctx, tx, k); err != nil {
			return err
		}
		var sealed string
		err := tx.QueryRowContext(ctx, `
			select sealed from pod_credentials where tenant = $1 and pod_id = $2`, k.Tenant, k.ID,
		).Scan(&sealed)
		if err != nil {
			return err
		}
		c, err := s.unseal(k, sealed)
		if err != nil {
			return err
		}
		if sealed, err = s.seal(k, c); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `
			update pod_credentials set sealed = $3 where tenant = $1 and pod_id = $2`, k.Tenant, k.ID, sealed)
		return err
	})
}
