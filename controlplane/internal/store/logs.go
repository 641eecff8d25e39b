package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// SaveLogs replaces the kept output of a pod's container. NotFound if the pod is
// gone or has another uid.
func (s *Store) SaveLogs(ctx context.Context, k pods.Key, uid string, logs []byte) error {
	err := s.writePod(ctx, k, uid, func(tx *sql.Tx, _ heldPod) error { return writeLogs(ctx, tx, k, logs) })
	return doing("saving logs of", k, err)
}

func writeLogs(ctx context.Context, tx *sql.Tx, k pods.Key, logs []byte) error {
	newest := logs[max(0, len(logs)-pods.MaxLogBytes):]
	if newest == nil {
		newest = []byte{} // nil would be stored as null
	}
	_, err := tx.ExecContext(ctx, `
		insert into pod_logs (tenant, pod_id, content) values ($1, $2, $3)
		on conflict (tenant, pod_id) do update set content = excluded.content`,
		k.Tenant, k.ID, newest)
	if err != nil {
		return fmt.Errorf("writing logs: %w", err)
	}
	return nil
}

// Logs returns the kept output of a pod's container, empty if there is none.
// NotFound if there is no such pod.
func (s *Store) Logs(ctx context.Context, k pods.Key) ([]byte, error) {
	if !storable(k.Tenant, string(k.ID)) {
		return nil, notFound(k)
	}
	var logs []byte
	err := s.read(ctx, func() error {
		return s.reader.QueryRowContext(ctx, `
			select l.content from pods p
			left join pod_logs l on l.tenant = p.tenant and l.pod_id = p.id
			where p.tenant = $1 and p.id = $2`, k.Tenant, k.ID,
		).Scan(&logs)
	})
	return logs, doing("reading logs of", k, orNotFound(err, k))
}
