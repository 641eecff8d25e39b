package pods

import (
	"bytes"
	"encoding/json"
)

// Opt is a value that may be absent, null or set. Sparse definitions need all
// three: an absent field inherits, a null one clears what a template gives.
//
// A struct field of this type needs the tag option omitzero.
type Opt[T any] struct {
	set   bool
	null  bool
	value T
}

// Set returns an Opt that holds v.
func Set[T any](v T) Opt[T] { return Opt[T]{set: true, value: v} }

// Null returns an Opt that was explicitly set to null.
func Null[T any]() Opt[T] { return Opt[T]{set: true, null: true} }

// IsZero reports whether the field is absent; encoding/json asks it for omitzero.
func (o Opt[T]) IsZero() bool { return !o.set }

// IsSet reports whether the field is present, null included.
func (o Opt[T]) IsSet() bool { return o.set }

// IsNull reports whether the field is present and null.
func (o Opt[T]) IsNull() bool { return o.set && o.null }

// Get returns the value and whether there is one: false if absent or null.
func (o Opt[T]) Get() (T, bool) { return o.value, o.set && !o.null }

// Or returns the value, or def if the field is absent or null.
func (o Opt[T]) Or(def T) T {
	if o.set && !o.null {
		return o.value
	}
	return def
}

// MarshalJSON writes the value, or null.
func (o Opt[T]) MarshalJSON() ([]byte, error) {
	if !o.set || o.null {
		return []byte("null"), nil
	}
	return json.Marshal(o.value)
}

// UnmarshalJSON marks the field as present.
func (o *Opt[T]) UnmarshalJSON(b []byte) error {
	var v T
	o.set, o.null, o.value = true, bytes.Equal(b, []byte("null")), v
	if o.null {
		return nil
	}
	return json.Unmarshal(b, &o.value)
}
