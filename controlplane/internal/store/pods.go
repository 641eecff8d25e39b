package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// CreatePod writes a pod, its credentials and its first event.
func (s *Store) CreatePod(ctx context.Context, p pods.Pod, c pods.Credentials, first pods.Event) error {
	err := s.createPod(ctx, p, c, func(tx *sql.Tx) error { return appendEvents(ctx, tx, p.Key, first) })
	return doing("creating pod", p.Key, err)
}

// createPod writes a pod, its credentials and what rest adds, in one transaction.
func (s *Store) createPod(ctx context.Context, p pods.Pod, c pods.Credentials, rest func(tx *sql.Tx) error) error {
	if !storable(p.Tenant, string(p.ID), p.UID, p.Site, p.Owner) {
		return pods.Errorf(pods.Invalid, "pod_id must be valid UTF-8 without NUL characters.")
	}
	if err := checkUsers(p.Permissions); err != nil {
		return err
	}
	sealed, err := s.seal(p.Key, c)
	if err != nil {
		return err
	}
	p.Version, p.State.Version = 1, 1
	return s.write(ctx, func(tx *sql.Tx) error {
		if err := insertPod(ctx, tx, p); err != nil {
			return err
		}
		if err := insertState(ctx, tx, p.Key, p.State); err != nil {
			return err
		}
		if err := changePermissions(ctx, tx, p.Key, nil, p.Permissions); err != nil {
			return err
		}
		if err := insertCredentials(ctx, tx, p.Key, sealed); err != nil {
			return err
		}
		if err := syncDomains(ctx, tx, p, p.CreatedAt); err != nil {
			return err
		}
		return rest(tx)
	})
}

// checkUsers refuses user names that one of the engines could not store.
func checkUsers(ps pods.Permissions) error {
	if storable(slices.Collect(maps.Keys(ps))...) {
		return nil
	}
	return pods.Errorf(pods.Invalid, "user names must be valid UTF-8 without NUL characters.")
}

func insertPod(ctx context.Context, tx *sql.Tx, p pods.Pod) error {
	definition, err := json.Marshal(p.Definition)
	if err != nil {
		return fmt.Errorf("encoding definition: %w", err)
	}
	res, err := tx.ExecContext(ctx, `
		insert into pods (tenant, id, uid, site, owner, definition, template, requested, version, created_at, updated_at)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
		on conflict (tenant, id) do nothing`,
		p.Tenant, p.ID, p.UID, p.Site, p.Owner, string(definition), pinned(p.Definition), p.Requested, p.Version,
		p.CreatedAt.UnixMicro(), p.UpdatedAt.UnixMicro())
	if err != nil {
		return fmt.Errorf("inserting pod: %w", err)
	}
	return orNoRow(res, pods.Errorf(pods.Exists, "Pod with identifier pod_id: '%s' already exists.", p.ID))
}

// Pod returns one pod.
func (s *Store) Pod(ctx context.Context, k pods.Key) (pods.Pod, error) {
	if !storable(k.Tenant, string(k.ID)) {
		return pods.Pod{}, doing("reading pod", k, notFound(k))
	}
	var found []pods.Pod
	err := s.read(ctx, func() (err error) {
		found, err = s.queryPods(ctx, s.engine.selectPods()+byKey, []any{k.Tenant, k.ID})
		return err
	})
	if err == nil && len(found) == 0 {
		err = notFound(k)
	}
	if err != nil {
		return pods.Pod{}, doing("reading pod", k, err)
	}
	return found[0], nil
}

// byKey is the where clause that selects one pod.
const byKey = " where p.tenant = $1 and p.id = $2"

// queryer is a *sql.DB or *sql.Tx.
type queryer interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func (s *Store) selectPod(ctx context.Context, q queryer, k pods.Key) (pods.Pod, error) {
	if !storable(k.Tenant, string(k.ID)) {
		return pods.Pod{}, notFound(k)
	}
	row := q.QueryRowContext(ctx, s.engine.selectPods()+byKey, k.Tenant, k.ID)
	p, err := scanPod(row)
	return p, orNotFound(err, k)
}

