package pods

import (
	"regexp"
	"strings"
)

// TemplateRef is a parsed reference to a template: "id", "id:tag" or
// "id:tag@timestamp".
type TemplateRef struct {
	ID        string
	Tag       string // "" means the tag "latest"
	Timestamp string // "2025-01-30-17:14:14"; "" means the newest version of the tag
}

// maxTag bounds the name of a tag.
const maxTag = 80

var (
	templateTagPattern  = regexp.MustCompile(`^[a-zA-Z0-9.-]+$`)
	templateTimePattern = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}-[0-9]{2}:[0-9]{2}:[0-9]{2}$`)
)

// ParseTemplateRef reads a reference. The error has code Invalid.
func ParseTemplateRef(s string) (TemplateRef, error) {
	var p problems
	r := parseTemplateRef(&p, s)
	return r, p.err()
}

func parseTemplateRef(p *problems, s string) TemplateRef {
	where := at("template")
	name, timestamp, pinned := strings.Cut(s, "@")
	id, tag, tagged := strings.Cut(name, ":")
	if pinned && !tagged {
		p.add(where, "User specified @timestamp without :tag. "+
			"Template should be formated as 'template_name:template_tag@tag_timestamp'. Got %s", clip(s))
		return TemplateRef{}
	}
	if reason := templateProblem(id, tag, timestamp, tagged, pinned); reason != "" {
		p.add(where, "Invalid template format: '%s'. %s", clip(s), reason)
		return TemplateRef{}
	}
	return TemplateRef{ID: id, Tag: tag, Timestamp: timestamp}
}

func templateProblem(id, tag, timestamp string, tagged, pinned bool) string {
	switch {
	case !idPattern.MatchString(id) || len(id) < minID || len(id) > maxID:
		return "The template_id must be 3 to 64 lowercase letters and digits, the first one a letter."
	case tagged && (len(tag) > maxTag || !templateTagPattern.MatchString(tag)):
		return "The tag must be 1 to 80 letters, digits, '.' or '-'."
	case pinned && !templateTimePattern.MatchString(timestamp):
		return "The timestamp must look like 2025-01-30-17:14:14."
	default:
		return ""
	}
}

// String returns the reference as it is written.
func (r TemplateRef) String() string {
	s := r.ID
	if r.Tag != "" {
		s += ":" + r.Tag
	}
	if r.Timestamp != "" {
		s += "@" + r.Timestamp
	}
	return s
}

// NotFound returns the error, with code Invalid, for a reference that leads
// nowhere.
func (r TemplateRef) NotFound() *Error {
	switch {
	case r.Timestamp != "":
		return Errorf(Invalid, "template: Template tag not found: '%s'. Verify template_id, tag, and timestamp all exist.", r)
	case r.Tag != "":
		return Errorf(Invalid, "template: Template tag not found: '%s'. Verify template_id and tag both exist.", r)
	default:
		return Errorf(Invalid, "template: Template not found: '%s'. Verify template_id exists.", r)
	}
}
