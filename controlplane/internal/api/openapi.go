package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// about is what the specification says about an operation beyond what drives
// router and authorisation.
type about struct {
	tag     string // the group it is shown in: one of the tags
	summary string // one line
	details string // Markdown; may be empty
	query   []param

	body    any    // zero value of the model of its JSON body; nil: none
	form    any    // zero value of the model of its multipart form; nil: none
	example string // a body, as JSON

	returns returns  // what comes in the envelope; zero if nothing does
	streams []string // media types that come without an envelope
	ranges  bool     // the first of them also comes in part, for a Range header
	errors  []int    // statuses it fails with, beside those of every such operation
	sendsOn bool     // it may answer with a redirect
}

// returns is the result of an operation.
type returns struct {
	name   string // of the envelope's model
	result any    // zero value of the result's model
}

// envelopeOf says that an operation answers with an envelope of some name around a
// result like model.
func envelopeOf(name string, model any) returns { return returns{name: name, result: model} }

// param is a parameter of a query string.
type param struct {
	name   string
	text   string
	schema schema
}

func boolParam(name string, def bool, text string) param {
	return param{name: name, text: text, schema: schema{Type: "boolean", Default: def}}
}

func intParam(name string, low, high int, text string) param {
	return param{name: name, text: text, schema: schema{Type: "integer", Minimum: &low, Maximum: &high}}
}

func textParam(name, text string) param {
	return param{name: name, text: text, schema: schema{Type: "string"}}
}

// pagingParams are those of lists. The search looks into some fields.
func pagingParams(searched string) []param {
	return []param{
		intParam("limit", 1, maxPage, "At most so many. Without it: all."),
		intParam("offset", 0, maxOffset, "Skip so many."),
		textParam("search", "Only those with this text in "+searched+"."),
	}
}

// grantExample is the body of every operation that sets a permission.
const grantExample = `{"user":"jane","level":"READ"}`

// The groups of operations, in the order of the specification.
const (
	tagService   = "Service"
	tagPods      = "Pods"
	tagTemplates = "Templates"
	tagImages    = "Images"
	tagVolumes   = "Volumes"
	tagSnapshots = "Snapshots"
	tagSecrets   = "Secrets"
	tagJupyter   = "Jupyter"
	tagLogin     = "Visitors"
)

var tags = []specTag{
	{tagPods, "Long-lived services, and what can be done with them."},
	{tagTemplates, "Definitions of pods to build on: a template groups tags, a tag has versions."},
	{tagImages, "The images that pods may run."},
	{tagVolumes, "Storage that pods mount."},
	{tagSnapshots, "Copies of what is in a volume, read-only."},
	{tagSecrets, "Values that pods need and nobody should see."},
	{tagLogin, "Who may visit pods that not everyone may open."},
	{tagJupyter, "A notebook server of your own."},
	{tagService, "The service itself."},
}

const (
	jsonType = "application/json"
	yamlType = "application/yaml"
)

const description = `Long-lived services, *pods*, by one REST call, each reached over TLS at its own host name and one port.

Send a Tapis access token in the header ` + "`X-Tapis-Token`" + `. Every answer but a stream is an envelope of
` + "`message`, `metadata`, `result`, `status` and `version`" + `; ` + "`message`" + ` is a sentence, or a list of sentences if input is not
valid. Times are UTC without a zone. Booleans of a query may be written as true, True, 1, yes, on and their opposites.

Levels are those a user holds on an object: READ < USER < ADMIN. An object that you may not read looks like one that is
not there.`

// specification builds the document from the table of operations.
func specification(version string, ops []operation) document {
	b := specBuilder{schemas: &schemaSet{}}
	d := document{
		OpenAPI:  "3.0.3",
		Info:     specInfo{Title: "Podway", Description: description, License: map[string]string{"name": "Apache 2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"}, Version: version},
		Servers:  []specServer{{URL: prefix, Description: "This installation"}},
		Tags:     tags,
		Security: []map[string][]string{{"tapis": {}}},
	}
	for i := range ops {
		op := &ops[i]
		methods, ok := d.Paths.get(op.pattern)
		if !ok {
			methods = new(dict[*specOperation])
			d.Paths.set(op.pattern, methods)
		}
		methods.set(strings.ToLower(op.method), b.operation(op))
	}
	d.Components = components{
		Parameters: b.parameters(), Responses: b.errorResponses(), Schemas: b.schemas.sorted(),
	}
	d.Components.SecuritySchemes.set("tapis", map[string]string{
		"type": "apiKey", "in": "header", "name": tokenHeader, "description": "A Tapis access token, without `Bearer`.",
	})
	return d
}

// specBuilder makes the parts of the document that depend on each other.
type specBuilder struct{ schemas *schemaSet }

func (b specBuilder) operation(op *operation) *specOperation {
	o := &specOperation{
		Tags: []string{op.about.tag}, Summary: op.about.summary, Description: op.about.details,
		OperationID: op.id, Parameters: b.operationParameters(op), RequestBody: b.body(op), Level: op.level, Admin: op.admin,
	}
	if op.open {
		o.Security = &[]map[string][]string{}
	}
	o.Responses.set("200", b.success(op))
	if op.about.sendsOn {
		o.Responses.set("302", &specResponse{Description: "A browser is sent on, to the address in the header Location."})
	}
	if op.about.ranges {
		part := &specResponse{Description: "The part that the header Range asks for."}
		part.Content.set(op.about.streams[0], specMedia{Schema: &schema{Type: "string", Format: "binary"}})
		o.Responses.set("206", part)
		none := &specResponse{Description: "The header Range asks for a part that is not there."}
		none.Content.set("text/plain", specMedia{Schema: &schema{Type: "string"}})
		o.Responses.set("416", none)
	}
	for _, status := range errorStatuses(op) {
		o.Responses.set(strconv.Itoa(status), &specResponse{Ref: "#/components/responses/" + errorName(status)})
	}
	return o
}

