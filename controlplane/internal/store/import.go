package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

var _ pods.ImportStore = (*Store)(nil)

// ImportPod writes a pod with all that belongs to it.
func (s *Store) ImportPod(ctx context.Context, p pods.ImportedPod) error {
	err := s.createPod(ctx, p.Pod, p.Credentials, func(tx *sql.Tx) error {
		if err := appendEvents(ctx, tx, p.Key, p.Events...); err != nil {
			return err
		}
		if len(p.Logs) == 0 {
			return nil
		}
		return writeLogs(ctx, tx, p.Key, p.Logs)
	})
	return doing("importing pod", p.Key, err)
}

// ImportTemplate writes a template and the versions of its tags that are missing.
func (s *Store) ImportTemplate(ctx context.Context, t pods.Template, tags []pods.TemplateTag) (added int, err error) {
	if err := checkTemplate(t); err != nil {
		return 0, err
	}
	for _, tag := range tags {
		if err := checkTag(tag); err != nil {
			return 0, err
		}
	}
	err = s.write(ctx, func(tx *sql.Tx) error {
		added = 0
		if err := holdOrInsert(ctx, tx, t, s.engine.forUpdate); err != nil {
			return err
		}
		for _, tag := range tags {
			ok, err := insertTag(ctx, tx, tag)
			if err != nil {
				return err
			}
			if ok {
				added++
			}
		}
		return nil
	})
	return added, doing("importing template", t.ID, err)
}

// holdOrInsert locks the row of a template, or writes it. Exists if another
// template has the id.
func holdOrInsert(ctx context.Context, tx *sql.Tx, t pods.Template, forUpdate string) error {
	var held string
	err := tx.QueryRowContext(ctx, "select uid from templates where id = $1"+forUpdate, t.ID).Scan(&held)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return insertTemplate(ctx, tx, t)
	case err != nil:
		return fmt.Errorf("reading template: %w", err)
	case held != t.UID:
		return pods.Errorf(pods.Exists, "Template with identifier template_id: '%s' already exists.", t.ID)
	default:
		return nil
	}
}
