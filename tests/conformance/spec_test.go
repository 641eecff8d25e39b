package conformance

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/tapis-project/podway/tests/parts"
	"github.com/tapis-project/podway/tests/pythonenv"
	"github.com/tapis-project/podway/tests/system"
)

func TestMain(m *testing.M) { system.Main(m) }

// contractFiles are where the specification of the Pods API, version 1.9.0, may
// lie; the SDK brings it too.
func contractFiles() []string {
	files := []string{filepath.Join(parts.Repo(), "..", "shared", "contract", "openapi_v3-pods-1.9.0.yml")}
	inSDK, _ := filepath.Glob(filepath.Join(pythonenv.Cache(), "*", "lib", "*", "site-packages", "tapipy", "resources", "openapi_v3-pods.yml"))
	return append(files, inSDK...)
}

// contract reads the specification that clients were made from.
func contract(t *testing.T) spec {
	t.Helper()
	if file := os.Getenv("PODWAY_CONTRACT_SPEC"); file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return parse(t, b)
	}
	for _, file := range contractFiles() {
		b, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		return parse(t, b)
	}
	t.Skip("the specification of the Pods API is not on this machine; set PODWAY_CONTRACT_SPEC to its file")
	return spec{}
}

// ours asks the program for its specification.
func ours(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), system.Program(t, "controlplane"), append([]string{"openapi"}, args...)...)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("podway openapi: %v", err)
	}
	return out
}

// TestSpecificationHasAllOfTheContract looks in our specification for every
// operation, parameter and property of theirs. Ours may have more.
func TestSpecificationHasAllOfTheContract(t *testing.T) {
	want := contract(t)
	c := comparison{ours: parse(t, ours(t)), theirs: want}
	for route, methods := range want.Paths {
		for method, op := range methods {
			c.operation(route, method, op)
		}
	}
	allowed := differences(t)
	for _, found := range slices.Sorted(slices.Values(c.found)) {
		if !allowed.explain(found) {
			t.Error(found)
		}
	}
	for _, d := range allowed {
		if !d.used {
			t.Errorf("differences.txt explains what is no difference any more: %s", d.pattern)
		}
	}
	if len(want.Paths) < 40 {
		t.Errorf("got %d paths in the contract, want all of them", len(want.Paths))
	}
}

func TestSpecificationIsTheSameInBothForms(t *testing.T) {
	fromJSON, fromYAML := parse(t, ours(t)), parse(t, ours(t, "--yaml"))
	if got, want := len(fromYAML.Paths), len(fromJSON.Paths); got != want || want == 0 {
		t.Errorf("got %d paths in YAML, want %d", got, want)
	}
}

// difference is a line of differences.txt.
type difference struct {
	pattern, reason string
	used            bool
}

type differenceList []*difference

// differences reads the file: a pattern as of path.Match and, after " # ", the
// reason.
func differences(t *testing.T) differenceList {
	t.Helper()
	f, err := os.Open("differences.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var list differenceList
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		pattern, reason, ok := strings.Cut(line, " # ")
		if _, err := path.Match(pattern, ""); err != nil || !ok || reason == "" {
			t.Fatalf("differences.txt: %q is not PATTERN # REASON", line)
		}
		list = append(list, &difference{pattern: pattern, reason: reason})
	}
	return list
}

// explain reports whether a difference is on the list.
func (l differenceList) explain(found string) bool {
	explained := false
	for _, d := range l {
		if match(d.pattern, found) {
			d.used, explained = true, true
		}
	}
	return explained
}

// match is a path.Match whose "*" stops at nothing.
func match(pattern, s string) bool {
	ok, err := path.Match(strings.ReplaceAll(pattern, "/", "\x00"), strings.ReplaceAll(s, "/", "\x00"))
	return err == nil && ok
}

// spec is the part of a specification that is compared. JSON is YAML.
type spec struct {
	OpenAPI    string
	Paths      map[string]map[string]specOperation
	Components struct{ Schemas map[string]*schema }
}

type specOperation struct {
	OperationID string `yaml:"operationId"`
	Parameters  []parameter
	RequestBody struct{ Content map[string]media } `yaml:"requestBody"`
	Responses   map[string]struct{ Content map[string]media }
}

type parameter struct {
	Name, In string
	Required bool
	Schema   *schema
}

type media struct{ Schema *schema }

type schema struct {
	Ref        string `yaml:"$ref"`
	Type       string
	Format     string
	Items      *schema
	Properties map[string]*schema
	Required   []string
	AllOf      []*schema `yaml:"allOf"`
	AnyOf      []*schema `yaml:"anyOf"`
	Additional yaml.Node `yaml:"additionalProperties"`
}

