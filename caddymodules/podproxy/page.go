package podproxy

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"html/template"
	"net/http"
	"strconv"
	"strings"

	"github.com/tapis-project/podway/routes"
)

// apiVersion is the version of the Pods API whose envelope clients expect.
const apiVersion = "1.9.0"

// refreshSeconds is after how long a client shall ask again where that helps.
const refreshSeconds = 10

// page is an answer of the edge itself. It says no more of a pod than its coarse
// state, and nothing that a request said.
type page struct {
	Status  int
	Kind    string // "wait", "stop" or "fail": colour and sign
	Title   string
	Text    string
	Refresh bool // it will be different soon
}

// The pages that do not depend on the state of a pod.
var (
	pageNotFound = page{
		http.StatusNotFound, "stop", "No pod at this address",
		"Nothing is served here. The address may be mistyped, or the pod was deleted.", false,
	}
	pageNotReady = page{
		http.StatusServiceUnavailable, "wait", "One moment",
		"This service is starting.", true,
	}
	pageBusy = page{
		http.StatusServiceUnavailable, "wait", "Too many visitors",
		"This pod has as many connections as it may have. Try again in a moment.", true,
	}
	pageMisdirected = page{
		http.StatusMisdirectedRequest, "stop", "Not a website",
		"The pod at this address does not speak HTTP. Connect with a client of its own protocol.", false,
	}
	pageDenied = page{
		http.StatusForbidden, "fail", "Not from your address",
		"This pod accepts connections from certain addresses only.", false,
	}
	pageNoLogin = page{
		http.StatusForbidden, "fail", "Login required",
		"This pod requires a login that is not available here.", false,
	}
	pageUnclear = page{
		http.StatusBadRequest, "fail", "Unclear request",
		"The request is not valid HTTP, or could be read in more than one way.", false,
	}
	pageNoTunnel = page{
		http.StatusMethodNotAllowed, "fail", "Method not allowed",
		"Pods are no proxies: CONNECT is not possible.", false,
	}
	pageNotListening = page{
		http.StatusServiceUnavailable, "wait", "Almost there",
		"The pod is running and finishing its startup.", true,
	}
	pageBadGateway = page{
		http.StatusBadGateway, "fail", "No answer from the pod",
		"The pod did not give a valid answer. It may be busy or overloaded.", false,
	}
)

// statePages are the pages of pods that are not live.
var statePages = map[routes.State]page{
	routes.Starting: {
		http.StatusServiceUnavailable, "wait", "This pod is starting",
		"It is being set up and will be here soon.", true,
	},
	routes.Deleting: {
		http.StatusServiceUnavailable, "wait", "This pod is shutting down",
		"It will be gone soon.", true,
	},
	routes.Stopped: {
		http.StatusServiceUnavailable, "stop", "This pod is stopped",
		"Its owner can start it from the dashboard.", false,
	},
	routes.Error: {
		http.StatusServiceUnavailable, "fail", "This pod failed to start",
		"Its owner finds the reason in its logs.", false,
	},
	routes.Finished: {
		http.StatusServiceUnavailable, "stop", "This pod has finished",
		"Its work is done. Its owner can restart it from the dashboard.", false,
	},
}

// pageOf returns the page of a state; of one that is unknown here, it is as if
// the pod started.
func pageOf(s routes.State) *page {
	p, ok := statePages[s]
	if !ok {
		p = statePages[routes.Starting]
	}
	return &p
}

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

var (
	pageTemplate = template.Must(template.New("page").Parse(pageHTML))

	// pagePolicy allows the style of the page and nothing else at all.
	pagePolicy = func() string {
		sum := sha256.Sum256([]byte(pageCSS))
		return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
			"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	}()
)

// envelope is the form of the Pods API's answers.
type envelope struct {
	Message  string   `json:"message"`
	Metadata struct{} `json:"metadata"`
	Result   any      `json:"result"`
	Status   string   `json:"status"`
	Version  string   `json:"version"`
}

// write answers r with the page, or with the same in JSON for clients that do
// not ask for HTML.
func (p *page) write(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Del("Server")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Robots-Tag", "noindex")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Vary", "Accept")
	if p.Refresh {
		h.Set("Retry-After", strconv.Itoa(refreshSeconds))
	}
	body := p.json()
	h.Set("Content-Type", "application/json")
	if acceptsHTML(r.Header["Accept"]) {
		body = p.html()
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", pagePolicy)
		h.Set("Referrer-Policy", "no-referrer")
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(p.Status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) //nolint:gosec // html/template or JSON made it; nobody is left to tell if it fails
	}
}

func (p *page) html() []byte {
	var b bytes.Buffer
	err := pageTemplate.Execute(&b, struct {
		*page
		Seconds int
		Style   template.CSS
	}{p, refreshSeconds, template.CSS(pageCSS)}) //nolint:gosec // our own file
	if err != nil {
		return p.json() // not reached: a test renders every page
	}
	return b.Bytes()
}

func (p *page) json() []byte {
	b, _ := json.Marshal(envelope{ // strings only
		Message: p.Title + ". " + p.Text,
		Status:  "error", Version: apiVersion,
	})
	return append(b, '\n')
}

// acceptsHTML reports whether a client asks for HTML by name. Programs ask for
// anything, or for JSON.
func acceptsHTML(accept []string) bool {
	for _, line := range accept {
		for item := range strings.SplitSeq(line, ",") {
			mediaType, params, _ := strings.Cut(item, ";")
			if !strings.EqualFold(strings.TrimSpace(mediaType), "text/html") {
				continue
			}
			return !refused(params)
		}
	}
	return false
}
