package api

import (
	"bytes"
	"encoding/json"
	"iter"
	"reflect"
	"slices"
	"strings"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// schema is a type of JSON, as OpenAPI 3.0 describes it.
type schema struct {
	Ref                  string         `json:"$ref,omitempty"`
	Type                 string         `json:"type,omitempty"`
	Format               string         `json:"format,omitempty"`
	Description          string         `json:"description,omitempty"`
	Deprecated           bool           `json:"deprecated,omitempty"`
	Nullable             bool           `json:"nullable,omitempty"`
	Enum                 []string       `json:"enum,omitempty"`
	Default              any            `json:"default,omitempty"`
	Minimum              *int           `json:"minimum,omitempty"`
	Maximum              *int           `json:"maximum,omitempty"`
	MinLength            *int           `json:"minLength,omitempty"`
	MaxLength            *int           `json:"maxLength,omitempty"`
	MaxItems             *int           `json:"maxItems,omitempty"`
	Pattern              string         `json:"pattern,omitempty"`
	Items                *schema        `json:"items,omitempty"`
	Properties           dict[*schema]  `json:"properties,omitzero"`
	Required             []string       `json:"required,omitempty"`
	AdditionalProperties *schemaOrFalse `json:"additionalProperties,omitempty"`
	AllOf                []*schema      `json:"allOf,omitempty"`
	OneOf                []*schema      `json:"oneOf,omitempty"`
	AnyOf                []*schema      `json:"anyOf,omitempty"`
}

// schemaOrFalse is what an object may hold beside its properties; nil is
// nothing, written as false.
type schemaOrFalse struct{ *schema }

// MarshalJSON writes the schema, or false.
func (s schemaOrFalse) MarshalJSON() ([]byte, error) {
	if s.schema == nil {
		return []byte("false"), nil
	}
	return json.Marshal(s.schema)
}

func refTo(name string) *schema { return &schema{Ref: "#/components/schemas/" + name} }

// closed makes an object that holds its properties and nothing else.
func closed(properties dict[*schema], required []string) *schema {
	return &schema{Type: "object", Properties: properties, Required: required, AdditionalProperties: &schemaOrFalse{}}
}

// dict is a JSON object whose members keep their order. The zero value is empty
// and ready to use.
type dict[V any] struct {
	names  []string
	values map[string]V
}

func (d *dict[V]) set(name string, v V) {
	if d.values == nil {
		d.values = map[string]V{}
	}
	if _, ok := d.values[name]; !ok {
		d.names = append(d.names, name)
	}
	d.values[name] = v
}

func (d dict[V]) get(name string) (V, bool) {
	v, ok := d.values[name]
	return v, ok
}

// all returns the members in their order.
func (d dict[V]) all() iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, name := range d.names {
			if !yield(name, d.values[name]) {
				return
			}
		}
	}
}

// IsZero reports whether there are no members; encoding/json asks it for omitzero.
func (d dict[V]) IsZero() bool { return len(d.names) == 0 }

