package blackbox

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tapis-project/podway/tests/parts"
	"github.com/tapis-project/podway/tests/system"
)

// badCase is a case of the table that the API's own tests use too; the file says
// what the fields mean.
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

// Bad input is refused with the documented status and a message that names the
// field and the fix, and changes nothing.
func TestBadInputIsRefused(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(parts.Repo(), "controlplane", "internal", "api", "testdata", "badinput.json"))
	if err != nil {
		t.Fatal(err)
	}
	var table struct{ Setup, Cases []badCase }
	if err := json.Unmarshal(raw, &table); err != nil {
		t.Fatal(err)
	}
	if len(table.Cases) < 40 {
		t.Fatalf("the table has %d cases, want at least 40", len(table.Cases))
	}

	s := prepare(t)
	s.StartControl()
	tokens := badTokens(t, s)
	for _, c := range table.Setup {
		if e := s.send(t, c, tokens); e.Code != http.StatusOK {
			t.Fatalf("setting up: got %d: %s", e.Code, e.Message)
		}
	}
	before := s.desired(tokens)
	for _, c := range table.Cases {
		t.Run(c.Name, func(t *testing.T) {
			e := s.send(t, c, tokens)
			if e.Code != c.Status || e.Status != "error" {
				t.Errorf("got %d %q, want %d \"error\"", e.Code, e.Status, c.Status)
			}
			for _, part := range c.Message {
				// As the people who read it see it, whatever JSON escapes.
				if !strings.Contains(messageText(e.Message), part) {
					t.Errorf("got message %s, want it to contain %q", e.Message, part)
				}
			}
			if after := s.desired(tokens); after != before {
				t.Fatalf("what is stored changed:\nbefore: %s\nafter:  %s", before, after)
			}
		})
	}
}

// messageText returns the message, or the list of messages joined by lines.
func messageText(raw json.RawMessage) string {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		return one
	}
	var many []string
	_ = json.Unmarshal(raw, &many)
	return strings.Join(many, "\n")
}

// badTokens returns the tokens the table names.
func badTokens(t *testing.T, s *podway) map[string]string {
	t.Helper()
	good := s.login("testuser").Token
	claims := jwt.MapClaims{}
	if _, _, err := jwt.NewParser().ParseUnverified(good, claims); err != nil {
		t.Fatal(err)
	}
	sign := func(key *rsa.PrivateKey) string {
		token, err := jwt.NewWithClaims(jwt.SigningMethodRS256, claims).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	foreign, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	tokens := map[string]string{
		"testuser": good, "otheruser": s.login("otheruser").Token,
		"none": "", "malformed": "not.a-token", "foreign_key": sign(foreign),
	}

	// An expired token has a good signature: by the key of the development Tapis.
	pem, err := os.ReadFile(filepath.Join(s.Dir, "tapis", "dev.key"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := jwt.ParseRSAPrivateKeyFromPEM(pem)
	if err != nil {
		t.Fatal(err)
	}
	claims["exp"] = time.Now().Add(-time.Minute).Unix()
	tokens["expired"] = sign(key)
	return tokens
}

var repeated = regexp.MustCompile(`\{\{(.)\*(\d+)\}\}`)

// expand replaces {{c*n}} by n times the character c.
func expand(s string) string {
	return repeated.ReplaceAllStringFunc(s, func(m string) string {
		p := repeated.FindStringSubmatch(m)
		n, _ := strconv.Atoi(p[2])
		return strings.Repeat(p[1], n)
	})
}

// send makes the request of a case.
func (s *podway) send(t *testing.T, c badCase, tokens map[string]string) system.Answer {
	t.Helper()
	method, path, as := c.Method, c.Path, c.As
	if method == "" {
		method = http.MethodPost
	}
	if path == "" {
		path = "/v3/pods"
	}
	if as == "" {
		as = "testuser"
	}
	token, ok := tokens[as]
	if !ok {
		t.Fatalf("the table names an unknown token %q", as)
	}
	req, err := http.NewRequest(method, s.URL(path), strings.NewReader(expand(string(c.Body)+c.Raw)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("X-Tapis-Token", token)
	}
	for name, value := range c.Headers {
		req.Header.Del(name)
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got := resp.Header.Get("Content-Type"); got != "application/json" {
		t.Errorf("got Content-Type %q, want exactly application/json", got)
	}
	e := system.Answer{Code: resp.StatusCode}
	if err := json.NewDecoder(resp.Body).Decode(&e); err != nil {
		t.Errorf("the answer is no envelope: %v", err)
	}
	return e
}

// desired returns everything users asked for, as the API tells it: pods without
// what the machinery writes, and permissions.
func (s *podway) desired(tokens map[string]string) string {
	s.t.Helper()
	var all []string
	for _, name := range []string{"testuser", "otheruser"} {
		u := s.WithToken(tokens[name])
		var list []map[string]any
		u.Call(http.MethodGet, "/v3/pods", "").Into(s.t, &list)
		for _, p := range list {
			for _, machine := range []string{"status", "status_container", "networking_live", "start_instance_ts", "time_to_stop_ts"} {
				delete(p, machine)
			}
			b, err := json.Marshal(p)
			if err != nil {
				s.t.Fatal(err)
			}
			all = append(all, name+" "+string(b))
			if e, err := u.Try(http.MethodGet, fmt.Sprintf("/v3/pods/%s/permissions", p["pod_id"]), ""); err == nil {
				all = append(all, string(e.Result))
			}
		}
	}
	return strings.Join(all, "\n")
}
