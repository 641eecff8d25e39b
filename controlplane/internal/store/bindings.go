package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

var _ pods.BindingStore = (*Store)(nil)

// SetBindings replaces what a pod is bound to and was started with. It holds the rows of its volumes,
// so that none of them is deleted meanwhile.
func (s *Store) SetBindings(ctx context.Context, k pods.Key, uid string, bs []pods.Binding, fields map[string]string) error {
	started, err := json.Marshal(fields)
	if err != nil {
		return fmt.Errorf("encoding fingerprints: %w", err)
	}
	bs = slices.Compact(slices.SortedFunc(slices.Values(bs), compareBindings))
	err = s.writePod(ctx, k, uid, func(tx *sql.Tx, _ heldPod) error {
		if _, err := tx.ExecContext(ctx, "delete from pod_bindings where tenant = $1 and pod_id = $2", k.Tenant, k.ID); err != nil {
			return fmt.Errorf("deleting bindings: %w", err)
		}
		for _, b := range bs {
			if err := s.bind(ctx, tx, k, b); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, `
			insert into pod_starts (tenant, pod_id, fields) values ($1, $2, $3)
			on conflict (tenant, pod_id) do update set fields = excluded.fields`, k.Tenant, k.ID, string(started))
		if err != nil {
			return fmt.Errorf("writing fingerprints: %w", err)
		}
		return nil
	})
	return doing("binding", k, err)
}

// Started returns the fingerprints of what a pod was started with.
func (s *Store) Started(ctx context.Context, k pods.Key) (map[string]string, error) {
	if !storable(k.Tenant, string(k.ID)) {
		return nil, nil
	}
	var text string
	err := s.read(ctx, func() error {
		return s.reader.QueryRowContext(ctx, "select fields from pod_starts where tenant = $1 and pod_id = $2", k.Tenant, k.ID).Scan(&text)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, doing("reading what was started of", k, err)
	}
	var fields map[string]string
	if err := json.Unmarshal([]byte(text), &fields); err != nil {
		return nil, fmt.Errorf("decoding fingerprints of %s: %w", k, err)
	}
	return fields, nil
}

func compareBindings(a, b pods.Binding) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.ID, b.ID))
}

func (s *Store) bind(ctx context.Context, tx *sql.Tx, k pods.Key, b pods.Binding) error {
	if b.Kind == pods.KindVolume || b.Kind == pods.KindSnapshot {
		if _, _, err := s.holdVolume(ctx, tx, pods.VolumeKey{Kind: b.Kind, Tenant: k.Tenant, ID: b.ID}); err != nil {
			return err
		}
	}
	_, err := tx.ExecContext(ctx, `
		insert into pod_bindings (tenant, pod_id, kind, owner, name) values ($1, $2, $3, $4, $5)`,
		k.Tenant, k.ID, b.Kind, b.Owner, b.ID)
	if err != nil {
		return fmt.Errorf("inserting binding: %w", err)
	}
	return nil
}

// BoundPods returns the pods that are bound to something, ordered by id.
func (s *Store) BoundPods(ctx context.Context, tenant string, b pods.Binding, running bool) ([]pods.ID, error) {
	if !storable(tenant, string(b.Kind), b.Owner, b.ID) {
		return nil, nil
	}
	var ids []pods.ID
	err := s.read(ctx, func() (err error) {
		ids, err = s.selectBound(ctx, s.reader, tenant, b, running)
		return err
	})
	return ids, doing("looking for pods bound to", b.ID, err)
}

// rowsQueryer is a *sql.DB or *sql.Tx.
type rowsQueryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func (s *Store) selectBound(ctx context.Context, q rowsQueryer, tenant string, b pods.Binding, running bool) ([]pods.ID, error) {
	query := `
		select b.pod_id from pod_bindings b
		join pod_state s on s.tenant = b.tenant and s.pod_id = b.pod_id
		where b.tenant = $1 and b.kind = $2 and b.owner = $3 and b.name = $4`
	if running {
		query += " and s.status <> 'STOPPED'"
	}
	rows, err := q.QueryContext(ctx, query+" order by b.pod_id", tenant, b.Kind, b.Owner, b.ID)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var ids []pods.ID
	for rows.Next() {
		var id pods.ID
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}
