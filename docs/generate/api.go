package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os/exec"
	"path"
	"slices"
	"strings"
)

// specification is what the page needs of our OpenAPI document.
type specification struct {
	Tags       []struct{ Name, Description string }
	Paths      map[string]map[string]operation
	Components struct {
		Schemas    map[string]*schema
		Parameters map[string]parameter
	}
}

type operation struct {
	Tags                 []string
	Summary, Description string
	OperationID          string `json:"operationId"`
	Level                string `json:"x-podway-level"`
	Admin                bool   `json:"x-podway-admin"`
	Security             *[]any
	Parameters           []parameter
	RequestBody          *struct{ Content map[string]media } `json:"requestBody"`
	Responses            map[string]struct{ Content map[string]media }
}

type parameter struct {
	Ref                   string `json:"$ref"`
	Name, In, Description string
	Required              bool
	Schema                schema
}

type media struct{ Schema schema }

type schema struct {
	Ref                  string `json:"$ref"`
	Type, Description    string
	Enum                 []any
	Default              any
	Deprecated           bool
	Required             []string
	Properties           properties
	Items                *schema
	AllOf                []schema        `json:"allOf"`
	AdditionalProperties json.RawMessage `json:"additionalProperties"`
}

// properties keeps the order of the document.
type properties []property

type property struct {
	name   string
	schema schema
}

// UnmarshalJSON implements [json.Unmarshaler].
func (p *properties) UnmarshalJSON(b []byte) error {
	d := json.NewDecoder(strings.NewReader(string(b)))
	if _, err := d.Token(); err != nil { // {
		return err
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		var s schema
		if err := d.Decode(&s); err != nil {
			return err
		}
		*p = append(*p, property{fmt.Sprint(name), s})
	}
	return nil
}

// apiPage lists every operation of the API, and the objects it takes and answers.
func apiPage(ctx context.Context, s sources) ([]byte, error) {
	out, err := exec.CommandContext(ctx, s.podway, "openapi").Output()
	if err != nil {
		return nil, fmt.Errorf("asking for the specification: %w", err)
	}
	var spec specification
	if err := json.Unmarshal(out, &spec); err != nil {
		return nil, fmt.Errorf("reading the specification: %w", err)
	}
	w := &apiWriter{spec: spec, used: map[string]bool{}}
	w.page()
	return []byte(w.b.String()), nil
}

// apiWriter writes the page, and notes which objects it mentions.
type apiWriter struct {
	b    strings.Builder
	spec specification
	used map[string]bool
}

