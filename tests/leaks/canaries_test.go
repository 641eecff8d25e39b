package leaks

import (
	"crypto/rand"
	"encoding/base64"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// canaries are the values, by what they are.
type canaries map[string]string

// make adds a value of our own.
func (c canaries) make(what string) string {
	c[what] = "canary" + rand.Text()
	return c[what]
}

// key adds a key of 32 bytes.
func (c canaries) key(what string) string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // it never fails
	c[what] = base64.StdEncoding.EncodeToString(b)
	return c[what]
}

// in returns which values are in a text, in the clear or in a usual encoding.
func (c canaries) in(text string) []string {
	var found []string
	for what, value := range c {
		for _, form := range []string{
			value, url.QueryEscape(value), base64.StdEncoding.EncodeToString([]byte(value)), base64.RawURLEncoding.EncodeToString([]byte(value)),
		} {
			if value != "" && strings.Contains(text, form) {
				found = append(found, what)
				break
			}
		}
	}
	slices.Sort(found)
	return found
}

// without returns the values but for some.
func (c canaries) without(what ...string) canaries {
	rest := canaries{}
	for name, value := range c {
		if !slices.Contains(what, name) {
			rest[name] = value
		}
	}
	return rest
}

// absent fails the test if a text of some place has one of the values.
func (c canaries) absent(t *testing.T, place, text string) {
	t.Helper()
	if text == "" {
		t.Errorf("%s is empty: nothing was looked at", place)
	}
	for _, what := range c.in(text) {
		at := strings.Index(text, c[what])
		t.Errorf("%s has the %s, at %q", place, what, around(text, at))
	}
}

// around returns what is before a place in a text: never the value itself.
func around(text string, at int) string {
	if at < 0 {
		return "an encoded form"
	}
	return text[max(0, at-120):at]
}

func TestValuesAreFoundInEveryForm(t *testing.T) {
	c := canaries{}
	value := c.make("password") + "/+"
	c["password"] = value
	for _, text := range []string{value, "x=" + url.QueryEscape(value) + "&", base64.StdEncoding.EncodeToString([]byte(value))} {
		if got := c.in("before " + text + " after"); len(got) != 1 {
			t.Errorf("got %v in %q, want the password", got, text)
		}
	}
	if got := c.in("canary"); len(got) != 0 {
		t.Errorf("got %v, want none", got)
	}
}
