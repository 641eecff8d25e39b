package importer

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// importImages imports the list of images that pods may run.
func (r *run) importImages(ctx context.Context, schema string) error {
	rows, err := read[imageRow](ctx, r.src, schema, "image")
	if err != nil {
		return err
	}
	for _, row := range rows {
		if err := r.importImage(ctx, row); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) importImage(ctx context.Context, row imageRow) error {
	item := Item{Kind: "image", ID: row.Image, Outcome: Imported}
	tenants := row.Tenants
	if tenants == nil {
		tenants = texts{}
	}
	n, err := pods.DecodeNewImage(body(fields{"image": row.Image, "tenants": tenants, "description": row.Description}))
	if err != nil {
		item, err = skip(item, err)
		r.report.add(item)
		return err
	}
	created, _ := row.times(r.Now().UTC())
	image := pods.AllowedImage{Image: n.Image, Tenants: n.Tenants, Description: n.Description, AddedBy: row.AddedBy, CreatedAt: created}
	name, err := pods.CanonicalImage(image.Image)
	if err != nil {
		return err
	}
	_, err = r.store.Image(ctx, image.Image)
	switch _, planned := r.images[name]; {
	case err == nil || planned:
		item.Outcome = Exists
	case pods.ErrorCode(err) != pods.NotFound:
		return err
	case !r.DryRun:
		if _, err := r.store.AddImages(ctx, []pods.AllowedImage{image}, true); err != nil {
			return err
		}
	}
	if item.Outcome == Imported {
		r.images[name] = image
	}
	r.report.add(item)
	return nil
}

// importTemplates imports templates, each with the versions of its tags.
func (r *run) importTemplates(ctx context.Context, schema string) error {
	templates, err := read[templateRow](ctx, r.src, schema, "template")
	if err != nil {
		return err
	}
	tags, err := read[tagRow](ctx, r.src, schema, "templatetag")
	if err != nil {
		return err
	}
	of := map[string][]tagRow{}
	for _, t := range tags {
		of[t.TemplateID] = append(of[t.TemplateID], t)
	}
	for _, row := range templates {
		// Those of the site's schema are shared, whoever made them.
		if tenant, wanted := r.tenant(schema, row.TenantID); wanted || schema == siteSchema {
			if err := r.importTemplate(ctx, tenant, row, of[row.TemplateID]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *run) importTemplate(ctx context.Context, tenant string, row templateRow, versions []tagRow) error {
	item := Item{Kind: "template", Tenant: tenant, ID: row.TemplateID, Outcome: Imported}
	given := fields{"template_id": row.TemplateID, "description": row.Description, "archive_message": row.ArchiveMessage}
	if row.Metatags != nil {
		given["metatags"] = row.Metatags
	}
	n, err := pods.DecodeNewTemplate(body(given))
	if err != nil {
		item, err = skip(item, err)
		r.report.add(item)
		return err
	}
	t := pods.Template{
		ID: n.ID, Tenant: tenant, Owner: owner(row.Permissions), Description: n.Description, Metatags: n.Metatags,
		ArchiveMessage: n.ArchiveMessage, Permissions: permissions(row.Permissions, &item),
	}
	t.CreatedAt, t.UpdatedAt = row.times(r.Now().UTC())
	t.UID = uid(item.Kind, tenant, t.ID, row.CreationTS.Time)

	stored, err := r.store.Template(ctx, t.ID)
	switch {
	case err == nil && stored.UID != t.UID || r.planned(t.ID):
		r.report.add(taken(item, false))
		return nil
	case err == nil:
		item = taken(item, true)
	case pods.ErrorCode(err) != pods.NotFound:
		return err
	}
	tags, items, err := r.versions(ctx, tenant, versions)
	if err != nil {
		return err
	}
	if !r.DryRun {
		if _, err := r.store.ImportTemplate(ctx, t, tags); err != nil {
			return err
		}
	}
	for _, tag := range tags {
		r.tags[tag.Ref()] = tag
	}
	r.report.add(item)
	r.report.Items = append(r.report.Items, items...)
	return nil
}

// planned reports whether this import has brought a template of the id, of another
// tenant.
func (r *run) planned(id string) bool {
	return slices.ContainsFunc(r.report.Items, func(i Item) bool {
		return i.Kind == "template" && i.ID == id && i.Outcome != Skipped
	})
}

// versions makes the versions of a template's tags.
func (r *run) versions(ctx context.Context, tenant string, rows []tagRow) (tags []pods.TemplateTag, items []Item, err error) {
	for _, row := range rows {
		_, id := row.at()
		item := Item{Kind: "template tag", Tenant: tenant, ID: id, Outcome: Imported}
		tag, err := r.version(row, &item)
		if err != nil {
			if item, err = skip(item, err); err != nil {
				return nil, nil, err
			}
			items = append(items, item)
			continue
		}
		if _, err := r.store.TemplateTag(ctx, tag.Ref()); err == nil {
			item = taken(item, true)
		} else if pods.ErrorCode(err) != pods.NotFound {
			return nil, nil, err
		}
		tags, items = append(tags, tag), append(items, item)
	}
	return tags, items, nil
}

func (r *run) version(row tagRow, item *Item) (pods.TemplateTag, error) {
	if row.Kind != "" && row.Kind != "pod" {
		return pods.TemplateTag{}, pods.Errorf(pods.Invalid, "it is of the kind %s, and there are none of that kind here", row.Kind)
	}
	ref, err := pods.ParseTemplateRef(item.ID)
	if err != nil {
		return pods.TemplateTag{}, err
	}
	if ref.Stamp().IsZero() {
		return pods.TemplateTag{}, pods.Errorf(pods.Invalid, "its timestamp is no time")
	}
	d := tagDefinition(row.PodDefinition)
	message := row.CommitMessage
	if message == "" {
		message = "imported"
	}
	n, err := pods.DecodeNewTemplateTag(body(fields{
		"pod_definition": d.body, "commit_message": message, "tag": ref.Tag,
		"description": row.Description, "archive_message": row.ArchiveMessage,
	}), r.Settings)
	if err != nil {
		return pods.TemplateTag{}, err
	}
	item.Notes = append(item.Notes, d.notes...)
	created, _ := row.times(ref.Stamp())
	return pods.TemplateTag{
		TemplateID: row.TemplateID, Tag: ref.Tag, Stamp: ref.Stamp(), Definition: n.Definition, CommitMessage: n.CommitMessage,
		Description: n.Description, ArchiveMessage: n.ArchiveMessage, AddedBy: row.AddedBy, CreatedAt: created.Truncate(time.Microsecond),
	}, nil
}

// TemplateTag finds a version among what is imported and what is there.
func (r *run) TemplateTag(ctx context.Context, ref pods.TemplateRef) (pods.TemplateTag, error) {
	if tag, ok := r.tags[ref]; ok {
		return tag, nil
	}
	return r.store.TemplateTag(ctx, ref)
}

// Image finds an image among what is imported and what is there.
func (r *run) Image(ctx context.Context, image string) (pods.AllowedImage, error) {
	if name, err := pods.CanonicalImage(image); err == nil {
		if a, ok := r.images[name]; ok {
			return a, nil
		}
	}
	return r.store.Image(ctx, image)
}

// listSecrets names the secrets: their values are elsewhere.
func (r *run) listSecrets(ctx context.Context, schema string) error {
	rows, err := read[secretRow](ctx, r.src, schema, "secret")
	for _, row := range rows {
		if tenant, wanted := r.tenant(schema, row.TenantID); wanted {
			r.report.add(Item{
				Kind: "secret", Tenant: tenant, ID: row.SecretID, Outcome: Skipped,
				Reason: fmt.Sprintf("its value is in the Security Kernel; '%s' has to make it again", row.AddedBy),
			})
		}
	}
	return err
}

// readTables are those that are read, or of no use elsewhere.
var readTables = []string{
	"pod", "password", "volume", "snapshot", "template", "templatetag", "image", "secret", "alembic_version", "template_dependencies",
}

// listOthers names the tables that hold something which is not imported.
func (r *run) listOthers(ctx context.Context, schema string) error {
	for _, table := range r.src.tables[schema] {
		if _, wanted := r.tenant(schema, ""); !wanted || slices.Contains(readTables, table) {
			continue
		}
		n, err := r.src.count(ctx, schema, table)
		if err != nil {
			return err
		}
		if n > 0 {
			r.report.add(Item{Kind: "table", Tenant: schema, ID: table, Outcome: Skipped, Reason: fmt.Sprintf("its %d rows have no place here", n)})
		}
	}
	return nil
}
