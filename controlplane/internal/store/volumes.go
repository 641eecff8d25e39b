package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

var _ pods.VolumeStore = (*Store)(nil)

// storableVolume reports whether a volume can have this key.
func storableVolume(k pods.VolumeKey) bool { return storable(string(k.Kind), k.Tenant, k.ID) }

// orNoVolume turns "no row" into NotFound.
func orNoVolume(err error, k pods.VolumeKey) error {
	if errors.Is(err, sql.ErrNoRows) {
		return k.NotFound()
	}
	return err
}

func volumeConflict(k pods.VolumeKey) error {
	return pods.Errorf(pods.Conflict, "The %s '%s' was changed meanwhile. Please try again.", k.Kind, k.ID)
}

// CreateVolume writes a volume.
func (s *Store) CreateVolume(ctx context.Context, v pods.Volume) error {
	if !storableVolume(v.VolumeKey) {
		return pods.Errorf(pods.Invalid, "%s_id must be valid UTF-8 without NUL characters.", v.Kind)
	}
	source, err := encodeVolume(v)
	if err != nil {
		return err
	}
	v.State.Version = 1
	err = s.write(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `
			insert into volumes (kind, tenant, id, uid, owner, description, size_limit, source, version,
				created_at, updated_at)
			values ($1, $2, $3, $4, $5, $6, $7, $8, 1, $9, $10)
			on conflict (kind, tenant, id) do nothing`,
			v.Kind, v.Tenant, v.ID, v.UID, v.Owner, v.Description, v.SizeLimit, source,
			v.CreatedAt.UnixMicro(), v.UpdatedAt.UnixMicro())
		if err != nil {
			return fmt.Errorf("inserting volume: %w", err)
		}
		exists := pods.Errorf(pods.Exists, "The %[1]s with identifier %[1]s_id: '%[2]s' already exists.", v.Kind, v.ID)
		if err := orNoRow(res, exists); err != nil {
			return err
		}
		if err := insertVolumeState(ctx, tx, v.VolumeKey, v.State); err != nil {
			return err
		}
		return changeVolumePermissions(ctx, tx, v.VolumeKey, nil, v.Permissions)
	})
	return doing("creating", v.VolumeKey, err)
}

// encodeVolume returns the text of v's source, and refuses what one of the
// engines could not store.
func encodeVolume(v pods.Volume) (source string, err error) {
	if !storable(v.UID, v.Owner, v.Description) {
		return "", pods.Errorf(pods.Invalid, "texts must be valid UTF-8 without NUL characters.")
	}
	if err := checkUsers(v.Permissions); err != nil {
		return "", err
	}
	if v.Source == nil {
		return "", nil
	}
	b, err := json.Marshal(sourceRow(*v.Source))
	if err != nil {
		return "", fmt.Errorf("encoding source: %w", err)
	}
	return string(b), nil
}

// sourceRow is the stored form of a snapshot's source.
type sourceRow struct {
	Volume          string `json:"volume"`
	Path            string `json:"path"`
	Destination     string `json:"destination"`
	Cron            string `json:"cron"`
	RetentionPolicy string `json:"retention_policy"`
}

// selectVolumes returns the statement that reads volumes, up to its where clause.
func (e *engine) selectVolumes() string {
	return `
		select v.kind, v.tenant, v.id, v.uid, v.owner, v.description, v.size_limit, v.source, v.version,
			v.created_at, v.updated_at,
			s.status, s.message, s.size, s.measured_at, s.copied, s.attempts, s.lease_until, s.version,
			(select ` + e.permissions + ` from ` + e.keyed("volume_permissions") + `
				where x.kind = v.kind and x.tenant = v.tenant and x.volume_id = v.id)
		from volumes v join volume_state s on s.kind = v.kind and s.tenant = v.tenant and s.volume_id = v.id`
}

