package redisroutes

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/tapis-project/podway/routes"
)

// The publishing script puts the version between two strings; the outcome is what
// encoding the route with that version gives.
func TestRecordTakesItsVersion(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := route("db", "default", rapid.String().Draw(t, "instance"))
		if rapid.Bool().Draw(t, "gate") {
			text := rapid.StringMatching(`[ -~]{0,20}`)
			r.Gate = &routes.Gate{
				AllowedUsers:    []string{`"version":9007199254740991`, text.Draw(t, "user")},
				ResponseHeaders: map[string]string{"X-A": text.Draw(t, "a"), "X-B": `"version":1`},
			}
		}
		r.Version = rapid.Uint64Range(0, versionMark).Draw(t, "version")
		rec, err := newRecord(r)
		if err != nil {
			t.Fatal(err)
		}
		want, err := routes.Encode(r)
		if err != nil {
			t.Fatal(err)
		}
		if got := rec.before + entryID(r.Version)[:len(entryID(r.Version))-2] + rec.after; got != string(want) {
			t.Fatalf("got %s, want %s", got, want)
		}
		// Its sum is that of the same route read back, whatever its version.
		back, err := decode(r.Host, string(want))
		if err != nil {
			t.Fatal(err)
		}
		again, err := newRecord(back)
		if err != nil || again.sum() != rec.sum() {
			t.Fatalf("got sum %x (%v), want %x", again.sum(), err, rec.sum())
		}
	})
}
