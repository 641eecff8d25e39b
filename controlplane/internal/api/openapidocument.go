package api

import (
	"encoding/json"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// document is the specification, OpenAPI 3.0.
type document struct {
	OpenAPI    string                      `json:"openapi"`
	Info       specInfo                    `json:"info"`
	Servers    []specServer                `json:"servers"`
	Tags       []specTag                   `json:"tags"`
	Paths      dict[*dict[*specOperation]] `json:"paths"`
	Components components                  `json:"components"`
	Security   []map[string][]string       `json:"security"`
}

type specInfo struct {
	Title       string            `json:"title"`
	Description string            `json:"description"`
	License     map[string]string `json:"license"`
	Version     string            `json:"version"`
}

type specServer struct {
	URL         string `json:"url"`
	Description string `json:"description"`
}

type specTag struct {
	Name        string `json:"name"`
	Description string `json:"description"`
}

type components struct {
	Schemas         dict[*schema]           `json:"schemas"`
	Parameters      dict[*specParameter]    `json:"parameters"`
	Responses       dict[*specResponse]     `json:"responses"`
	SecuritySchemes dict[map[string]string] `json:"securitySchemes"`
}

type specOperation struct {
	Tags        []string               `json:"tags"`
	Summary     string                 `json:"summary"`
	Description string                 `json:"description,omitempty"`
	OperationID string                 `json:"operationId"`
	Parameters  []*specParameter       `json:"parameters,omitempty"`
	RequestBody *specBody              `json:"requestBody,omitempty"`
	Responses   dict[*specResponse]    `json:"responses"`
	Security    *[]map[string][]string `json:"security,omitempty"` // empty: no token; nil: as the document says
	Level       pods.Level             `json:"x-podway-level,omitempty"`
	Admin       bool                   `json:"x-podway-admin,omitempty"` // needs the role PODS_ADMIN
}

type specParameter struct {
	Ref         string  `json:"$ref,omitempty"`
	Name        string  `json:"name,omitempty"`
	In          string  `json:"in,omitempty"`
	Description string  `json:"description,omitempty"`
	Required    bool    `json:"required,omitempty"`
	Schema      *schema `json:"schema,omitempty"`
}

type specBody struct {
	Required bool            `json:"required"`
	Content  dict[specMedia] `json:"content"`
}

type specResponse struct {
	Ref         string            `json:"$ref,omitempty"`
	Description string            `json:"description,omitempty"`
	Headers     dict[*specHeader] `json:"headers,omitzero"`
	Content     dict[specMedia]   `json:"content,omitzero"`
}

type specHeader struct {
	Description string  `json:"description"`
	Schema      *schema `json:"schema"`
}

type specMedia struct {
	Schema  *schema         `json:"schema,omitempty"`
	Example json.RawMessage `json:"example,omitempty"`
}
