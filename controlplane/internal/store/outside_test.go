package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// testOutsidePlans is testPlans for the lists of volumes and secrets.
func testOutsidePlans(t *testing.T, address string) {
	s := migrated(t, address)
	fillMany(t, s)
	n := 4_000
	if s.engine.dialect == goose.DialectPostgres {
		n = 40_000
	}
	for _, q := range []string{
		`insert into volumes select 'volume', 'tenant' || (n % 50), 'vol' || n, 'uid' || n, 'o', '', 1, '', 1, 0, 0 from numbers`,
		`insert into volume_state select 'volume', 'tenant' || (n % 50), 'vol' || n, 'AVAILABLE', '', 0, n, 0, 0, 0, 1 from numbers`,
		`insert into volume_permissions select 'volume', 'tenant' || (n % 50), 'vol' || n, 'user' || (n % 97), 'ADMIN' from numbers`,
		`insert into secrets select 'tenant' || (n % 50), 'user' || (n % 97), 'sec' || n, 'uid' || n, '', 'user', '', true, false, 'x', 1, 0, 0 from numbers`,
		`insert into secret_permissions select 'tenant' || (n % 50), 'user' || (n % 97), 'sec' || n, 'user' || (n % 97), 'ADMIN' from numbers`,
		`insert into pod_bindings select 'tenant' || (n % 50), 'pod' || n, 'volume', '', 'vol' || n from numbers`,
	} {
		mustExec(t, s, fmt.Sprintf(`with recursive numbers(n) as (select 1 union all select n + 1 from numbers where n < %d) `, n)+q)
	}
	if s.engine.dialect == goose.DialectPostgres {
		mustExec(t, s, "analyze")
	}
	t.Run("volumes of a user", func(t *testing.T) {
		query, args := s.engine.volumesQuery(pods.VolumeQuery{Kind: pods.KindVolume, Tenant: "tenant7", User: "user5"})
		checkPlan(t, s, query, args)
	})
	t.Run("volumes of a tenant", func(t *testing.T) {
		query, args := s.engine.volumesQuery(pods.VolumeQuery{Kind: pods.KindVolume, Tenant: "tenant7", Limit: 20})
		checkPlan(t, s, query, args)
	})
	t.Run("secrets of a user", func(t *testing.T) {
		query, args := s.engine.secretsQuery(pods.SecretQuery{Tenant: "tenant7", User: "user5"})
		checkPlan(t, s, query, args)
	})
	t.Run("the pods of a volume", func(t *testing.T) {
		checkPlan(t, s, `select b.pod_id from pod_bindings b where b.tenant = $1 and b.kind = $2 and b.owner = '' and b.name = $3`,
			[]any{"tenant7", "volume", "vol7"})
	})
}

