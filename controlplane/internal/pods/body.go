package pods

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxDepth bounds how deep the JSON of a request may be nested.
const maxDepth = 32

// bodyLoc starts the location of a problem with the shape of a request body.
const bodyLoc = "body"

// parseBody reads a request body that has to be a JSON object. Numbers are
// json.Number, so that nothing is rounded before it is checked. It is stricter
// than encoding/json where two readers could disagree about a body or a later
// part would refuse it: duplicate keys, bytes that are not UTF-8, NUL in
// strings, deep nesting. false means that there is no object to go on with.
func parseBody(body []byte, p *problems) (map[string]any, bool) {
	root, ok := parseJSON(body, "a JSON object", p)
	if !ok {
		return nil, false
	}
	object, ok := root.(map[string]any)
	if !ok {
		p.add(at(bodyLoc), "value is not a valid dict; a JSON object was expected. Got %s.", typeName(root))
	}
	return object, ok
}

// parseList is parseBody for a body that has to be a JSON list.
func parseList(body []byte, p *problems) ([]any, bool) {
	root, ok := parseJSON(body, "a JSON list", p)
	if !ok {
		return nil, false
	}
	list, ok := root.([]any)
	if !ok {
		p.add(at(bodyLoc), "value is not a valid list; a JSON list was expected. Got %s.", typeName(root))
	}
	return list, ok
}

func parseJSON(body []byte, expected string, p *problems) (any, bool) {
	where := at(bodyLoc)
	if len(bytes.TrimSpace(body)) == 0 {
		p.add(where, "field required; send %s", expected)
		return nil, false
	}
	if !utf8.Valid(body) {
		p.add(where, "value is not valid JSON: it is not UTF-8")
		return nil, false
	}
	var raw json.RawMessage
	if err := json.Unmarshal(body, &raw); err != nil {
		p.add(where, "value is not valid JSON: %s", syntaxText(err))
		return nil, false
	}
	parser := bodyParser{dec: json.NewDecoder(bytes.NewReader(body)), problems: p}
	parser.dec.UseNumber()
	root := parser.value(where, 1)
	if parser.tooDeep {
		p.add(where, "value is nested deeper than %d levels", maxDepth)
		return nil, false
	}
	return root, true
}

func syntaxText(err error) string {
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return syntax.Error() + " at byte " + strconv.FormatInt(syntax.Offset, 10)
	}
	return err.Error()
}

// bodyParser builds the tree of a body whose syntax was checked before.
type bodyParser struct {
	dec      *json.Decoder
	problems *problems
	tooDeep  bool // the rest of the body was not read
}

// token returns the next token, nil for null and at the end.
func (b *bodyParser) token() json.Token {
	t, err := b.dec.Token()
	if err != nil {
		return nil
	}
	return t
}

func (b *bodyParser) value(where loc, depth int) any {
	switch t := b.token().(type) {
	case json.Delim:
		if depth > maxDepth {
			b.tooDeep = true
			return nil
		}
		if t == '{' {
			return b.object(where, depth)
		}
		return b.array(where, depth)
	case string:
		b.checkNUL(where, t)
		return t
	default:
		return t
	}
}

func (b *bodyParser) object(where loc, depth int) any {
	m := make(map[string]any)
	for !b.tooDeep && b.dec.More() {
		key, _ := b.token().(string)
		b.checkNUL(where, key)
		if _, ok := m[key]; ok {
			b.problems.add(where.in(key), "the key is given twice")
		}
		m[key] = b.value(where.in(key), depth+1)
	}
	b.token() // the closing brace
	return m
}

func (b *bodyParser) array(where loc, depth int) any {
	list := []any{}
	for !b.tooDeep && b.dec.More() {
		list = append(list, b.value(where, depth+1))
	}
	b.token() // the closing bracket
	return list
}

// checkNUL refuses what neither an environment nor a database can hold.
func (b *bodyParser) checkNUL(where loc, s string) {
	if strings.ContainsRune(s, 0) {
		b.problems.add(where, "NUL characters are not allowed")
	}
}

