package podproxy

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/tapis-project/podway/caddymodules/pages"
	"github.com/tapis-project/podway/routes"
)

// allPages returns every page there is.
func allPages() []*pages.Page {
	all := []*pages.Page{
		&pageNotFound, &pageNotReady, &pageMisdirected, &pageDenied, &pageNoLogin, &pageNoTunnel, &pageNotListening, &pageBadGateway,
	}
	for _, s := range routes.States() {
		all = append(all, pageOf(s))
	}
	return all
}

func TestPagesAreWhole(t *testing.T) {
	style := regexp.MustCompile(`(?s)<style>(.*)</style>`)
	for _, p := range allPages() {
		t.Run(p.Title, func(t *testing.T) {
			w := httptest.NewRecorder()
			p.Write(w, acceptRequest(http.MethodGet, "text/html"))
			m := style.FindStringSubmatch(w.Body.String())
			if m == nil || !strings.HasSuffix(w.Body.String(), "</html>\n") {
				t.Fatalf("got %s", w.Body)
			}
			// A browser shows no style but the one whose sum the policy names.
			sum := sha256.Sum256([]byte(m[1]))
			if want := "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; !strings.Contains(w.Header().Get("Content-Security-Policy"), want) {
				t.Errorf("the policy %q lacks %s", w.Header().Get("Content-Security-Policy"), want)
			}
			for _, outside := range []string{"http:", "https:", "src=", "<script", "style="} {
				if strings.Contains(w.Body.String(), outside) {
					t.Errorf("the page holds %q", outside)
				}
			}
			if (p.Refresh > 0) != (w.Header().Get("Retry-After") == "10") || (p.Refresh > 0) != strings.Contains(w.Body.String(), `content="10"`) {
				t.Errorf("refresh %v: got %v and %s", p.Refresh, w.Header(), w.Body)
			}

			w = httptest.NewRecorder()
			p.Write(w, acceptRequest(http.MethodGet, "*/*"))
			if !strings.HasPrefix(w.Body.String(), `{"message":"`+p.Title) ||
				!strings.Contains(w.Body.String(), `","metadata":{},"result":null,"status":"error","version":"1.9.0"}`) || !json.Valid(w.Body.Bytes()) {
				t.Errorf("got %s", w.Body)
			}
			if w.Code != p.Status || w.Header().Get("Content-Type") != "application/json" {
				t.Errorf("got %d %v", w.Code, w.Header())
			}
		})
	}
}

func acceptRequest(method, accept string) *http.Request {
	r := httptest.NewRequest(method, "/", nil)
	r.Header.Set("Accept", accept)
	return r
}
