package store

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// selectPods returns the statement that reads pods, up to its where clause.
// Everything of a pod comes with one statement, and so from one moment.
func (e *engine) selectPods() string {
	return `
		select p.tenant, p.id, p.uid, p.site, p.owner, p.definition, p.requested, p.version,
			p.created_at, p.updated_at,
			s.status, s.container, s.ready, s.instance, s.started_at, s.stop_at, s.since,
			s.attempts, s.next_attempt, s.version,
			(select ` + e.permissions + ` from ` + e.keyed("pod_permissions") + ` where x.tenant = p.tenant and x.pod_id = p.id)
		from pods p join pod_state s on s.tenant = p.tenant and s.pod_id = p.id`
}

// scanner is a *sql.Row or *sql.Rows.
type scanner interface{ Scan(dest ...any) error }

// scanPod reads a row of selectPods.
func scanPod(row scanner) (pods.Pod, error) {
	var p pods.Pod
	var definition, permissions string
	var created, updated int64
	var st stateRow
	err := row.Scan(&p.Tenant, &p.ID, &p.UID, &p.Site, &p.Owner, &definition, &p.Requested, &p.Version,
		&created, &updated,
		&st.status, &st.container, &st.ready, &st.instance, &st.startedAt, &st.stopAt, &st.since,
		&st.attempts, &st.nextAttempt, &st.version,
		&permissions)
	if err != nil {
		return pods.Pod{}, err
	}
	p.CreatedAt, p.UpdatedAt = fromMicros(created), fromMicros(updated)
	if err := json.Unmarshal([]byte(definition), &p.Definition); err != nil {
		return pods.Pod{}, fmt.Errorf("decoding definition of %s: %w", p.Key, err)
	}
	if err := json.Unmarshal([]byte(permissions), &p.Permissions); err != nil {
		return pods.Pod{}, fmt.Errorf("decoding permissions of %s: %w", p.Key, err)
	}
	if p.State, err = st.state(); err != nil {
		return pods.Pod{}, fmt.Errorf("decoding state of %s: %w", p.Key, err)
	}
	return p, nil
}

// podsQuery returns the statement that answers q. It finds the keys of the page
// first and then each pod by its key, so that its work grows with the pods that
// are returned and not with those that exist. Ids are lower-case letters and
// digits, which every collation orders alike.
func (e *engine) podsQuery(q pods.PodQuery) (query string, args []any) {
	var a arguments
	return e.selectPods() + `
		join (` + a.keys(q) + `) k on k.tenant = p.tenant and k.id = p.id
		order by p.tenant, p.id`, a
}

// arguments are the values of a statement's placeholders. Its methods return
// parts of the statement and append the values these need.
type arguments []any

// add appends a value and returns its placeholder.
func (a *arguments) add(v any) string {
	*a = append(*a, v)
	return fmt.Sprintf("$%d", len(*a))
}

// keys selects the keys of q's page.
func (a *arguments) keys(q pods.PodQuery) string {
	if q.User == "" {
		return "select tenant, id from pods" + a.where(q, "id") + a.page(q.Limit, q.Offset)
	}
	return "select tenant, id from (" + a.visible(q) + ") v" + a.page(q.Limit, q.Offset)
}

// visible selects the keys of the pods on which q.User holds READ or more, by
// name or through an entry for everyone, as pods.Permissions.Level decides. Each
// name is one range of the index, read up to the limit.
func (a *arguments) visible(q pods.PodQuery) string {
	var ranges []string
	for _, name := range []string{entryOf(q.User), "*", "TENANT"} {
		ranges = append(ranges, `
			select tenant, id from (
				select tenant, pod_id as id from pod_permissions`+
			a.where(q, "pod_id", "username = "+a.add(name), "level in ('READ', 'USER', 'ADMIN', 'APPROVEDADMIN')")+
			a.page(upTo(q), 0)+`
			) r`)
	}
	return strings.Join(ranges, "\n\t\t\tunion")
}

// entryOf returns the name of a user's own permission entry. A user whose name
// looks like a whole tenant has none, so as not to get what the tenant was given.
func entryOf(user string) string {
	if strings.HasPrefix(user, "tenant.") {
		return "*"
	}
	return user
}

// where returns the condition for q's tenant and the start of its page, in terms
// of a column with the pod's id, and all more conditions.
func (a *arguments) where(q pods.PodQuery, id string, more ...string) string {
	all := more
	if q.Tenant != "" {
		all = append(all, "tenant = "+a.add(q.Tenant))
		if q.After != "" {
			all = append(all, id+" > "+a.add(q.After))
		}
	}
	if len(all) == 0 {
		return ""
	}
	return " where " + strings.Join(all, " and ")
}

// upTo is how many keys q's page takes from the first on; 0 for all.
func upTo(q pods.PodQuery) int {
	if q.Limit <= 0 {
		return 0
	}
	return q.Limit + q.Offset
}

// page returns the order by which pages are made, and the bounds of one. A limit
// of 0 or less means that there are none.
func (a *arguments) page(limit, offset int) string {
	const order = " order by tenant, id"
	switch {
	case limit <= 0:
		return order
	case offset <= 0:
		return order + " limit " + a.add(limit)
	default:
		return order + " limit " + a.add(limit) + " offset " + a.add(offset)
	}
}
