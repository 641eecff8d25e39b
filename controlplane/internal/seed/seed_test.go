package seed

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/controlplane/internal/store"
	"github.com/tapis-project/podway/controlplane/internal/store/tempstore"
)

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

func load(t *testing.T, s Store, o Options) Report {
	t.Helper()
	o.Now = func() time.Time { return noon }
	report, err := Load(t.Context(), s, o)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func TestLoadAddsEverythingOnce(t *testing.T) {
	s := tempstore.New(t)
	first := load(t, s, Options{})
	if len(first.Images) < 11 || len(first.Templates) < 11 || len(first.Tags) < 16 || len(first.Skipped) > 0 {
		t.Errorf("got %+v from the first run, want all that is built in", first)
	}
	if slices.Contains(first.Templates, "hello") {
		t.Error("got the template hello, which is for development only")
	}
	if again := load(t, s, Options{}); !reflect.DeepEqual(again, Report{}) {
		t.Errorf("got %+v from the second run, want nothing", again)
	}
	if dev := load(t, s, Options{Dev: true}); !slices.Equal(dev.Templates, []string{"hello"}) {
		t.Errorf("got %+v for development, want hello in addition", dev)
	}
}

func TestLoadLeavesAloneWhatOthersAdded(t *testing.T) {
	s := tempstore.New(t)
	own := pods.Template{
		ID: "mongo", UID: "own", Tenant: "dev", Owner: "ann", Permissions: pods.Permissions{"ann": pods.LevelAdmin},
		Metatags: []string{}, CreatedAt: noon, UpdatedAt: noon,
	}
	if err := s.CreateTemplate(t.Context(), own); err != nil {
		t.Fatal(err)
	}
	image := pods.AllowedImage{Image: "library/postgres", Tenants: []string{"dev"}, AddedBy: "ann", CreatedAt: noon}
	if _, err := s.AddImages(t.Context(), []pods.AllowedImage{image}, false); err != nil {
		t.Fatal(err)
	}
	report := load(t, s, Options{})
	if !slices.Equal(report.Skipped, []string{"mongo"}) || slices.Contains(report.Images, "postgres") {
		t.Errorf("got %+v, want mongo skipped and postgres left alone", report)
	}
	if tags, err := s.TemplateTags(t.Context(), "mongo"); len(tags) > 0 || err != nil {
		t.Errorf("got tags %v and %v on the template of somebody else", tags, err)
	}
	if got, err := s.Image(t.Context(), "postgres"); err != nil || !slices.Equal(got.Tenants, []string{"dev"}) {
		t.Errorf("got %+v and %v, want the image as it was added", got, err)
	}
}

func TestLoadAddsAVersionOnlyWhenWhatIsBuiltInChanged(t *testing.T) {
	s := tempstore.New(t)
	load(t, s, Options{})
	mongo, err := s.Template(t.Context(), "mongo")
	if err != nil {
		t.Fatal(err)
	}
	add := func(author string) {
		t.Helper()
		_, err := s.AddTemplateTag(t.Context(), mongo.UID, pods.TemplateTag{
			TemplateID: "mongo", Tag: "8", AddedBy: author, CreatedAt: noon,
			Definition: pods.Definition{Image: pods.Set("mongo:8.1")},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	add("admin")
	if report := load(t, s, Options{}); len(report.Tags) > 0 {
		t.Errorf("got %v although an admin has added a version, want nothing", report.Tags)
	}
	add(Author) // as an earlier release did
	report := load(t, s, Options{})
	if len(report.Tags) != 1 || !strings.HasPrefix(report.Tags[0], "mongo:8@") {
		t.Errorf("got %v, want a new version of the tag", report.Tags)
	}
}

// answers are what pods have to give to some templates.
var answers = map[string]map[string]string{"bookstack": {"DB_PASSWORD": "secret"}}

// TestTemplatesMakePods makes a pod of every version that is built in.
func TestTemplatesMakePods(t *testing.T) {
	s := tempstore.New(t)
	load(t, s, Options{Dev: true})
	templates, err := Templates(true)
	if err != nil {
		t.Fatal(err)
	}
	settings := pods.DefaultSettings()
	settings.ImageAllowList = []string{"docker.io/podway/hello"}
	who := pods.Principal{User: "ann", Tenant: pods.Tenant{ID: "dev"}}
	for _, built := range templates {
		stored, err := s.Template(t.Context(), built.ID)
		if err != nil {
			t.Fatal(err)
		}
		if built.Tags == nil {
			t.Errorf("%s has no tags", built.ID)
		}
		if stored.Level(who) != pods.LevelRead {
			t.Errorf("%s: got level %v for everyone, want READ", built.ID, stored.Level(who))
		}
		for _, tag := range built.Tags {
			t.Run(built.ID+":"+tag.Tag, func(t *testing.T) {
				own := pods.Definition{Template: pods.Set(built.ID + ":" + tag.Tag)}
				if a := answers[built.ID]; a != nil {
					own.SecretMap = pods.Set(a)
				}
				checkPod(t, s, settings, own)
			})
		}
	}
}

func checkPod(t *testing.T, s *store.Store, settings pods.Settings, own pods.Definition) {
	t.Helper()
	chain, err := pods.TemplateChain(t.Context(), s, own)
	if err != nil {
		t.Fatal(err)
	}
	e, err := pods.Resolve("mypod", "dev.example.org", settings, own, pods.Definitions(chain)...)
	if err != nil {
		t.Fatal(err)
	}
	if err := pods.AllowImage(t.Context(), s, "dev", e.Image, settings); err != nil {
		t.Error(err)
	}
	if err := pods.CheckApproval(e, pods.Permissions{"ann": pods.LevelAdmin}); err != nil {
		t.Error(err)
	}
	if err := pods.CheckNames("dev", "dev", "dev.example.org", "mypod", e.Networking); err != nil {
		t.Error(err)
	}
	p := pods.Pod{Key: pods.Key{Tenant: "dev", ID: "mypod"}, UID: "uid", Site: "dev", Owner: "ann", Definition: own}
	c := pods.Credentials{AdminUsername: "podsservice", AdminPassword: "adminpw", UserUsername: "mypod", UserPassword: "userpw"}
	w := pods.BuildWorkload(p, e, c)
	if w.Image == "" || len(w.Ports) == 0 {
		t.Errorf("got workload %+v, want an image and ports", w)
	}
	for name, value := range w.Env {
		if strings.Contains(value, "TAPIS_") {
			t.Errorf("%s: got %q, want its placeholders filled in", name, value)
		}
	}
	if _, err := pods.BaseChain(t.Context(), s, pods.Definition{Template: own.Template}); err != nil {
		t.Errorf("no template of a user can build on it: %v", err)
	}
	if strings.Contains(e.Image, "neo4j") {
		checkNeo4j(t, e, w)
	}
}

// checkNeo4j checks what people rely on: their user, and an address that clients
// can use from outside.
func checkNeo4j(t *testing.T, e pods.Effective, w pods.Workload) {
	t.Helper()
	const user = "CREATE USER mypod IF NOT EXISTS SET PLAINTEXT PASSWORD 'userpw' SET PASSWORD CHANGE NOT REQUIRED"
	if got := w.Env["NEO4J_apoc_initializer_system_2"]; got != user {
		t.Errorf("got initializer %q, want %q", got, user)
	}
	if got := e.SecretMap["POD_HOST"]; got != "${pods:url}" {
		t.Errorf("got host %q, want the pod's", got)
	}
	if got := w.Env["NEO4J_server_bolt_advertised__address"]; got != "${pods:secrets:POD_HOST}:443" {
		t.Errorf("got advertised address %q, want the pod's host at port 443", got)
	}
	if got := w.Ports["default"]; got.Protocol != pods.NetTCP || got.Number != 7687 {
		t.Errorf("got port %+v, want tcp 7687 without TLS", got)
	}
}

// failingStore fails to add tags.
type failingStore struct{ *store.Store }

func (failingStore) AddTemplateTag(context.Context, string, pods.TemplateTag) (pods.TemplateTag, error) {
	return pods.TemplateTag{}, context.DeadlineExceeded
}

func TestLoadCanGoOnAfterAFailure(t *testing.T) {
	s := tempstore.New(t)
	if _, err := Load(t.Context(), failingStore{s}, Options{}); err == nil {
		t.Fatal("got no error from a store that fails")
	}
	if report := load(t, s, Options{}); len(report.Tags) < 16 {
		t.Errorf("got %v, want the tags that were missing", report.Tags)
	}
}