// pathParamPattern finds the parameters of a pattern.
var pathParamPattern = regexp.MustCompile(`\{(\w+)\}`)

func (b specBuilder) operationParameters(op *operation) []*specParameter {
	var list []*specParameter
	for _, m := range pathParamPattern.FindAllStringSubmatch(op.pattern, -1) {
		s := pathParams[m[1]]
		text := s.Description
		s.Type, s.Description = "string", ""
		list = append(list, &specParameter{Name: m[1], In: "path", Description: text, Required: true, Schema: &s})
	}
	for _, q := range op.about.query {
		list = append(list, &specParameter{Name: q.name, In: "query", Description: q.text, Schema: new(q.schema)})
	}
	if isList(op) {
		list = append(list, &specParameter{Ref: "#/components/parameters/AdminMode"})
	}
	return list
}

// isList reports whether an operation shows what the caller may see of a
// collection, or in admin mode all of it.
func isList(op *operation) bool {
	return op.method == http.MethodGet && op.kind == kindNone && !op.open && !op.admin && !strings.HasSuffix(op.pattern, "}")
}

func (specBuilder) parameters() (p dict[*specParameter]) {
	p.set("AdminMode", &specParameter{
		Name: adminHeader, In: "header", Schema: &schema{Type: "boolean"},
		Description: "Show all of the tenant, not only what you may read. Needs the role PODS_ADMIN.",
	})
	return p
}

func (b specBuilder) body(op *operation) *specBody {
	media, model := jsonType, op.about.body
	if op.about.form != nil {
		media, model = "multipart/form-data", op.about.form
	}
	if model == nil {
		return nil
	}
	body := &specBody{Required: true}
	body.Content.set(media, specMedia{Schema: b.schemas.input(model), Example: json.RawMessage(op.about.example)})
	return body
}

// success is what an operation answers with status 200.
func (b specBuilder) success(op *operation) *specResponse {
	r := &specResponse{Description: "Done."}
	if op.about.returns.name != "" {
		r.Content.set(jsonType, specMedia{Schema: b.schemas.envelope(op.about.returns)})
	}
	for _, media := range op.about.streams {
		s := &schema{Type: "string"}
		switch media {
		case jsonType, yamlType:
			s = &schema{Type: "object"}
		case "application/octet-stream", "application/zip":
			s.Format = "binary"
		}
		r.Content.set(media, specMedia{Schema: s})
	}
	return r
}

// errorStatuses are those that an operation can fail with.
func errorStatuses(op *operation) []int {
	list := []int{http.StatusBadRequest, http.StatusInternalServerError, http.StatusServiceUnavailable}
	if !op.open {
		list = append(list, http.StatusUnauthorized, http.StatusForbidden)
	}
	if strings.Contains(op.pattern, "{") {
		list = append(list, http.StatusNotFound)
	}
	if op.about.body != nil || op.about.form != nil {
		list = append(list, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge)
	}
	if op.changes {
		list = append(list, http.StatusConflict, http.StatusTooManyRequests)
	}
	list = append(list, op.about.errors...)
	slices.Sort(list)
	return slices.Compact(list)
}

// errorTexts say what the statuses mean.
var errorTexts = map[int]string{
	http.StatusBadRequest:            "The request is wrong; the message names field and fix.",
	http.StatusUnauthorized:          "No token, or one that can't be used.",
	http.StatusForbidden:             "A token of another tenant, or a level that is too low.",
	http.StatusNotFound:              "No such object; also one that you may not even read.",
	http.StatusRequestTimeout:        "The body did not arrive in time.",
	http.StatusConflict:              "The id is taken, or others change the object at the same time.",
	http.StatusRequestEntityTooLarge: "The body is too large.",
	http.StatusTooManyRequests:       "Too many changes in a short time.",
	http.StatusInternalServerError:   "A failure of the service. Quote `X-Request-ID` to its operators.",
	http.StatusServiceUnavailable:    "Something the service needs is away. Try again.",
}

// errorName is the name of the response for a status: "NotFound" for 404.
func errorName(status int) string { return strings.ReplaceAll(http.StatusText(status), " ", "") }

func (b specBuilder) errorResponses() (r dict[*specResponse]) {
	b.schemas.addError()
	statuses := make([]int, 0, len(errorTexts))
	for status := range errorTexts {
		statuses = append(statuses, status)
	}
	slices.Sort(statuses)
	for _, status := range statuses {
		e := &specResponse{Description: errorTexts[status]}
		e.Content.set(jsonType, specMedia{Schema: refTo("ErrorResponse")})
		if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
			e.Headers.set("Retry-After", &specHeader{Description: "Seconds to wait.", Schema: &schema{Type: "integer"}})
		}
		r.set(errorName(status), e)
	}
	return r
}

// OpenAPI returns the specification of the API as indented JSON, OpenAPI 3.0. It
// is made from the table of operations and the types that are sent. version is
// that of the service.
func OpenAPI(version string) ([]byte, error) {
	b, err := json.MarshalIndent(specification(version, operations()), "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encoding the specification: %w", err)
	}
	return append(b, '\n'), nil
}
