package pods

import "maps"

// TemplateView is a template as the API shows it. Make one with [NewTemplateView].
type TemplateView struct {
	TemplateID     string    `json:"template_id"`
	Description    string    `json:"description"`
	Metatags       []string  `json:"metatags"`
	ArchiveMessage string    `json:"archive_message"`
	CreationTS     Timestamp `json:"creation_ts"`
	UpdateTS       Timestamp `json:"update_ts"`
}

// NewTemplateView renders a template.
func NewTemplateView(t Template) TemplateView {
	return TemplateView{
		TemplateID:     t.ID,
		Description:    t.Description,
		Metatags:       append([]string{}, t.Metatags...),
		ArchiveMessage: t.ArchiveMessage,
		CreationTS:     At(t.CreatedAt),
		UpdateTS:       At(t.UpdatedAt),
	}
}

// TemplateTagView is a tag as the API shows it. Make one with
// [NewTemplateTagView].
type TemplateTagView struct {
	TemplateID string `json:"template_id"`

	// PodDefinition has every field of a pod that a template can set: null, or an
	// empty object, where it sets none. Nil leaves it out.
	PodDefinition map[string]any `json:"pod_definition,omitempty"`

	CommitMessage  string    `json:"commit_message"`
	Description    string    `json:"description"`
	ArchiveMessage string    `json:"archive_message"`
	Tag            string    `json:"tag"`
	TagTimestamp   string    `json:"tag_timestamp"` // "latest@2025-01-30-17:14:14"
	AddedBy        string    `json:"added_by"`
	CreationTS     Timestamp `json:"creation_ts"`
}

// NewTemplateTagView renders a tag; without full it has no pod_definition.
func NewTemplateTagView(t TemplateTag, full bool) TemplateTagView {
	v := TemplateTagView{
		TemplateID:     t.TemplateID,
		CommitMessage:  t.CommitMessage,
		Description:    t.Description,
		ArchiveMessage: t.ArchiveMessage,
		Tag:            t.Tag,
		TagTimestamp:   t.Tag + "@" + t.Ref().Timestamp,
		AddedBy:        t.AddedBy,
		CreationTS:     At(t.CreatedAt),
	}
	if full {
		v.PodDefinition = definitionTree(t.Definition)
	}
	return v
}

// definitionTree returns the fields of a definition as clients know them from a
// service that keeps all of them.
func definitionTree(d Definition) map[string]any {
	fields := map[string]any{
		"image": nil, "template": nil, "description": nil, "command": nil, "arguments": nil,
		"environment_variables": map[string]any{}, "volume_mounts": map[string]any{},
		"time_to_stop_default": nil, "time_to_stop_instance": nil, "networking": map[string]any{},
		"compute_queue": defaultQueue,
	}
	resources := map[string]any{
		"cpu_request": nil, "cpu_limit": nil, "mem_request": nil, "mem_limit": nil, "gpus": nil,
	}
	maps.Copy(resources, tree(d.Resources.Or(ResourcesDef{})))
	maps.Copy(fields, shownTree(d))
	fields["resources"] = resources
	return fields
}

// shownTree returns the fields that a definition sets, as they may be shown.
func shownTree(d Definition) map[string]any {
	d.VolumeMounts = unclaimed(d.VolumeMounts)
	if o, ok := d.TemplateOverrides.Get(); ok {
		d.TemplateOverrides = Set(o.shown())
	}
	if m, ok := d.SecretMap.Get(); ok {
		shown := map[string]string{}
		maps.Copy(shown, ShownSecretMap(m))
		d.SecretMap = Set(shown)
	}
	return tree(d)
}
