package tapis_test

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tapis-project/podway/controlplane/internal/devtapis"
	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/controlplane/internal/tapis"
)

// newDev returns a Tapis with the tenants dev (the site's admin tenant), other,
// and spare. Its clock is the caller's, so that it may be shared by bubbles.
func newDev() *devtapis.Server {
	s, err := devtapis.New(devtapis.Options{
		BaseURL: "https://dev.tapis.test",
		Others: []devtapis.Tenant{
			{ID: "other", BaseURL: "https://other.example.org"},
			{ID: "spare", BaseURL: "https://spare.tapis.test:8443"},
		},
		Users: []devtapis.User{
			{Name: "testuser", Password: "testuser"},
			{Name: "testadmin", Password: "testadmin", Roles: []string{"pods_admin"}},
			{Name: "oldadmin", Password: "oldadmin", Roles: []string{"x", "PODS_ADMIN"}},
			{Name: "almost", Password: "almost", Roles: []string{"pods_admins", "Pods_Admin"}},
			{Name: "a/b?c", Password: "x", Roles: []string{"pods_admin"}},
		},
		Services: map[string]string{"pods": "service-secret"},
		Logger:   slog.New(slog.DiscardHandler),
	})
	if err != nil {
		panic(err)
	}
	return s
}

// Two installations with the same tenants and different keys: changing from one
// to the other is a rotation of all keys. Keys are slow to make, so all tests
// share them.
var (
	dev     = sync.OnceValue(newDev)
	rotated = sync.OnceValue(newDev)
)

// fakeNet stands between an Identity and a Tapis: it counts calls, and can be
// cut.
type fakeNet struct {
	mu    sync.Mutex
	to    http.RoundTripper
	cut   bool
	hold  chan struct{} // if set, calls wait until it is closed
	calls []*http.Request
}

func (n *fakeNet) RoundTrip(r *http.Request) (*http.Response, error) {
	n.mu.Lock()
	n.calls = append(n.calls, r)
	to, cut, hold := n.to, n.cut, n.hold
	n.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	if cut {
		return nil, errors.New("network is down")
	}
	return to.RoundTrip(r)
}

func (n *fakeNet) set(f func(*fakeNet)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f(n)
}

// count returns how many calls had a path that starts with prefix.
func (n *fakeNet) count(prefix string) int {
	return len(n.seen(prefix))
}

func (n *fakeNet) seen(prefix string) []*http.Request {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(n.calls), func(r *http.Request) bool {
		return !strings.HasPrefix(r.URL.Path, prefix)
	})
}

// newIdentity returns an Identity whose calls go to dev() through the net.
func newIdentity(t *testing.T, edit ...func(*tapis.Options)) (*tapis.Identity, *fakeNet) {
	t.Helper()
	n := &fakeNet{to: dev().InProcess()}
	o := tapis.Options{
		TenantsURL: "https://dev.tapis.test",
		Site:       "dev",
		Services:   []string{"workflows"},
		DevHosts:   []string{"localhost", "127.0.0.1", "::1", "172.17.0.1"},
		Transport:  n,
		Logger:     slog.New(slog.DiscardHandler),
	}
	for _, f := range edit {
		f(&o)
	}
	id, err := tapis.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return id, n
}

// at returns a credential of a token shown at the host of the tenant dev.
func at(token string) pods.Credential {
	return pods.Credential{Token: token, Host: "dev.tapis.test"}
}

// message returns the message that the maker of a request sees.
func message(err error) string {
	if e, ok := errors.AsType[*pods.Error](err); ok {
		return strings.Join(e.Messages, "; ")
	}
	return ""
}

// wantError checks code and message of an error; code "" wants none.
func wantError(t *testing.T, err error, code pods.Code, text string) {
	t.Helper()
	if got := pods.ErrorCode(err); got != code {
		t.Fatalf("got error %v with code %q, want code %q", err, got, code)
	}
	if got := message(err); got != text {
		t.Errorf("got message %q, want %q", got, text)
	}
}

// jsonTransport answers each path with a fixed body.
type jsonTransport map[string]string

func (j jsonTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	body, ok := j[r.URL.Path]
	status := http.StatusOK
	if !ok {
		status = http.StatusNotFound
	}
	return &http.Response{
		StatusCode: status, Header: http.Header{}, Request: r,
		Body: io.NopCloser(strings.NewReader(body)),
	}, nil
}