// typeName names the type of a parsed value as the messages do.
func typeName(v any) string {
	switch v := v.(type) {
	case nil:
		return "NoneType"
	case bool:
		return "bool"
	case string:
		return "str"
	case json.Number:
		if strings.ContainsAny(v.String(), ".eE") {
			return "float"
		}
		return "int"
	case []any:
		return "list"
	default:
		return "dict"
	}
}

// object is a JSON object whose fields are taken out one by one. What is left
// at the end was not expected.
type object struct {
	where    loc
	fields   map[string]any
	problems *problems

	// nulls says that every field may be null, which clears what it inherits.
	nulls bool
}

// given reports whether the field is there, whatever it holds.
func (o *object) given(name string) bool {
	_, ok := o.fields[name]
	return ok
}

// done reports the fields that nobody took.
func (o *object) done() {
	for _, name := range slices.Sorted(maps.Keys(o.fields)) {
		o.problems.add(o.where.in(name), "extra fields not permitted")
	}
}

// reader turns a parsed value that is not null into a T. If it can't, it
// reports why and returns false. A parent with nulls allows them in parts too.
type reader[T any] func(parent *object, where loc, v any) (T, bool)

// take moves a field into dst. Null is a problem unless o.nulls is set.
func take[T any](o *object, name string, dst *Opt[T], read reader[T]) {
	takeAs(o, name, dst, read, o.nulls)
}

// takeNullable moves a field for which null is a value into dst.
func takeNullable[T any](o *object, name string, dst *Opt[T], read reader[T]) {
	takeAs(o, name, dst, read, true)
}

func takeAs[T any](o *object, name string, dst *Opt[T], read reader[T], null bool) {
	v, ok := o.fields[name]
	if !ok {
		return
	}
	delete(o.fields, name)
	switch {
	case v != nil:
		if x, ok := read(o, o.where.in(name), v); ok {
			*dst = Set(x)
		}
	case null:
		*dst = Null[T]()
	default:
		o.problems.add(o.where.in(name), "none is not an allowed value; leave the field out")
	}
}

func readString(o *object, where loc, v any) (string, bool) {
	s, ok := v.(string)
	if !ok {
		o.problems.add(where, "str type expected")
	}
	return s, ok
}

func readLower(o *object, where loc, v any) (string, bool) {
	s, ok := readString(o, where, v)
	return strings.ToLower(s), ok
}

func readInt(o *object, where loc, v any) (int, bool) {
	n, ok := v.(json.Number)
	i, err := strconv.Atoi(n.String())
	if !ok || err != nil {
		o.problems.add(where, "value is not a valid integer")
		return 0, false
	}
	return i, true
}

func readBool(o *object, where loc, v any) (bool, bool) {
	b, ok := v.(bool)
	if !ok {
		o.problems.add(where, "value could not be parsed to a boolean")
	}
	return b, ok
}

func readStrings(o *object, where loc, v any) ([]string, bool) {
	list, ok := v.([]any)
	if !ok {
		o.problems.add(where, "value is not a valid list")
		return nil, false
	}
	out := make([]string, 0, len(list))
	for i, item := range list {
		s, isString := readString(o, where.in(strconv.Itoa(i)), item)
		out = append(out, s)
		ok = ok && isString
	}
	return out, ok
}

// readObject starts to read a nested object; its fields follow the parent's
// rule for null.
func readObject(o *object, where loc, v any) (*object, bool) {
	fields, ok := v.(map[string]any)
	if !ok {
		o.problems.add(where, "value is not a valid dict")
		return nil, false
	}
	return &object{where: where, fields: fields, problems: o.problems, nulls: o.nulls}, true
}

// readMap reads an object whose keys are free and whose values are all read by
// read.
func readMap[T any](read reader[T]) reader[map[string]T] {
	return func(o *object, where loc, v any) (map[string]T, bool) {
		inner, ok := readObject(o, where, v)
		if !ok {
			return nil, false
		}
		out := make(map[string]T, len(inner.fields))
		for _, key := range slices.Sorted(maps.Keys(inner.fields)) {
			var x Opt[T]
			takeAs(inner, key, &x, read, false)
			value, got := x.Get()
			out[key] = value
			ok = ok && got
		}
		return out, ok
	}
}
