package pods

import "time"

// LatestTag is the tag that a reference without one means.
const LatestTag = "latest"

// stampLayout is the timestamp of a tag as references write it, in UTC.
const stampLayout = "2006-01-02-15:04:05"

// Template groups pod definitions, its tags, under one id that is unique at the
// site. Permissions are given on the template and hold for all of its tags.
type Template struct {
	ID string

	// UID names this template among all that ever had its ID.
	UID string

	Tenant         string // where it was made; "" for those built in
	Owner          string // who created it
	Description    string
	Metatags       []string // words to search for
	ArchiveMessage string   // told to users of a template that should no longer be used; "" if it should
	Permissions    Permissions
	Version        int64 // grows with each write; for optimistic locking
	CreatedAt      time.Time
	UpdatedAt      time.Time
}

// Level returns what a principal may do on the template. Entries for users, "*"
// among them, are about users of the template's own tenant; "**" and
// "tenant.<id>" let others read it.
func (t Template) Level(who Principal) Level {
	shared := t.Permissions.sharedLevel(who.Tenant.ID)
	if t.Tenant != who.Tenant.ID || t.Tenant == "" {
		return shared
	}
	if own := t.Permissions.Level(who.User); own.Includes(shared) {
		return own
	}
	return shared
}

// TemplateTag is one version of one tag of a template. It never changes.
type TemplateTag struct {
	TemplateID     string
	Tag            string
	Stamp          time.Time // which version: UTC, whole seconds, unique for template and tag
	Definition     Definition
	CommitMessage  string
	Description    string
	ArchiveMessage string // told to users of a version that should no longer be used; "" if it should
	AddedBy        string
	CreatedAt      time.Time
}

// Ref returns the reference to exactly this version.
func (t TemplateTag) Ref() TemplateRef {
	return TemplateRef{ID: t.TemplateID, Tag: t.Tag, Timestamp: t.Stamp.UTC().Format(stampLayout)}
}

// Pinned reports whether the reference names one version.
func (r TemplateRef) Pinned() bool { return r.Timestamp != "" }

// Stamp returns the version that a pinned reference names. The zero time if the
// reference is not pinned, or names a time that never was.
func (r TemplateRef) Stamp() time.Time {
	t, err := time.Parse(stampLayout, r.Timestamp)
	if err != nil {
		return time.Time{}
	}
	return t
}

// TagName returns the tag, or the one that is meant if there is none.
func (r TemplateRef) TagName() string {
	if r.Tag == "" {
		return LatestTag
	}
	return r.Tag
}

// Newest returns the reference to the newest version of the same tag.
func (r TemplateRef) Newest() TemplateRef { return TemplateRef{ID: r.ID, Tag: r.TagName()} }
