package api

import (
	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// The models of what clients send and get about templates and images; see
// openapimodels.go.

type newTemplate struct {
	TemplateID     string   `json:"template_id"`
	Description    string   `json:"description,omitzero"`
	Metatags       []string `json:"metatags,omitzero"`
	ArchiveMessage string   `json:"archive_message,omitzero"`
}

type updateTemplate struct {
	Description    string   `json:"description,omitzero" null:"true"`
	Metatags       []string `json:"metatags,omitzero" null:"true"`
	ArchiveMessage string   `json:"archive_message,omitzero" null:"true"`
}

type newTemplateTag struct {
	PodDefinition  templateDefinition `json:"pod_definition"`
	CommitMessage  string             `json:"commit_message"`
	Description    string             `json:"description,omitzero"`
	ArchiveMessage string             `json:"archive_message,omitzero"`
	Tag            string             `json:"tag,omitzero"`
}

// templateDefinition is a definition without what is a pod's only.
type templateDefinition struct {
	pods.Definition

	TemplateOverrides struct{} `json:"-"`
}

type newTemplateTagFromPod struct {
	TemplateID     string `json:"template_id"`
	CommitMessage  string `json:"commit_message"`
	Description    string `json:"description,omitzero"`
	ArchiveMessage string `json:"archive_message,omitzero"`
	Tag            string `json:"tag,omitzero"`
}

type newImage struct {
	Image       string   `json:"image"`
	Tenants     []string `json:"tenants,omitzero"`
	Description string   `json:"description,omitzero"`
}

type updateImageBody struct {
	Tenants     []string `json:"tenants,omitzero" null:"true"`
	Description string   `json:"description,omitzero" null:"true"`
}

type resetFields struct {
	Fields []string `json:"fields"`
}

type uploadToJupyter struct {
	File fileContent `json:"file"`
	Path string      `json:"path"`
}

// templateTagView is pods.TemplateTagView with the fields of its definition.
type templateTagView struct {
	TemplateID     string                  `json:"template_id"`
	PodDefinition  *templateDefinitionView `json:"pod_definition,omitempty"`
	CommitMessage  string                  `json:"commit_message"`
	Description    string                  `json:"description"`
	ArchiveMessage string                  `json:"archive_message"`
	Tag            string                  `json:"tag"`
	TagTimestamp   string                  `json:"tag_timestamp"`
	AddedBy        string                  `json:"added_by"`
	CreationTS     pods.Timestamp          `json:"creation_ts"`
}

type templateDefinitionView struct{ templateDefinition }

// layerParams are the parameters of operations that show pods with what their
// templates give.
var layerParams = []param{
	boolParam("derived", false, "Show pods with their templates applied."),
	boolParam("derived_lite", false, "The same without environment, command, arguments and mounts of templates: what a list needs."),
}

// imageOrNothing is an image, or an empty text.
type imageOrNothing struct{}
