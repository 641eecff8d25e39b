package leaks

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/tapis-project/podway/tests/parts"
)

func TestNothingLeaks(t *testing.T) {
	i := install(t)
	i.owner()
	i.visitors()
	shown := i.strangers()
	i.podway("backup", i.file("backup.tar.gz"))
	i.podway("doctor")
	for _, args := range [][]string{{"edges"}, {"routes"}, {"sessions"}, {"edges", "--json"}, {"routes", "--json"}} {
		i.podway(append([]string{"admin"}, args...)...)
	}

	i.c.absent(t, "the log of the control plane", i.control.Output())
	i.c.absent(t, "the log of the edge", i.edge.Output())
	i.c.absent(t, "what commands print", i.tape)
	i.c.absent(t, "what strangers are answered", shown)
	i.c.without("variable").absent(t, "what the owner is answered", i.ownersView())
	i.c.absent(t, "Redis", i.redisText())
	i.c.absent(t, "the command lines", commandLines(t))
	i.c.absent(t, "the metrics", i.fetch(http.DefaultClient, "http://127.0.0.1:"+strconv.Itoa(i.metrics)+"/metrics"))
	socket := parts.AdminClient(i.dir)
	for _, path := range []string{"/podway/status", "/podway/routes", "/podway/sessions", "/metrics", "/config/"} {
		i.c.absent(t, "the edge's admin API at "+path, i.fetch(socket, "http://edge"+path))
	}
	// A variable is what users see again: it is stored as they wrote it.
	stored := i.c.without("variable")
	stored.absent(t, "the backup", unpack(t, i.file("backup.tar.gz")))
	for _, name := range []string{"podway.db", "podway.db-wal"} {
		stored.absent(t, name, readFile(t, i.file(name)))
	}
	parts.Eventually(t, limit, func() error { _, err := os.Stat(i.file("routes.snap")); return err })
	i.c.absent(t, "the snapshot of the edge", readFile(t, i.file("routes.snap")))
	i.private()
}

// owner has a user do what makes and shows values.
func (i *installation) owner() {
	i.t.Helper()
	i.must(http.MethodPost, "/v3/pods/secrets", fmt.Sprintf(`{"secret_id":"dbpass","secret_value":%q}`, i.c.make("value of a secret")))
	i.must(http.MethodPost, "/v3/pods", fmt.Sprintf(`{"pod_id":"web","image":"podway/hello",
		"secret_map":{"DB":"${secret:dbpass}","KEY":"${pods:random:32}"},
		"environment_variables":{"PLAIN":%q,"DATABASE":"${pods:secrets:DB}","KEY":"${pods:secrets:KEY}"},
		"networking":{"default":{"protocol":"http","port":5000,"access_gate":true}}}`, i.c.make("variable")))
	parts.Eventually(i.t, limit, func() error {
		text, err := i.call(i.token, http.MethodGet, "/v3/pods/web", "")
		if err == nil && !strings.Contains(text, `"AVAILABLE"`) {
			err = errors.New("the pod is not available")
		}
		return err
	})
	i.c["generated password"] = i.field("/v3/pods/web/credentials", "", "user_password")
	i.c["secret of a link"] = i.field("/v3/pods/web/access-tokens", `{"label":"all","kind":"link"}`, "secret")
	i.must(http.MethodPost, "/v3/pods/web/access-tokens", fmt.Sprintf(`{"label":"some","kind":"password","password":%q}`, i.c.make("password of a share")))
	for _, path := range []string{"/v3/pods/secrets/dbpass/value", "/v3/pods/web/derived?resolve_secrets=true"} {
		if got := i.c.in(i.must(http.MethodGet, path, "")); len(got) == 0 {
			i.t.Errorf("%s: got no value, want it revealed", path)
		}
	}
	i.c["random value"] = i.derived("KEY")
	// What is wrong is answered, and logged, without the value.
	for _, body := range []string{
		fmt.Sprintf(`{"pod_id":"Bad","image":"podway/hello","environment_variables":{"A":%q},"nonsense":1}`, i.c["variable"]),
		fmt.Sprintf(`{"pod_id":"web2","image":"podway/hello","secret_map":{"A":%q}, `, i.c["value of a secret"]),
	} {
		if _, err := i.call(i.token, http.MethodPost, "/v3/pods", body); err == nil {
			i.t.Errorf("%.40s… was accepted", body)
		}
	}
	i.must(http.MethodGet, "/v3/pods/web/restart", "")
}

