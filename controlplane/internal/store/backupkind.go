package store

import (
	"bytes"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"strings"
)

// kind is the kind of a column in a backup, the same for both engines. In JSON, bytes
// are base64.
type kind string

const (
	kindInt   kind = "int"
	kindBool  kind = "bool"
	kindText  kind = "text"
	kindBytes kind = "bytes"
)

// kindOf returns the kind of a column by its type in the database.
func kindOf(name string) (kind, error) {
	switch strings.ToLower(name) {
	case "bigint", "int8", "integer", "int4":
		return kindInt, nil
	case "boolean", "bool":
		return kindBool, nil
	case "text":
		return kindText, nil
	case "bytea", "blob":
		return kindBytes, nil
	}
	return "", fmt.Errorf("backups know no columns of type %s", name)
}

// scanned returns a place for a value of the kind, for sql.Rows.Scan and for JSON.
func (k kind) scanned() any {
	switch k {
	case kindInt:
		return new(cell[int64])
	case kindBool:
		return new(cell[bool])
	case kindBytes:
		return new(cell[[]byte])
	default:
		return new(cell[string])
	}
}

// cell is a value that may be null, in SQL as in JSON.
type cell[T any] struct{ sql.Null[T] }

// MarshalJSON implements [json.Marshaler].
func (c cell[T]) MarshalJSON() ([]byte, error) {
	if !c.Valid {
		return []byte("null"), nil
	}
	return json.Marshal(c.V)
}

// UnmarshalJSON implements [json.Unmarshaler].
func (c *cell[T]) UnmarshalJSON(b []byte) error {
	if bytes.Equal(b, []byte("null")) {
		*c = cell[T]{}
		return nil
	}
	c.Valid = true
	return json.Unmarshal(b, &c.V)
}

// Value implements [driver.Valuer].
func (c cell[T]) Value() (driver.Value, error) {
	if !c.Valid {
		return nil, nil
	}
	return c.V, nil
}
