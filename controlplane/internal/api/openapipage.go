package api

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"html/template"
	"slices"
	"strings"
)

//go:embed openapipage.html
var pageHTML string

//go:embed openapipage.css
var pageCSS string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{"prose": prose}).Parse(pageHTML))

// pagePolicy lets the page use its own style sheet and nothing else.
func pagePolicy() string {
	sum := sha256.Sum256([]byte(pageCSS))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}

// page is what the template shows.
type page struct {
	Title, Version, Server string
	Description            []string // paragraphs
	CSS                    template.CSS
	Groups                 []pageGroup
	Models                 []pageModel
}

type pageGroup struct {
	Name, Text string
	Operations []pageOperation
}

type pageOperation struct {
	ID, Method, Path, Summary, Details string

	Access     string // who may call it
	Parameters []pageField
	Body       []pageField
	Result     pageType
	Streams    []string
	Errors     []string
	Curl       string
}

type pageField struct {
	Name, In, Text string
	Type           pageType
	Required       bool
}

type pageModel struct {
	Name   string
	Fields []pageField
}

// pageType is a type in words: "list of", a name that may be a link, "or null".
type pageType struct {
	Before, Name, After string
	Link                bool
}

// renderPage renders the specification as HTML.
func renderPage(d document) ([]byte, error) {
	p := page{
		Title: d.Info.Title, Version: d.Info.Version, Server: d.Servers[0].URL,
		Description: strings.Split(d.Info.Description, "\n\n"), CSS: template.CSS(pageCSS), //nolint:gosec // our own file
	}
	for _, t := range d.Tags {
		if g := newPageGroup(d, t); len(g.Operations) > 0 {
			p.Groups = append(p.Groups, g)
		}
	}
	for name, s := range d.Components.Schemas.all() {
		if _, envelope := s.Properties.get("metadata"); !envelope {
			p.Models = append(p.Models, pageModel{Name: name, Fields: pageFields(s)})
		}
	}
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, p); err != nil {
		return nil, fmt.Errorf("rendering the specification: %w", err)
	}
	return b.Bytes(), nil
}

func newPageGroup(d document, t specTag) pageGroup {
	g := pageGroup{Name: t.Name, Text: t.Description}
	for path, methods := range d.Paths.all() {
		for method, op := range methods.all() {
			if op.Tags[0] == t.Name {
				g.Operations = append(g.Operations, newPageOperation(d, path, strings.ToUpper(method), op))
			}
		}
	}
	return g
}

func newPageOperation(d document, path, method string, op *specOperation) pageOperation {
	p := pageOperation{
		ID: op.OperationID, Method: method, Path: path, Summary: op.Summary, Details: op.Description,
		Access: access(op), Curl: curl(d.Servers[0].URL, path, method, op),
	}
	for _, param := range op.Parameters {
		if param.Ref != "" {
			param, _ = d.Components.Parameters.get(nameOfRef(param.Ref))
		}
		p.Parameters = append(p.Parameters, pageField{
			Name: param.Name, In: param.In, Text: param.Description, Type: typeOf(param.Schema), Required: param.Required,
		})
	}
	if op.RequestBody != nil {
		for _, media := range op.RequestBody.Content.all() {
			p.Body = pageFields(d.resolve(media.Schema))
		}
	}
	done, _ := op.Responses.get("200")
	for media, content := range done.Content.all() {
		if envelope := d.resolve(content.Schema); media == jsonType && envelope.Properties.names != nil {
			inner, _ := envelope.Properties.get("result")
			p.Result = typeOf(inner)
			continue
		}
		p.Streams = append(p.Streams, media)
	}
	for status := range op.Responses.all() {
		if status != "200" {
			p.Errors = append(p.Errors, status)
		}
	}
	return p
}

// resolve follows a reference to a model.
func (d document) resolve(s *schema) *schema {
	if s.Ref == "" {
		return s
	}
	target, _ := d.Components.Schemas.get(nameOfRef(s.Ref))
	return target
}

