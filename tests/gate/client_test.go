package gate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/tapis-project/podway/tests/system"
)

// newClient returns a program of somebody, which finds pods by name.
func newClient(t *testing.T, s *system.System) *http.Client {
	t.Helper()
	pem, err := os.ReadFile(s.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	tr := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots},
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			_, port, err := net.SplitHostPort(addr) // every name below localhost is this machine
			if err != nil {
				return nil, err
			}
			return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
		},
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: limit, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func request(t *testing.T, method, url string, header http.Header) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if header != nil {
		r.Header = header
	}
	return r
}

// TestProgramsPassWithAToken does what tapipy does: one header, on each request.
func TestProgramsPassWithAToken(t *testing.T) {
	s, u := start(t)
	other := s.Login("otheruser")
	create(u, "web", "podway/hello", `"protocol":"http","port":5000,`+networking["web"])
	s.WaitLive("web")
	c := newClient(t, s)
	url := fmt.Sprintf("https://%s:%d/headers", system.Host("web"), s.EdgePort)
	for _, tt := range []struct {
		name, method, token string
		want                int
		text                string
	}{
		{"its owner", http.MethodGet, u.Token, http.StatusOK, "testuser@dev"},
		{"its owner, changing something", http.MethodPost, u.Token, http.StatusOK, "testuser@dev"},
		{"nobody", http.MethodGet, "", http.StatusUnauthorized, `"status":"error"`},
		{"somebody else", http.MethodGet, other.Token, http.StatusForbidden, `"status":"error"`},
		{"a token that was changed", http.MethodGet, u.Token[:len(u.Token)-8] + "AAAAAAAA", http.StatusForbidden, "token"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := http.Header{"Accept": {"application/json"}}
			if tt.token != "" {
				h.Set("X-Tapis-Token", tt.token)
			}
			res, err := c.Do(request(t, tt.method, url, h))
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			b, err := io.ReadAll(res.Body)
			if err != nil || res.StatusCode != tt.want || !strings.Contains(string(b), tt.text) {
				t.Errorf("got %d %s, %v, want %d %q", res.StatusCode, b, err, tt.want, tt.text)
			}
			if tt.token != "" && strings.Contains(string(b), tt.token) {
				t.Error("the pod got the token")
			}
		})
	}
}
