package api

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/files"
	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/controlplane/internal/store/tempstore"
	"github.com/tapis-project/podway/tests/parts"
)

// noon is the time in which tests live.
var noon = time.Date(2025, 7, 21, 12, 0, 0, 723_000_000, time.UTC)

// fixture is an API with a real store and everything else fake.
type fixture struct {
	t       *testing.T
	store   Store
	files   *files.Keeper
	cluster *fakeCluster
	login   *fakeLogin
	deps    Deps
	log     *parts.Output
	handler http.Handler // nil: made of deps for each call

	mu    sync.Mutex
	woken []pods.Key
}

// newFixture returns an API of the tenants that fakeIdentity knows. adjust may
// change what it is made of.
func newFixture(t *testing.T, adjust ...func(*Deps)) *fixture {
	t.Helper()
	f := &fixture{t: t, store: tempstore.New(t), cluster: newFakeCluster(), login: new(fakeLogin), log: new(parts.Output)}
	settings := pods.DefaultSettings()
	for _, image := range []string{"podway/hello", "postgres"} {
		name, err := pods.CanonicalImage(image)
		if err != nil {
			t.Fatal(err)
		}
		settings.ImageAllowList = append(settings.ImageAllowList, name)
	}
	f.files = newFiles(t, f.store)
	f.deps = Deps{
		Store: f.store, Files: f.files, Cluster: f.cluster, Identity: fakeIdentity{}, Login: f.login, Settings: settings, Version: "test",
		Now:    func() time.Time { return noon },
		Logger: slog.New(slog.NewTextHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Wake: func(k pods.Key) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.woken = append(f.woken, k)
		},
	}
	for _, a := range adjust {
		a(&f.deps)
	}
	return f
}

// settle keeps one handler for the calls to come, which makes many of them
// cheaper: deps must not change any more.
func (f *fixture) settle() { f.handler = New(f.deps) }

func (f *fixture) wakes() []pods.Key {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.woken)
}

// response is what a client gets.
type response struct {
	status int
	header http.Header
	body   string
}

// envelope decodes the body; it fails the test if that is not an envelope.
func (r response) envelope(t *testing.T) wireEnvelope {
	t.Helper()
	if got := r.header.Get("Content-Type"); got != "application/json" {
		t.Fatalf("got Content-Type %q, want %q", got, "application/json")
	}
	dec := json.NewDecoder(strings.NewReader(r.body))
	dec.DisallowUnknownFields()
	var e wireEnvelope
	if err := dec.Decode(&e); err != nil {
		t.Fatalf("not an envelope: %v\n%s", err, r.body)
	}
	if e.Metadata == nil || e.Version != "test" || (e.Status != success && e.Status != failure) {
		t.Fatalf("not a whole envelope: %s", r.body)
	}
	return e
}

// wireEnvelope is the envelope as a client decodes it.
type wireEnvelope struct {
	Message  json.RawMessage            `json:"message"`
	Metadata map[string]json.RawMessage `json:"metadata"`
	Result   json.RawMessage            `json:"result"`
	Status   string                     `json:"status"`
	Version  string                     `json:"version"`
}

// text returns the message, or the messages in lines.
func (e wireEnvelope) text() string {
	var one string
	var many []string
	if json.Unmarshal(e.Message, &one) == nil {
		return one
	}
	if json.Unmarshal(e.Message, &many) == nil {
		return strings.Join(many, "\n")
	}
	return "not a message: " + string(e.Message)
}

