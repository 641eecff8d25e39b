package store

import (
	"testing"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// testEarlierSchemas takes a database through every schema there ever was: from each
// one, a program of that time has left a pod behind, and all are there at the end.
func testEarlierSchemas(t *testing.T, address string) {
	s := opened(t, address, testKeys(t, 1))
	p, err := s.provider()
	if err != nil {
		t.Fatal(err)
	}
	var ids []pods.ID
	for n, source := range p.ListSources() {
		if _, err := p.UpTo(t.Context(), source.Version); err != nil {
			t.Fatalf("migrating to version %d: %v", source.Version, err)
		}
		have, want, err := s.Version(t.Context())
		if err != nil || have != source.Version {
			t.Fatalf("got version %d, %v, want %d", have, err, source.Version)
		}
		if have < want {
			wantError(t, s.Ready(t.Context()), "podway migrate")
		}
		id := pods.ID("pod" + string(rune('a'+n)))
		mustExec(t, s, "insert into pods (tenant, id, uid, site, owner, definition, requested, version, created_at, updated_at) "+
			"values ('t', '"+string(id)+"', '"+string(id)+"', 's', 'o', '{}', 'ON', 1, 1, 1)")
		ids = append(ids, id)
	}
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	if got := number(t, s, "select count(*) from pods where tenant = 't'"); got != len(ids) {
		t.Errorf("got %d pods, want %d", got, len(ids))
	}
}
