package system

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tapis-project/podway/tests/parts"
)

// User calls the API as somebody.
type User struct {
	Token string // "": nobody

	t testing.TB
	s *System
}

// Login logs a user of the development Tapis in: testuser, otheruser or
// testadmin.
func (s *System) Login(name string) User {
	s.t.Helper()
	u := User{t: s.t, s: s}
	a := u.Call(http.MethodPost, "/v3/oauth2/tokens", fmt.Sprintf(`{"username":%q,"password":%q,"grant_type":"password"}`, name, name))
	var token struct {
		AccessToken struct {
			AccessToken string `json:"access_token"`
		} `json:"access_token"`
	}
	a.Into(s.t, &token)
	u.Token = token.AccessToken.AccessToken
	return u
}

// WithToken returns the user whose token this is.
func (s *System) WithToken(token string) User { return User{Token: token, t: s.t, s: s} }

// Answer is what the API answers.
type Answer struct {
	Code   int         `json:"-"`
	Header http.Header `json:"-"`

	Message  json.RawMessage `json:"message"`
	Metadata map[string]any  `json:"metadata"`
	Result   json.RawMessage `json:"result"`
	Status   string          `json:"status"`
	Version  string          `json:"version"`
}

// Into decodes the result.
func (a Answer) Into(t testing.TB, v any) {
	t.Helper()
	if err := json.Unmarshal(a.Result, v); err != nil {
		t.Fatalf("decoding result %s: %v", a.Result, err)
	}
}

// callWithin bounds a call of the API, on a machine that has much to do.
const callWithin = time.Minute

// Try calls the API and returns the answer, whatever it is. It may be called
// from any goroutine and, unlike what uses the test's context, from its clean-up.
func (u User) Try(method, path, body string) (Answer, error) {
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(u.t.Context()), callWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, u.s.URL(path), r)
	if err != nil {
		return Answer{}, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if u.Token != "" {
		req.Header.Set("X-Tapis-Token", u.Token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer resp.Body.Close()
	a := Answer{Code: resp.StatusCode, Header: resp.Header}
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
		return a, fmt.Errorf("%s %s: %s, not an envelope: %w", method, path, resp.Status, err)
	}
	return a, nil
}

// Call calls the API and fails the test unless it succeeds.
func (u User) Call(method, path, body string) Answer {
	u.t.Helper()
	a, err := u.Try(method, path, body)
	if err != nil {
		u.t.Fatal(err)
	}
	if a.Code != http.StatusOK || a.Status != "success" {
		u.t.Fatalf("%s %s: %d %s %s", method, path, a.Code, a.Status, a.Message)
	}
	return a
}

// WaitStatus waits until a pod has a status.
func (u User) WaitStatus(pod, want string) {
	u.t.Helper()
	parts.Eventually(u.t, 2*time.Minute, func() error {
		var p struct {
			Status          string `json:"status"`
			StatusContainer struct {
				Message string `json:"message"`
			} `json:"status_container"`
		}
		u.Call(http.MethodGet, "/v3/pods/"+pod, "").Into(u.t, &p)
		if p.Status != want {
			return fmt.Errorf("pod %s is %s (%s), want %s", pod, p.Status, p.StatusContainer.Message, want)
		}
		return nil
	})
}