// field calls the API and returns a field of the result.
func (i *installation) field(path, body, name string) string {
	i.t.Helper()
	method := http.MethodGet
	if body != "" {
		method = http.MethodPost
	}
	text := i.must(method, path, body)
	var a struct{ Result map[string]any }
	if err := json.Unmarshal([]byte(text[strings.Index(text, "{"):]), &a); err != nil {
		i.t.Fatal(err)
	}
	value, _ := a.Result[name].(string)
	if value == "" {
		i.t.Fatalf("%s: got no %s", path, name)
	}
	return value
}

// derived returns a variable as the pod gets it.
func (i *installation) derived(variable string) string {
	i.t.Helper()
	text := i.must(http.MethodGet, "/v3/pods/web/derived?resolve_secrets=true", "")
	var a struct {
		Result struct {
			EnvironmentVariables map[string]string `json:"environment_variables"`
		}
	}
	if err := json.Unmarshal([]byte(text[strings.Index(text, "{"):]), &a); err != nil {
		i.t.Fatal(err)
	}
	value := a.Result.EnvironmentVariables[variable]
	if len(value) < 32 {
		i.t.Fatalf("got %d characters of %s, want 32", len(value), variable)
	}
	return value
}

// visitors come to the pod with everything that visitors have.
func (i *installation) visitors() {
	i.t.Helper()
	jar := &http.Client{
		Timeout: limit, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // whom it talks to is not the question
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(i.edgePort)))
			},
		},
	}
	site := "https://web.pods.localhost:" + strconv.Itoa(i.edgePort)
	var cookie string
	parts.Eventually(i.t, limit, func() error {
		form := url.Values{"t": {i.c["secret of a link"]}}
		req, err := http.NewRequestWithContext(i.t.Context(), http.MethodPost, site+"/.podway/share", strings.NewReader(form.Encode()))
		if err != nil {
			return err
		}
		req.Header = http.Header{"Origin": {site}, "Content-Type": {"application/x-www-form-urlencoded"}}
		resp, err := jar.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body)
		for _, c := range resp.Cookies() {
			if strings.HasPrefix(c.Name, "__Host-pods") {
				cookie, i.c["session of a visitor"] = c.Name+"="+c.Value, c.Value
			}
		}
		if cookie == "" {
			return fmt.Errorf("got %s and cookies %v, want a session", resp.Status, len(resp.Cookies()))
		}
		return nil
	})
	for _, path := range []string{"/", "/?token=" + i.c.make("token in a query"), "/.podway/share?t=" + i.c["secret of a link"], "/.podway/callback?code=" + i.c.make("code of a login")} {
		for _, auth := range []string{"Bearer " + i.token, "Basic " + basic("visitor", i.c.make("password of a visitor"))} {
			req, err := http.NewRequestWithContext(i.t.Context(), http.MethodGet, site+path, nil)
			if err != nil {
				i.t.Fatal(err)
			}
			req.Header.Set("Authorization", auth)
			req.Header.Set("X-Tapis-Token", i.token)
			req.Header.Set("Cookie", cookie+"; own="+i.c.make("cookie of the pod"))
			resp, err := jar.Do(req)
			if err != nil {
				i.t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	}
}

// strangers ask for everything, and get what is returned.
func (i *installation) strangers() string {
	var all strings.Builder
	for _, token := range []string{"", i.stranger, i.c.make("token that is none")} {
		for _, path := range paths() {
			text, _ := i.call(token, http.MethodGet, path, "") // most of it is refused
			fmt.Fprintln(&all, path, text)
		}
	}
	return all.String()
}

// ownersView is what the owner is answered without asking for a value.
func (i *installation) ownersView() string {
	var all strings.Builder
	for _, path := range paths() {
		if path != "/v3/pods/web/credentials" && path != "/v3/pods/secrets/dbpass/value" {
			all.WriteString(i.must(http.MethodGet, path, ""))
		}
	}
	return all.String()
}

func paths() []string {
	return []string{
		"/v3/pods", "/v3/pods/web", "/v3/pods/web/logs", "/v3/pods/web/derived", "/v3/pods/web/credentials", "/v3/pods/web/access-tokens",
		"/v3/pods/web/permissions", "/v3/pods/secrets", "/v3/pods/secrets/dbpass", "/v3/pods/secrets/dbpass/value", "/v3/pods/templates",
		"/v3/pods/images", "/v3/pods/volumes", "/v3/healthcheck",
	}
}

func (i *installation) fetch(c *http.Client, address string) string {
	i.t.Helper()
	req, err := http.NewRequestWithContext(i.t.Context(), http.MethodGet, address, nil)
	if err != nil {
		i.t.Fatal(err)
	}
	text, err := read(c.Do(req))
	if err != nil {
		i.t.Error(err)
	}
	return text
}

// redisText is all that is in Redis.
func (i *installation) redisText() string {
	i.t.Helper()
	var all strings.Builder
	keys, err := i.admin.Keys(i.t.Context(), "*").Result()
	if err != nil || len(keys) < 4 {
		i.t.Fatalf("got %q, %v, want the keys of Redis", keys, err)
	}
	for _, key := range keys {
		kind, err := i.admin.Type(i.t.Context(), key).Result()
		if err != nil {
			i.t.Fatal(err)
		}
		read := map[string][]any{
			"string": {"get", key}, "hash": {"hgetall", key}, "stream": {"xrange", key, "-", "+"}, "zset": {"zrange", key, 0, -1},
			"set": {"smembers", key}, "list": {"lrange", key, 0, -1}, "none": {"exists", key},
		}[kind]
		value, err := i.admin.Do(i.t.Context(), read...).Result()
		if err != nil && kind == "string" {
			value, err = "it has expired", nil
		}
		if err != nil {
			i.t.Fatalf("reading %s: %v", key, err)
		}
		fmt.Fprintln(&all, key, value)
	}
	return all.String()
}

// commandLines are those of all processes.
func commandLines(t *testing.T) string {
	t.Helper()
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	if len(files) == 0 {
		t.Skip("there is no /proc here")
	}
	var all strings.Builder
	for _, file := range files {
		line, _ := os.ReadFile(file) // it may have ended
		fmt.Fprintf(&all, "%s\n", strings.ReplaceAll(string(line), "\x00", " "))
	}
	return all.String()
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func unpack(t *testing.T, name string) string {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// private checks that nobody but their user can use any file or socket, those of local
// pods too, which hold variables in the clear. The group of the edge may read its
// Caddyfile.
func (i *installation) private() {
	i.t.Helper()
	sockets := 0
	err := filepath.WalkDir(i.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode()&fs.ModeSocket != 0 {
			sockets++
		}
		switch mode := info.Mode().Perm(); {
		case d.IsDir() && mode&0o026 != 0: // passing through is allowed to the servers of pods
			name, _ := filepath.Rel(i.dir, path)
			i.t.Errorf("the folder %s has mode %o", name, mode)
		case !d.IsDir() && info.Mode()&fs.ModeSymlink == 0 && mode&0o077 != 0 && d.Name() != "Caddyfile":
			name, _ := filepath.Rel(i.dir, path)
			i.t.Errorf("the file %s has mode %o", name, mode)
		}
		return nil
	})
	if err != nil {
		i.t.Error(err)
	}
	if sockets < 2 {
		i.t.Errorf("got %d sockets, want those of the admin API and of the hand-over", sockets)
	}
}
