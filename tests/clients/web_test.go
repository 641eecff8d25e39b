package clients

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

func startRPC(t *testing.T) string { return serve(t, exec.Command(gopher(t), "serve-grpc")) }

// startWeb serves what browsers and other programs of the web ask for.
func startWeb(t *testing.T) string {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /", func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, webPage)
	})
	mux.HandleFunc("GET /events", sendEvents)
	mux.HandleFunc("GET /socket", echoSocket)
	s := httptest.NewServer(mux)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return strings.TrimPrefix(s.URL, "http://")
}

// webPage sends a word over a WebSocket, and shows what comes back.
const webPage = `<!doctype html>
<meta charset="utf-8"><title>pod</title>
<input id="word"><button id="send">send</button><p id="read"></p>
<script>
document.getElementById("send").onclick = () => {
	const socket = new WebSocket("wss://" + location.host + "/socket");
	socket.onopen = () => socket.send(document.getElementById("word").value);
	socket.onmessage = (event) => { document.getElementById("read").textContent = event.data; };
};
</script>
`

// sendEvents sends one event, and then none while the client stays: it has to be
// passed on although nothing follows.
func sendEvents(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprintf(w, "data: %s\n\n", r.URL.Query().Get("word"))
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

func echoSocket(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer func() { _ = c.CloseNow() }()
	for {
		kind, message, err := c.Read(r.Context())
		if err != nil || c.Write(r.Context(), kind, message) != nil {
			return
		}
	}
}