// MarshalJSON writes the members in their order.
func (d dict[V]) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for name, value := range d.all() {
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		key, err := json.Marshal(name)
		if err != nil {
			return nil, err
		}
		v, err := json.Marshal(value)
		if err != nil {
			return nil, err
		}
		b.Write(key)
		b.WriteByte(':')
		b.Write(v)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// schemaSet makes schemas of Go types. Structs that have a name in the
// specification become components, each made once.
type schemaSet struct{ named dict[*schema] }

// sorted returns the components by name.
func (s *schemaSet) sorted() (d dict[*schema]) {
	for _, name := range slices.Sorted(slices.Values(s.named.names)) {
		d.set(name, s.named.values[name])
	}
	return d
}

// envelope returns the schema of an answer around a result.
func (s *schemaSet) envelope(r returns) *schema {
	if _, ok := s.named.get(r.name); !ok {
		s.named.set(r.name, nil) // its place, should the result refer to it
		s.named.set(r.name, envelopeSchema(&schema{Type: "string"}, success, s.output(r.result)))
	}
	return refTo(r.name)
}

func envelopeSchema(message *schema, status string, result *schema) *schema {
	statuses := []string{failure}
	if status == success { // an update that changes nothing is an error with status 200
		statuses = []string{success, failure}
	}
	var p dict[*schema]
	p.set("message", message)
	p.set("metadata", &schema{Type: "object"})
	p.set("result", result)
	p.set("status", &schema{Type: "string", Enum: statuses})
	p.set("version", &schema{Type: "string"})
	return closed(p, slices.Clone(p.names))
}

// addError adds the envelope of errors.
func (s *schemaSet) addError() {
	one, many := &schema{Type: "string"}, &schema{Type: "array", Items: &schema{Type: "string"}}
	message := &schema{
		OneOf: []*schema{one, many}, Description: "A sentence; a list of them, one per problem, if input is not valid.",
	}
	nothing := &schema{Type: "string", Nullable: true, Description: "Null, but for /error-handler, which repeats the message."}
	s.named.set("ErrorResponse", envelopeSchema(message, failure, nothing))
}

// input returns the schema of a model that clients send, output that of one they
// get.
func (s *schemaSet) input(model any) *schema  { return s.of(reflect.TypeOf(model), true) }
func (s *schemaSet) output(model any) *schema { return s.of(reflect.TypeOf(model), false) }

// optional is a [pods.Opt].
type optional interface {
	IsNull() bool
	IsSet() bool
}

var (
	optionalType  = reflect.TypeFor[optional]()
	timestampType = reflect.TypeFor[pods.Timestamp]()
	anyType       = reflect.TypeFor[any]()
	bytesType     = reflect.TypeFor[fileContent]()
)

// of returns the schema of a type.
func (s *schemaSet) of(t reflect.Type, input bool) *schema {
	if stand, ok := standIns[t]; ok {
		t = stand
	}
	if stand, ok := inputStandIns[t]; ok && input {
		t = stand
	}
	if types, ok := choices[t]; ok {
		either := &schema{}
		for _, one := range types {
			either.AnyOf = append(either.AnyOf, s.of(one, input))
		}
		return either
	}
	switch {
	case t == timestampType:
		return &schema{Type: "string", Format: "date-time", Nullable: true}
	case t == bytesType:
		return &schema{Type: "string", Format: "binary"}
	case t == anyType:
		return &schema{}
	case t.Implements(optionalType):
		return nullable(s.of(optionalOf(t), input))
	}
	switch t.Kind() {
	case reflect.Pointer:
		return nullable(s.of(t.Elem(), input))
	case reflect.Bool:
		return &schema{Type: "boolean"}
	case reflect.Int, reflect.Int64:
		return &schema{Type: "integer"}
	case reflect.Float64:
		return &schema{Type: "number"}
	case reflect.String:
		return &schema{Type: "string", Enum: enums[t]}
	case reflect.Slice:
		return &schema{Type: "array", Items: s.of(t.Elem(), input)}
	case reflect.Map:
		return &schema{Type: "object", AdditionalProperties: &schemaOrFalse{s.of(t.Elem(), input)}}
	case reflect.Struct:
		return s.structure(t, input)
	default:
		return &schema{} // anything
	}
}

// optionalOf returns the T of an Opt[T].
func optionalOf(t reflect.Type) reflect.Type {
	get, _ := t.MethodByName("Get")
	return get.Type.Out(0)
}

func nullable(s *schema) *schema {
	if s.Ref != "" { // OpenAPI 3.0 reads nothing beside a reference
		return &schema{Nullable: true, AllOf: []*schema{s}}
	}
	s.Nullable = true
	return s
}

// structure returns the schema of a struct: a reference, if it has a name.
func (s *schemaSet) structure(t reflect.Type, input bool) *schema {
	name := modelName(t, input)
	if name == "" {
		return s.object(t, "", input)
	}
	if _, ok := s.named.get(name); !ok {
		s.named.set(name, nil)
		s.named.set(name, s.object(t, name, input))
	}
	return refTo(name)
}

// modelName is the name of a struct in the specification. What is both sent and
// got differs in what is required.
func modelName(t reflect.Type, input bool) string {
	sent, isSent := inputNames[t]
	got, isGot := modelNames[t]
	switch {
	case isSent && (input || !isGot):
		return sent
	case isGot && input:
		return "New" + got
	default:
		return got
	}
}

// object returns the schema of a struct's fields.
func (s *schemaSet) object(t reflect.Type, name string, input bool) *schema {
	var properties dict[*schema]
	var required []string
	for _, f := range reflect.VisibleFields(t) {
		tag, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if tag == "" || tag == "-" || (len(f.Index) > 1 && f.Anonymous) {
			continue
		}
		p := s.of(f.Type, input)
		if f.Tag.Get("null") == "true" {
			p = nullable(p)
		}
		p = described(p, name, tag, input)
		properties.set(tag, p)
		if options == "" && (!input || (p.Default == nil && !p.Nullable)) {
			required = append(required, tag)
		}
	}
	return closed(properties, required)
}

// described returns a property with what the table says about it. Rules for
// input stay out of output: what is stored may be older than a rule.
func described(p *schema, model, property string, input bool) *schema {
	extra, ok := propertyDocs[model+"."+property]
	if !ok {
		extra = propertyDocs[property]
	}
	switch {
	case extra.AnyOf != nil:
		p = &schema{AnyOf: extra.AnyOf}
	case p.Ref != "":
		p = &schema{AllOf: []*schema{p}}
	}
	p.Description, p.Deprecated = extra.Description, extra.Deprecated
	if extra.Nullable {
		p.Nullable = true
	}
	if extra.Enum != nil {
		p.Enum = extra.Enum
	}
	if !input {
		return p
	}
	p.Default, p.Pattern = extra.Default, extra.Pattern
	p.Minimum, p.Maximum = extra.Minimum, extra.Maximum
	p.MinLength, p.MaxLength, p.MaxItems = extra.MinLength, extra.MaxLength, extra.MaxItems
	return p
}
