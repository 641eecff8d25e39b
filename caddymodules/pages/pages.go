// Package pages writes the pages that the edge itself answers with, all in one
// look: about pods that are not there, and of the login. They need no script, no
// font and no image, and their policy lets browsers load none.
//
//	p := pages.Page{
//		Status: http.StatusForbidden, Kind: pages.Fail, Title: "No access",
//		Text:  "You are logged in, but may not open this pod.",
//		Links: []pages.Link{{URL: "/.podway/login", Text: "Use another account"}},
//	}
//	p.Write(w, r)
package pages

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"html/template"
	"net/http"
	"strconv"
	"strings"

	"github.com/tapis-project/podway/caddymodules/internal/accept"
	"github.com/tapis-project/podway/routes/pagelook"
)

// Version is the version of the Pods API whose envelope clients expect.
const Version = "1.9.0"

// RefreshSeconds is after how long a client shall ask again where that helps.
const RefreshSeconds = 10

// Kind is the colour and the sign of a page.
type Kind string

// The kinds of pages.
const (
	Wait Kind = "wait" // it will be different soon
	Stop Kind = "stop" // it is so, and nobody's fault
	Fail Kind = "fail" // it is not possible
	Ask  Kind = "ask"  // somebody has to do something
	Done Kind = "done" // what they wanted is done
)

// Page is an answer of the edge itself. Everything in it is escaped.
type Page struct {
	Status  int
	Kind    Kind
	Title   string
	Text    string
	Host    string // of the pod, if it helps to see it
	Problem string // with what somebody has just entered
	Note    string // small, at the end
	Refresh int    // seconds until it is asked for again, 0 if that is of no use
	Forms   []Form
	Links   []Link
}

// Form is a form with one button. It is sent by POST.
type Form struct {
	Action   string
	Hidden   []Field
	Password string // label of a field for a password; "" for none
	Button   string
	Plain    bool // a button that is not the first choice
}

// Field is a field that is not shown.
type Field struct{ Name, Value string }

// Link leads on.
type Link struct {
	URL, Text string
	Plain     bool // not the first choice
}

//go:embed page.html
var source string

var (
	page = template.Must(template.New("page").Parse(source))

	plainPolicy = pagelook.Policy(pagelook.Style, pagelook.NoForms)
	formPolicy  = pagelook.Policy(pagelook.Style, pagelook.SameHost)
)

// Write answers r with the page, or with its text in the envelope of the Pods API
// for clients that do not ask for HTML.
func (p *Page) Write(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Del("Server")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Robots-Tag", "noindex")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Vary", "Accept")
	if p.Refresh > 0 {
		h.Set("Retry-After", strconv.Itoa(p.Refresh))
	}
	body := p.json()
	h.Set("Content-Type", "application/json")
	if AcceptsHTML(r.Header["Accept"]) {
		body = p.html()
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", plainPolicy)
		if len(p.Forms) > 0 {
			h.Set("Content-Security-Policy", formPolicy)
		}
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Frame-Options", "DENY")
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(p.Status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // nobody is left to tell if it fails
	}
}

func (p *Page) html() []byte {
	var b bytes.Buffer
	err := page.Execute(&b, struct {
		*Page
		Style template.CSS
	}{p, pagelook.Style})
	if err != nil {
		return p.json() // not reached: a test renders every part
	}
	return b.Bytes()
}

// envelope is the form of the Pods API's answers.
type envelope struct {
	Message  string   `json:"message"`
	Metadata struct{} `json:"metadata"`
	Result   any      `json:"result"`
	Status   string   `json:"status"`
	Version  string   `json:"version"`
}

func (p *Page) json() []byte {
	text := p.Title + ". " + p.Text
	if p.Problem != "" {
		text = p.Problem
	}
	status := "error"
	if p.Status < http.StatusBadRequest {
		status = "success"
	}
	b, _ := json.Marshal(envelope{Message: text, Status: status, Version: Version}) // strings only
	return append(b, '\n')
}

// AcceptsHTML reports whether a client asks for HTML by name. Programs ask for
// anything, or for JSON.
func AcceptsHTML(header []string) bool {
	for _, line := range header {
		for item := range strings.SplitSeq(line, ",") {
			mediaType, params, _ := strings.Cut(item, ";")
			if strings.EqualFold(strings.TrimSpace(mediaType), "text/html") {
				return !accept.Refused(params)
			}
		}
	}
	return false
}

// WriteJSON answers r with a value that can be encoded.
func WriteJSON(w http.ResponseWriter, r *http.Request, status int, v any) {
	b, _ := json.Marshal(v)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)+1))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(append(b, '\n'))
	}
}