// scanVolume reads a row of selectVolumes.
func scanVolume(row scanner) (pods.Volume, error) {
	var v pods.Volume
	var source, permissions string
	var created, updated, measured, lease int64
	err := row.Scan(&v.Kind, &v.Tenant, &v.ID, &v.UID, &v.Owner, &v.Description, &v.SizeLimit, &source, &v.Version,
		&created, &updated,
		&v.State.Status, &v.State.Message, &v.State.Size, &measured, &v.State.Copied, &v.State.Attempts, &lease, &v.State.Version,
		&permissions)
	if err != nil {
		return pods.Volume{}, err
	}
	v.CreatedAt, v.UpdatedAt = fromMicros(created), fromMicros(updated)
	v.State.MeasuredAt, v.State.LeaseUntil = timeUnlessZero(measured), timeUnlessZero(lease)
	if v.Permissions, err = decodePermissions(permissions); err != nil {
		return pods.Volume{}, fmt.Errorf("decoding permissions of %s: %w", v.VolumeKey, err)
	}
	if source != "" {
		var r sourceRow
		if err := json.Unmarshal([]byte(source), &r); err != nil {
			return pods.Volume{}, fmt.Errorf("decoding source of %s: %w", v.VolumeKey, err)
		}
		v.Source = new(pods.SnapshotSource(r))
	}
	return v, nil
}

// Volume returns one volume.
func (s *Store) Volume(ctx context.Context, k pods.VolumeKey) (pods.Volume, error) {
	var v pods.Volume
	err := s.read(ctx, func() (err error) {
		v, err = s.selectVolume(ctx, s.reader, k)
		return err
	})
	return v, doing("reading", k, err)
}

func (s *Store) selectVolume(ctx context.Context, q queryer, k pods.VolumeKey) (pods.Volume, error) {
	if !storableVolume(k) {
		return pods.Volume{}, k.NotFound()
	}
	row := q.QueryRowContext(ctx, s.engine.selectVolumes()+" where v.kind = $1 and v.tenant = $2 and v.id = $3", k.Kind, k.Tenant, k.ID)
	v, err := scanVolume(row)
	return v, orNoVolume(err, k)
}

// Volumes returns the volumes that q selects, ordered by tenant and id.
func (s *Store) Volumes(ctx context.Context, q pods.VolumeQuery) ([]pods.Volume, error) {
	if !storable(string(q.Kind), q.Tenant, q.User) {
		return nil, nil
	}
	query, args := s.engine.volumesQuery(q)
	var vs []pods.Volume
	err := s.read(ctx, func() (err error) {
		vs, err = queryAll(ctx, s.reader, scanVolume, query, args...)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading volumes: %w", err)
	}
	return vs, nil
}

// volumesQuery returns the statement that answers q. As with pods, the keys are
// found first, in the index of permissions.
func (e *engine) volumesQuery(q pods.VolumeQuery) (query string, args []any) {
	var a arguments
	where := "v.kind = " + a.add(q.Kind)
	if q.Tenant != "" {
		where += " and v.tenant = " + a.add(q.Tenant)
	}
	if q.User != "" {
		where += " and (v.tenant, v.id) in (" + a.visibleVolumes(q) + ")"
	}
	query = e.selectVolumes() + " where " + where + " order by v.tenant, v.id"
	if q.Limit > 0 {
		query += " limit " + a.add(q.Limit)
	}
	return query, a
}

// visibleVolumes selects the keys of the volumes on which q.User holds READ or
// more, by name or through an entry for everyone.
func (a *arguments) visibleVolumes(q pods.VolumeQuery) string {
	query := "select tenant, volume_id from volume_permissions where kind = " + a.add(q.Kind)
	if q.Tenant != "" {
		query += " and tenant = " + a.add(q.Tenant)
	}
	return query + " and username in (" + a.add(entryOf(q.User)) + ", '*', 'TENANT')" +
		" and level in ('READ', 'USER', 'ADMIN', 'APPROVEDADMIN')"
}

// UpdateVolume writes the user's columns of a volume.
func (s *Store) UpdateVolume(ctx context.Context, v pods.Volume) (pods.Volume, error) {
	if !storableVolume(v.VolumeKey) || !storable(v.UID) {
		return pods.Volume{}, v.NotFound()
	}
	source, err := encodeVolume(v)
	if err != nil {
		return pods.Volume{}, err
	}
	var stored pods.Volume
	err = s.writeVolume(ctx, v.VolumeKey, v.UID, func(tx *sql.Tx, version int64) error {
		if version != v.Version {
			return volumeConflict(v.VolumeKey)
		}
		_, err := tx.ExecContext(ctx, `
			update volumes set description = $4, size_limit = $5, source = $6, updated_at = $7, version = version + 1
			where kind = $1 and tenant = $2 and id = $3`,
			v.Kind, v.Tenant, v.ID, v.Description, v.SizeLimit, source, v.UpdatedAt.UnixMicro())
		if err != nil {
			return fmt.Errorf("updating volume: %w", err)
		}
		if err := s.saveVolumePermissions(ctx, tx, v.VolumeKey, v.Permissions); err != nil {
			return err
		}
		stored, err = s.selectVolume(ctx, tx, v.VolumeKey)
		return err
	})
	if err != nil {
		return pods.Volume{}, doing("updating", v.VolumeKey, err)
	}
	return stored, nil
}

// writeVolume runs f in a transaction that holds the row of a volume, with the
// version of what users write. NotFound if there is no such volume or it has
// another uid.
func (s *Store) writeVolume(ctx context.Context, k pods.VolumeKey, uid string, f func(tx *sql.Tx, version int64) error) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		held, version, err := s.holdVolume(ctx, tx, k)
		if err != nil {
			return err
		}
		if held != uid {
			return k.NotFound()
		}
		return f(tx, version)
	})
}

