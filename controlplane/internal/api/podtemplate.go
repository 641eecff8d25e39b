package api

import (
	"context"
	"fmt"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// pin replaces the template reference of a definition by one to the version that
// it leads to now, so that later versions do not change what builds on it. The
// caller has to be allowed to read the template. It returns what the template's
// author wants its users to know.
func (s *server) pin(ctx context.Context, who pods.Principal, d *pods.Definition) (notes []string, err error) {
	name := d.Template.Or("")
	if name == "" {
		return nil, nil
	}
	ref, err := pods.ParseTemplateRef(name)
	if err != nil {
		return nil, err
	}
	t, tag, err := s.readableTag(ctx, who, ref)
	if err != nil {
		return nil, err
	}
	d.Template = pods.Set(tag.Ref().String())
	if t.ArchiveMessage != "" {
		notes = append(notes, fmt.Sprintf("Template %s: %s", t.ID, t.ArchiveMessage))
	}
	if tag.ArchiveMessage != "" {
		notes = append(notes, fmt.Sprintf("Template %s: %s", tag.Ref(), tag.ArchiveMessage))
	}
	return notes, nil
}

// readableTag returns the version that a reference leads to. To a caller who may
// not read the template, it leads nowhere.
func (s *server) readableTag(ctx context.Context, who pods.Principal, ref pods.TemplateRef) (pods.Template, pods.TemplateTag, error) {
	t, err := s.Store.Template(ctx, ref.ID)
	if err != nil && pods.ErrorCode(err) != pods.NotFound {
		return pods.Template{}, pods.TemplateTag{}, err
	}
	if err != nil || (!t.Level(who).Includes(pods.LevelRead) && !s.administers(ctx, who, t)) {
		return pods.Template{}, pods.TemplateTag{}, ref.NotFound()
	}
	tag, err := s.Store.TemplateTag(ctx, ref)
	if pods.ErrorCode(err) == pods.NotFound {
		ref.Tag = ref.TagName() // the template is there, so tell what is not
		return t, tag, ref.NotFound()
	}
	return t, tag, err
}

// settle gives a new pod's definition its final form: the template pinned, and
// older forms of the API turned into what they mean.
func (s *server) settle(ctx context.Context, who pods.Principal, d *pods.Definition, older pods.OlderForms) (notes []string, err error) {
	if older.PodTemplate != "" {
		if err := s.settlePodTemplate(ctx, who, d, older.PodTemplate); err != nil {
			return nil, err
		}
	}
	if notes, err = s.pin(ctx, who, d); err != nil {
		return nil, err
	}
	if older.PersistentVolume {
		chain, err := pods.TemplateChain(ctx, s.Store, *d)
		if err != nil {
			return nil, err
		}
		*d = pods.AddPersistentVolume(*d, pods.Definitions(chain)...)
	}
	return notes, nil
}

// settlePodTemplate takes the older field pod_template for a template, or, if
// there is none of that name, for an image.
func (s *server) settlePodTemplate(ctx context.Context, who pods.Principal, d *pods.Definition, name string) error {
	if ref, err := pods.ParseTemplateRef(name); err == nil {
		_, _, err := s.readableTag(ctx, who, ref)
		if err == nil {
			d.Template = pods.Set(name)
			return nil
		}
		if pods.ErrorCode(err) != pods.Invalid {
			return err
		}
	}
	err := pods.AllowImage(ctx, s.Store, who.Tenant.ID, name, s.Settings)
	if err == nil {
		d.Image = pods.Set(name)
		return nil
	}
	if pods.ErrorCode(err) != pods.Invalid {
		return err
	}
	return pods.Errorf(pods.Invalid, "pod_template: '%s' is neither a template that you may use nor an image in the allowlist. "+
		"Check /pods/templates and /pods/images.", shorten(name))
}

// shorten bounds what a message repeats of a request.
func shorten(s string) string {
	const limit = 128
	if r := []rune(s); len(r) > limit {
		return string(r[:limit]) + "..."
	}
	return s
}

// layering is how much of a pod's templates an answer shows.
type layering string

const (
	layerOwn  layering = ""     // nothing: what was set on the pod itself
	layerFull layering = "full" // all they give
	layerLite layering = "lite" // what lists of pods need
)

// layering reads how the client wants pods shown: derived=true with their
// templates applied, derived_lite=true without the long parts.
func (r *request) layering() (layering, error) {
	full, err := r.queryBool("derived")
	if err != nil {
		return "", err
	}
	lite, err := r.queryBool("derived_lite")
	switch {
	case err != nil:
		return "", err
	case full:
		return layerFull, nil
	case lite:
		return layerLite, nil
	default:
		return layerOwn, nil
	}
}

// note puts into the metadata of an answer how its pods are shown.
func (l layering) note(metadata map[string]any) {
	if l != layerOwn {
		metadata["derived"], metadata["derived_mode"] = true, l
	}
}

// layered returns a pod's definition as an answer shows it. The error says why
// the pod is not valid.
func (s *server) layered(ctx context.Context, tags pods.TagReader, l layering, t pods.Tenant, p pods.Pod) (pods.Effective, error) {
	if l == layerOwn {
		return s.shown(t, p)
	}
	e, err := s.effective(ctx, tags, t, p)
	if err != nil || l == layerFull {
		return e, err
	}
	own, err := s.shown(t, p)
	e.EnvironmentVariables, e.VolumeMounts = own.EnvironmentVariables, own.VolumeMounts
	e.Command, e.Arguments = own.Command, own.Arguments
	return e, err
}

// effective applies templates and defaults to a pod's definition. Invalid if
// the result is not a pod that can run.
func (s *server) effective(ctx context.Context, tags pods.TagReader, t pods.Tenant, p pods.Pod) (pods.Effective, error) {
	chain, err := pods.TemplateChain(ctx, tags, p.Definition)
	if err != nil {
		return pods.Effective{}, err
	}
	return pods.Resolve(p.ID, t.Domain(), s.Settings, p.Definition, pods.Definitions(chain)...)
}

// tagMemo remembers the tags that it read, for the time of one request: many pods
// of a list build on few templates. It is not safe for concurrent use.
type tagMemo struct {
	tags  pods.TagReader
	known map[pods.TemplateRef]pods.TemplateTag
}

func newTagMemo(tags pods.TagReader) *tagMemo {
	return &tagMemo{tags: tags, known: map[pods.TemplateRef]pods.TemplateTag{}}
}

// TemplateTag returns the version that a reference names.
func (m *tagMemo) TemplateTag(ctx context.Context, r pods.TemplateRef) (pods.TemplateTag, error) {
	if t, ok := m.known[r]; ok {
		return t, nil
	}
	t, err := m.tags.TemplateTag(ctx, r)
	if err == nil {
		m.known[r] = t
	}
	return t, err
}
