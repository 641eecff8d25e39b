package pods

import (
	"maps"
	"slices"
	"unicode/utf8"
)

// Limits of a template.
const (
	maxMetatags = 50
	maxMetatag  = 128

	// maxTagDescription is long enough for how to use what a tag gives.
	maxTagDescription = 20_000
)

// reservedTemplateIDs stand where an id stands in a path of the API.
var reservedTemplateIDs = []string{"tags"}

// NewTemplate is the decoded body of a request that adds a template.
type NewTemplate struct {
	ID             string
	Description    string
	Metatags       []string
	ArchiveMessage string
}

// TemplatePatch is the decoded body of a request that updates a template: only
// fields that are present change.
type TemplatePatch struct {
	Description    Opt[string]
	Metatags       Opt[[]string]
	ArchiveMessage Opt[string]
}

// NewTemplateTag is the decoded body of a request that adds a tag to a template.
type NewTemplateTag struct {
	Tag            string
	CommitMessage  string
	Description    string
	ArchiveMessage string
	Definition     Definition
}

// NewTagFromPod is the decoded body of a request that saves a pod as a tag.
type NewTagFromPod struct {
	TemplateID     string
	Tag            string
	CommitMessage  string
	Description    string
	ArchiveMessage string
}

// DecodeNewTemplate decodes and validates the body of a request that adds a
// template. The error is as that of [DecodeNewPod].
func DecodeNewTemplate(body []byte) (NewTemplate, error) {
	var p problems
	o, ok := bodyObject(body, &p)
	if !ok {
		return NewTemplate{}, p.err()
	}
	n := NewTemplate{ID: takeTemplateID(o)}
	t := takeTemplateTexts(o)
	o.done()
	n.Description, n.Metatags, n.ArchiveMessage = t.Description.Or(""), t.Metatags.Or([]string{}), t.ArchiveMessage.Or("")
	return n, p.err()
}

// DecodeTemplatePatch decodes and validates the body of a request that updates a
// template. Null counts as absent. The error is as that of [DecodeNewPod].
func DecodeTemplatePatch(body []byte) (TemplatePatch, error) {
	var p problems
	o, ok := bodyObject(body, &p)
	if !ok {
		return TemplatePatch{}, p.err()
	}
	o.nulls = true
	patch := takeTemplateTexts(o)
	o.done()
	return patch, p.err()
}

// Apply returns t with the fields that the patch sets. t is not changed.
func (p TemplatePatch) Apply(t Template) Template {
	t.Description = p.Description.Or(t.Description)
	t.Metatags = slices.Clone(p.Metatags.Or(t.Metatags))
	t.ArchiveMessage = p.ArchiveMessage.Or(t.ArchiveMessage)
	return t
}

// DecodeNewTemplateTag decodes and validates the body of a request that adds a
// tag. In its pod_definition, what is null or an empty object counts as absent,
// as does the queue "default": clients send back what they were shown. What
// depends on more than the body is left to [ValidateTemplate] and [AllowImage].
// The error is as that of [DecodeNewPod].
func DecodeNewTemplateTag(body []byte, s Settings) (NewTemplateTag, error) {
	var p problems
	o, ok := bodyObject(body, &p)
	if !ok {
		return NewTemplateTag{}, p.err()
	}
	var d Opt[Definition]
	if o.given("pod_definition") {
		take(o, "pod_definition", &d, readPodDefinition)
	} else {
		p.add(o.where.in("pod_definition"), "field required")
	}
	n := NewTemplateTag{Tag: takeTag(o), CommitMessage: takeCommitMessage(o), Definition: d.Or(Definition{})}
	n.Description, n.ArchiveMessage = takeTagTexts(o)
	o.done()
	v := validator{problems: &p, settings: s, nested: at(bodyLoc, "pod_definition"), template: true}
	v.values(complete(n.Definition, s))
	return n, p.err()
}

// DecodeNewTagFromPod decodes and validates the body of a request that saves a
// pod as a tag. The error is as that of [DecodeNewPod].
func DecodeNewTagFromPod(body []byte) (NewTagFromPod, error) {
	var p problems
	o, ok := bodyObject(body, &p)
	if !ok {
		return NewTagFromPod{}, p.err()
	}
	n := NewTagFromPod{TemplateID: takeRequired(o, "template_id"), Tag: takeTag(o), CommitMessage: takeCommitMessage(o)}
	n.Description, n.ArchiveMessage = takeTagTexts(o)
	o.done()
	return n, p.err()
}

// bodyObject starts to read a body that has to be an object without nulls.
func bodyObject(body []byte, p *problems) (*object, bool) {
	fields, ok := parseBody(body, p)
	return &object{where: at(bodyLoc), fields: fields, problems: p}, ok
}

