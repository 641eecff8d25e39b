package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

var (
	_ pods.SecretStore = (*Store)(nil)
	_ pods.Sealer      = (*Store)(nil)
)

// Seal encrypts a small text with the store's keys; see [Keyring.Seal].
func (s *Store) Seal(plain []byte, context string) string { return s.keys.Seal(plain, context) }

// Open decrypts what Seal returned for the same context.
func (s *Store) Open(sealed, context string) ([]byte, error) { return s.keys.Open(sealed, context) }

func storableSecret(k pods.SecretKey) bool { return storable(k.Tenant, k.Owner, k.ID) }

// orNoSecret turns "no row" into NotFound.
func orNoSecret(err error, k pods.SecretKey) error {
	if errors.Is(err, sql.ErrNoRows) {
		return k.NotFound()
	}
	return err
}

// secretContext binds a value to its secret: copied to the row of another one, it
// does not open.
func secretContext(k pods.SecretKey) string { return "secret/" + k.String() }

// CreateSecret writes a secret and its value.
func (s *Store) CreateSecret(ctx context.Context, secret pods.Secret, value string, e pods.SecretEvent) error {
	k := secret.SecretKey
	if !storableSecret(k) || !storable(secret.UID, secret.Description, string(secret.Pod)) {
		return pods.Errorf(pods.Invalid, "texts must be valid UTF-8 without NUL characters.")
	}
	if err := checkUsers(secret.Permissions); err != nil {
		return err
	}
	sealed := s.keys.Seal([]byte(value), secretContext(k))
	err := s.write(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `
			insert into secrets (tenant, owner, id, uid, description, scope, pod_id, readable, writable, sealed, version,
				created_at, updated_at)
			values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 1, $11, $12)
			on conflict (tenant, owner, id) do nothing`,
			k.Tenant, k.Owner, k.ID, secret.UID, secret.Description, secret.Scope, secret.Pod, secret.Readable, secret.Writable,
			sealed, secret.CreatedAt.UnixMicro(), secret.UpdatedAt.UnixMicro())
		if err != nil {
			return fmt.Errorf("inserting secret: %w", err)
		}
		exists := pods.Errorf(pods.Exists, "Secret with identifier secret_id: '%s' already exists.", k.ID)
		if err := orNoRow(res, exists); err != nil {
			return err
		}
		if err := changeSecretPermissions(ctx, tx, k, nil, secret.Permissions); err != nil {
			return err
		}
		return appendSecretEvents(ctx, tx, k, e)
	})
	return doing("creating secret", k, err)
}

// selectSecrets returns the statement that reads secrets, without their values,
// up to its where clause.
func (e *engine) selectSecrets() string {
	return `
		select s.tenant, s.owner, s.id, s.uid, s.description, s.scope, s.pod_id, s.readable, s.writable, s.version,
			s.created_at, s.updated_at,
			(select ` + e.permissions + ` from ` + e.keyed("secret_permissions") + `
				where x.tenant = s.tenant and x.owner = s.owner and x.secret_id = s.id)
		from secrets s`
}

// scanSecret reads a row of selectSecrets.
func scanSecret(row scanner) (pods.Secret, error) {
	var s pods.Secret
	var permissions string
	var created, updated int64
	err := row.Scan(&s.Tenant, &s.Owner, &s.ID, &s.UID, &s.Description, &s.Scope, &s.Pod, &s.Readable, &s.Writable, &s.Version,
		&created, &updated, &permissions)
	if err != nil {
		return pods.Secret{}, err
	}
	s.CreatedAt, s.UpdatedAt = fromMicros(created), fromMicros(updated)
	s.Permissions, err = decodePermissions(permissions)
	if err != nil {
		return pods.Secret{}, fmt.Errorf("decoding permissions of secret %s: %w", s.SecretKey, err)
	}
	return s, nil
}

// Secret returns one secret.
func (s *Store) Secret(ctx context.Context, k pods.SecretKey) (pods.Secret, error) {
	var secret pods.Secret
	err := s.read(ctx, func() (err error) {
		secret, err = s.selectSecret(ctx, s.reader, k)
		return err
	})
	return secret, doing("reading secret", k, err)
}

