package hello

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// Bounds of what one request may ask for.
const (
	maxSlow  = time.Hour
	maxBytes = 1 << 30
)

// Handler serves the http endpoints of a pod:
//
//	/                a friendly page, or text for clients that want no HTML
//	/headers         the request as it arrived, as JSON (see Request)
//	/ws              a WebSocket that sends every message back
//	/slow?for=5s     a tick per second as server-sent events, then "done"; 5s is the default
//	/status/{code}   an answer with that status, 200 to 599
//	/bytes/{n}       n bytes
func Handler(pod string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { index(w, r, pod) })
	mux.HandleFunc("/headers", headers)
	mux.HandleFunc("GET /ws", echoWebSocket)
	mux.HandleFunc("GET /slow", slow)
	mux.HandleFunc("/status/{code}", status)
	mux.HandleFunc("GET /bytes/{n}", letters)
	return mux
}

// Request is the answer of /headers: the request as the pod saw it.
type Request struct {
	Method  string              `json:"method"`
	Proto   string              `json:"proto"`
	Host    string              `json:"host"`
	Path    string              `json:"path"`
	Remote  string              `json:"remote"` // address of the peer
	Headers map[string][]string `json:"headers"`
}

var page = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Pod}}</title>
<style>
  body { font: 1.1rem/1.6 system-ui, sans-serif; max-width: 36rem; margin: 15vh auto 0; padding: 0 1rem; }
  code { background: #8882; padding: .1em .3em; border-radius: .2em; }
</style>
<h1>Hello from {{.Pod}}</h1>
<p>This pod is running, and you reached it as <code>{{.Host}}</code>.</p>
<ul>
  <li><a href="/headers">/headers</a> shows the request as it arrived</li>
  <li><code>/ws</code> is a WebSocket that sends every message back</li>
  <li><a href="/slow?for=5s">/slow?for=5s</a> streams a tick per second</li>
  <li><a href="/status/418">/status/418</a> answers with that status</li>
  <li><a href="/bytes/100">/bytes/100</a> answers with that many bytes</li>
</ul>
</html>
`))

func index(w http.ResponseWriter, r *http.Request, pod string) {
	if !strings.Contains(r.Header.Get("Accept"), "text/html") {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintf(w, "Hello from %s. Try /headers, /ws, /slow?for=5s, /status/418, /bytes/100\n", pod)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	// The client hung up; there is nobody left to tell.
	_ = page.Execute(w, struct{ Pod, Host string }{pod, r.Host})
}

func headers(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(Request{
		Method: r.Method, Proto: r.Proto, Host: r.Host, Path: r.URL.RequestURI(),
		Remote: r.RemoteAddr, Headers: r.Header,
	})
}

func echoWebSocket(w http.ResponseWriter, r *http.Request) {
	// Any page may talk to an echo, so that it can be tried from everywhere.
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{OriginPatterns: []string{"*"}})
	if err != nil {
		return // Accept has answered
	}
	defer func() { _ = conn.CloseNow() }()
	conn.SetReadLimit(-1) // messages are copied, not kept
	for {
		if echoMessage(r.Context(), conn) != nil {
			return
		}
	}
}

func echoMessage(ctx context.Context, conn *websocket.Conn) error {
	kind, src, err := conn.Reader(ctx)
	if err != nil {
		return err
	}
	dst, err := conn.Writer(ctx, kind)
	if err != nil {
		return err
	}
	if _, err := io.Copy(dst, src); err != nil {
		return err
	}
	return dst.Close()
}

func slow(w http.ResponseWriter, r *http.Request) {
	d, err := time.ParseDuration(cmp.Or(r.FormValue("for"), "5s"))
	if err != nil || d < 0 || d > maxSlow {
		http.Error(w, "for must be a duration between 0s and 1h, for example /slow?for=5s", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	out := http.NewResponseController(w)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	end := time.After(d)
	for n := 1; ; n++ {
		fmt.Fprintf(w, "data: tick %d\n\n", n)
		if out.Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-end:
			fmt.Fprint(w, "data: done\n\n")
			return
		case <-tick.C:
		}
	}
}

func status(w http.ResponseWriter, r *http.Request) {
	code, err := strconv.Atoi(r.PathValue("code"))
	if err != nil || code < 200 || code > 599 {
		http.Error(w, "the status must be a number between 200 and 599", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	if code != http.StatusNoContent && code != http.StatusNotModified {
		fmt.Fprintf(w, "%d %s\n", code, http.StatusText(code))
	}
}

func letters(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.ParseInt(r.PathValue("n"), 10, 64)
	if err != nil || n < 0 || n > maxBytes {
		http.Error(w, "the number of bytes must be between 0 and 1073741824", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
	_, _ = io.CopyN(w, alphabet{}, n)
}

// alphabet is an endless source of letters.
type alphabet struct{}

// Read fills p.
func (alphabet) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'a' + byte(i%26)
	}
	return len(p), nil
}
