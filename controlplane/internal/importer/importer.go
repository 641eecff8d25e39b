package importer

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// Store is what an import writes to.
type Store interface {
	pods.ImportStore
	pods.Sealer
	pods.TagReader

	Pod(ctx context.Context, k pods.Key) (pods.Pod, error)
	Template(ctx context.Context, id string) (pods.Template, error)
	Volume(ctx context.Context, k pods.VolumeKey) (pods.Volume, error)
	CreateVolume(ctx context.Context, v pods.Volume) error
	Image(ctx context.Context, image string) (pods.AllowedImage, error)
	AddImages(ctx context.Context, images []pods.AllowedImage, skipDuplicates bool) ([]pods.AllowedImage, error)
}

// Options of an import. From is required.
type Options struct {
	// From is the address of the other service's database: "postgres://…".
	From string

	// Tenants whose objects are imported. Empty: all. Images and templates that the
	// site shares are imported in any case.
	Tenants []string

	// DryRun writes nothing: the report says what would be imported.
	DryRun bool

	// Off imports pods as switched off. Otherwise those that are ON are started.
	Off bool

	// Adopt makes the folder of a volume or snapshot (UID) its own, if there is one
	// among the shared files. Nil: nothing is done about files.
	Adopt func(k pods.VolumeKey, uid string) (found bool, err error)

	// Settings are the operator's, with the site.
	Settings pods.Settings

	Now func() time.Time // Default: time.Now.
}

// Import takes everything that is not there yet from the source. What it has
// imported before an error stays, and is in the report.
func Import(ctx context.Context, store Store, o Options) (Report, error) {
	src, err := openSource(ctx, o.From)
	if err != nil {
		return Report{}, err
	}
	defer src.close(context.WithoutCancel(ctx))
	if o.Now == nil {
		o.Now = time.Now
	}
	run := run{
		Options: o, src: src, store: store, report: Report{DryRun: o.DryRun, Items: []Item{}},
		tags: map[pods.TemplateRef]pods.TemplateTag{}, volumes: map[pods.VolumeKey]pods.Volume{}, images: map[string]pods.AllowedImage{},
	}
	if err := run.checkTenants(ctx); err != nil {
		return Report{}, err
	}
	for _, step := range []func(ctx context.Context, schema string) error{
		run.importImages, run.importTemplates, run.importVolumes, run.importSnapshots, run.importPods, run.listSecrets, run.listOthers,
	} {
		for _, schema := range src.schemas {
			if err := step(ctx, schema); err != nil {
				return run.report, err
			}
		}
	}
	return run.report, nil
}

// run is an import under way.
type run struct {
	Options
	src    *source
	store  Store
	report Report

	// What was imported, or would be in a dry run.
	tags    map[pods.TemplateRef]pods.TemplateTag
	volumes map[pods.VolumeKey]pods.Volume
	images  map[string]pods.AllowedImage // by canonical name
}

// checkTenants refuses names of tenants that the source does not know: a typing
// error must not look like an empty tenant.
func (r *run) checkTenants(ctx context.Context) error {
	seen := slices.Clone(r.src.schemas)
	for _, schema := range r.src.schemas {
		rows, err := read[podRow](ctx, r.src, schema, "pod")
		if err != nil {
			return err
		}
		for _, p := range rows {
			seen = append(seen, p.TenantID)
		}
	}
	for _, t := range r.Tenants {
		if !slices.Contains(seen, t) {
			return fmt.Errorf("the source has no tenant %q; its schemas are %s", t, strings.Join(r.src.schemas, ", "))
		}
	}
	return nil
}

// tenant returns the tenant of a row in a schema, and whether it is to be
// imported. Rows without a tenant are of that of the schema.
func (r *run) tenant(schema, of string) (string, bool) {
	if of == "" {
		of = schema
	}
	if of == siteSchema {
		return "", true // the site's own
	}
	return of, len(r.Tenants) == 0 || slices.Contains(r.Tenants, of)
}

// eachRow calls do for the rows of a table that belong to a tenant whose data is
// imported, until it fails.
func eachRow[R row](ctx context.Context, r *run, schema, table string, do func(tenant string, row R) error) error {
	rows, err := read[R](ctx, r.src, schema, table)
	if err != nil {
		return err
	}
	for _, row := range rows {
		of, _ := row.at()
		tenant, wanted := r.tenant(schema, of)
		if !wanted || tenant == "" {
			continue
		}
		if err := do(tenant, row); err != nil {
			return err
		}
	}
	return nil
}

// body encodes what a client would send.
func body(f fields) []byte {
	b, _ := json.Marshal(f) // it was decoded from JSON
	return b
}

// uid names an imported object: the same in every import, and like no other.
func uid(kind, tenant, id string, created time.Time) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{kind, tenant, id, created.Format(time.RFC3339Nano)}, "\x00")))
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:]))[:26]
}

// skip completes an item with the reason for which it is not imported. The error
// is one of ours if it is not about the object.
func skip(i Item, err error) (Item, error) {
	if pods.ErrorCode(err) != pods.Invalid {
		return i, err
	}
	i.Outcome, i.Reason = Skipped, reason(err)
	return i, nil
}

// reason is an error as the API would tell it.
func reason(err error) string {
	if e, ok := errors.AsType[*pods.Error](err); ok {
		return strings.Join(e.Messages, "; ")
	}
	return err.Error()
}

// taken completes the item of an object whose id is taken, by itself if the uids
// are the same.
func taken(i Item, imported bool) Item {
	if imported {
		i.Outcome = Exists
		return i
	}
	i.Outcome, i.Reason = Skipped, "another "+i.Kind+" has this id"
	return i
}

// permissions reads a list of the source. What can't be read is noted.
func permissions(list texts, i *Item) pods.Permissions {
	ps := pods.Permissions{}
	for _, entry := range list {
		one, err := pods.ParsePermissions([]string{entry})
		if err != nil {
			i.Notes = append(i.Notes, fmt.Sprintf("permissions: %q is left out.", entry))
			continue
		}
		for user, level := range one {
			if level.Includes(ps[user]) {
				ps[user] = level
			}
		}
	}
	return ps
}

// owner returns who made an object: its first ADMIN as the source lists them.
func owner(list texts) string {
	for _, want := range []pods.Level{pods.LevelAdmin, pods.LevelApprovedAdmin} {
		for _, entry := range list {
			if user, ok := strings.CutSuffix(entry, ":"+string(want)); ok && user != "*" {
				return user
			}
		}
	}
	return ""
}