func (w *apiWriter) page() {
	w.b.WriteString("# Every operation of the API\n\nMade from the specification that `podway openapi` prints and a running service shows at `/v3/pods/docs`. " +
		"[The API in short](../api.md) says what holds for all of them. Paths are below `/v3`. " +
		"The level is the one you need on the object; a dash means any user, *open* no token.\n")
	for _, tag := range w.spec.Tags {
		fmt.Fprintf(&w.b, "\n## %s\n\n%s\n", tag.Name, tag.Description)
		for _, p := range slices.Sorted(maps.Keys(w.spec.Paths)) {
			for _, method := range []string{"get", "post", "put", "delete"} {
				if o, ok := w.spec.Paths[p][method]; ok && slices.Contains(o.Tags, tag.Name) {
					w.operation(strings.ToUpper(method)+" "+p, o)
				}
			}
		}
	}
	w.b.WriteString("\n## Objects\n")
	objects := map[string]string{}
	for len(objects) < len(w.used) { // objects mention more of them
		for name := range maps.Clone(w.used) {
			objects[name] = w.object(name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(objects)) {
		w.b.WriteString(objects[name])
	}
}

func (w *apiWriter) operation(title string, o operation) {
	fmt.Fprintf(&w.b, "\n### %s\n\n`%s` · level %s · in the SDK `%s`\n", cell(o.Summary), title, o.level(), o.OperationID)
	if o.Description != "" {
		fmt.Fprintf(&w.b, "\n%s\n", cell(o.Description))
	}
	if rows := w.parameters(o); rows != "" {
		fmt.Fprintf(&w.b, "\n| parameter | in | type | meaning |\n|---|---|---|---|\n%s", rows)
	}
	if o.RequestBody != nil {
		fmt.Fprintf(&w.b, "\nTakes %s.\n", w.content(o.RequestBody.Content))
	}
	fmt.Fprintf(&w.b, "\nAnswers %s.\n", w.content(o.Responses["200"].Content))
}

func (o operation) level() string {
	switch {
	case o.Admin:
		return "admin of the service"
	case o.Security != nil && len(*o.Security) == 0:
		return "*open*"
	default:
		return cmp.Or(o.Level, "-")
	}
}

func (w *apiWriter) parameters(o operation) string {
	var b strings.Builder
	for _, p := range o.Parameters {
		if p.Ref != "" {
			p = w.spec.Components.Parameters[path.Base(p.Ref)]
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", p.Name, p.In, w.kind(p.Schema), w.meaning(p.Schema, p.Description))
	}
	return b.String()
}

// content says what a body holds.
func (w *apiWriter) content(types map[string]media) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(types)) {
		s := types[name].Schema
		switch ref := path.Base(s.Ref); {
		case s.Ref == "":
			all = append(all, "`"+name+"`")
		case name == "application/json":
			all = append(all, w.result(ref))
		default:
			all = append(all, fmt.Sprintf("`%s`: %s", name, w.link(ref)))
		}
	}
	return cmp.Or(strings.Join(all, ", or "), "nothing")
}

// result names what is in the envelope of an answer; a body of a request has none.
func (w *apiWriter) result(name string) string {
	s := w.spec.Components.Schemas[name]
	i := slices.IndexFunc(s.Properties, func(p property) bool { return p.name == "result" })
	if i < 0 {
		return w.link(name)
	}
	return "in `result` " + w.kind(s.Properties[i].schema)
}

func (w *apiWriter) link(name string) string {
	w.used[name] = true
	return fmt.Sprintf("[%s](#%s)", name, strings.ToLower(name))
}

func (w *apiWriter) object(name string) string {
	var b strings.Builder
	s := w.spec.Components.Schemas[name]
	fmt.Fprintf(&b, "\n### %s\n\n", name)
	if s.Description != "" {
		fmt.Fprintf(&b, "%s\n\n", cell(s.Description))
	}
	if len(s.Properties) == 0 {
		fmt.Fprintf(&b, "%s\n", w.kind(*s))
		return b.String()
	}
	b.WriteString("| field | type | meaning |\n|---|---|---|\n")
	for _, p := range s.Properties {
		field := "`" + p.name + "`"
		if slices.Contains(s.Required, p.name) {
			field += " (required)"
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", field, w.kind(p.schema), w.meaning(p.schema, p.schema.Description))
	}
	return b.String()
}

// meaning is a description with the values that are allowed.
func (w *apiWriter) meaning(s schema, description string) string {
	all := []string{cell(description)}
	if len(s.Enum) > 0 {
		var values []string
		for _, v := range s.Enum {
			values = append(values, fmt.Sprintf("`%v`", v))
		}
		all = append(all, "One of "+strings.Join(values, ", ")+".")
	}
	if s.Default != nil && s.Default != "" {
		all = append(all, fmt.Sprintf("Default: `%v`.", s.Default))
	}
	if s.Deprecated {
		all = append(all, "Deprecated.")
	}
	return strings.TrimSpace(strings.Join(all, " "))
}

// kind names the type of a value.
func (w *apiWriter) kind(s schema) string {
	switch {
	case s.Ref != "":
		return w.link(path.Base(s.Ref))
	case len(s.AllOf) > 0:
		return w.kind(s.AllOf[0])
	case s.Items != nil:
		return "list of " + w.kind(*s.Items)
	case s.Type == "object":
		var values schema
		if json.Unmarshal(s.AdditionalProperties, &values) == nil && (values.Type != "" || values.Ref != "") {
			return "object of " + w.kind(values)
		}
		return "object"
	default:
		return cmp.Or(s.Type, "any")
	}
}