// sealEverything stores something in each place that holds sealed text, and
// returns what reads it all.
func sealEverything(t *testing.T, s *Store) (read func(t *testing.T, s *Store)) {
	t.Helper()
	now := time.Now()
	p := createPod(t, s, "web")
	d, err := pods.SealSecrets(s, p.Key, "ann", pods.Definition{}, pods.Definition{
		SecretMap:         pods.Set(map[string]string{"A": "canary-map", "B": "${pods:url}"}),
		TemplateOverrides: pods.Set(pods.TemplateOverrides{SecretMap: map[string]string{"A": "canary-map"}}),
	})
	if err != nil {
		t.Fatal(err)
	}
	p.Definition = d
	if _, err := s.UpdatePod(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if _, err := s.KeepPodSecrets(t.Context(), p.Key, p.UID, map[string]string{"R": "canary-random"}); err != nil {
		t.Fatal(err)
	}
	secret := pods.Secret{SecretKey: pods.SecretKey{Tenant: "dev", Owner: "ann", ID: "pw"}, UID: "uid", CreatedAt: now, UpdatedAt: now}
	if err := s.CreateSecret(t.Context(), secret, "canary-secret", pods.SecretEvent{At: now, Kind: pods.SecretCreated, Actor: "ann"}); err != nil {
		t.Fatal(err)
	}
	return func(t *testing.T, s *Store) {
		t.Helper()
		value, err := s.SecretValue(t.Context(), secret.SecretKey, "uid")
		if value != "canary-secret" || err != nil {
			t.Errorf("got secret %q and %v", value, err)
		}
		kept, err := s.KeepPodSecrets(t.Context(), p.Key, p.UID, map[string]string{"R": "another"})
		if kept["R"] != "canary-random" || err != nil {
			t.Errorf("got generated value %q and %v", kept, err)
		}
		stored, err := s.Pod(t.Context(), p.Key)
		if err != nil {
			t.Fatal(err)
		}
		sealed := pods.SealedSecrets(stored.Definition)
		if len(sealed) != 2 {
			t.Fatalf("got %v, want two sealed values", sealed)
		}
		for _, text := range sealed {
			plain, err := s.Open(text, p.String()+"/secret_map/A")
			if string(plain) != "canary-map" || err != nil {
				t.Errorf("got value %q and %v", plain, err)
			}
		}
	}
}

func testRekeyOfSecrets(t *testing.T, address string) {
	s := migrated(t, address)
	read := sealEverything(t, s)
	wrong := opened(t, address, testKeys(t, 2))
	if err := wrong.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), s.keys.current) {
		t.Errorf("got %v, want an error that names the key", err)
	}
	both := opened(t, address, testKeys(t, 2, 1))
	before, err := both.Pod(t.Context(), pods.Key{Tenant: "dev", ID: "web"})
	if err != nil {
		t.Fatal(err)
	}
	// Credentials, the secret, the generated value and the definition.
	for _, want := range []int{4, 0} {
		if n, err := both.Rekey(t.Context()); n != want || err != nil {
			t.Fatalf("got %d, %v, want %d", n, err, want)
		}
	}
	only := opened(t, address, testKeys(t, 2))
	if err := only.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	read(t, only)
	// An update that was read before would bring the old key back.
	if _, err := only.UpdatePod(t.Context(), before); pods.ErrorCode(err) != pods.Conflict {
		t.Errorf("got %v, want a conflict", err)
	}
	if _, err := s.Rekey(t.Context()); err == nil {
		t.Error("rekeying without the key that sealed succeeded")
	}
}

// testRekeyEndsHalfway stops the change of keys again and again, later each time:
// at any moment everything can be read by who has both keys.
func testRekeyEndsHalfway(t *testing.T, address string) {
	s := migrated(t, address)
	read := sealEverything(t, s)
	var ids []pods.ID
	for i := range 20 {
		ids = append(ids, pods.ID(fmt.Sprintf("pod%d", i)))
		createPod(t, s, ids[i])
	}
	both := opened(t, address, testKeys(t, 2, 1))
	finished := false
	for wait := 100 * time.Microsecond; !finished; wait += wait / 2 {
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		_, err := both.Rekey(ctx)
		cancel()
		finished = err == nil
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		read(t, both)
		for _, id := range ids {
			if c, err := both.Credentials(t.Context(), pods.Key{Tenant: "dev", ID: id}); err != nil || c.UserPassword != "secret-user-"+string(id) {
				t.Fatalf("%s: got %+v, %v", id, c, err)
			}
		}
	}
	if only := opened(t, address, testKeys(t, 2)); only.Ready(t.Context()) != nil {
		t.Errorf("got %v, want that nothing needs the old key", only.Ready(t.Context()))
	}
}

// testSecretsAreSealed looks at every text in every table.
func testSecretsAreSealed(t *testing.T, address string) {
	s := migrated(t, address)
	read := sealEverything(t, s)
	read(t, s)
	for _, column := range []string{"secrets.sealed", "pod_secrets.sealed", "pods.definition"} {
		table, name, _ := strings.Cut(column, ".")
		all, err := readAll(t.Context(), s, func(row scanner) (text string, err error) { err = row.Scan(&text); return text, err },
			"select "+name+" from "+table)
		if err != nil || len(all) != 1 || strings.Contains(all[0], "canary") {
			t.Errorf("%s: got %q and %v, want one sealed text", column, all, err)
		}
	}
	// What is moved to another row does not open.
	mustExec(t, s, "update secrets set owner = 'bob'")
	if _, err := s.SecretValue(t.Context(), pods.SecretKey{Tenant: "dev", Owner: "bob", ID: "pw"}, "uid"); err == nil {
		t.Error("a value that was moved to another user opens")
	}
}
