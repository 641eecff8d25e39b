package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

var _ pods.TemplateStore = (*Store)(nil)

func templateNotFound(id string) error {
	return pods.Errorf(pods.NotFound, "Template with identifier template_id: '%s' not found", id)
}

// orNoTemplate turns "no row" into NotFound.
func orNoTemplate(err error, id string) error {
	if errors.Is(err, sql.ErrNoRows) {
		return templateNotFound(id)
	}
	return err
}

// CreateTemplate writes a template.
func (s *Store) CreateTemplate(ctx context.Context, t pods.Template) error {
	if err := checkTemplate(t); err != nil {
		return err
	}
	err := s.write(ctx, func(tx *sql.Tx) error { return insertTemplate(ctx, tx, t) })
	return doing("creating template", t.ID, err)
}

// insertTemplate writes a template that was checked. Exists if its id is taken.
func insertTemplate(ctx context.Context, tx *sql.Tx, t pods.Template) error {
	metatags, err := json.Marshal(t.Metatags)
	if err != nil {
		return fmt.Errorf("encoding metatags: %w", err)
	}
	res, err := tx.ExecContext(ctx, `
		insert into templates (id, uid, tenant, owner, description, metatags, archive_message, version,
			created_at, updated_at)
		values ($1, $2, $3, $4, $5, $6, $7, 1, $8, $9)
		on conflict (id) do nothing`,
		t.ID, t.UID, t.Tenant, t.Owner, t.Description, string(metatags), t.ArchiveMessage,
		t.CreatedAt.UnixMicro(), t.UpdatedAt.UnixMicro())
	if err != nil {
		return fmt.Errorf("inserting template: %w", err)
	}
	exists := pods.Errorf(pods.Exists, "Template with identifier template_id: '%s' already exists.", t.ID)
	if err := orNoRow(res, exists); err != nil {
		return err
	}
	return insertTemplatePermissions(ctx, tx, t.ID, t.Permissions)
}

// checkTemplate refuses text that one of the engines could not store.
func checkTemplate(t pods.Template) error {
	if !storable(t.ID) {
		return pods.Errorf(pods.Invalid, "template_id must be valid UTF-8 without NUL characters.")
	}
	if !storable(t.UID, t.Tenant, t.Owner, t.Description, t.ArchiveMessage) {
		return pods.Errorf(pods.Invalid, "template texts must be valid UTF-8 without NUL characters.")
	}
	return checkUsers(t.Permissions)
}

func insertTemplatePermissions(ctx context.Context, tx *sql.Tx, id string, ps pods.Permissions) error {
	for _, user := range slices.Sorted(maps.Keys(ps)) {
		_, err := tx.ExecContext(ctx, `
			insert into template_permissions (template_id, username, level) values ($1, $2, $3)`, id, user, ps[user])
		if err != nil {
			return fmt.Errorf("inserting permission: %w", err)
		}
	}
	return nil
}

// selectTemplates returns the statement that reads templates, up to its where
// clause.
func (e *engine) selectTemplates() string {
	return `
		select t.id, t.uid, t.tenant, t.owner, t.description, t.metatags, t.archive_message, t.version,
			t.created_at, t.updated_at,
			(select ` + e.permissions + ` from ` + e.keyed("template_permissions") + ` where x.template_id = t.id)
		from templates t`
}

// scanTemplate reads a row of selectTemplates.
func scanTemplate(row scanner) (pods.Template, error) {
	var t pods.Template
	var metatags, permissions string
	var created, updated int64
	err := row.Scan(&t.ID, &t.UID, &t.Tenant, &t.Owner, &t.Description, &metatags, &t.ArchiveMessage, &t.Version,
		&created, &updated, &permissions)
	if err != nil {
		return pods.Template{}, err
	}
	t.CreatedAt, t.UpdatedAt = fromMicros(created), fromMicros(updated)
	if err := json.Unmarshal([]byte(metatags), &t.Metatags); err != nil {
		return pods.Template{}, fmt.Errorf("decoding metatags of %s: %w", t.ID, err)
	}
	if err := json.Unmarshal([]byte(permissions), &t.Permissions); err != nil {
		return pods.Template{}, fmt.Errorf("decoding permissions of %s: %w", t.ID, err)
	}
	return t, nil
}

// Template returns one template.
func (s *Store) Template(ctx context.Context, id string) (pods.Template, error) {
	var t pods.Template
	err := s.read(ctx, func() (err error) {
		t, err = s.selectTemplate(ctx, s.reader, id)
		return err
	})
	return t, doing("reading template", id, err)
}

