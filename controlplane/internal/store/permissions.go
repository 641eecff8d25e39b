package store

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// permissionRows are the rows of the permissions on one object.
type permissionRows struct {
	key []any // first parameters of both statements

	remove string // then the user name
	put    string // then the user name and the level; replaces what is there
}

// change writes the difference: most updates of an object leave its permissions
// as they are, and few change more than one of hundreds.
func (r permissionRows) change(ctx context.Context, tx *sql.Tx, have, want pods.Permissions) error {
	for _, user := range slices.Sorted(maps.Keys(have)) {
		if _, keep := want[user]; keep {
			continue
		}
		if _, err := tx.ExecContext(ctx, r.remove, append(slices.Clone(r.key), user)...); err != nil {
			return fmt.Errorf("deleting permission: %w", err)
		}
	}
	for _, user := range slices.Sorted(maps.Keys(want)) {
		if level, ok := have[user]; ok && level == want[user] {
			continue
		}
		if _, err := tx.ExecContext(ctx, r.put, append(slices.Clone(r.key), user, want[user])...); err != nil {
			return fmt.Errorf("writing permission: %w", err)
		}
	}
	return nil
}
