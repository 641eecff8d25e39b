// Package login tells how visitors log in to pods: the control plane, its
// development Tapis and an edge are programs, and the browser is an HTTP client
// that keeps cookies.
package login

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tapis-project/podway/tests/system"
)

func TestMain(m *testing.M) { system.Main(m) }

// browser follows no redirect by itself, and keeps cookies.
type browser struct {
	t *testing.T
	s *system.System
	c *http.Client
}

// addresses counts browsers: each has an address of its own, as logins are counted
// by address.
var addresses atomic.Int32

func newBrowser(t *testing.T, s *system.System) *browser {
	t.Helper()
	pem, err := os.ReadFile(s.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(addresses.Add(1)))}}
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots},
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			_, port, err := net.SplitHostPort(addr) // every name below localhost is this machine
			if err != nil {
				return nil, err
			}
			return dialer.DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &browser{t, s, &http.Client{
		Transport: transport, Jar: jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// page is what a browser got.
type page struct {
	status int
	header http.Header
	body   string
	url    *url.URL // of the request
	to     *url.URL // of a redirect; nil if it is none
}

func (p page) String() string { return fmt.Sprintf("%s: %d to %v\n%s", p.url, p.status, p.to, p.body) }

// do makes a request of a person who opens a page, or sends a form.
func (b *browser) do(method, target string, form url.Values, header ...string) page {
	b.t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r, err := http.NewRequestWithContext(b.t.Context(), method, target, body)
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html,*/*")
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", r.URL.Scheme+"://"+r.URL.Host)
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := b.c.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	p := page{status: resp.StatusCode, header: resp.Header, body: string(text), url: resp.Request.URL}
	if to, err := resp.Location(); err == nil {
		p.to = to
	}
	return p
}

// follow goes on until there is a page.
func (b *browser) follow(p page) page {
	b.t.Helper()
	for range 10 {
		if p.to == nil {
			return p
		}
		p = b.do(http.MethodGet, p.to.String(), nil)
	}
	b.t.Fatalf("redirected too often: %v", p)
	return p
}

func (b *browser) open(target string) page { return b.follow(b.do(http.MethodGet, target, nil)) }

var hidden = regexp.MustCompile(`<input type="hidden" name="([^"]+)" value="([^"]*)">`)

// form returns the hidden fields of a page's form.
func (p page) form() url.Values {
	v := url.Values{}
	for _, m := range hidden.FindAllStringSubmatch(p.body, -1) {
		v.Set(m[1], strings.NewReplacer("&amp;", "&", "&#43;", "+").Replace(m[2]))
	}
	return v
}

// consent logs a user in at the login page and returns the answer to the consent.
func (b *browser) consent(p page, user string) page {
	b.t.Helper()
	if p.url.Path == "/v3/oauth2/login" {
		v := p.form()
		v.Set("username", user)
		v.Set("password", user)
		p = b.follow(b.do(http.MethodPost, p.url.Scheme+"://"+p.url.Host+"/v3/oauth2/login", v))
	}
	if p.url.Path != "/v3/oauth2/authorize" || p.status != http.StatusOK {
		b.t.Fatalf("got no question for consent: %v", p)
	}
	v := p.form()
	v.Set("approve", "true")
	return b.do(http.MethodPost, p.url.Scheme+"://"+p.url.Host+"/v3/oauth2/authorize", v)
}

// logIn opens an address as a user and returns the page where that ends.
func (b *browser) logIn(target, user string) page {
	b.t.Helper()
	return b.follow(b.consent(b.open(target), user))
}

// podURL is the address of a path of a pod.
func podURL(s *system.System, pod, path string) string {
	return "https://" + system.Host(pod) + ":" + strconv.Itoa(s.EdgePort) + path
}

// tenantURL is the address of a path of the tenant's API, by its own name.
func tenantURL(s *system.System, path string) string {
	return "http://dev.localhost:" + strconv.Itoa(s.APIPort) + path
}

// want returns an error unless a page has a status.
func want(p page, status int) error {
	if p.status != status {
		return fmt.Errorf("got %v, want %d", p, status)
	}
	return nil
}

// not returns an error if a page has a status.
func not(p page, status int) error {
	if p.status == status {
		return fmt.Errorf("got %v, want another status", p)
	}
	return nil
}