// call makes a request as a user: a token that fakeIdentity knows, "" for none.
// Further arguments are header names and values.
func (f *fixture) call(method, path, token, body string, header ...string) response {
	f.t.Helper()
	r := httptest.NewRequestWithContext(f.t.Context(), method, path, strings.NewReader(body))
	r.Host = "dev.example.org"
	if token != "" {
		r.Header.Set("X-Tapis-Token", token)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	handler := f.handler
	if handler == nil {
		handler = New(f.deps)
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	resp := response{status: w.Code, header: w.Header(), body: w.Body.String()}
	checkSpec(f.t, method, path, resp)
	return resp
}

// want calls and fails the test unless the status is the wanted one.
func (f *fixture) want(status int, method, path, token, body string, header ...string) response {
	f.t.Helper()
	r := f.call(method, path, token, body, header...)
	if r.status != status {
		f.t.Fatalf("%s %s as %q: got status %d, want %d: %s", method, path, token, r.status, status, r.body)
	}
	return r
}

// stored is the pod that put stores, before adjustments: off, stopped, and
// owned by the user "owner" of the tenant "dev".
func stored(id pods.ID) pods.Pod {
	return pods.Pod{
		Key: pods.Key{Tenant: "dev", ID: id}, UID: "uid-of-" + string(id), Site: "dev", Owner: "owner",
		Definition:  pods.Definition{Image: pods.Set("podway/hello")},
		Requested:   pods.Off,
		Permissions: pods.Permissions{"owner": pods.LevelAdmin},
		CreatedAt:   noon, UpdatedAt: noon,
		State: pods.State{Status: pods.StatusStopped, Since: noon},
	}
}

// put stores a pod.
func (f *fixture) put(id pods.ID, adjust ...func(*pods.Pod)) pods.Pod {
	f.t.Helper()
	p := stored(id)
	for _, a := range adjust {
		a(&p)
	}
	c := pods.Credentials{
		AdminUsername: "podsservice", AdminPassword: "adminsecret",
		UserUsername: string(id), UserPassword: "usersecret",
	}
	if err := f.store.CreatePod(f.t.Context(), p, c, pods.Event{At: noon, Text: "Pod object created by 'owner'"}); err != nil {
		f.t.Fatal(err)
	}
	return f.pod(p.Key)
}

// putTemplate stores a template of tenant dev that the user "owner" owns, before
// adjustments.
func (f *fixture) putTemplate(id string, adjust ...func(*pods.Template)) pods.Template {
	f.t.Helper()
	t := pods.Template{
		ID: id, UID: "uid-of-" + id, Tenant: "dev", Owner: "owner", Metatags: []string{},
		Permissions: pods.Permissions{"owner": pods.LevelAdmin}, CreatedAt: noon, UpdatedAt: noon,
	}
	for _, a := range adjust {
		a(&t)
	}
	if err := f.store.CreateTemplate(f.t.Context(), t); err != nil {
		f.t.Fatal(err)
	}
	return t
}

// builtIn makes a template one that every tenant has.
func builtIn(t *pods.Template) {
	t.Tenant, t.Permissions = "", pods.Permissions{"**": pods.LevelRead}
}

// putTag stores a version of a tag and returns the reference to it.
func (f *fixture) putTag(id, tag string, d pods.Definition) string {
	f.t.Helper()
	stored, err := f.store.AddTemplateTag(f.t.Context(), "uid-of-"+id, pods.TemplateTag{
		TemplateID: id, Tag: tag, Definition: d, AddedBy: "owner", CommitMessage: "because", CreatedAt: noon,
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return stored.Ref().String()
}

// pod reads a pod from the store.
func (f *fixture) pod(k pods.Key) pods.Pod {
	f.t.Helper()
	p, err := f.store.Pod(f.t.Context(), k)
	if err != nil {
		f.t.Fatal(err)
	}
	return p
}

// dump renders everything the store holds.
func (f *fixture) dump() string {
	f.t.Helper()
	list, err := f.store.Pods(f.t.Context(), pods.PodQuery{})
	if err != nil {
		f.t.Fatal(err)
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetIndent("", " ")
	for _, p := range list {
		c, err1 := f.store.Credentials(f.t.Context(), p.Key)
		e, err2 := f.store.Events(f.t.Context(), p.Key)
		if err := cmp.Or(err1, err2, enc.Encode(map[string]any{"pod": p, "credentials": c, "events": e})); err != nil {
			f.t.Fatal(err)
		}
	}
	return b.String()
}

// lines returns the texts of a pod's action log.
func (f *fixture) lines(k pods.Key) []string {
	f.t.Helper()
	events, err := f.store.Events(f.t.Context(), k)
	if err != nil {
		f.t.Fatal(err)
	}
	var texts []string
	for _, e := range events {
		texts = append(texts, e.Text)
	}
	return texts
}

// fakeIdentity knows the token "x" as the token of user x of tenant dev, and
// "x@t" as that of user x of tenant t. The users whose name starts with
// "admin" hold the admin role. Some tokens are broken; their names say how.
type fakeIdentity struct{}

var brokenTokens = map[string]*pods.Error{
	"":               pods.Errorf(pods.Unauthorized, "No Tapis access token found in the request."),
	"expired":        pods.Errorf(pods.Unauthorized, "Invalid Tapis token."),
	"foreign_key":    pods.Errorf(pods.Unauthorized, "Invalid Tapis token."),
	"malformed":      pods.Errorf(pods.Unauthorized, "Could not parse the Tapis access token."),
	"unknown_tenant": pods.Errorf(pods.Unauthorized, "Unable to process Tapis token; unexpected tenant_id."),
	"wrong_host":     pods.Errorf(pods.Forbidden, "The tenant_id claim in the token, other does not match the URL tenant, dev."),
	"keys_away":      pods.Errorf(pods.Unavailable, "The tenant's keys can't be had."),
}

func (fakeIdentity) Authenticate(_ context.Context, c pods.Credential) (pods.Principal, error) {
	if err := brokenTokens[c.Token]; err != nil {
		return pods.Principal{}, err
	}
	service, isService := strings.CutPrefix(c.Token, "service:")
	if !isService && c.OnBehalfOfUser+c.OnBehalfOfTenant != "" {
		return pods.Principal{}, pods.Errorf(pods.Unauthorized, "Invalid request; cannot set OBO headers with a user token.")
	}
	if isService {
		return pods.Principal{User: c.OnBehalfOfUser, Tenant: fakeTenant(c.OnBehalfOfTenant), Service: service}, nil
	}
	user, tenant, ok := strings.Cut(c.Token, "@")
	if !ok {
		tenant = "dev"
	}
	return pods.Principal{User: user, Tenant: fakeTenant(tenant)}, nil
}

func (fakeIdentity) Admin(_ context.Context, p pods.Principal) bool {
	return strings.HasPrefix(p.User, "admin")
}

func (fakeIdentity) Tenant(_ context.Context, id string) (pods.Tenant, error) {
	return fakeTenant(id), nil
}

func fakeTenant(id string) pods.Tenant {
	return pods.Tenant{ID: id, Site: "dev", BaseURL: "https://" + id + ".example.org"}
}

// fakeCluster runs nothing. It admits what its fields let it.
type fakeCluster struct {
	mu       sync.Mutex
	observed map[pods.Key]pods.Observation

	admit func(pods.Workload) error
	logs  func(ctx context.Context, k pods.Key, follow bool) (io.ReadCloser, error)
	exec  func(ctx context.Context, argv []string, stdout, stderr io.Writer) (int, error)
}

func newFakeCluster() *fakeCluster {
	return &fakeCluster{
		observed: map[pods.Key]pods.Observation{},
		admit:    func(pods.Workload) error { return nil },
		logs: func(context.Context, pods.Key, bool) (io.ReadCloser, error) {
			return nil, pods.Errorf(pods.NotFound, "no container")
		},
		exec: func(context.Context, []string, io.Writer, io.Writer) (int, error) { return 0, nil },
	}
}

// run makes the cluster show a pod as running.
func (c *fakeCluster) run(p pods.Pod) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.observed[p.Key] = pods.Observation{Key: p.Key, UID: p.UID, Present: true, Phase: pods.PhaseRunning}
}

func (c *fakeCluster) Admit(_ context.Context, w pods.Workload) error    { return c.admit(w) }
func (c *fakeCluster) Apply(context.Context, pods.Workload) error        { return nil }
func (c *fakeCluster) Remove(context.Context, pods.Key) error            { return nil }
func (c *fakeCluster) Purge(context.Context, pods.Key) error             { return nil }
func (c *fakeCluster) List(context.Context) ([]pods.Observation, error)  { return nil, nil }
func (c *fakeCluster) Watch(ctx context.Context, _ func(pods.Key)) error { <-ctx.Done(); return nil }

func (c *fakeCluster) Observe(_ context.Context, k pods.Key) (pods.Observation, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.observed[k]
	o.Key = k
	return o, nil
}

func (c *fakeCluster) Logs(ctx context.Context, k pods.Key, follow bool) (io.ReadCloser, error) {
	return c.logs(ctx, k, follow)
}

func (c *fakeCluster) Exec(ctx context.Context, _ pods.Key, argv []string, stdout, stderr io.Writer) (int, error) {
	return c.exec(ctx, argv, stdout, stderr)
}
