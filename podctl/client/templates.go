package client

import (
	"context"
	"net/http"
)

// Template groups definitions of pods.
type Template struct {
	TemplateID  string   `json:"template_id"`
	Description string   `json:"description"`
	Metatags    []string `json:"metatags"`
}

// TemplateTag is a version of a tag of a template.
type TemplateTag struct {
	TemplateID    string `json:"template_id"`
	Tag           string `json:"tag"`
	TagTimestamp  string `json:"tag_timestamp"` // "latest@2025-01-30-17:14:14"
	CommitMessage string `json:"commit_message"`
	AddedBy       string `json:"added_by"`
}

// Image is an image that pods may run.
type Image struct {
	Image       string   `json:"image"`
	Tenants     []string `json:"tenants"`
	Description string   `json:"description"`
}

// Templates lists the templates you may read.
func (c *Client) Templates(ctx context.Context) ([]Template, error) {
	return call[[]Template](ctx, c, http.MethodGet, "/pods/templates", nil)
}

// TagsPath is the path of a template's tags.
func TagsPath(template string) string { return "/pods/templates/" + segment(template) + "/tags" }

// TemplateTags lists all versions of a template's tags, newest first.
func (c *Client) TemplateTags(ctx context.Context, template string) ([]TemplateTag, error) {
	return call[[]TemplateTag](ctx, c, http.MethodGet, TagsPath(template)+"?full=false", nil)
}

// Images lists the images that pods may run.
func (c *Client) Images(ctx context.Context) ([]Image, error) {
	return call[[]Image](ctx, c, http.MethodGet, "/pods/images", nil)
}