// holdVolume locks the row of a volume until the end of the transaction.
func (s *Store) holdVolume(ctx context.Context, tx *sql.Tx, k pods.VolumeKey) (uid string, version int64, err error) {
	if !storableVolume(k) {
		return "", 0, k.NotFound()
	}
	err = tx.QueryRowContext(ctx, `
		select uid, version from volumes where kind = $1 and tenant = $2 and id = $3`+s.engine.forUpdate,
		k.Kind, k.Tenant, k.ID).Scan(&uid, &version)
	return uid, version, orNoVolume(err, k)
}

func (s *Store) saveVolumePermissions(ctx context.Context, tx *sql.Tx, k pods.VolumeKey, want pods.Permissions) error {
	//nolint:gosec // the name is a constant
	rows, err := tx.QueryContext(ctx, `
		select username, level from `+s.engine.keyed("volume_permissions")+` where kind = $1 and tenant = $2 and volume_id = $3`,
		k.Kind, k.Tenant, k.ID)
	if err != nil {
		return fmt.Errorf("reading permissions: %w", err)
	}
	have, err := scanPermissions(rows)
	if err != nil {
		return fmt.Errorf("reading permissions: %w", err)
	}
	return changeVolumePermissions(ctx, tx, k, have, want)
}

// decodePermissions reads what engine.permissions makes.
func decodePermissions(text string) (ps pods.Permissions, err error) {
	err = json.Unmarshal([]byte(text), &ps)
	return ps, err
}

// scanPermissions reads rows of user names and levels, and closes them.
func scanPermissions(rows *sql.Rows) (pods.Permissions, error) {
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

func changeVolumePermissions(ctx context.Context, tx *sql.Tx, k pods.VolumeKey, have, want pods.Permissions) error {
	return permissionRows{
		key: []any{k.Kind, k.Tenant, k.ID},
		remove: `
			delete from volume_permissions where kind = $1 and tenant = $2 and volume_id = $3 and username = $4`,
		put: `
			insert into volume_permissions (kind, tenant, volume_id, username, level) values ($1, $2, $3, $4, $5)
			on conflict (kind, tenant, volume_id, username) do update set level = excluded.level`,
	}.change(ctx, tx, have, want)
}

// mountedText says which pods keep a volume from being deleted.
func mountedText(k pods.VolumeKey, ids []pods.ID) error {
	names := make([]string, 0, len(ids))
	for _, id := range ids {
		names = append(names, string(id))
	}
	return pods.Errorf(pods.Conflict, "The %s '%s' is mounted by pods that are not stopped: %s. Stop them first.",
		k.Kind, k.ID, strings.Join(names, ", "))
}
