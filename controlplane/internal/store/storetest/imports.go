package storetest

import (
	"testing"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// ImportStore is what [RunImports] needs.
type ImportStore interface {
	pods.Store
	pods.TemplateStore
	pods.ImportStore
}

// RunImports checks that a store keeps every promise of pods.ImportStore. open is
// as that of [Run].
func RunImports(t *testing.T, open func(t *testing.T) ImportStore) {
	for _, tt := range []struct {
		name string
		run  func(s importSuite)
	}{
		{"a pod comes with its credentials, events and logs, or not at all", importPodWhole},
		{"a template comes with its tags and their stamps, and again with those that are missing", importTemplateTwice},
		{"another template of the same id stays as it is", importTakenTemplate},
	} {
		t.Run(tt.name, func(t *testing.T) {
			store := open(t)
			tt.run(importSuite{&suite{T: t, Store: store}, store})
		})
	}
}

type importSuite struct {
	*suite
	imports ImportStore
}

func importPodWhole(s importSuite) {
	p := newPod("web")
	imported := pods.ImportedPod{
		Pod: p, Credentials: newCredentials("web"), Events: []pods.Event{event("created"), event("a"), event("a"), event("b")}, Logs: []byte("old output"),
	}
	if err := s.imports.ImportPod(s.Context(), imported); err != nil {
		s.Fatal(err)
	}
	p.Version, p.State.Version = 1, 1
	wantEqual(s, "pod", s.read(p.Key), p)
	s.wantTexts(p.Key, "created", "a", "b")
	c, err := s.Credentials(s.Context(), p.Key)
	if err != nil {
		s.Fatal(err)
	}
	wantEqual(s, "credentials", c, imported.Credentials)
	logs, err := s.Logs(s.Context(), p.Key)
	if err != nil {
		s.Fatal(err)
	}
	wantEqual(s, "logs", string(logs), "old output")
	s.unchanged(p.Key, func() {
		imported.Logs, imported.Events = []byte("other"), []pods.Event{event("other")}
		if err := s.imports.ImportPod(s.Context(), imported); pods.ErrorCode(err) != pods.Exists {
			s.Errorf("got %v, want that it exists", err)
		}
	})
}

func importedTag(tag string, at time.Time) pods.TemplateTag {
	return pods.TemplateTag{
		TemplateID: "mydb", Tag: tag, Stamp: at, CreatedAt: t0, CommitMessage: "as it was", AddedBy: "ann",
		Definition: pods.Definition{Image: pods.Set("postgres")},
	}
}

func (s importSuite) template(t pods.Template, added int, tags ...pods.TemplateTag) {
	s.Helper()
	got, err := s.imports.ImportTemplate(s.Context(), t, tags)
	if err != nil {
		s.Fatal(err)
	}
	wantEqual(s, "versions added", got, added)
}

func importTemplateTwice(s importSuite) {
	template := pods.Template{
		ID: "mydb", UID: "uid", Tenant: tenant, Owner: "ann", Metatags: []string{"db"}, Permissions: pods.Permissions{"ann": pods.LevelAdmin},
		Version: 1, CreatedAt: t0, UpdatedAt: t0,
	}
	// The stamps are in no order, and not those of CreatedAt.
	newer, older := importedTag("latest", t0.Truncate(time.Second).Add(time.Hour)), importedTag("latest", t0.Truncate(time.Second).Add(-time.Hour))
	s.template(template, 1, newer)
	s.template(template, 1, newer, older)
	s.template(template, 0, newer, older)
	got, err := s.imports.Template(s.Context(), "mydb")
	if err != nil {
		s.Fatal(err)
	}
	wantEqual(s, "template", got, template)
	tags, err := s.imports.TemplateTags(s.Context(), "mydb")
	if err != nil {
		s.Fatal(err)
	}
	wantEqual(s, "tags", tags, []pods.TemplateTag{newer, older})
}

func importTakenTemplate(s importSuite) {
	other := pods.Template{ID: "mydb", UID: "other", Owner: "bob", Metatags: []string{}, Permissions: pods.Permissions{}, CreatedAt: t0, UpdatedAt: t0}
	if err := s.imports.CreateTemplate(s.Context(), other); err != nil {
		s.Fatal(err)
	}
	other.UID = "uid"
	if _, err := s.imports.ImportTemplate(s.Context(), other, []pods.TemplateTag{importedTag("latest", t0)}); pods.ErrorCode(err) != pods.Exists {
		s.Errorf("got %v, want that it exists", err)
	}
	tags, err := s.imports.TemplateTags(s.Context(), "mydb")
	if err != nil || len(tags) > 0 {
		s.Errorf("got %v and %v, want no tags", tags, err)
	}
}