func nameOfRef(ref string) string { return ref[strings.LastIndexByte(ref, '/')+1:] }

// access says who may call an operation.
func access(op *specOperation) string {
	switch {
	case op.Security != nil:
		return "open to everyone, without a token"
	case op.Admin:
		return "needs the role PODS_ADMIN"
	case op.Level != "":
		return "needs " + string(op.Level)
	default:
		return "needs a token"
	}
}

// pageFields lists the properties of a model.
func pageFields(s *schema) []pageField {
	if s.Type == "array" {
		return []pageField{{Name: "[ ]", Type: typeOf(s), Required: true}}
	}
	var fields []pageField
	for name, p := range s.Properties.all() {
		fields = append(fields, pageField{
			Name: name, Type: typeOf(p), Text: textOf(p), Required: slices.Contains(s.Required, name),
		})
	}
	return fields
}

// textOf is what there is to say about a property.
func textOf(p *schema) string {
	text := p.Description
	if p.Default != nil && p.Default != "" {
		if b, err := json.Marshal(p.Default); err == nil {
			text += " Default: `" + string(b) + "`."
		}
	}
	if len(p.Enum) > 0 {
		text += " One of `" + strings.Join(p.Enum, "`, `") + "`."
	}
	if p.Deprecated {
		text += " *Deprecated.*"
	}
	return strings.TrimSpace(text)
}

// typeOf names a type in words.
func typeOf(s *schema) pageType {
	t := baseType(s)
	if s.Nullable {
		t.After += " or null"
	}
	return t
}

func baseType(s *schema) pageType {
	switch {
	case s.Ref != "":
		return pageType{Name: nameOfRef(s.Ref), Link: true}
	case len(s.AllOf) == 1:
		return typeOf(s.AllOf[0])
	case len(s.AnyOf) > 0:
		var names []string
		for _, one := range s.AnyOf {
			t := typeOf(one)
			names = append(names, t.Before+t.Name+t.After)
		}
		return pageType{Name: strings.Join(names, " or ")}
	case s.Type == "array":
		t := typeOf(s.Items)
		t.Before = "list of " + t.Before
		return t
	case s.Type == "object" && s.AdditionalProperties != nil && s.AdditionalProperties.schema != nil:
		t := typeOf(s.AdditionalProperties.schema)
		t.Before = "object of " + t.Before
		return t
	case s.Format != "":
		return pageType{Name: s.Format}
	default:
		return pageType{Name: cmp.Or(s.Type, "anything")}
	}
}

// curl is a call of the operation in a shell.
func curl(server, path, method string, op *specOperation) string {
	var b strings.Builder
	b.WriteString("curl -s")
	if method != "GET" && (method != "POST" || op.RequestBody == nil) {
		b.WriteString(" -X " + method)
	}
	fmt.Fprintf(&b, " \"$TAPIS%s%s\"", server, path)
	if op.Security == nil {
		fmt.Fprintf(&b, " -H \"%s: $TOKEN\"", tokenHeader)
	}
	if op.RequestBody == nil {
		return b.String()
	}
	for media, content := range op.RequestBody.Content.all() {
		if media == jsonType {
			fmt.Fprintf(&b, " \\\n  -H 'Content-Type: %s' -d '%s'", jsonType, content.Example)
		} else {
			b.WriteString(" \\\n  -F file=@FILE")
		}
	}
	return b.String()
}

// prose renders a text in which backquotes stand around code and stars around
// what is stressed.
func prose(text string) template.HTML {
	var b strings.Builder
	for i, part := range strings.Split(text, "`") {
		if i%2 == 1 {
			b.WriteString("<code>" + html.EscapeString(part) + "</code>")
			continue
		}
		for j, plain := range strings.Split(html.EscapeString(part), "*") {
			b.WriteString([2]string{"", "<em>"}[j%2] + plain + [2]string{"", "</em>"}[j%2])
		}
	}
	return template.HTML(b.String()) //nolint:gosec // escaped above
}