func parse(t *testing.T, b []byte) spec {
	t.Helper()
	var s spec
	if err := yaml.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// resolve follows references and the lists of one that stand around them.
func (s spec) resolve(x *schema) *schema {
	for x != nil {
		switch {
		case x.Ref != "":
			x = s.Components.Schemas[x.Ref[strings.LastIndexByte(x.Ref, '/')+1:]]
		case len(x.AllOf) == 1:
			x = x.AllOf[0]
		default:
			return x
		}
	}
	return nil
}

// comparison collects what theirs has and ours lacks.
type comparison struct {
	ours, theirs spec
	found        []string
}

func (c *comparison) add(format string, args ...any) {
	c.found = append(c.found, fmt.Sprintf(format, args...))
}

func (c *comparison) operation(route, method string, want specOperation) {
	id := want.OperationID
	got, ok := c.ours.Paths[route][method]
	if !ok {
		c.add("%s: no operation %s %s", id, strings.ToUpper(method), route)
		return
	}
	if got.OperationID != id {
		c.add("%s: got operationId %s", id, got.OperationID)
	}
	for _, p := range want.Parameters {
		c.parameter(id, p, got.Parameters)
	}
	for kind, m := range want.RequestBody.Content {
		c.media(id+" body", kind, m, got.RequestBody.Content)
	}
	for status, r := range want.Responses {
		g, ok := got.Responses[status]
		if !ok {
			c.add("%s %s: no such response", id, status)
			continue
		}
		for kind, m := range r.Content {
			c.media(id+" "+status, kind, m, g.Content)
		}
	}
}

func (c *comparison) parameter(id string, want parameter, list []parameter) {
	i := slices.IndexFunc(list, func(p parameter) bool { return p.Name == want.Name && p.In == want.In })
	if i < 0 {
		c.add("%s: no %s parameter %s", id, want.In, want.Name)
		return
	}
	if list[i].Required != want.Required {
		c.add("%s: parameter %s is required: %v, want %v", id, want.Name, list[i].Required, want.Required)
	}
	c.schema(id+" "+want.Name, list[i].Schema, want.Schema, nil)
}

func (c *comparison) media(where, kind string, want media, content map[string]media) {
	got, ok := content[kind]
	if !ok {
		c.add("%s: no content of type %s", where, kind)
		return
	}
	c.schema(where, got.Schema, want.Schema, nil)
}

// schema compares types and goes down into properties, items and values.
func (c *comparison) schema(where string, got, want *schema, seen []string) {
	if want != nil && want.Ref != "" {
		if slices.Contains(seen, want.Ref) {
			return
		}
		seen = append(slices.Clone(seen), want.Ref)
	}
	got, want = c.ours.resolve(got), c.theirs.resolve(want)
	if want == nil {
		return
	}
	if got == nil {
		c.add("%s: not described", where)
		return
	}
	got = c.option(got, want)
	if want.Type != "" && (got.Type != want.Type || got.Format != want.Format) {
		c.add("%s: got type %s %s, want %s %s", where, got.Type, got.Format, want.Type, want.Format)
		return
	}
	for _, name := range slices.Sorted(maps.Keys(want.Properties)) {
		p, ok := got.Properties[name]
		if !ok {
			c.add("%s: no property %s", where, name)
			continue
		}
		c.schema(where+"."+name, p, want.Properties[name], seen)
	}
	c.required(where, got, want)
	if want.Items != nil {
		c.schema(where+"[]", got.Items, want.Items, seen)
	}
	if values := additional(want); values != nil {
		c.schema(where+".*", additional(got), values, seen)
	}
	for i, option := range want.AnyOf {
		if i >= len(got.AnyOf) {
			c.add("%s: fewer kinds of values", where)
			return
		}
		c.schema(where, got.AnyOf[i], option, seen)
	}
}

// option returns the kind of value that is meant, if ours allows several.
func (c *comparison) option(got, want *schema) *schema {
	if want.Type == "" {
		return got
	}
	for _, one := range got.AnyOf {
		if o := c.ours.resolve(one); o != nil && o.Type == want.Type {
			return o
		}
	}
	return got
}

// required compares what must be there. In an answer ours may have more, in a
// body it must not.
func (c *comparison) required(where string, got, want *schema) {
	inBody := strings.Contains(where, " body")
	for _, name := range want.Required {
		if !slices.Contains(got.Required, name) {
			c.add("%s: property %s is not required", where, name)
		}
	}
	for _, name := range got.Required {
		if inBody && !slices.Contains(want.Required, name) {
			c.add("%s: property %s is required", where, name)
		}
	}
}

// additional returns the schema of an object's values; nil if there is none.
func additional(s *schema) *schema {
	if s.Additional.Kind != yaml.MappingNode {
		return nil
	}
	values := new(schema)
	if err := s.Additional.Decode(values); err != nil {
		return nil
	}
	return values
}
