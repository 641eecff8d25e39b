package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

const selectTags = `
	select template_id, tag, stamp, definition, commit_message, description, archive_message, added_by, created_at from template_tags`

// scanTag reads a row of selectTags.
func scanTag(row scanner) (pods.TemplateTag, error) {
	var t pods.TemplateTag
	var definition string
	var stamp, created int64
	err := row.Scan(&t.TemplateID, &t.Tag, &stamp, &definition, &t.CommitMessage, &t.Description, &t.ArchiveMessage, &t.AddedBy, &created)
	if err != nil {
		return pods.TemplateTag{}, err
	}
	t.Stamp, t.CreatedAt = time.Unix(stamp, 0).UTC(), fromMicros(created)
	if err := json.Unmarshal([]byte(definition), &t.Definition); err != nil {
		return pods.TemplateTag{}, fmt.Errorf("decoding definition of %s: %w", t.Ref(), err)
	}
	return t, nil
}

// pinned returns the reference of a definition to one version of a template, ""
// if it has none.
func pinned(d pods.Definition) string {
	r, err := pods.ParseTemplateRef(d.Template.Or(""))
	if err != nil || !r.Pinned() {
		return ""
	}
	return r.String()
}

// AddTemplateTag writes a new version of a tag.
func (s *Store) AddTemplateTag(ctx context.Context, uid string, t pods.TemplateTag) (pods.TemplateTag, error) {
	if err := checkTag(t); err != nil {
		return pods.TemplateTag{}, err
	}
	t.CreatedAt = fromMicros(t.CreatedAt.UnixMicro())
	err := s.writeTemplate(ctx, t.TemplateID, uid, func(tx *sql.Tx, _ int64) error {
		stamp, err := nextStamp(ctx, tx, t)
		if err != nil {
			return err
		}
		t.Stamp = time.Unix(stamp, 0).UTC()
		_, err = insertTag(ctx, tx, t)
		return err
	})
	if err != nil {
		return pods.TemplateTag{}, doing("adding tag to template", t.TemplateID, err)
	}
	return t, nil
}

// checkTag refuses text that one of the engines could not store.
func checkTag(t pods.TemplateTag) error {
	if !storable(t.Tag, t.CommitMessage, t.Description, t.ArchiveMessage, t.AddedBy) {
		return pods.Errorf(pods.Invalid, "tag texts must be valid UTF-8 without NUL characters.")
	}
	return nil
}

