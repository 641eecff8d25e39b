package importer

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// importPods imports pods, each with its password, action log and output.
func (r *run) importPods(ctx context.Context, schema string) error {
	passwords, err := read[passwordRow](ctx, r.src, schema, "password")
	if err != nil {
		return err
	}
	of := map[string]passwordRow{}
	for _, p := range passwords {
		of[p.PodID] = p
	}
	return eachRow(ctx, r, schema, "pod", func(tenant string, row podRow) error {
		return r.importPod(ctx, tenant, row, of[row.PodID])
	})
}

func (r *run) importPod(ctx context.Context, tenant string, row podRow, password passwordRow) error {
	item := Item{Kind: "pod", Tenant: tenant, ID: row.PodID, Outcome: Imported}
	p, err := r.pod(tenant, row, &item)
	if err != nil {
		item, err = skip(item, err)
		r.report.add(item)
		return err
	}
	stored, err := r.store.Pod(ctx, p.Key)
	switch {
	case err == nil:
		r.report.add(taken(item, stored.UID == p.UID))
		return nil
	case pods.ErrorCode(err) != pods.NotFound:
		return err
	}
	imported := pods.ImportedPod{Pod: p, Credentials: credentials(p.ID, password, &item), Events: r.events(row, p), Logs: []byte(row.Logs)}
	if err := r.foresee(ctx, p, &item); err != nil {
		return err
	}
	if !r.DryRun {
		if err := r.store.ImportPod(ctx, imported); err != nil {
			return err
		}
	}
	r.report.add(item)
	return nil
}

// pod makes the pod. The error has code Invalid if the API would refuse it.
func (r *run) pod(tenant string, row podRow, item *Item) (pods.Pod, error) {
	d := podDefinition(row, r.Settings)
	d.body["pod_id"] = row.PodID
	n, err := pods.DecodeNewPod(body(d.body), r.Settings)
	if err != nil {
		return pods.Pod{}, err
	}
	item.Notes = append(item.Notes, d.notes...)
	now := r.Now().UTC()
	p := pods.Pod{
		Key: pods.Key{Tenant: tenant, ID: n.ID}, UID: uid(item.Kind, tenant, row.PodID, row.CreationTS.Time), Site: r.Settings.Site,
		Owner: creator(row), Permissions: permissions(row.Permissions, item),
		Requested: pods.Off, State: pods.State{Status: pods.StatusStopped, Since: now},
	}
	p.CreatedAt, p.UpdatedAt = row.times(now)
	if !slices.ContainsFunc(slices.Collect(maps.Values(p.Permissions)), func(l pods.Level) bool { return l.Includes(pods.LevelAdmin) }) {
		item.Notes = append(item.Notes, "nobody is its ADMIN.")
	}
	if wants := strings.ToUpper(row.StatusRequested); !r.Off && (wants == string(pods.On) || wants == string(pods.Restart)) {
		p.Requested, p.State.Status = pods.On, pods.StatusRequested
	}
	// What it refers to stays as it is; what may be secret is sealed.
	p.Definition, err = pods.SealSecrets(r.store, p.Key, p.Owner, n.Definition, n.Definition)
	return p, err
}

// createdBy is the first line of an action log.
var createdBy = regexp.MustCompile(`Pod object created by '([^']+)'`)

// creator returns who made a pod.
func creator(row podRow) string {
	for _, line := range row.ActionLogs {
		if m := createdBy.FindStringSubmatch(line); m != nil {
			return m[1]
		}
	}
	return owner(row.Permissions)
}

// credentials are those of the source, or new ones if it has none.
func credentials(id pods.ID, row passwordRow, item *Item) pods.Credentials {
	if row.UserPassword == "" {
		item.Notes = append(item.Notes, "the source has no password for it, so it gets a new one.")
		return pods.NewCredentials(id)
	}
	return pods.Credentials{
		AdminUsername: row.AdminUsername, AdminPassword: row.AdminPassword, UserUsername: row.UserUsername, UserPassword: row.UserPassword,
	}
}

// lineLayout is how a line of an action log begins.
const lineLayout = "06/01/02 15:04"

// events are the lines of the action log, and one that says where they are from.
func (r *run) events(row podRow, p pods.Pod) []pods.Event {
	var events []pods.Event
	for _, line := range row.ActionLogs {
		at, text := cmp.Or(lastTime(events), p.CreatedAt), line
		if stamp, rest, ok := strings.Cut(line, ": "); ok {
			if t, err := time.Parse(lineLayout, stamp); err == nil {
				at, text = t, rest
			}
		}
		events = append(events, pods.Event{At: at, Text: text})
	}
	if len(events) == 0 {
		events = append(events, pods.Event{At: p.CreatedAt, Text: fmt.Sprintf("Pod object created by '%s'", p.Owner)})
	}
	return append(events, pods.Event{At: r.Now().UTC(), Text: "imported from the earlier Pods service"})
}

func lastTime(events []pods.Event) time.Time {
	if len(events) == 0 {
		return time.Time{}
	}
	return events[len(events)-1].At
}

// foresee notes why a pod could not start.
func (r *run) foresee(ctx context.Context, p pods.Pod, item *Item) error {
	note := func(err error) error {
		if err != nil && pods.ErrorCode(err) != pods.Invalid {
			return err
		}
		if err != nil {
			item.Notes = append(item.Notes, "can't start as it is: "+reason(err))
		}
		return nil
	}
	chain, err := pods.TemplateChain(ctx, r, p.Definition)
	if err != nil {
		return note(err)
	}
	e, err := pods.Resolve(p.ID, p.Tenant+".invalid", r.Settings, p.Definition, pods.Definitions(chain)...)
	if err != nil {
		return note(err)
	}
	for _, err := range []error{
		pods.AllowImage(ctx, r, p.Tenant, e.Image, r.Settings), pods.CheckApproval(e, p.Permissions),
		pods.CheckNames(p.Site, p.Tenant, p.Tenant+".invalid", p.ID, e.Networking),
	} {
		if err := note(err); err != nil {
			return err
		}
	}
	return r.foreseeOutside(ctx, p, e, item)
}

// secretRef finds references to secrets of users.
var secretRef = regexp.MustCompile(`\$\{secret:[^}]+\}`)

// foreseeOutside notes what a pod refers to and can't have.
func (r *run) foreseeOutside(ctx context.Context, p pods.Pod, e pods.Effective, item *Item) error {
	for _, key := range slices.Sorted(maps.Keys(e.VolumeMounts)) {
		k, ok := e.VolumeMounts[key].Volume(p.Tenant, key)
		if !ok {
			continue
		}
		may, err := r.mountable(ctx, k, p.Owner)
		if err != nil {
			return err
		}
		if !may {
			item.Notes = append(item.Notes, fmt.Sprintf("can't start as it is: '%s', who made it, may not mount the %s %s.", p.Owner, k.Kind, k.ID))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(e.SecretMap)) {
		if ref := secretRef.FindString(e.SecretMap[name]); ref != "" {
			item.Notes = append(item.Notes, fmt.Sprintf("secret_map: %s refers to %s, which has to be made again.", name, ref))
		}
	}
	return nil
}
