package api

import (
	"context"
	"strings"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// listTemplatesAndTags answers with an object that has an entry for each
// template the caller may read: the template, and all versions of its tags, the
// newest first.
func (s *server) listTemplatesAndTags(r *request) (answer, error) {
	full, err := r.queryBoolOr("full", true)
	if err != nil {
		return answer{}, err
	}
	list, metadata, err := s.visibleTemplates(r)
	if err != nil {
		return answer{}, err
	}
	ids := make([]string, 0, len(list))
	result := make(map[string]templateAndTags, len(list))
	for _, t := range list {
		ids = append(ids, t.ID)
		result[t.ID] = templateAndTags{TemplateView: pods.NewTemplateView(t), Tags: []pods.TemplateTagView{}}
	}
	tags, err := s.Store.TemplateTags(r.Context(), ids...)
	if err != nil {
		return answer{}, err
	}
	for _, tag := range tags {
		entry := result[tag.TemplateID]
		entry.Tags = append(entry.Tags, pods.NewTemplateTagView(tag, full))
		result[tag.TemplateID] = entry
	}
	return answer{message: "Templates and tags retrieved successfully.", result: result, metadata: metadata}, nil
}

// templateAndTags is an entry of [server.listTemplatesAndTags].
type templateAndTags struct {
	pods.TemplateView

	Tags []pods.TemplateTagView `json:"tags"`
}

// listTemplateTags answers with all versions of a template's tags, the newest
// first.
func (s *server) listTemplateTags(r *request) (answer, error) {
	full, err := r.queryBoolOr("full", true)
	if err != nil {
		return answer{}, err
	}
	tags, err := s.Store.TemplateTags(r.Context(), r.template.ID)
	if err != nil {
		return answer{}, err
	}
	return answer{message: "Template tags retrieved successfully.", result: tagViews(tags, full)}, nil
}

// getTemplateTag answers with a list: every version of a tag, or the one version
// that the path names with its timestamp.
func (s *server) getTemplateTag(r *request) (answer, error) {
	tags, err := s.namedTags(r)
	if err != nil {
		return answer{}, err
	}
	return answer{message: "Template tags retrieved and filtered successfully.", result: tagViews(tags, true)}, nil
}

func tagViews(tags []pods.TemplateTag, full bool) []pods.TemplateTagView {
	views := make([]pods.TemplateTagView, 0, len(tags))
	for _, t := range tags {
		views = append(views, pods.NewTemplateTagView(t, full))
	}
	return views
}

// namedTags returns the versions that the path names: "latest" names all of that
// tag, "latest@2025-01-30-17:14:14" one.
func (s *server) namedTags(r *request) ([]pods.TemplateTag, error) {
	all, err := s.Store.TemplateTags(r.Context(), r.template.ID)
	if err != nil {
		return nil, err
	}
	name, timestamp, one := strings.Cut(r.param("tag_id"), "@")
	var named []pods.TemplateTag
	for _, t := range all {
		if t.Tag == name && (!one || t.Ref().Timestamp == timestamp) {
			named = append(named, t)
		}
	}
	return named, nil
}

// addTemplateTag adds a version of a tag to a template.
func (s *server) addTemplateTag(r *request) (answer, error) {
	body, err := pods.DecodeNewTemplateTag(r.body, s.Settings)
	if err != nil {
		return answer{}, invalid(err)
	}
	return s.addTag(r, r.template, pods.TemplateTag{
		Tag: body.Tag, CommitMessage: body.CommitMessage, Description: body.Description, ArchiveMessage: body.ArchiveMessage,
		Definition: body.Definition,
	})
}

// savePodAsTemplateTag adds a version of a tag that is what was set on a pod. A
// template that the pod builds on remains its base; placeholders stay as they
// are, and secrets become values that the next pod has to give.
func (s *server) savePodAsTemplateTag(r *request) (answer, error) {
	body, err := pods.DecodeNewTagFromPod(r.body)
	if err != nil {
		return answer{}, invalid(err)
	}
	t, err := s.templateForTag(r, body.TemplateID)
	if err != nil {
		return answer{}, err
	}
	return s.addTag(r, t, pods.TemplateTag{
		Tag: body.Tag, CommitMessage: body.CommitMessage, Description: body.Description, ArchiveMessage: body.ArchiveMessage,
		Definition: pods.TemplateSecrets(r.pod.Definition.WithoutDomains()),
	})
}

// templateForTag returns the template that a pod shall be saved to.
func (s *server) templateForTag(r *request, id string) (pods.Template, error) {
	t, err := s.Store.Template(r.Context(), id)
	if err != nil && pods.ErrorCode(err) != pods.NotFound {
		return pods.Template{}, err
	}
	missing := pods.Errorf(pods.Invalid, "Template with id '%s' not found. Please ensure template exists.", id)
	if err != nil {
		return pods.Template{}, missing
	}
	needed := *r.op
	needed.level = pods.LevelUser
	admin := func() bool { return s.administers(r.Context(), r.who, t) }
	return t, permit(&needed, t.Level(r.who), admin, missing)
}

// addTag checks a new version of a tag, pins what it builds on and stores it.
func (s *server) addTag(r *request, t pods.Template, tag pods.TemplateTag) (answer, error) {
	notes, err := s.pin(r.Context(), r.who, &tag.Definition)
	if err != nil {
		return answer{}, invalid(err)
	}
	if err := s.checkTag(r.Context(), r.who, tag.Definition); err != nil {
		return answer{}, invalid(err)
	}
	tag.TemplateID, tag.AddedBy, tag.CreatedAt = t.ID, r.who.User, s.Now().UTC()
	stored, err := s.Store.AddTemplateTag(r.Context(), t.UID, tag)
	if pods.ErrorCode(err) == pods.NotFound {
		return answer{}, templateNotFound(t.ID)
	}
	if err != nil {
		return answer{}, err
	}
	a := answer{message: "Template tag added successfully.", result: pods.NewTemplateTagView(stored, true)}
	a.warn(notes...)
	return a, nil
}

// checkTag reports whether a pod could build on a definition.
func (s *server) checkTag(ctx context.Context, who pods.Principal, d pods.Definition) error {
	chain, err := pods.BaseChain(ctx, s.Store, d)
	if err != nil {
		return err
	}
	image, err := pods.ValidateTemplate(s.Settings, d, pods.Definitions(chain)...)
	if err != nil || image == "" {
		return err
	}
	return pods.AllowImage(ctx, s.Store, who.Tenant.ID, image, s.Settings)
}

// deleteTemplateTag removes the versions that the path names. While something
// builds on them it does so only if it is forced.
func (s *server) deleteTemplateTag(r *request) (answer, error) {
	force, err := r.queryBool("force")
	if err != nil {
		return answer{}, err
	}
	tags, err := s.namedTags(r)
	if err != nil {
		return answer{}, err
	}
	if len(tags) == 0 {
		return answer{}, pods.Errorf(pods.NotFound, "Template tag with identifier '%s:%s' not found", r.template.ID, r.param("tag_id"))
	}
	refs := make([]pods.TemplateRef, 0, len(tags))
	for _, t := range tags {
		refs = append(refs, t.Ref())
	}
	uses, err := s.Store.DeleteTemplateTags(r.Context(), r.template.UID, refs, force)
	switch pods.ErrorCode(err) {
	case "":
	case pods.NotFound:
		return answer{}, templateNotFound(r.template.ID)
	case pods.Conflict:
		return answer{}, pods.Errorf(pods.Conflict,
			"Template tag is in use: %s Add ?force=true to delete it all the same; they can't be started again then.", usesText(uses))
	default:
		return answer{}, err
	}
	a := answer{message: "Template tag successfully deleted.", result: ""}
	a.warn(brokenUses(uses)...)
	return a, nil
}
