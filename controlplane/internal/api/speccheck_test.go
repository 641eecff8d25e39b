package api

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
)

// specDocument is the specification as a client reads it.
type specDocument struct {
	Paths      map[string]map[string]readOperation
	Components struct {
		Schemas   map[string]*readSchema
		Responses map[string]readResponse
	}
}

type readOperation struct {
	OperationID string
	Responses   map[string]readResponse
}

type readResponse struct {
	Ref     string `json:"$ref"`
	Content map[string]struct{ Schema *readSchema }
}

type readSchema struct {
	Ref                  string `json:"$ref"`
	Type, Format         string
	Nullable             bool
	Enum                 []string
	Description          string
	Items                *readSchema
	Properties           map[string]*readSchema
	Required             []string
	AdditionalProperties json.RawMessage
	AllOf, OneOf, AnyOf  []*readSchema
}

// theSpec is the specification, read once.
var theSpec = sync.OnceValues(func() (specDocument, error) {
	var d specDocument
	b, err := OpenAPI("test")
	if err != nil {
		return d, err
	}
	return d, json.Unmarshal(b, &d)
})

// specRouter finds the operation of a path.
var specRouter = sync.OnceValue(func() *chi.Mux { return (&server{}).router(operations()).(*chi.Mux) })

// checkSpec fails the test if an answer is not one of those that the
// specification announces for its operation.
func checkSpec(t *testing.T, method, path string, r response) {
	t.Helper()
	d, err := theSpec()
	if err != nil {
		t.Fatal(err)
	}
	path, _, _ = strings.Cut(path, "?")
	found := chi.NewRouteContext()
	if !specRouter().Match(found, method, path) {
		return // no operation
	}
	op := operationOf(method, found.RoutePattern())
	if op.about.summary == "" {
		return // TestEveryOperationIsDescribed tells
	}
	announced, ok := d.Paths[op.pattern][strings.ToLower(method)].Responses[strconv.Itoa(r.status)]
	if !ok {
		if r.status >= http.StatusBadRequest && op.id == "error_handler" || r.status == http.StatusNotModified {
			return
		}
		t.Errorf("%s %s: the specification does not announce status %d: %s", method, path, r.status, r.body)
		return
	}
	if announced.Ref != "" {
		announced = d.Components.Responses[afterSlash(announced.Ref)]
	}
	if r.header.Get("Location") != "" && r.body == "" {
		return // it has neither type nor body
	}
	media, _, err := mime.ParseMediaType(r.header.Get("Content-Type"))
	content, ok := announced.Content[media]
	if err != nil || !ok {
		t.Errorf("%s %s: the specification does not announce the content type %q", method, path, media)
		return
	}
	if media != jsonType || len(op.about.streams) > 0 && op.about.returns.name == "" && r.status == http.StatusOK {
		return
	}
	var body any
	if err := json.Unmarshal([]byte(r.body), &body); err != nil {
		t.Errorf("%s %s: %v", method, path, err)
		return
	}
	for _, problem := range d.check(content.Schema, body, "body") {
		t.Errorf("%s %s: the answer is not what the specification says: %s\n%s", method, path, problem, r.body)
	}
}

// operationOf returns the operation with a route.
func operationOf(method, route string) operation {
	ops := operations()
	i := slices.IndexFunc(ops, func(op operation) bool {
		return op.method == method && slices.Contains(op.routes(), strings.TrimPrefix(route, prefix))
	})
	return ops[max(i, 0)]
}

func afterSlash(s string) string { return s[strings.LastIndexByte(s, '/')+1:] }

var naiveTime = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?$`)

// check returns what is wrong with a value.
func (d specDocument) check(s *readSchema, v any, where string) []string {
	switch {
	case s.Ref != "":
		target, ok := d.Components.Schemas[afterSlash(s.Ref)]
		if !ok {
			return []string{"there is no model " + s.Ref}
		}
		return d.check(target, v, where)
	case v == nil && s.Nullable:
		return nil
	case len(s.AllOf) == 1:
		return d.check(s.AllOf[0], v, where)
	case len(s.AnyOf)+len(s.OneOf) > 0:
		return d.checkAny(append(s.AnyOf, s.OneOf...), v, where)
	case s.Type == "":
		return nil
	}
	switch v := v.(type) {
	case string:
		return d.checkString(s, v, where)
	case bool:
		return expect(s, where, "boolean")
	case float64:
		if v == float64(int64(v)) {
			return expect(s, where, "integer", "number")
		}
		return expect(s, where, "number")
	case []any:
		problems := expect(s, where, "array")
		for i, item := range v {
			if s.Items != nil {
				problems = append(problems, d.check(s.Items, item, fmt.Sprintf("%s[%d]", where, i))...)
			}
		}
		return problems
	case map[string]any:
		return append(expect(s, where, "object"), d.checkObject(s, v, where)...)
	default:
		return []string{fmt.Sprintf("%s is null", where)}
	}
}

func expect(s *readSchema, where string, types ...string) []string {
	if slices.Contains(types, s.Type) {
		return nil
	}
	return []string{fmt.Sprintf("%s is of type %s, want %s", where, types[0], s.Type)}
}

func (d specDocument) checkAny(options []*readSchema, v any, where string) []string {
	var problems []string
	for _, s := range options {
		p := d.check(s, v, where)
		if len(p) == 0 {
			return nil
		}
		problems = append(problems, p...)
	}
	return problems
}

func (specDocument) checkString(s *readSchema, v, where string) []string {
	switch {
	case s.Type != "string":
		return expect(s, where, "string")
	case len(s.Enum) > 0 && !slices.Contains(s.Enum, v):
		return []string{fmt.Sprintf("%s is %q, want one of %q", where, v, s.Enum)}
	case s.Format == "date-time" && !naiveTime.MatchString(v):
		return []string{fmt.Sprintf("%s is %q, want a time as %s", where, v, time.RFC3339)}
	default:
		return nil
	}
}

func (d specDocument) checkObject(s *readSchema, v map[string]any, where string) []string {
	var problems []string
	for _, name := range s.Required {
		if _, ok := v[name]; !ok {
			problems = append(problems, fmt.Sprintf("%s has no %s", where, name))
		}
	}
	var others *readSchema
	open := len(s.AdditionalProperties) == 0
	if !open && string(s.AdditionalProperties) != "false" {
		if err := json.Unmarshal(s.AdditionalProperties, &others); err != nil {
			return []string{err.Error()}
		}
	}
	for name, value := range v {
		p, ok := s.Properties[name]
		switch {
		case ok:
			problems = append(problems, d.check(p, value, where+"."+name)...)
		case others != nil:
			problems = append(problems, d.check(others, value, where+"."+name)...)
		case !open:
			problems = append(problems, fmt.Sprintf("%s has a property %q that is not announced", where, name))
		}
	}
	return problems
}