func takeTemplateTexts(o *object) TemplatePatch {
	var t TemplatePatch
	take(o, "description", &t.Description, readString)
	take(o, "metatags", &t.Metatags, readStrings)
	take(o, "archive_message", &t.ArchiveMessage, readString)
	checkDescription(o.problems, at("description"), "description", t.Description.Or(""))
	checkDescription(o.problems, at("archive_message"), "archive_message", t.ArchiveMessage.Or(""))
	checkMetatags(o.problems, t.Metatags.Or(nil))
	return t
}

func checkMetatags(p *problems, metatags []string) {
	where := at("metatags")
	if len(metatags) > maxMetatags {
		p.add(where, "metatags may hold %d entries at most. Got %d", maxMetatags, len(metatags))
		return
	}
	long := func(tag string) bool { return utf8.RuneCountInString(tag) > maxMetatag }
	if i := slices.IndexFunc(metatags, long); i >= 0 {
		p.add(where, "metatags must have at most %d characters each. Got '%s'", maxMetatag, clip(metatags[i]))
	}
}

func takeTemplateID(o *object) string {
	given := o.given("template_id")
	var s Opt[string]
	take(o, "template_id", &s, readString)
	id, ok := s.Get()
	switch {
	case !given:
		o.problems.add(o.where.in("template_id"), "field required")
	case ok:
		checkTemplateID(o.problems, id)
	}
	return id
}

func checkTemplateID(p *problems, id string) {
	where := at("template_id")
	switch n := utf8.RuneCountInString(id); {
	case slices.Contains(reservedTemplateIDs, id):
		p.add(where, "template_id overlaps with reserved template ids: %s", quoteList(reservedTemplateIDs))
	case id != "" && !idPattern.MatchString(id):
		p.add(where, "template_id must be lowercase alphanumeric. First character must be alpha.")
	case n < minID || n > maxID:
		p.add(where, "template_id length must be between %d-%d characters. Inputted length: %d", minID, maxID, n)
	}
}

func takeTag(o *object) string {
	var tag Opt[string]
	take(o, "tag", &tag, readString)
	name := tag.Or(LatestTag)
	if len(name) > maxTag || !templateTagPattern.MatchString(name) {
		o.problems.add(at("tag"), "tag must be 1 to %d letters, digits, '.' or '-'. Got '%s'", maxTag, clip(name))
	}
	return name
}

func takeCommitMessage(o *object) string {
	text := takeRequired(o, "commit_message")
	checkDescription(o.problems, at("commit_message"), "commit_message", text)
	return text
}

// takeTagTexts takes what a tag tells people beside its commit message.
func takeTagTexts(o *object) (description, archiveMessage string) {
	var text, archive Opt[string]
	take(o, "description", &text, readString)
	take(o, "archive_message", &archive, readString)
	checkText(o.problems, at("description"), "description", text.Or(""), maxTagDescription)
	checkDescription(o.problems, at("archive_message"), "archive_message", archive.Or(""))
	return text.Or(""), archive.Or("")
}

// readPodDefinition reads the definition of a template tag.
func readPodDefinition(parent *object, where loc, v any) (Definition, bool) {
	o, ok := readObject(parent, where, v)
	if !ok {
		return Definition{}, false
	}
	dropUnset(o.fields)
	var d Definition
	takeDefinition(o, &d)
	o.done()
	if d.TemplateOverrides.IsSet() {
		o.problems.add(where.in("template_overrides"), "is for pods; a template sets the fields themselves")
	}
	if len(d.Domains()) > 0 {
		o.problems.add(where.in("networking"), "custom_domain is for pods; it belongs to one of them")
	}
	checkTemplateSecrets(o.problems, d)
	return d, true
}

// dropUnset removes what a definition is shown with where nothing is set.
func dropUnset(fields map[string]any) {
	dropNulls(fields["resources"])
	if entries, ok := fields["networking"].(map[string]any); ok {
		for _, entry := range entries {
			dropNulls(entry)
		}
	}
	maps.DeleteFunc(fields, func(name string, v any) bool {
		if m, ok := v.(map[string]any); ok {
			return len(m) == 0
		}
		noName := v == "" && (name == "image" || name == "template")
		return v == nil || noName || (name == "compute_queue" && v == defaultQueue)
	})
}

// dropNulls removes the null fields of v, if it is an object.
func dropNulls(v any) {
	if m, ok := v.(map[string]any); ok {
		maps.DeleteFunc(m, func(_ string, value any) bool { return value == nil })
	}
}
