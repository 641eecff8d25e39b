package store

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/pressly/goose/v3"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// testPlans asks the engine how it would answer the lists of the API, in a table
// in which reading all of it is the wrong choice.
func testPlans(t *testing.T, address string) {
	s := migrated(t, address)
	fillMany(t, s)
	for name, q := range map[string]pods.PodQuery{
		"tenant, user and limit":   {Tenant: "tenant7", User: "user5", Limit: 20},
		"a page of 100, far down":  {Tenant: "tenant7", User: "user5", Limit: 100, Offset: 300},
		"the page after":           {Tenant: "tenant7", User: "user5", After: "pod5", Limit: 20},
		"tenant and user":          {Tenant: "tenant7", User: "user5"},
		"tenant and limit":         {Tenant: "tenant7", Limit: 20},
		"a tenant, from a page on": {Tenant: "tenant7", After: "pod5", Limit: 20},
	} {
		t.Run(name, func(t *testing.T) {
			query, args := s.engine.podsQuery(q)
			checkPlan(t, s, query, args)
		})
	}
	t.Run("one pod", func(t *testing.T) {
		checkPlan(t, s, s.engine.selectPods()+" where p.tenant = $1 and p.id = $2", []any{"tenant7", "pod7"})
	})
}

// fillMany stores pods of 50 tenants with some users each, in bulk: so many that
// reading them all costs more than looking some up. SQLite does not weigh that.
func fillMany(t *testing.T, s *Store) {
	t.Helper()
	n := 4_000
	if s.engine.dialect == goose.DialectPostgres {
		n = 40_000
	}
	for _, q := range []string{
		`insert into pods (tenant, id, uid, site, owner, definition, requested, version, created_at, updated_at) select 'tenant' || (n % 50), 'pod' || n, 'uid' || n, 's', 'o', '{}', 'ON', 1, 0, 0 from numbers`,
		`insert into pod_state select 'tenant' || (n % 50), 'pod' || n, 'STOPPED', '{}', false, '', null, 1, 0, 0, null, 1 from numbers`,
		`insert into pod_permissions select 'tenant' || (n % 50), 'pod' || n, 'user' || (n % 97), 'ADMIN' from numbers`,
		`insert into pod_permissions select 'tenant' || (n % 50), 'pod' || n, '*', 'READ' from numbers where n % 101 = 0`,
	} {
		mustExec(t, s, fmt.Sprintf(`with recursive numbers(n) as (select 1 union all select n + 1 from numbers where n < %d) `, n)+q)
	}
	if s.engine.dialect == goose.DialectPostgres { // it does so by itself; SQLite never does
		mustExec(t, s, "analyze")
	}
}

// tenantScan finds lookups that read what a whole tenant has of a table, as
// SQLite says it, where one row is wanted.
var tenantScan = regexp.MustCompile(`SEARCH (p|s|x) [^(]*\((kind=\? AND )?tenant=\?\)`)

// fullScan finds the words of SQLite and of Postgres for reading a whole table.
// SQLite also says SCAN of the rows of a subquery.
var fullScan = regexp.MustCompile(`Seq Scan|SCAN (p|s|b|x|pods|pod_state|pod_permissions|pod_bindings|volumes|volume_permissions|secrets|secret_permissions)\b`)

func checkPlan(t *testing.T, s *Store, query string, args []any) {
	t.Helper()
	explain := "explain "
	if s.engine.dialect == goose.DialectSQLite3 {
		explain = "explain query plan "
	}
	rows, err := s.reader.QueryContext(t.Context(), explain+query, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var plan []string
	for rows.Next() {
		// The last column is the text.
		line := make([]any, len(columns))
		for i := range line {
			line[i] = new(string)
		}
		if err := rows.Scan(line...); err != nil {
			t.Fatal(err)
		}
		plan = append(plan, *line[len(line)-1].(*string))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(plan, "\n")
	if len(plan) == 0 || fullScan.MatchString(text) || tenantScan.MatchString(text) {
		t.Errorf("reads a whole table, or all of a tenant:\n%s\n%s", query, text)
	}
	t.Log(text)
}
