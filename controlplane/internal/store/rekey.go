package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// Rekey seals everything that an older key of the keyring sealed with its
// current key, after which the older ones can go. It returns how many rows it
// wrote, and may run while the store is in use. Replicas that do not have the
// current key yet can't read what it wrote.
func (s *Store) Rekey(ctx context.Context) (int, error) {
	total := 0
	for _, rekey := range []func(context.Context) (int, error){
		s.rekeyCredentials, s.rekeySecrets, s.rekeyPodSecrets, s.rekeyDefinitions, s.rekeyOAuthClients,
	} {
		n, err := rekey(ctx)
		total += n
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// rekeyEach seals rows again, one by one, passing over those that were deleted
// meanwhile.
func rekeyEach[K fmt.Stringer](keys []K, rekey func(K) error) (int, error) {
	n := 0
	for _, k := range keys {
		err := rekey(k)
		switch pods.ErrorCode(err) {
		case "":
			n++
		case pods.NotFound:
		default:
			return n, fmt.Errorf("sealing what belongs to %s again: %w", k, err)
		}
	}
	return n, nil
}

// olderKey is the condition for rows that an older key sealed. Its arguments are
// those of s.prefixArgs.
const olderKey = "substr(sealed, 1, $1) <> $2"

func (s *Store) prefixArgs() []any {
	prefix := s.keys.prefix()
	return []any{len(prefix), prefix}
}

// reseal opens a text and seals it with the current key.
func (s *Store) reseal(sealed, context string) (string, error) {
	plain, err := s.keys.Open(sealed, context)
	if err != nil {
		return "", err
	}
	return s.keys.Seal(plain, context), nil
}

func (s *Store) rekeySecrets(ctx context.Context) (int, error) {
	scan := func(row scanner) (k pods.SecretKey, err error) {
		err = row.Scan(&k.Tenant, &k.Owner, &k.ID)
		return k, err
	}
	keys, err := readAll(ctx, s, scan, "select tenant, owner, id from secrets where "+olderKey+" order by tenant, owner, id", s.prefixArgs()...)
	if err != nil {
		return 0, fmt.Errorf("finding secrets of older keys: %w", err)
	}
	return rekeyEach(keys, func(k pods.SecretKey) error { return s.rekeySecret(ctx, k) })
}

// readAll is queryAll as a read of the store.
func readAll[T any](ctx context.Context, s *Store, scan func(scanner) (T, error), query string, args ...any) (all []T, err error) {
	err = s.read(ctx, func() (err error) {
		all, err = queryAll(ctx, s.reader, scan, query, args...)
		return err
	})
	return all, err
}

func (s *Store) rekeySecret(ctx context.Context, k pods.SecretKey) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		var sealed string
		err := tx.QueryRowContext(ctx, `
			select sealed from secrets where tenant = $1 and owner = $2 and id = $3`+s.engine.forUpdate,
			k.Tenant, k.Owner, k.ID).Scan(&sealed)
		if err != nil {
			return orNoSecret(err, k)
		}
		if sealed, err = s.reseal(sealed, secretContext(k)); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "update secrets set sealed = $4 where tenant = $1 and owner = $2 and id = $3",
			k.Tenant, k.Owner, k.ID, sealed)
		return err
	})
}

// podSecret is the key of a generated value.
type podSecret struct {
	pods.Key
	name string
}

func (s *Store) rekeyPodSecrets(ctx context.Context) (int, error) {
	scan := func(row scanner) (k podSecret, err error) {
		err = row.Scan(&k.Tenant, &k.ID, &k.name)
		return k, err
	}
	keys, err := readAll(ctx, s, scan, "select tenant, pod_id, name from pod_secrets where "+olderKey+" order by tenant, pod_id, name", s.prefixArgs()...)
	if err != nil {
		return 0, fmt.Errorf("finding generated values of older keys: %w", err)
	}
	return rekeyEach(keys, func(k podSecret) error { return s.rekeyPodSecret(ctx, k) })
}

func (s *Store) rekeyPodSecret(ctx context.Context, k podSecret) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		if _, err := s.hold(ctx, tx, k.Key); err != nil {
			return err
		}
		var sealed string
		err := tx.QueryRowContext(ctx, `
			select sealed from pod_secrets where tenant = $1 and pod_id = $2 and name = $3`, k.Tenant, k.ID, k.name).Scan(&sealed)
		if err != nil {
			return orNotFound(err, k.Key)
		}
		if sealed, err = s.reseal(sealed, podSecretContext(k.Key, k.name)); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "update pod_secrets set sealed = $4 where tenant = $1 and pod_id = $2 and name = $3",
			k.Tenant, k.ID, k.name, sealed)
		return err
	})
}

