package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tapis-project/podway/podctl/client"
)

// fakeService answers by method and path; what it does not know is a 404.
type fakeService struct {
	answers map[string]string // "GET /v3/pods": result, as JSON
	later   map[string]string // the same, for all calls but the first
	calls   []string
}

func (f *fakeService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	call := r.Method + " " + r.URL.RequestURI()
	body, _ := io.ReadAll(r.Body)
	again := slices.Contains(f.calls, call)
	f.calls = append(f.calls, strings.TrimSpace(call+" "+string(body)))
	w.Header().Set("Content-Type", "application/json")
	result, ok := f.answers[call]
	if r, changed := f.later[call]; again && changed {
		result = r
	}
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"message":"there is no `+call+`","status":"error"}`)
		return
	}
	_, _ = io.WriteString(w, `{"message":"done","metadata":{},"result":`+result+`,"status":"success"}`)
}

// terminalOf is one person at a terminal: a place for the login, and a service.
type terminalOf struct {
	t   *testing.T
	env map[string]string
}

func newTerminal(t *testing.T, f *fakeService) terminalOf {
	t.Helper()
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	return terminalOf{t: t, env: map[string]string{
		"PODCTL_CONFIG": filepath.Join(t.TempDir(), "podctl", "login.json"), "PODCTL_URL": s.URL, "PODCTL_TOKEN": "tok",
	}}
}

// run runs a command and returns what it wrote.
func (p terminalOf) run(input string, args ...string) (out, errOut string, err error) {
	p.t.Helper()
	var o, e bytes.Buffer
	c := &cli{in: strings.NewReader(input), out: &o, err: &e, getenv: func(name string) string { return p.env[name] }}
	cmd := c.command()
	cmd.SetArgs(args)
	err = cmd.ExecuteContext(p.t.Context())
	if err != nil {
		c.complain(err)
	}
	return o.String(), e.String(), err
}

func TestLoginIsKeptForItsOwnerOnly(t *testing.T) {
	f := &fakeService{answers: map[string]string{
		"POST /v3/oauth2/tokens": `{"access_token":{"access_token":"fresh","expires_at":"2099-01-01T00:00:00Z"}}`,
		"GET /v3/pods":           `[]`,
	}}
	p := newTerminal(t, f)
	delete(p.env, "PODCTL_TOKEN")
	if _, errOut, err := p.run("", "list"); err == nil || !strings.Contains(errOut, "nobody is logged in") {
		t.Errorf("got %q, %v before the login", errOut, err)
	}
	out, _, err := p.run("secret\n", "login", "--user", "jane", "--password-stdin", "--edge-port", "8443")
	if err != nil || !strings.Contains(out, "Logged in to "+p.env["PODCTL_URL"]+" as jane until") {
		t.Fatalf("got %q, %v", out, err)
	}
	if want := `POST /v3/oauth2/tokens {"grant_type":"password","password":"secret","username":"jane"}`; !slices.Contains(f.calls, want) {
		t.Errorf("got calls %q, want %q among them", f.calls, want)
	}
	file := p.env["PODCTL_CONFIG"]
	for path, want := range map[string]os.FileMode{file: 0o600, filepath.Dir(file): 0o700} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("got mode %v of %s, %v, want %v", info.Mode().Perm(), path, err, want)
		}
	}
	b, _ := os.ReadFile(file)
	if strings.Contains(string(b), "secret") || !strings.Contains(string(b), "fresh") {
		t.Errorf("got login %s", b)
	}
	delete(p.env, "PODCTL_URL")
	if _, errOut, err := p.run("", "list"); err != nil {
		t.Errorf("after the login: %v %s", err, errOut)
	}
	if _, _, err := p.run("", "logout"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v for the login after the logout", err)
	}
}

func TestLoginRefusesToSendPasswordsInTheClear(t *testing.T) {
	p := newTerminal(t, &fakeService{})
	for address, want := range map[string]string{
		"http://tacc.tapis.io":     "in the clear",
		"tacc.tapis.io":            "no base URL",
		"https://tacc.tapis.io/v3": "no base URL",
		"ftp://tacc.tapis.io":      "no base URL",
	} {
		_, errOut, err := p.run("x\n", "login", "--url", address, "--user", "jane", "--password-stdin")
		if err == nil || !strings.Contains(errOut, want) {
			t.Errorf("%s: got %q, %v, want %q", address, errOut, err, want)
		}
	}
}

func TestExpiredLoginsAreTold(t *testing.T) {
	p := newTerminal(t, &fakeService{})
	delete(p.env, "PODCTL_TOKEN")
	c := &cli{getenv: func(name string) string { return p.env[name] }}
	if err := c.saveSession(session{URL: p.env["PODCTL_URL"], User: "jane", Token: "old", ExpiresAt: time.Now().Add(-time.Minute)}); err != nil {
		t.Fatal(err)
	}
	if _, errOut, err := p.run("", "list"); err == nil || !strings.Contains(errOut, "the login of jane has expired") {
		t.Errorf("got %q, %v", errOut, err)
	}
}

const onePod = `{"pod_id":"web","image":"podway/hello","status":"AVAILABLE","status_requested":"ON","networking":{"default":{"protocol":"http","port":5000,"url":"web.pods.example.org"}},"start_instance_ts":"2025-07-21T17:35:06.723000","later":"field"}`

func TestListAndGet(t *testing.T) {
	p := newTerminal(t, &fakeService{answers: map[string]string{
		"GET /v3/pods": "[" + onePod + `,{"pod_id":"db","template":"postgres","status":"STOPPED\u001b[31m"}]`, "GET /v3/pods/web": onePod,
	}})
	out, _, err := p.run("", "list")
	want := "POD  STATUS        STARTED              RUNS          ADDRESS\n" +
		"db   STOPPED [31m                       postgres      \n" +
		"web  AVAILABLE     2025-07-21 17:35:06  podway/hello  web.pods.example.org\n"
	if err != nil || out != want {
		t.Errorf("got %v\n%s\nwant\n%s", err, out, want)
	}
	out, _, err = p.run("", "get", "web", "--json")
	var pod map[string]any
	if err != nil || json.Unmarshal([]byte(out), &pod) != nil || pod["later"] != "field" {
		t.Errorf("got %v\n%s\nwant all that the service says", err, out)
	}
	if out, _, err = p.run("", "get", "web"); err != nil || !strings.Contains(out, "http, port 5000, web.pods.example.org") {
		t.Errorf("got %v\n%s", err, out)
	}
}

func TestErrorsOfTheServiceAreTold(t *testing.T) {
	p := newTerminal(t, &fakeService{})
	if _, errOut, err := p.run("", "get", "none"); err == nil || errOut != "podctl: there is no GET /v3/pods/none\n" {
		t.Errorf("got %q, %v", errOut, err)
	}
	_, errOut, err := p.run("", "delete", "one", "two")
	if code, ok := errors.AsType[exitError](err); !ok || code != 1 {
		t.Errorf("got %v, want exit code 1", err)
	}
	for _, id := range []string{"one", "two"} {
		if !strings.Contains(errOut, "podctl: "+id+": there is no DELETE /v3/pods/"+id) {
			t.Errorf("got %q, want it to tell of %s", errOut, id)
		}
	}
}

func TestCreateSendsWhatFlagsSay(t *testing.T) {
	for _, c := range []struct {
		name  string
		input string
		args  []string
		want  string // sent; or, if it is no object, the complaint
	}{
		{
			name: "an image", args: []string{"web", "--image", "podway/hello"},
			want: `{"pod_id":"web","image":"podway/hello"}`,
		},
		{
			name: "all of it",
			args: []string{
				"web", "--template", "t:x", "--description", "d", "--env", "A=b=c", "--network", "default=http:80", "--network", "db=postgres:5432",
				"--volume", "data:/data:sub", "--command", "run", "--argument", "it", "--time-to-stop", "-1", "--off",
			},
			want: `{"pod_id":"web","template":"t:x","description":"d","command":["run"],"arguments":["it"],"environment_variables":{"A":"b=c"},` +
				`"status_requested":"OFF","networking":{"db":{"protocol":"postgres","port":5432},"default":{"protocol":"http","port":80}},` +
				`"volume_mounts":{"data":{"type":"tapisvolume","mount_path":"/data","sub_path":"sub"}},"time_to_stop_default":-1}`,
		},
		{
			name: "a file with another name", input: `{"pod_id":"x","resources":{"cpu_limit":300}}`, args: []string{"web", "-f", "-"},
			want: `{"pod_id":"web","resources":{"cpu_limit":300}}`,
		},
		{name: "no name", args: []string{"--image", "a"}, want: "say how the pod shall be called"},
		{name: "a variable without value", args: []string{"web", "--env", "A"}, want: `--env "A" is not NAME=value`},
		{name: "a network without port", args: []string{"web", "--network", "default=http"}, want: "is not KEY=PROTOCOL:PORT"},
		{name: "a mount without path", args: []string{"web", "--volume", "data"}, want: "is not VOLUME:/path"},
		{name: "a file that is none", input: `[]`, args: []string{"-f", "-"}, want: "is no JSON object"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &fakeService{answers: map[string]string{"POST /v3/pods": onePod}}
			out, errOut, err := newTerminal(t, f).run(c.input, append([]string{"create"}, c.args...)...)
			if !strings.HasPrefix(c.want, "{") {
				if err == nil || !strings.Contains(errOut, c.want) || len(f.calls) > 0 {
					t.Errorf("got %q, %v and calls %q, want %q", errOut, err, f.calls, c.want)
				}
				return
			}
			if err != nil || out != "web AVAILABLE\n" {
				t.Errorf("got %q, %v", out, err)
			}
			if want := "POST /v3/pods " + c.want; len(f.calls) != 1 || f.calls[0] != want {
				t.Errorf("got  %q\nwant %q", f.calls, want)
			}
		})
	}
}

func TestExecEndsWithTheCodeOfTheCommand(t *testing.T) {
	for _, c := range []struct {
		name, result string
		code         int
		out, errOut  string
	}{
		{"a good end", `{"stdout":"hi\n","stderr":"","exit_code":0,"success":true}`, 0, "hi\n", ""},
		{"a bad end", `{"stdout":"","stderr":"oh\n","exit_code":3,"success":false}`, 3, "", "oh\n"},
		{"no end", `{"stdout":"so far","stderr":"","exit_code":null,"success":"Timeout after 1 seconds."}`, 124, "so far", "podctl: Timeout after 1 seconds.\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &fakeService{answers: map[string]string{"POST /v3/pods/web/exec": `{"execution_results":[` + c.result + `]}`}}
			var out, errOut bytes.Buffer
			p := newTerminal(t, f)
			app := &cli{in: strings.NewReader(""), out: &out, err: &errOut, getenv: func(n string) string { return p.env[n] }}
			cmd := app.command()
			cmd.SetArgs([]string{"exec", "web", "--timeout", "1s", "--", "ls", "-l"})
			err := cmd.ExecuteContext(t.Context())
			code, _ := errors.AsType[exitError](err)
			if int(code) != c.code || (err != nil) != (c.code != 0) || out.String() != c.out || errOut.String() != c.errOut {
				t.Errorf("got %v, %q, %q", err, out.String(), errOut.String())
			}
			if want := `POST /v3/pods/web/exec {"commands":[["ls","-l"]],"total_timeout":1,"command_timeout":1,"fail_on_non_success":false}`; f.calls[0] != want {
				t.Errorf("got %s, want %s", f.calls[0], want)
			}
		})
	}
}

func TestConnectStrings(t *testing.T) {
	pod := func(protocol, image, template string) client.Pod {
		return client.Pod{PodID: "db", Image: image, Template: template, Networking: map[string]client.Networking{
			"default": {Protocol: protocol, URL: "db.pods.example.org"},
		}}
	}
	local := client.Pod{PodID: "db", Networking: map[string]client.Networking{"default": {Protocol: "postgres", URL: "db.pods.dev.localhost"}}}
	web := pod("http", "podway/hello", "")
	for _, c := range []struct {
		name, form string
		pod        client.Pod
		password   string
		port       int
		ca         string
		want       string
	}{
		{name: "a web page", form: "url", pod: web, want: "https://db.pods.example.org"},
		{name: "a web page at another port", form: "url", pod: web, port: 8443, want: "https://db.pods.example.org:8443"},
		{name: "a web socket", form: "websocket", pod: web, want: "wss://db.pods.example.org"},
		{name: "curl", form: "curl", pod: web, ca: "/my files/ca.crt", want: "curl --cacert '/my files/ca.crt' https://db.pods.example.org/"},
		{
			name: "Postgres", form: "url", pod: pod("postgres", "postgres", ""),
			want: "postgresql://db@db.pods.example.org:443/postgres?sslmode=verify-full&sslrootcert=system",
		},
		{
			name: "Postgres on this machine", form: "url", pod: local, password: "p/w", port: 8443, ca: "/ca.crt",
			want: "postgresql://db:p%2Fw@db.pods.dev.localhost:8443/postgres?hostaddr=127.0.0.1&sslmode=verify-full&sslrootcert=/ca.crt",
		},
		{
			name: "psql", form: "psql", pod: local, password: "it's", ca: "/ca.crt",
			want: `host=db.pods.dev.localhost hostaddr=127.0.0.1 port=443 user=db password='it\'s' dbname=postgres sslmode=verify-full sslrootcert=/ca.crt`,
		},
		{
			name: "JDBC", form: "jdbc", pod: pod("postgres", "", ""), password: "pw",
			want: "jdbc:postgresql://db.pods.example.org:443/postgres?user=db&password=pw&sslmode=verify-full",
		},
		{name: "Neo4j by its template", form: "url", pod: pod("tcp", "", "neo4j:latest@2025-01-30-17:14:14"), want: "bolt+s://db.pods.example.org:443"},
		{
			name: "cypher-shell", form: "cypher-shell", pod: pod("tcp", "neo4j:5", ""), password: "pw",
			want: "cypher-shell -a bolt+s://db.pods.example.org:443 -u db -p pw",
		},
		{
			name: "MongoDB", form: "url", pod: pod("tcp", "mongo:8", ""), password: "pw",
			want: "mongodb://db:pw@db.pods.example.org:443/?tls=true&directConnection=true",
		},
		{
			name: "Redis", form: "redis-cli", pod: pod("tcp", "redis", ""),
			want: "redis-cli --tls --sni db.pods.example.org -h db.pods.example.org -p 443",
		},
		{name: "anything else", form: "url", pod: pod("tcp", "me/service", ""), want: "tls://db.pods.example.org:443"},
		{
			name: "by hand", form: "openssl", pod: pod("tcp", "me/service", ""),
			want: "openssl s_client -quiet -connect db.pods.example.org:443 -servername db.pods.example.org",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := endpoint{Port: max(c.port, 443), user: "db", password: c.password, database: "postgres", ca: c.ca}
			list, err := choose(c.pod, e, connect{})
			if err != nil || len(list) != 1 {
				t.Fatalf("got %v, %v", list, err)
			}
			if got := dialects[list[0].Protocol][c.form](list[0]); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestConnectStringChoosesEntries(t *testing.T) {
	derived := `{"pod_id":"web","image":"a","networking":{` +
		`"default":{"protocol":"http","port":1,"url":"web.x"},"inside":{"protocol":"local_only","port":2,"url":""},"raw":{"protocol":"tcp","port":3,"url":"web-raw.x"}}}`
	f := &fakeService{answers: map[string]string{
		"GET /v3/pods/web/derived": derived, "GET /v3/pods/web/credentials": `{"user_username":"web","user_password":"pw"}`,
	}}
	for _, c := range []struct {
		args []string
		want string // of standard output, or of the complaint
	}{
		{nil, "https://web.x\ntls://web-raw.x:443\n"},
		{[]string{"--network", "raw"}, "tls://web-raw.x:443\n"},
		{[]string{"--network", "raw", "--protocol", "mongodb", "--password"}, "mongodb://web:pw@web-raw.x:443/?tls=true&directConnection=true\n"},
		{[]string{"--network", "none"}, `has no networking entry "none"; it has default, inside, raw`},
		{[]string{"--network", "inside"}, "inside the cluster only"},
		{[]string{"--protocol", "smtp"}, `protocol "smtp" is not known`},
		{[]string{"--form", "jdbc"}, `there is no form "jdbc" for http; there are curl, url, websocket`},
	} {
		out, errOut, err := newTerminal(t, f).run("", append([]string{"connect-string", "web"}, c.args...)...)
		if got := out + errOut; (err == nil) != strings.HasSuffix(c.want, "\n") || !strings.Contains(got, c.want) {
			t.Errorf("%q: got %q, %v, want %q", c.args, got, err, c.want)
		}
	}
	out, _, err := newTerminal(t, f).run("", "connect-string", "web", "--network", "default", "--json")
	if want := `"curl": "curl https://web.x/"`; err != nil || !strings.Contains(out, want) {
		t.Errorf("got %v\n%s\nwant %s", err, out, want)
	}
}

func TestWaitsUntilAPodAnswers(t *testing.T) {
	f := &fakeService{
		answers: map[string]string{"POST /v3/pods": `{"pod_id":"web"}`, "GET /v3/pods/web": onePod},
		later:   map[string]string{"GET /v3/pods/web": strings.Replace(onePod, "{", `{"networking_live":true,`, 1)},
	}
	if out, errOut, err := newTerminal(t, f).run("", "create", "web", "--image", "a", "--wait"); err != nil || out != "web AVAILABLE\n" {
		t.Errorf("got %q, %q, %v", out, errOut, err)
	}
	if got := f.calls[1:]; len(got) != 3 { // two looks, and one to print
		t.Errorf("got calls %q, want three", got)
	}
	f = &fakeService{answers: f.answers}
	if out, _, err := newTerminal(t, f).run("", "create", "web", "--image", "a", "--wait", "--timeout", "50ms"); err == nil ||
		!strings.Contains(err.Error(), "AVAILABLE, but does not answer after 50ms") {
		t.Errorf("got %q, %v", out, err)
	}
	f.answers["GET /v3/pods/web/stop"] = `{"pod_id":"web"}`
	if out, _, err := newTerminal(t, f).run("", "stop", "web", "--wait", "--timeout", "50ms"); err == nil ||
		!strings.Contains(err.Error(), "still AVAILABLE after 50ms") {
		t.Errorf("stopping: got %q, %v", out, err)
	}
}

func TestWatchWritesWhatChanges(t *testing.T) {
	lists := make(chan string, 8)
	for _, status := range []string{"REQUESTED", "REQUESTED", "AVAILABLE"} {
		lists <- `[{"pod_id":"web","status":"` + status + `"}]`
	}
	ctx, cancel := context.WithCancel(t.Context())
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		select {
		case list := <-lists:
			_, _ = io.WriteString(w, `{"result":`+list+`,"status":"success"}`)
		default:
			cancel() // all was seen
		}
	}))
	defer s.Close()
	var out, errOut bytes.Buffer
	env := map[string]string{"PODCTL_URL": s.URL, "PODCTL_TOKEN": "tok", "PODCTL_CONFIG": filepath.Join(t.TempDir(), "none")}
	c := &cli{in: strings.NewReader(""), out: &out, err: &errOut, getenv: func(n string) string { return env[n] }}
	cmd := c.command()
	cmd.SetArgs([]string{"list", "--watch", "--every", "1ms", "--json"})
	if err := cmd.ExecuteContext(ctx); err != nil {
		t.Fatal(err)
	}
	want := "[{\"pod_id\":\"web\",\"status\":\"REQUESTED\"}]\n[{\"pod_id\":\"web\",\"status\":\"AVAILABLE\"}]\n"
	if out.String() != want {
		t.Errorf("got  %q\nwant %q", out.String(), want)
	}
}

func TestProgress(t *testing.T) {
	now := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	var out bytes.Buffer
	p := startProgress(&out, "a\x1bb", 4<<20, func() time.Time { return now })
	r := p.reader(io.MultiReader(bytes.NewReader(make([]byte, 1<<20)), bytes.NewReader(make([]byte, 3<<20))))
	buf := make([]byte, 1<<20)
	if _, err := io.ReadFull(r, buf); err != nil {
		t.Fatal(err)
	}
	now = now.Add(2 * time.Second)
	if _, err := io.ReadFull(r, buf); err != nil {
		t.Fatal(err)
	}
	if want := "a b  [############............]  50%  2.0 MiB of 4.0 MiB  1.0 MiB/s"; !strings.HasSuffix(out.String(), want) {
		t.Errorf("got %q, want %q", out.String(), want)
	}
	p.end()
	p.end()
	if got := strings.Count(out.String(), "\n"); got != 1 {
		t.Errorf("got %d line ends, want 1", got)
	}
}

func TestSizesForPeople(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1 << 20: "1.0 MiB", 1536 << 20: "1.5 GiB", 5 << 40: "5.0 TiB", 5 << 50: "5120.0 TiB"} {
		if got := bytesText(n); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
}

func TestCompletionOffersPods(t *testing.T) {
	p := newTerminal(t, &fakeService{answers: map[string]string{"GET /v3/pods": "[" + onePod + "]"}})
	out, _, err := p.run("", "__complete", "stop", "")
	if err != nil || !strings.HasPrefix(out, "web\n") {
		t.Errorf("got %q, %v", out, err)
	}
	if out, _, err = p.run("", "completion", "bash"); err != nil || !strings.Contains(out, "podctl") {
		t.Errorf("got %d bytes, %v", len(out), err)
	}
}

func TestDownloadsAreWholeOrNotThere(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", "10")
		if strings.HasSuffix(r.URL.Path, "whole.txt") {
			_, _ = io.WriteString(w, "0123456789")
			return
		}
		_, _ = io.WriteString(w, "012")
	}))
	defer s.Close()
	p := terminalOf{t: t, env: map[string]string{"PODCTL_URL": s.URL, "PODCTL_TOKEN": "tok", "PODCTL_CONFIG": filepath.Join(t.TempDir(), "none")}}
	dir := t.TempDir()
	whole, half := filepath.Join(dir, "w"), filepath.Join(dir, "h")
	if out, _, err := p.run("", "volumes", "download", "data", "a/whole.txt", "-o", whole); err != nil || out != "data:a/whole.txt 10 B\n" {
		t.Errorf("got %q, %v", out, err)
	}
	if b, err := os.ReadFile(whole); err != nil || string(b) != "0123456789" {
		t.Errorf("got %q, %v", b, err)
	}
	if _, _, err := p.run("", "volumes", "download", "data", "half.txt", "-o", half); err == nil {
		t.Error("got no error for half a file")
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("got %v, want the whole file only", entries)
	}
}
