package api

import (
	"encoding/json"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// badInput is testdata/badinput.json, which says itself what it is. The
// black-box tests send the same requests to a running system.
type badInput struct {
	Setup []badCase `json:"setup"`
	Cases []badCase `json:"cases"`
}

type badCase struct {
	Name    string            `json:"name"`
	As      string            `json:"as"`
	Method  string            `json:"method"`
	Path    string            `json:"path"`
	Headers map[string]string `json:"headers"`
	Body    json.RawMessage   `json:"body"`
	Raw     string            `json:"raw"`
	Status  int               `json:"status"`
	Message []string          `json:"message"`
}

func readBadInput(t *testing.T) badInput {
	t.Helper()
	raw, err := os.ReadFile("testdata/badinput.json")
	if err != nil {
		t.Fatal(err)
	}
	var b badInput
	if err := json.Unmarshal(raw, &b); err != nil {
		t.Fatal(err)
	}
	return b
}

var repeated = regexp.MustCompile(`\{\{(.)\*(\d+)\}\}`)

// expand replaces {{c*n}} by n times the character c.
func expand(s string) string {
	return repeated.ReplaceAllStringFunc(s, func(m string) string {
		parts := repeated.FindStringSubmatch(m)
		n, _ := strconv.Atoi(parts[2])
		return strings.Repeat(parts[1], n)
	})
}

// send makes the request of a case.
func (f *fixture) send(c badCase) response {
	f.t.Helper()
	body := expand(string(c.Body) + c.Raw)
	r := httptest.NewRequestWithContext(f.t.Context(), orDefault(c.Method, "POST"), orDefault(c.Path, "/v3/pods"), strings.NewReader(body))
	r.Host = "dev.example.org"
	r.Header.Set("Content-Type", "application/json")
	if token := orDefault(c.As, "testuser"); token != "none" {
		r.Header.Set("X-Tapis-Token", token)
	}
	for name, value := range c.Headers {
		r.Header.Del(name)
		if value != "" {
			r.Header.Set(name, value)
		}
	}
	w := httptest.NewRecorder()
	New(f.deps).ServeHTTP(w, r)
	return response{status: w.Code, header: w.Header(), body: w.Body.String()}
}

func orDefault(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

func TestBadInputIsRefusedAndChangesNothing(t *testing.T) {
	f := newFixture(t)
	table := readBadInput(t)
	for _, c := range table.Setup {
		if r := f.send(c); r.status != 200 {
			t.Fatalf("setting up: got status %d: %s", r.status, r.body)
		}
	}
	before, wakes := f.dump(), len(f.wakes())
	for _, c := range table.Cases {
		t.Run(c.Name, func(t *testing.T) {
			r := f.send(c)
			if r.status != c.Status {
				t.Errorf("got status %d, want %d", r.status, c.Status)
			}
			e := r.envelope(t)
			if e.Status != failure {
				t.Errorf("got envelope status %q, want %q", e.Status, failure)
			}
			for _, part := range c.Message {
				if !strings.Contains(e.text(), part) {
					t.Errorf("got message %q, want it to contain %q", e.text(), part)
				}
			}
			if len(r.body) > 16<<10 {
				t.Errorf("the answer repeats too much of the request: %d bytes", len(r.body))
			}
			if after := f.dump(); after != before {
				t.Fatalf("the store changed:\nbefore: %s\nafter: %s", before, after)
			}
		})
	}
	if got := len(f.wakes()); got != wakes {
		t.Errorf("got %d wakes of the reconciler, want %d", got, wakes)
	}
}