func (s *Store) selectTemplate(ctx context.Context, q queryer, id string) (pods.Template, error) {
	if !storable(id) {
		return pods.Template{}, templateNotFound(id)
	}
	t, err := scanTemplate(q.QueryRowContext(ctx, s.engine.selectTemplates()+" where t.id = $1", id))
	return t, orNoTemplate(err, id)
}

// Templates returns the templates that q selects, ordered by id.
func (s *Store) Templates(ctx context.Context, q pods.TemplateQuery) ([]pods.Template, error) {
	if !storable(q.Tenant, q.User) {
		return nil, nil
	}
	query, args := s.engine.templatesQuery(q)
	var ts []pods.Template
	err := s.read(ctx, func() (err error) {
		ts, err = queryAll(ctx, s.reader, scanTemplate, query, args...)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading templates: %w", err)
	}
	return ts, nil
}

// templatesQuery returns the statement that answers q, as pods.Template.Level
// decides who may read.
func (e *engine) templatesQuery(q pods.TemplateQuery) (query string, args []any) {
	const order = " order by t.id"
	if q.Tenant == "" {
		return e.selectTemplates() + order, nil
	}
	var a arguments
	const readable = "select template_id from template_permissions where level in ('READ', 'USER', 'ADMIN', 'APPROVEDADMIN') and username in "
	where := " where t.id in (" + readable + "('**', " + a.add("tenant."+q.Tenant) + "))"
	where += " or (t.tenant = " + a.add(q.Tenant)
	if q.User != "" {
		where += " and t.id in (" + readable + "(" + a.add(entryOf(q.User)) + ", '*', 'TENANT'))"
	}
	return e.selectTemplates() + where + ")" + order, a
}

// queryAll returns the rows that a statement selects.
func queryAll[T any](ctx context.Context, db rowsQueryer, scan func(scanner) (T, error), query string, args ...any) ([]T, error) {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		one, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, rows.Err()
}

// UpdateTemplate writes what users may change of a template.
func (s *Store) UpdateTemplate(ctx context.Context, t pods.Template) (pods.Template, error) {
	if !storable(t.ID) {
		return pods.Template{}, templateNotFound(t.ID)
	}
	if err := checkTemplate(t); err != nil {
		return pods.Template{}, err
	}
	metatags, err := json.Marshal(t.Metatags)
	if err != nil {
		return pods.Template{}, fmt.Errorf("encoding metatags: %w", err)
	}
	var stored pods.Template
	err = s.writeTemplate(ctx, t.ID, t.UID, func(tx *sql.Tx, version int64) error {
		if version != t.Version {
			return pods.Errorf(pods.Conflict, "Template with identifier template_id: '%s' was changed meanwhile. Please try again.", t.ID)
		}
		_, err := tx.ExecContext(ctx, `
			update templates set description = $2, metatags = $3, archive_message = $4, updated_at = $5,
				version = version + 1
			where id = $1`, t.ID, t.Description, string(metatags), t.ArchiveMessage, t.UpdatedAt.UnixMicro())
		if err != nil {
			return fmt.Errorf("updating template: %w", err)
		}
		if _, err := tx.ExecContext(ctx, "delete from template_permissions where template_id = $1", t.ID); err != nil {
			return fmt.Errorf("deleting permissions: %w", err)
		}
		if err := insertTemplatePermissions(ctx, tx, t.ID, t.Permissions); err != nil {
			return err
		}
		stored, err = s.selectTemplate(ctx, tx, t.ID)
		return err
	})
	if err != nil {
		return pods.Template{}, doing("updating template", t.ID, err)
	}
	return stored, nil
}

// writeTemplate runs f in a transaction that holds the row of a template.
// NotFound if there is no such template or it has another uid.
func (s *Store) writeTemplate(ctx context.Context, id, uid string, f func(tx *sql.Tx, version int64) error) error {
	if !storable(id) {
		return templateNotFound(id)
	}
	return s.write(ctx, func(tx *sql.Tx) error {
		var held string
		var version int64
		err := tx.QueryRowContext(ctx, "select uid, version from templates where id = $1"+s.engine.forUpdate, id).
			Scan(&held, &version)
		if err != nil {
			return orNoTemplate(err, id)
		}
		if held != uid {
			return templateNotFound(id)
		}
		return f(tx, version)
	})
}

// DeleteTemplate removes a template; the foreign keys remove the rest of it.
func (s *Store) DeleteTemplate(ctx context.Context, id, uid string) (pods.TemplateUses, error) {
	var uses pods.TemplateUses
	err := s.writeTemplate(ctx, id, uid, func(tx *sql.Tx, _ int64) error {
		refs, err := templateRefs(ctx, tx, id)
		if err != nil {
			return err
		}
		if uses, err = countUses(ctx, tx, refs); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "delete from templates where id = $1", id)
		return err
	})
	return uses, doing("deleting template", id, err)
}
