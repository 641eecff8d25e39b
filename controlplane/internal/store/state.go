package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// stateRow is a row of pod_state.
type stateRow struct {
	status            pods.Status
	container         string
	ready             bool
	instance          string
	startedAt, stopAt sql.Null[int64]
	since             int64
	attempts          int
	nextAttempt       sql.Null[int64]
	version           int64
}

func newStateRow(st pods.State) (stateRow, error) {
	c := st.Container
	if c.StartTime != nil {
		t := fromMicros(c.StartTime.UnixMicro())
		c.StartTime = &t
	}
	container, err := json.Marshal(c)
	if err != nil {
		return stateRow{}, fmt.Errorf("encoding container status: %w", err)
	}
	return stateRow{
		status: st.Status, container: string(container), ready: st.Ready, instance: cleanText(st.Instance),
		startedAt: optMicros(st.StartedAt), stopAt: optMicros(st.StopAt), since: st.Since.UnixMicro(),
		attempts: st.Attempts, nextAttempt: optMicros(st.NextAttempt), version: st.Version,
	}, nil
}

func (r stateRow) state() (pods.State, error) {
	st := pods.State{
		Status: r.status, Ready: r.ready, Instance: r.instance,
		StartedAt: optTime(r.startedAt), StopAt: optTime(r.stopAt), Since: fromMicros(r.since),
		Attempts: r.attempts, NextAttempt: optTime(r.nextAttempt), Version: r.version,
	}
	if err := json.Unmarshal([]byte(r.container), &st.Container); err != nil {
		return pods.State{}, fmt.Errorf("decoding container status: %w", err)
	}
	return st, nil
}

func insertState(ctx context.Context, tx *sql.Tx, k pods.Key, st pods.State) error {
	r, err := newStateRow(st)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `
		insert into pod_state (tenant, pod_id, status, container, ready, instance, started_at, stop_at,
			since, attempts, next_attempt, version)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
		k.Tenant, k.ID, r.status, r.container, r.ready, r.instance, r.startedAt, r.stopAt,
		r.since, r.attempts, r.nextAttempt, r.version)
	if err != nil {
		return fmt.Errorf("inserting state: %w", err)
	}
	return nil
}

// SaveState writes the reconciler's columns of a pod and appends the events.
func (s *Store) SaveState(ctx context.Context, p pods.Pod, clearInstance bool, events ...pods.Event) error {
	err := s.writePod(ctx, p.Key, p.UID, func(tx *sql.Tx, held heldPod) error {
		if err := updateState(ctx, tx, p.Key, p.State); err != nil {
			return err
		}
		if clearInstance {
			if err := clearTimeToStopInstance(ctx, tx, p.Key, held); err != nil {
				return err
			}
		}
		return appendEvents(ctx, tx, p.Key, events...)
	})
	return doing("saving state of", p.Key, err)
}

// updateState writes the state that was read at st.Version. Conflict if it has
// another version by now.
func updateState(ctx context.Context, tx *sql.Tx, k pods.Key, st pods.State) error {
	r, err := newStateRow(st)
	if err != nil {
		return err
	}
	res, err := tx.ExecContext(ctx, `
		update pod_state set status = $3, container = $4, ready = $5, instance = $6, started_at = $7,
			stop_at = $8, since = $9, attempts = $10, next_attempt = $11, version = version + 1
		where tenant = $1 and pod_id = $2 and version = $12`,
		k.Tenant, k.ID, r.status, r.container, r.ready, r.instance, r.startedAt,
		r.stopAt, r.since, r.attempts, r.nextAttempt, r.version)
	if err != nil {
		return fmt.Errorf("updating state: %w", err)
	}
	return orNoRow(res, conflict(k))
}

// clearTimeToStopInstance removes time_to_stop_instance from the definition. As
// a write of the user's columns it moves their version, so that an update that
// was read before does not bring the value back.
func clearTimeToStopInstance(ctx context.Context, tx *sql.Tx, k pods.Key, held heldPod) error {
	var d pods.Definition
	if err := json.Unmarshal([]byte(held.definition), &d); err != nil {
		return fmt.Errorf("decoding definition: %w", err)
	}
	if !d.TimeToStopInstance.IsSet() {
		return nil
	}
	d.TimeToStopInstance = pods.Opt[int]{}
	definition, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("encoding definition: %w", err)
	}
	_, err = tx.ExecContext(ctx, `
		update pods set definition = $3, version = version + 1
		where tenant = $1 and id = $2`, k.Tenant, k.ID, string(definition))
	if err != nil {
		return fmt.Errorf("updating definition: %w", err)
	}
	return nil
}

func optMicros(t *time.Time) sql.Null[int64] {
	if t == nil {
		return sql.Null[int64]{}
	}
	return sql.Null[int64]{V: t.UnixMicro(), Valid: true}
}

func optTime(us sql.Null[int64]) *time.Time {
	if !us.Valid {
		return nil
	}
	t := fromMicros(us.V)
	return &t
}