// insertTag writes a version of a tag, unless there is one with its stamp.
func insertTag(ctx context.Context, tx *sql.Tx, t pods.TemplateTag) (added bool, err error) {
	definition, err := json.Marshal(t.Definition)
	if err != nil {
		return false, fmt.Errorf("encoding definition: %w", err)
	}
	res, err := tx.ExecContext(ctx, `
		insert into template_tags (template_id, tag, stamp, definition, base, commit_message, description,
			archive_message, added_by, created_at)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
		on conflict (template_id, tag, stamp) do nothing`,
		t.TemplateID, t.Tag, t.Stamp.Unix(), string(definition), pinned(t.Definition), t.CommitMessage, t.Description,
		t.ArchiveMessage, t.AddedBy, t.CreatedAt.UnixMicro())
	if err != nil {
		return false, fmt.Errorf("inserting tag: %w", err)
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

// nextStamp returns the stamp of a new version. The template's row is held, so
// no other version of the tag comes in between.
func nextStamp(ctx context.Context, tx *sql.Tx, t pods.TemplateTag) (int64, error) {
	var newest int64
	err := tx.QueryRowContext(ctx, `
		select coalesce(max(stamp), -1) from template_tags where template_id = $1 and tag = $2`, t.TemplateID, t.Tag,
	).Scan(&newest)
	if err != nil {
		return 0, fmt.Errorf("reading newest version: %w", err)
	}
	return max(t.CreatedAt.Unix(), newest+1), nil
}

// TemplateTag returns the version that a reference names.
func (s *Store) TemplateTag(ctx context.Context, r pods.TemplateRef) (pods.TemplateTag, error) {
	none := pods.Errorf(pods.NotFound, "Template tag with identifier '%s' not found", r)
	if !storable(r.ID, r.Tag) || (r.Pinned() && r.Stamp().IsZero()) {
		return pods.TemplateTag{}, none
	}
	where, args := " where template_id = $1 and tag = $2", []any{r.ID, r.TagName()}
	if r.Pinned() {
		where, args = where+" and stamp = $3", append(args, r.Stamp().Unix())
	}
	var t pods.TemplateTag
	err := s.read(ctx, func() (err error) {
		t, err = scanTag(s.reader.QueryRowContext(ctx, selectTags+where+" order by stamp desc limit 1", args...))
		return err
	})
	if errors.Is(err, sql.ErrNoRows) {
		return pods.TemplateTag{}, none
	}
	return t, doing("reading template tag", r.String(), err)
}

// tagsPerQuery bounds the templates whose tags are read with one statement.
const tagsPerQuery = 500

// TemplateTags returns all versions of all tags of some templates.
func (s *Store) TemplateTags(ctx context.Context, ids ...string) ([]pods.TemplateTag, error) {
	ids = slices.DeleteFunc(slices.Compact(slices.Sorted(slices.Values(ids))), func(id string) bool { return !storable(id) })
	var all []pods.TemplateTag
	for some := range slices.Chunk(ids, tagsPerQuery) {
		var a arguments
		placeholders := make([]string, 0, len(some))
		for _, id := range some {
			placeholders = append(placeholders, a.add(id))
		}
		var tags []pods.TemplateTag
		err := s.read(ctx, func() (err error) {
			tags, err = queryAll(ctx, s.reader, scanTag,
				selectTags+" where template_id in ("+strings.Join(placeholders, ", ")+") order by template_id, stamp desc, tag", a...)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("reading template tags: %w", err)
		}
		all = append(all, tags...)
	}
	return all, nil
}

// DeleteTemplateTags removes versions of tags of one template.
func (s *Store) DeleteTemplateTags(ctx context.Context, uid string, refs []pods.TemplateRef, force bool) (pods.TemplateUses, error) {
	var uses pods.TemplateUses
	if len(refs) == 0 {
		return uses, nil
	}
	id := refs[0].ID
	err := s.writeTemplate(ctx, id, uid, func(tx *sql.Tx, _ int64) (err error) {
		if uses, err = countUses(ctx, tx, refs); err != nil {
			return err
		}
		if !uses.None() && !force {
			return pods.Errorf(pods.Conflict, "%d pods and %d template tags build on it.", uses.Pods, uses.Tags)
		}
		for _, r := range refs {
			if r.ID != id || r.Stamp().IsZero() {
				continue
			}
			_, err := tx.ExecContext(ctx, `
				delete from template_tags where template_id = $1 and tag = $2 and stamp = $3`, r.ID, r.Tag, r.Stamp().Unix())
			if err != nil {
				return fmt.Errorf("deleting tag: %w", err)
			}
		}
		return nil
	})
	return uses, doing("deleting tags of template", id, err)
}

// templateRefs returns the references to all versions of a template.
func templateRefs(ctx context.Context, tx *sql.Tx, id string) ([]pods.TemplateRef, error) {
	rows, err := tx.QueryContext(ctx, "select tag, stamp from template_tags where template_id = $1", id)
	if err != nil {
		return nil, fmt.Errorf("reading versions: %w", err)
	}
	defer rows.Close()
	var refs []pods.TemplateRef
	for rows.Next() {
		t := pods.TemplateTag{TemplateID: id}
		var stamp int64
		if err := rows.Scan(&t.Tag, &stamp); err != nil {
			return nil, fmt.Errorf("reading versions: %w", err)
		}
		t.Stamp = time.Unix(stamp, 0)
		refs = append(refs, t.Ref())
	}
	return refs, rows.Err()
}

// countUses counts what builds on any of some versions, the versions themselves
// left out.
func countUses(ctx context.Context, tx *sql.Tx, refs []pods.TemplateRef) (pods.TemplateUses, error) {
	var u pods.TemplateUses
	for _, r := range refs {
		var n int
		err := tx.QueryRowContext(ctx, "select count(*) from pods where template <> '' and template = $1", r.String()).Scan(&n)
		if err != nil {
			return u, fmt.Errorf("counting pods: %w", err)
		}
		u.Pods += n
		if n, err = countTags(ctx, tx, r, refs); err != nil {
			return u, fmt.Errorf("counting tags: %w", err)
		}
		u.Tags += n
	}
	return u, nil
}

func countTags(ctx context.Context, tx *sql.Tx, base pods.TemplateRef, but []pods.TemplateRef) (int, error) {
	rows, err := tx.QueryContext(ctx, `
		select template_id, tag, stamp from template_tags where base <> '' and base = $1`, base.String())
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	n := 0
	for rows.Next() {
		var t pods.TemplateTag
		var stamp int64
		if err := rows.Scan(&t.TemplateID, &t.Tag, &stamp); err != nil {
			return 0, err
		}
		t.Stamp = time.Unix(stamp, 0)
		if !slices.Contains(but, t.Ref()) {
			n++
		}
	}
	return n, rows.Err()
}
