package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// AddEvents appends to the action log of a pod.
func (s *Store) AddEvents(ctx context.Context, k pods.Key, uid string, events ...pods.Event) error {
	err := s.writePod(ctx, k, uid, func(tx *sql.Tx, _ heldPod) error { return appendEvents(ctx, tx, k, events...) })
	return doing("adding events of", k, err)
}

// appendEvents adds to the action log of a pod whose row is held, leaving out an
// event that says the same as the one before it.
func appendEvents(ctx context.Context, tx *sql.Tx, k pods.Key, events ...pods.Event) error {
	if len(events) == 0 {
		return nil
	}
	var seq int64
	var last string
	err := tx.QueryRowContext(ctx, `
		select seq, message from pod_events where tenant = $1 and pod_id = $2
		order by seq desc limit 1`, k.Tenant, k.ID,
	).Scan(&seq, &last)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("reading last event: %w", err)
	}
	for _, e := range events {
		text := cleanText(e.Text)
		if seq > 0 && text == last {
			continue
		}
		seq, last = seq+1, text
		_, err := tx.ExecContext(ctx, `
			insert into pod_events (tenant, pod_id, seq, at, message) values ($1, $2, $3, $4, $5)`,
			k.Tenant, k.ID, seq, e.At.UnixMicro(), text)
		if err != nil {
			return fmt.Errorf("inserting event: %w", err)
		}
	}
	return nil
}

// cleanText makes a message storable. It may quote a container or an image
// registry, and must not keep the pod's state from being saved.
func cleanText(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// Events returns the newest events of a pod, oldest first.
func (s *Store) Events(ctx context.Context, k pods.Key) ([]pods.Event, error) {
	if !storable(k.Tenant, string(k.ID)) {
		return nil, notFound(k)
	}
	var es []pods.Event
	err := s.read(ctx, func() (err error) {
		es, err = s.selectEvents(ctx, k)
		return err
	})
	if err == nil && len(es) == 0 {
		err = notFound(k) // a pod has an event from its first moment
	}
	return es, doing("reading events of", k, err)
}

func (s *Store) selectEvents(ctx context.Context, k pods.Key) ([]pods.Event, error) {
	rows, err := s.reader.QueryContext(ctx, `
		select at, message from (
			select seq, at, message from pod_events where tenant = $1 and pod_id = $2
			order by seq desc limit $3
		) newest order by seq`, k.Tenant, k.ID, pods.MaxEvents)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var es []pods.Event
	for rows.Next() {
		var at int64
		var e pods.Event
		if err := rows.Scan(&at, &e.Text); err != nil {
			return nil, err
		}
		e.At = fromMicros(at)
		es = append(es, e)
	}
	return es, rows.Err()
}