func (s *Store) selectSecret(ctx context.Context, q queryer, k pods.SecretKey) (pods.Secret, error) {
	if !storableSecret(k) {
		return pods.Secret{}, k.NotFound()
	}
	row := q.QueryRowContext(ctx, s.engine.selectSecrets()+" where s.tenant = $1 and s.owner = $2 and s.id = $3", k.Tenant, k.Owner, k.ID)
	secret, err := scanSecret(row)
	return secret, orNoSecret(err, k)
}

// Secrets returns the secrets that q selects, ordered by tenant, owner and id.
func (s *Store) Secrets(ctx context.Context, q pods.SecretQuery) ([]pods.Secret, error) {
	if !storable(q.Tenant, q.User, q.ID) {
		return nil, nil
	}
	query, args := s.engine.secretsQuery(q)
	var all []pods.Secret
	err := s.read(ctx, func() (err error) {
		all, err = queryAll(ctx, s.reader, scanSecret, query, args...)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading secrets: %w", err)
	}
	return all, nil
}

// secretsQuery returns the statement that answers q.
func (e *engine) secretsQuery(q pods.SecretQuery) (query string, args []any) {
	var a arguments
	where := " where 1 = 1"
	if q.Tenant != "" {
		where += " and s.tenant = " + a.add(q.Tenant)
	}
	if q.ID != "" {
		where += " and s.id = " + a.add(q.ID)
	}
	if q.User != "" {
		visible := "select tenant, owner, secret_id from secret_permissions where level in ('READ', 'USER', 'ADMIN', 'APPROVEDADMIN')" +
			" and username in (" + a.add(entryOf(q.User)) + ", '*', 'TENANT')"
		if q.Tenant != "" {
			visible += " and tenant = " + a.add(q.Tenant)
		}
		where += " and (s.tenant, s.owner, s.id) in (" + visible + ")"
	}
	return e.selectSecrets() + where + " order by s.tenant, s.owner, s.id", a
}

// SecretValue returns the value of a secret.
func (s *Store) SecretValue(ctx context.Context, k pods.SecretKey, uid string) (string, error) {
	if !storableSecret(k) || !storable(uid) {
		return "", k.NotFound()
	}
	var sealed string
	err := s.read(ctx, func() error {
		return s.reader.QueryRowContext(ctx, `
			select sealed from secrets where tenant = $1 and owner = $2 and id = $3 and uid = $4`,
			k.Tenant, k.Owner, k.ID, uid).Scan(&sealed)
	})
	if err != nil {
		return "", doing("reading the value of secret", k, orNoSecret(err, k))
	}
	plain, err := s.keys.Open(sealed, secretContext(k))
	return string(plain), doing("opening the value of secret", k, err)
}

// UpdateSecret writes what users may change of a secret.
func (s *Store) UpdateSecret(ctx context.Context, secret pods.Secret, value *string, e pods.SecretEvent) (pods.Secret, error) {
	k := secret.SecretKey
	if !storable(secret.Description) {
		return pods.Secret{}, pods.Errorf(pods.Invalid, "texts must be valid UTF-8 without NUL characters.")
	}
	if err := checkUsers(secret.Permissions); err != nil {
		return pods.Secret{}, err
	}
	var stored pods.Secret
	err := s.writeSecret(ctx, k, secret.UID, func(tx *sql.Tx, version int64) error {
		if version != secret.Version {
			return pods.Errorf(pods.Conflict, "Secret '%s' was changed meanwhile. Please try again.", k.ID)
		}
		if err := s.updateSecret(ctx, tx, secret, value); err != nil {
			return err
		}
		if err := saveSecretPermissions(ctx, tx, k, secret.Permissions); err != nil {
			return err
		}
		if err := appendSecretEvents(ctx, tx, k, e); err != nil {
			return err
		}
		var err error
		stored, err = s.selectSecret(ctx, tx, k)
		return err
	})
	if err != nil {
		return pods.Secret{}, doing("updating secret", k, err)
	}
	return stored, nil
}

func (s *Store) updateSecret(ctx context.Context, tx *sql.Tx, secret pods.Secret, value *string) error {
	k := secret.SecretKey
	_, err := tx.ExecContext(ctx, `
		update secrets set description = $4, readable = $5, writable = $6, updated_at = $7, version = version + 1
		where tenant = $1 and owner = $2 and id = $3`,
		k.Tenant, k.Owner, k.ID, secret.Description, secret.Readable, secret.Writable, secret.UpdatedAt.UnixMicro())
	if err != nil {
		return fmt.Errorf("updating secret: %w", err)
	}
	if value == nil {
		return nil
	}
	_, err = tx.ExecContext(ctx, "update secrets set sealed = $4 where tenant = $1 and owner = $2 and id = $3",
		k.Tenant, k.Owner, k.ID, s.keys.Seal([]byte(*value), secretContext(k)))
	if err != nil {
		return fmt.Errorf("updating value: %w", err)
	}
	return nil
}

// writeSecret runs f in a transaction that holds the row of a secret. NotFound if
// there is no such secret or it has another uid.
func (s *Store) writeSecret(ctx context.Context, k pods.SecretKey, uid string, f func(tx *sql.Tx, version int64) error) error {
	if !storableSecret(k) {
		return k.NotFound()
	}
	return s.write(ctx, func(tx *sql.Tx) error {
		var held string
		var version int64
		err := tx.QueryRowContext(ctx, `
			select uid, version from secrets where tenant = $1 and owner = $2 and id = $3`+s.engine.forUpdate,
			k.Tenant, k.Owner, k.ID).Scan(&held, &version)
		if err != nil {
			return orNoSecret(err, k)
		}
		if held != uid {
			return k.NotFound()
		}
		return f(tx, version)
	})
}

// DeleteSecret removes a secret with its value.
func (s *Store) DeleteSecret(ctx context.Context, k pods.SecretKey, uid string, e pods.SecretEvent) error {
	err := s.writeSecret(ctx, k, uid, func(tx *sql.Tx, _ int64) error {
		_, err := tx.ExecContext(ctx, "delete from secrets where tenant = $1 and owner = $2 and id = $3", k.Tenant, k.Owner, k.ID)
		if err != nil {
			return err
		}
		return appendSecretEvents(ctx, tx, k, e)
	})
	return doing("deleting secret", k, err)
}

func saveSecretPermissions(ctx context.Context, tx *sql.Tx, k pods.SecretKey, want pods.Permissions) error {
	rows, err := tx.QueryContext(ctx, `
		select username, level from secret_permissions where tenant = $1 and owner = $2 and secret_id = $3`,
		k.Tenant, k.Owner, k.ID)
	if err != nil {
		return fmt.Errorf("reading permissions: %w", err)
	}
	have, err := scanPermissions(rows)
	if err != nil {
		return fmt.Errorf("reading permissions: %w", err)
	}
	return changeSecretPermissions(ctx, tx, k, have, want)
}

func changeSecretPermissions(ctx context.Context, tx *sql.Tx, k pods.SecretKey, have, want pods.Permissions) error {
	return permissionRows{
		key: []any{k.Tenant, k.Owner, k.ID},
		remove: `
			delete from secret_permissions where tenant = $1 and owner = $2 and secret_id = $3 and username = $4`,
		put: `
			insert into secret_permissions (tenant, owner, secret_id, username, level) values ($1, $2, $3, $4, $5)
			on conflict (tenant, owner, secret_id, username) do update set level = excluded.level`,
	}.change(ctx, tx, have, want)
}

// AddSecretEvents appends to the audit log of a secret.
func (s *Store) AddSecretEvents(ctx context.Context, k pods.SecretKey, es ...pods.SecretEvent) error {
	if !storableSecret(k) {
		return nil // there can't be such a secret
	}
	err := s.write(ctx, func(tx *sql.Tx) error { return appendSecretEvents(ctx, tx, k, es...) })
	return doing("recording events of secret", k, err)
}

// appendSecretEvents adds to an audit log. There may be no row to hold, as the
// log outlives its secret: who finds a number taken tries the next one.
func appendSecretEvents(ctx context.Context, tx *sql.Tx, k pods.SecretKey, es ...pods.SecretEvent) error {
	for _, e := range es {
		for added := false; !added; {
			var err error
			if added, err = appendSecretEvent(ctx, tx, k, e); err != nil {
				return err
			}
		}
	}
	return nil
}

func appendSecretEvent(ctx context.Context, tx *sql.Tx, k pods.SecretKey, e pods.SecretEvent) (added bool, err error) {
	var last int64
	err = tx.QueryRowContext(ctx, `
		select coalesce(max(seq), 0) from secret_events where tenant = $1 and owner = $2 and secret_id = $3`,
		k.Tenant, k.Owner, k.ID).Scan(&last)
	if err != nil {
		return false, fmt.Errorf("reading last event: %w", err)
	}
	res, err := tx.ExecContext(ctx, `
		insert into secret_events (tenant, owner, secret_id, seq, at, kind, actor, pod_id)
		values ($1, $2, $3, $4, $5, $6, $7, $8)
		on conflict (tenant, owner, secret_id, seq) do nothing`,
		k.Tenant, k.Owner, k.ID, last+1, e.At.UnixMicro(), e.Kind, cleanText(e.Actor), cleanText(string(e.Pod)))
	if err != nil {
		return false, fmt.Errorf("inserting event: %w", err)
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

// SecretEvents returns the newest events of a secret, oldest first.
func (s *Store) SecretEvents(ctx context.Context, k pods.SecretKey) ([]pods.SecretEvent, error) {
	if !storableSecret(k) {
		return nil, nil
	}
	var es []pods.SecretEvent
	err := s.read(ctx, func() (err error) {
		es, err = queryAll(ctx, s.reader, scanSecretEvent, `
			select at, kind, actor, pod_id from (
				select seq, at, kind, actor, pod_id from secret_events where tenant = $1 and owner = $2 and secret_id = $3
				order by seq desc limit $4
			) newest order by seq`, k.Tenant, k.Owner, k.ID, pods.MaxEvents)
		return err
	})
	return es, doing("reading events of secret", k, err)
}

func scanSecretEvent(row scanner) (pods.SecretEvent, error) {
	var e pods.SecretEvent
	var at int64
	err := row.Scan(&at, &e.Kind, &e.Actor, &e.Pod)
	e.At = fromMicros(at)
	return e, err
}

// podSecretContext binds a generated value to its pod and name.
func podSecretContext(k pods.Key, name string) string { return "generated/" + k.String() + "/" + name }

// KeepPodSecrets stores generated values under names that have none yet.
func (s *Store) KeepPodSecrets(ctx context.Context, k pods.Key, uid string, values map[string]string) (map[string]string, error) {
	kept := make(map[string]string, len(values))
	err := s.writePod(ctx, k, uid, func(tx *sql.Tx, _ heldPod) error {
		for _, name := range slices.Sorted(maps.Keys(values)) {
			sealed, err := s.keepPodSecret(ctx, tx, k, name, values[name])
			if err != nil {
				return err
			}
			plain, err := s.keys.Open(sealed, podSecretContext(k, name))
			if err != nil {
				return err
			}
			kept[name] = string(plain)
		}
		return nil
	})
	if err != nil {
		return nil, doing("keeping generated values of", k, err)
	}
	return kept, nil
}

// DropPodSecrets forgets generated values.
func (s *Store) DropPodSecrets(ctx context.Context, k pods.Key, uid string, names ...string) error {
	err := s.writePod(ctx, k, uid, func(tx *sql.Tx, _ heldPod) error {
		for _, name := range names {
			_, err := tx.ExecContext(ctx, "delete from pod_secrets where tenant = $1 and pod_id = $2 and name = $3", k.Tenant, k.ID, name)
			if err != nil {
				return fmt.Errorf("deleting value: %w", err)
			}
		}
		return nil
	})
	return doing("forgetting generated values of", k, err)
}

// keepPodSecret stores a value unless there is one, and returns what is stored.
func (s *Store) keepPodSecret(ctx context.Context, tx *sql.Tx, k pods.Key, name, value string) (sealed string, err error) {
	_, err = tx.ExecContext(ctx, `
		insert into pod_secrets (tenant, pod_id, name, sealed) values ($1, $2, $3, $4)
		on conflict (tenant, pod_id, name) do nothing`,
		k.Tenant, k.ID, name, s.keys.Seal([]byte(value), podSecretContext(k, name)))
	if err != nil {
		return "", fmt.Errorf("inserting value: %w", err)
	}
	err = tx.QueryRowContext(ctx, `
		select sealed from pod_secrets where tenant = $1 and pod_id = $2 and name = $3`, k.Tenant, k.ID, name).Scan(&sealed)
	return sealed, err
}