// Pods returns the pods that q selects, ordered by tenant and id.
func (s *Store) Pods(ctx context.Context, q pods.PodQuery) ([]pods.Pod, error) {
	if !storable(q.Tenant, q.User, string(q.After)) {
		return nil, nil
	}
	query, args := s.engine.podsQuery(q)
	var ps []pods.Pod
	err := s.read(ctx, func() (err error) {
		ps, err = s.queryPods(ctx, query, args)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading pods: %w", err)
	}
	return ps, nil
}

func (s *Store) queryPods(ctx context.Context, query string, args []any) ([]pods.Pod, error) {
	rows, err := s.query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var ps []pods.Pod
	for rows.Next() {
		p, err := scanPod(rows)
		if err != nil {
			return nil, err
		}
		ps = append(ps, p)
	}
	return ps, rows.Err()
}

// UpdatePod writes the user's columns of a pod and appends the events.
func (s *Store) UpdatePod(ctx context.Context, p pods.Pod, events ...pods.Event) (pods.Pod, error) {
	if err := checkUsers(p.Permissions); err != nil {
		return pods.Pod{}, err
	}
	var stored pods.Pod
	err := s.writePod(ctx, p.Key, p.UID, func(tx *sql.Tx, held heldPod) error {
		if held.version != p.Version {
			return conflict(p.Key)
		}
		if err := updatePod(ctx, tx, p); err != nil {
			return err
		}
		if err := savePermissions(ctx, tx, p.Key, p.Permissions); err != nil {
			return err
		}
		if err := syncDomains(ctx, tx, p, p.UpdatedAt); err != nil {
			return err
		}
		if err := appendEvents(ctx, tx, p.Key, events...); err != nil {
			return err
		}
		var err error
		stored, err = s.selectPod(ctx, tx, p.Key)
		return err
	})
	if err != nil {
		return pods.Pod{}, doing("updating pod", p.Key, err)
	}
	return stored, nil
}

func updatePod(ctx context.Context, tx *sql.Tx, p pods.Pod) error {
	definition, err := json.Marshal(p.Definition)
	if err != nil {
		return fmt.Errorf("encoding definition: %w", err)
	}
	_, err = tx.ExecContext(ctx, `
		update pods set definition = $3, template = $4, requested = $5, updated_at = $6, version = version + 1
		where tenant = $1 and id = $2`,
		p.Tenant, p.ID, string(definition), pinned(p.Definition), p.Requested, p.UpdatedAt.UnixMicro())
	if err != nil {
		return fmt.Errorf("updating pod: %w", err)
	}
	return nil
}

// savePermissions makes the stored permissions exactly want.
func savePermissions(ctx context.Context, tx *sql.Tx, k pods.Key, want pods.Permissions) error {
	have, err := selectPermissions(ctx, tx, k)
	if err != nil {
		return fmt.Errorf("reading permissions: %w", err)
	}
	return changePermissions(ctx, tx, k, have, want)
}

func changePermissions(ctx context.Context, tx *sql.Tx, k pods.Key, have, want pods.Permissions) error {
	return permissionRows{
		key: []any{k.Tenant, k.ID},
		remove: `
			delete from pod_permissions where tenant = $1 and pod_id = $2 and username = $3`,
		put: `
			insert into pod_permissions (tenant, pod_id, username, level) values ($1, $2, $3, $4)
			on conflict (tenant, pod_id, username) do update set level = excluded.level`,
	}.change(ctx, tx, have, want)
}

func selectPermissions(ctx context.Context, tx *sql.Tx, k pods.Key) (pods.Permissions, error) {
	rows, err := tx.QueryContext(ctx, `
		select username, level from pod_permissions where tenant = $1 and pod_id = $2`, k.Tenant, k.ID)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	ps := pods.Permissions{}
	for rows.Next() {
		var user string
		var level pods.Level
		if err := rows.Scan(&user, &level); err != nil {
			return nil, err
		}
		ps[user] = level
	}
	return ps, rows.Err()
}

// SetRequested changes Requested for the reconciler. It counts as a write of the
// user's columns: an update that was read before it would bring the old value
// back, and gets a Conflict instead.
func (s *Store) SetRequested(ctx context.Context, k pods.Key, uid string, from, to pods.Requested, events ...pods.Event) error {
	err := s.writePod(ctx, k, uid, func(tx *sql.Tx, held heldPod) error {
		if held.requested != from {
			return conflict(k)
		}
		_, err := tx.ExecContext(ctx, `
			update pods set requested = $3, version = version + 1
			where tenant = $1 and id = $2`, k.Tenant, k.ID, to)
		if err != nil {
			return fmt.Errorf("updating pod: %w", err)
		}
		return appendEvents(ctx, tx, k, events...)
	})
	return doing("setting requested status of", k, err)
}

// DeletePod removes a pod; the foreign keys remove the rest of it.
func (s *Store) DeletePod(ctx context.Context, k pods.Key) error {
	if !storable(k.Tenant, string(k.ID)) {
		return notFound(k)
	}
	err := s.write(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, "delete from pods where tenant = $1 and id = $2", k.Tenant, k.ID)
		if err != nil {
			return err
		}
		return orNoRow(res, notFound(k))
	})
	return doing("deleting pod", k, err)
}

// fromMicros is the inverse of time.Time.UnixMicro, in UTC.
func fromMicros(us int64) time.Time { return time.UnixMicro(us).UTC() }
