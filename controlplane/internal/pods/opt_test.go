package pods

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
)

func TestOptTellsAbsentFromNullFromSet(t *testing.T) {
	type doc struct {
		A Opt[int] `json:"a,omitzero"`
	}
	for _, c := range []struct {
		name, in     string
		set, null    bool
		value, or    int
		wantEncoding string
	}{
		{"absent", `{}`, false, false, 0, 7, `{}`},
		{"null", `{"a":null}`, true, true, 0, 7, `{"a":null}`},
		{"set to zero", `{"a":0}`, true, false, 0, 0, `{"a":0}`},
		{"set", `{"a":5}`, true, false, 5, 5, `{"a":5}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var d doc
			if err := json.Unmarshal([]byte(c.in), &d); err != nil {
				t.Fatal(err)
			}
			value, ok := d.A.Get()
			if d.A.IsSet() != c.set || d.A.IsNull() != c.null || value != c.value || ok != (c.set && !c.null) || d.A.Or(7) != c.or {
				t.Errorf("got %+v, want set %v, null %v, value %v", d.A, c.set, c.null, c.value)
			}
			b, err := json.Marshal(d)
			if err != nil || string(b) != c.wantEncoding {
				t.Errorf("got %s and %v, want %s", b, err, c.wantEncoding)
			}
		})
	}
	o := Set(5)
	if err := json.Unmarshal([]byte(`null`), &o); err != nil || o != Null[int]() {
		t.Errorf("got %+v and %v after null, want no trace of the old value", o, err)
	}
}

func TestErrorCode(t *testing.T) {
	cause := errors.New("cause")
	coded := &Error{Code: NotFound, Messages: []string{"gone"}, Cause: cause}
	for _, c := range []struct {
		name string
		err  error
		want Code
	}{
		{"none", nil, ""},
		{"coded", coded, NotFound},
		{"wrapped", fmt.Errorf("reading: %w", coded), NotFound},
		{"any other", cause, Internal},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := ErrorCode(c.err); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	if got, want := coded.Error(), "not_found: gone: cause"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if !errors.Is(coded, cause) {
		t.Error("got an error that hides its cause, want one that unwraps to it")
	}
}
