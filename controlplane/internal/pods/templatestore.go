package pods

import "context"

// TemplateStore keeps templates and their tags. All methods are safe for
// concurrent use. Errors are as those of [Store].
type TemplateStore interface {
	// CreateTemplate writes a template, which gets Version 1. Exists if the id is
	// taken at the site, with nothing written.
	CreateTemplate(ctx context.Context, t Template) error

	// Template returns one template. NotFound if there is none.
	Template(ctx context.Context, id string) (Template, error)

	// Templates returns the templates a query selects, ordered by id.
	Templates(ctx context.Context, q TemplateQuery) ([]Template, error)

	// UpdateTemplate writes Description, Metatags, ArchiveMessage, Permissions
	// and UpdatedAt of a template that was read at t.Version. Conflict if it was
	// written meanwhile, NotFound if it is gone or another template (UID) has its
	// id. Returns the template as stored.
	UpdateTemplate(ctx context.Context, t Template) (Template, error)

	// DeleteTemplate removes a template with all its tags, and returns what
	// builds on them and can't start any more. NotFound if it is gone or has
	// another UID.
	DeleteTemplate(ctx context.Context, id, uid string) (TemplateUses, error)

	// AddTemplateTag writes a new version of a tag and returns it as stored. Its
	// Stamp is the second of CreatedAt, or the first one after the newest version
	// of the tag if that is later: versions have an order even if they come fast.
	// NotFound if the template is gone or has another UID.
	AddTemplateTag(ctx context.Context, uid string, t TemplateTag) (TemplateTag, error)

	// TemplateTag returns the version that a reference names, the newest one if
	// it is not pinned. NotFound if there is none.
	TemplateTag(ctx context.Context, r TemplateRef) (TemplateTag, error)

	// TemplateTags returns all versions of all tags of some templates, ordered by
	// template, the newest first. Templates that do not exist have none.
	TemplateTags(ctx context.Context, ids ...string) ([]TemplateTag, error)

	// DeleteTemplateTags removes versions of tags of one template, in one
	// transaction, and returns what builds on them. Conflict, with nothing
	// removed, if something does and force is not set; NotFound if the template
	// is gone or has another UID. References that are not pinned, or lead
	// nowhere, are passed over.
	DeleteTemplateTags(ctx context.Context, uid string, refs []TemplateRef, force bool) (TemplateUses, error)
}

// TemplateQuery selects templates. The zero value selects every one of the site.
type TemplateQuery struct {
	// Tenant of the one who asks. "" selects every template.
	Tenant string
	// User of that tenant: selects the templates that this user may read. "" with
	// a Tenant selects all of the tenant, and those that are shared with it.
	User string
}

// TemplateUses counts what builds on template tags.
type TemplateUses struct {
	Pods int
	Tags int // of other templates, or other tags than those that were asked for
}

// None reports whether nothing does.
func (u TemplateUses) None() bool { return u == TemplateUses{} }