// sealedDefinition is a pod whose definition holds sealed values.
type sealedDefinition struct {
	pods.Key
	sealed []string
}

// sealedDefinitions reads the pods whose secret_map holds sealed values. It reads
// every definition, so it is not for requests.
func (s *Store) sealedDefinitions(ctx context.Context) ([]sealedDefinition, error) {
	scan := func(row scanner) (d sealedDefinition, err error) {
		var text string
		if err := row.Scan(&d.Tenant, &d.ID, &text); err != nil {
			return d, err
		}
		var definition pods.Definition
		if err := json.Unmarshal([]byte(text), &definition); err != nil {
			return d, fmt.Errorf("decoding definition of %s: %w", d.Key, err)
		}
		d.sealed = pods.SealedSecrets(definition)
		return d, nil
	}
	all, err := readAll(ctx, s, scan, `select tenant, id, definition from pods where definition like '%"secret_map"%' order by tenant, id`)
	return slices.DeleteFunc(all, func(d sealedDefinition) bool { return len(d.sealed) == 0 }), err
}

func (s *Store) rekeyDefinitions(ctx context.Context) (int, error) {
	all, err := s.sealedDefinitions(ctx)
	if err != nil {
		return 0, fmt.Errorf("finding definitions of older keys: %w", err)
	}
	older := func(sealed string) bool { return !strings.HasPrefix(sealed, s.keys.prefix()) }
	all = slices.DeleteFunc(all, func(d sealedDefinition) bool { return !slices.ContainsFunc(d.sealed, older) })
	return rekeyEach(all, func(d sealedDefinition) error { return s.rekeyDefinition(ctx, d.Key) })
}

// rekeyDefinition moves the version of the definition: an update that was read
// before would bring the older key back.
func (s *Store) rekeyDefinition(ctx context.Context, k pods.Key) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		held, err := s.hold(ctx, tx, k)
		if err != nil {
			return err
		}
		var d pods.Definition
		if err := json.Unmarshal([]byte(held.definition), &d); err != nil {
			return fmt.Errorf("decoding definition: %w", err)
		}
		d, changed, err := pods.ResealSecrets(s.keys, k, d)
		if err != nil || !changed {
			return err
		}
		definition, err := json.Marshal(d)
		if err != nil {
			return fmt.Errorf("encoding definition: %w", err)
		}
		_, err = tx.ExecContext(ctx, "update pods set definition = $3, version = version + 1 where tenant = $1 and id = $2",
			k.Tenant, k.ID, string(definition))
		if err != nil {
			return err
		}
		return s.forgetFingerprint(ctx, tx, k, "secret_map")
	})
}

// forgetFingerprint takes one field out of what a pod was started with: sealed
// anew, it would look as if it had changed since.
func (s *Store) forgetFingerprint(ctx context.Context, tx *sql.Tx, k pods.Key, field string) error {
	var text string
	err := tx.QueryRowContext(ctx, "select fields from pod_starts where tenant = $1 and pod_id = $2", k.Tenant, k.ID).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading fingerprints: %w", err)
	}
	var fields map[string]string
	if err := json.Unmarshal([]byte(text), &fields); err != nil {
		return fmt.Errorf("decoding fingerprints: %w", err)
	}
	delete(fields, field)
	b, err := json.Marshal(fields)
	if err != nil {
		return fmt.Errorf("encoding fingerprints: %w", err)
	}
	_, err = tx.ExecContext(ctx, "update pod_starts set fields = $3 where tenant = $1 and pod_id = $2", k.Tenant, k.ID, string(b))
	return err
}

// usedKeys returns the ids of the keys that sealed anything in the store.
func (s *Store) usedKeys(ctx context.Context) ([]string, error) {
	scan := func(row scanner) (prefix string, err error) {
		err = row.Scan(&prefix)
		return prefix, err
	}
	// All prefixes have one length.
	length := len(s.keys.prefix())
	prefixes, err := readAll(ctx, s, scan, `
		select substr(sealed, 1, $1) from pod_credentials
		union select substr(sealed, 1, $1) from secrets
		union select substr(sealed, 1, $1) from pod_secrets
		union select substr(sealed, 1, $1) from oauth_clients`, length)
	if err != nil {
		return nil, err
	}
	definitions, err := s.sealedDefinitions(ctx)
	if err != nil {
		return nil, err
	}
	for _, d := range definitions {
		for _, sealed := range d.sealed {
			prefixes = append(prefixes, sealed[:min(length, len(sealed))])
		}
	}
	for i, prefix := range prefixes {
		prefixes[i] = strings.TrimSuffix(strings.TrimPrefix(prefix, sealVersion+"."), ".")
	}
	slices.Sort(prefixes)
	return slices.Compact(prefixes), nil
}
