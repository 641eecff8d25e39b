package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// TemplateStore is what [RunTemplates] needs: pods build on templates.
type TemplateStore interface {
	pods.Store
	pods.TemplateStore
}

// RunTemplates checks that a store keeps every promise of pods.TemplateStore.
// open is as that of [Run].
func RunTemplates(t *testing.T, open func(t *testing.T) TemplateStore) {
	for _, group := range []struct {
		name  string
		tests []templateTest
	}{
		{"CreateTemplate", createTemplateTests},
		{"Templates", templatesTests},
		{"UpdateTemplate", updateTemplateTests},
		{"DeleteTemplate", deleteTemplateTests},
		{"AddTemplateTag", addTagTests},
		{"TemplateTag", tagTests},
		{"TemplateTags", tagsTests},
		{"DeleteTemplateTags", deleteTagsTests},
		{"every method", everyTemplateTests},
	} {
		t.Run(group.name, func(t *testing.T) {
			for _, tt := range group.tests {
				t.Run(tt.name, func(t *testing.T) { tt.run(&templateSuite{T: t, TemplateStore: open(t)}) })
			}
		})
	}
}

// templateTest is one promise, named as a sentence.
type templateTest struct {
	name string
	run  func(s *templateSuite)
}

// templateSuite is a test with the store it runs on.
type templateSuite struct {
	*testing.T
	TemplateStore
}

// newTemplate returns a template as the API makes it.
func newTemplate(id string) pods.Template {
	return pods.Template{
		ID: id, UID: "uid-of-" + id, Tenant: tenant, Owner: "ann",
		Description: "first", Metatags: []string{"b", "a"}, ArchiveMessage: "old",
		Permissions: pods.Permissions{"ann": pods.LevelAdmin}, CreatedAt: t0, UpdatedAt: t0,
	}
}

// create stores newTemplate(id), changed by the functions, and returns it as
// stored.
func (s *templateSuite) create(id string, change ...func(*pods.Template)) pods.Template {
	s.Helper()
	t := newTemplate(id)
	for _, f := range change {
		f(&t)
	}
	if err := s.CreateTemplate(s.Context(), t); err != nil {
		s.Fatalf("creating %s: %v", id, err)
	}
	return s.read(id)
}

func (s *templateSuite) read(id string) pods.Template {
	s.Helper()
	t, err := s.Template(s.Context(), id)
	if err != nil {
		s.Fatalf("reading %s: %v", id, err)
	}
	return t
}

// tag adds a version of a tag at t0 plus some time, whose definition builds on
// base ("" for none), and returns it as stored.
func (s *templateSuite) tag(id, name string, after time.Duration, base string) pods.TemplateTag {
	s.Helper()
	tag := pods.TemplateTag{
		TemplateID: id, Tag: name, CommitMessage: "because", Description: "how", ArchiveMessage: "old", AddedBy: "bob", CreatedAt: t0.Add(after),
		Definition: pods.Definition{Image: pods.Set("podway/hello"), Command: pods.Null[[]string]()},
	}
	if base != "" {
		tag.Definition.Template = pods.Set(base)
	}
	stored, err := s.AddTemplateTag(s.Context(), "uid-of-"+id, tag)
	if err != nil {
		s.Fatalf("adding tag %s:%s: %v", id, name, err)
	}
	return stored
}

// pod stores a pod that builds on a reference.
func (s *templateSuite) pod(id pods.ID, ref string) pods.Pod {
	s.Helper()
	p := newPod(id)
	p.Definition.Template = pods.Set(ref)
	if err := s.CreatePod(s.Context(), p, newCredentials(id), event("created")); err != nil {
		s.Fatalf("creating pod %s: %v", id, err)
	}
	p.Version = 1
	return p
}

// refs returns the references to all versions of some templates.
func (s *templateSuite) refs(ids ...string) []string {
	s.Helper()
	tags, err := s.TemplateTags(s.Context(), ids...)
	if err != nil {
		s.Fatal(err)
	}
	var refs []string
	for _, t := range tags {
		refs = append(refs, t.Ref().String())
	}
	return refs
}

func (s *templateSuite) wantCode(err error, want pods.Code) {
	s.Helper()
	if got := pods.ErrorCode(err); got != want {
		s.Fatalf("got code %q (%v), want %q", got, err, want)
	}
}

func ref(s string) pods.TemplateRef {
	r, err := pods.ParseTemplateRef(s)
	if err != nil {
		panic(err) // a mistake in this file
	}
	return r
}

var createTemplateTests = []templateTest{
	{"a created template has version 1 and everything that was given", func(s *templateSuite) {
		want := newTemplate("neo4j")
		want.Version = 7
		if err := s.CreateTemplate(s.Context(), want); err != nil {
			s.Fatal(err)
		}
		want.Version = 1
		wantEqual(s, "template", s.read("neo4j"), want)
	}},
	{"an id is taken at the whole site, and nothing is written then", func(s *templateSuite) {
		want := s.create("neo4j")
		other := newTemplate("neo4j")
		other.UID, other.Tenant, other.Permissions = "other", "other", pods.Permissions{"bob": pods.LevelAdmin}
		s.wantCode(s.CreateTemplate(s.Context(), other), pods.Exists)
		wantEqual(s, "template", s.read("neo4j"), want)
	}},
	{"a template with nothing set can be read", func(s *templateSuite) {
		got := s.create("neo4j", func(t *pods.Template) {
			*t = pods.Template{ID: t.ID, UID: t.UID, Metatags: []string{}, CreatedAt: t0, UpdatedAt: t0}
		})
		want := pods.Template{
			ID: "neo4j", UID: "uid-of-neo4j", Metatags: []string{}, Permissions: pods.Permissions{},
			Version: 1, CreatedAt: t0, UpdatedAt: t0,
		}
		wantEqual(s, "template", got, want)
	}},
	{"a user name that is no text is Invalid", func(s *templateSuite) {
		t := newTemplate("neo4j")
		t.Permissions["a\x00b"] = pods.LevelRead
		s.wantCode(s.CreateTemplate(s.Context(), t), pods.Invalid)
	}},
}

// queryTemplates are the templates that templateQueries select from, as
// tenant/id.
var queryTemplates = map[string]pods.Permissions{
	"a/t1": {"ann": pods.LevelAdmin},
	"a/t2": {"ann": pods.LevelAdmin, "bob": pods.LevelRead},
	"a/t3": {"ann": pods.LevelAdmin, "bob": pods.LevelNone},
	"a/t4": {"cat": pods.LevelAdmin, "*": pods.LevelRead},
	"a/t5": {"cat": pods.LevelAdmin, "TENANT": pods.LevelRead},
	"a/t6": {"cat": pods.LevelAdmin, "**": pods.LevelRead},
	"a/t7": {"cat": pods.LevelAdmin, "tenant.b": pods.LevelRead},
	"a/t8": {"cat": pods.LevelAdmin, "**": pods.LevelNone, "tenant.b": pods.LevelNone},
	"b/t9": {"bob": pods.LevelAdmin},
	"/ta":  {"**": pods.LevelRead},
	"/tb":  {"bob": pods.LevelAdmin, "*": pods.LevelRead},
}

var templateQueries = []struct {
	name string
	q    pods.TemplateQuery
	want []string
}{
	{"the zero query selects every template", pods.TemplateQuery{}, []string{"t1", "t2", "t3", "t4", "t5", "t6", "t7", "t8", "t9", "ta", "tb"}},
	{"a user sees what names them, everyone, or every tenant", pods.TemplateQuery{Tenant: "a", User: "bob"}, []string{"t2", "t4", "t5", "t6", "ta"}},
	{"a user of the same name in another tenant sees what is shared with that", pods.TemplateQuery{Tenant: "b", User: "ann"}, []string{"t6", "t7", "ta"}},
	{"a user of the other tenant sees their own as well", pods.TemplateQuery{Tenant: "b", User: "bob"}, []string{"t6", "t7", "t9", "ta"}},
	{"a tenant has its own and what is shared with it", pods.TemplateQuery{Tenant: "b"}, []string{"t6", "t7", "t9", "ta"}},
	{"a tenant without templates has what every tenant has", pods.TemplateQuery{Tenant: "c", User: "cat"}, []string{"t6", "ta"}},
	{"a user who is called like a tenant is not that tenant", pods.TemplateQuery{Tenant: "a", User: "tenant.b"}, []string{"t4", "t5", "t6", "ta"}},
	{"a user who is called like an entry for all is not all", pods.TemplateQuery{Tenant: "c", User: "**"}, []string{"t6", "ta"}},
	{"a name that is no text sees nothing", pods.TemplateQuery{Tenant: "a", User: "\x00"}, nil},
}

var templatesTests = []templateTest{
	{"a query selects by tenant and user, in the order of ids", func(s *templateSuite) {
		s.createQueryTemplates()
		for _, c := range templateQueries {
			s.Run(c.name, func(t *testing.T) {
				list, err := s.Templates(t.Context(), c.q)
				if err != nil {
					t.Fatal(err)
				}
				var ids []string
				for _, x := range list {
					ids = append(ids, x.ID)
				}
				wantEqual(t, "templates", ids, c.want)
			})
		}
	}},
	{"a user sees exactly the templates they hold READ on", func(s *templateSuite) {
		s.createQueryTemplates()
		all, err := s.Templates(s.Context(), pods.TemplateQuery{})
		if err != nil {
			s.Fatal(err)
		}
		for _, tenant := range []string{"a", "b", "c"} {
			for _, user := range []string{"ann", "bob", "cat", "dan", "*", "TENANT", "tenant.b", "**"} {
				who := pods.Principal{User: user, Tenant: pods.Tenant{ID: tenant}}
				want := slices.DeleteFunc(slices.Clone(all), func(t pods.Template) bool { return !t.Level(who).Includes(pods.LevelRead) })
				got, err := s.Templates(s.Context(), pods.TemplateQuery{Tenant: tenant, User: user})
				if err != nil {
					s.Fatal(err)
				}
				wantEqual(s, "templates of "+user+" in "+tenant, got, want)
			}
		}
	}},
}

func (s *templateSuite) createQueryTemplates() {
	s.Helper()
	for k, permissions := range queryTemplates {
		at := slices.Index([]byte(k), '/')
		s.create(k[at+1:], func(t *pods.Template) { t.Tenant, t.Permissions = k[:at], permissions })
	}
}

var updateTemplateTests = []templateTest{
	{"an update writes what users may change and returns the template as stored", func(s *templateSuite) {
		t := s.create("neo4j", func(t *pods.Template) { t.Permissions["bob"] = pods.LevelRead })
		want := t
		want.Description, want.Metatags, want.ArchiveMessage = "second", []string{}, ""
		want.Permissions = pods.Permissions{"ann": pods.LevelUser, "**": pods.LevelRead}
		want.UpdatedAt = t0.Add(time.Hour)
		given := want
		given.Owner, given.Tenant, given.CreatedAt = "other", "other", t0.Add(time.Hour)
		got, err := s.UpdateTemplate(s.Context(), given)
		if err != nil {
			s.Fatal(err)
		}
		want.Version = 2
		wantEqual(s, "returned template", got, want)
		wantEqual(s, "stored template", s.read("neo4j"), want)
	}},
	{"an update of a template that was written meanwhile is a Conflict and writes nothing", func(s *templateSuite) {
		t := s.create("neo4j")
		want, err := s.UpdateTemplate(s.Context(), t)
		if err != nil {
			s.Fatal(err)
		}
		t.Description, t.Permissions = "late", pods.Permissions{"late": pods.LevelAdmin}
		_, err = s.UpdateTemplate(s.Context(), t)
		s.wantCode(err, pods.Conflict)
		wantEqual(s, "template", s.read("neo4j"), want)
	}},
}

var deleteTemplateTests = []templateTest{
	{"a deleted template is gone with its tags, and others stay", func(s *templateSuite) {
		s.create("neo4j")
		s.create("mongo")
		s.tag("neo4j", "latest", 0, "")
		s.tag("mongo", "latest", 0, "")
		uses, err := s.DeleteTemplate(s.Context(), "neo4j", "uid-of-neo4j")
		if err != nil || !uses.None() {
			s.Fatalf("got %+v and %v, want no uses", uses, err)
		}
		_, err = s.Template(s.Context(), "neo4j")
		s.wantCode(err, pods.NotFound)
		_, err = s.TemplateTag(s.Context(), ref("neo4j"))
		s.wantCode(err, pods.NotFound)
		wantEqual(s, "tags", s.refs("neo4j", "mongo"), []string{"mongo:latest@2026-03-04-05:06:07"})
	}},
	{"the id can be used again, with nothing left of the old template", func(s *templateSuite) {
		s.create("neo4j", func(t *pods.Template) { t.Permissions["bob"] = pods.LevelRead })
		s.tag("neo4j", "latest", 0, "")
		if _, err := s.DeleteTemplate(s.Context(), "neo4j", "uid-of-neo4j"); err != nil {
			s.Fatal(err)
		}
		got := s.create("neo4j", func(t *pods.Template) { t.UID = "new" })
		wantEqual(s, "permissions", got.Permissions, pods.Permissions{"ann": pods.LevelAdmin})
		wantEqual(s, "tags", s.refs("neo4j"), []string(nil))
	}},
	{"what builds on it is counted, its own tags are not", func(s *templateSuite) {
		s.create("base")
		s.create("other")
		first := s.tag("base", "latest", 0, "").Ref().String()
		second := s.tag("base", "small", 0, first).Ref().String()
		s.tag("other", "latest", 0, second)
		s.tag("other", "latest", time.Hour, "")
		s.pod("web", first)
		s.pod("db", second)
		s.pod("loose", "base:latest@2020-01-01-00:00:00")
		uses, err := s.DeleteTemplate(s.Context(), "base", "uid-of-base")
		if err != nil {
			s.Fatal(err)
		}
		wantEqual(s, "uses", uses, pods.TemplateUses{Pods: 2, Tags: 1})
	}},
}

var addTagTests = []templateTest{
	{"an added tag has the second of its creation as its stamp, and everything that was given", func(s *templateSuite) {
		s.create("neo4j")
		got := s.tag("neo4j", "5.26", 0, "base:latest@2025-01-30-17:14:14")
		want := pods.TemplateTag{
			TemplateID: "neo4j", Tag: "5.26", Stamp: t0.Truncate(time.Second), CommitMessage: "because",
			Description: "how", ArchiveMessage: "old", AddedBy: "bob", CreatedAt: t0,
			Definition: pods.Definition{
				Image: pods.Set("podway/hello"), Command: pods.Null[[]string](), Template: pods.Set("base:latest@2025-01-30-17:14:14"),
			},
		}
		wantEqual(s, "returned tag", got, want)
		stored, err := s.TemplateTag(s.Context(), want.Ref())
		if err != nil {
			s.Fatal(err)
		}
		wantEqual(s, "stored tag", stored, want)
	}},
	{"versions that come in one second, or with a clock that went back, follow each other", func(s *templateSuite) {
		s.create("neo4j")
		for _, after := range []time.Duration{0, 0, -time.Hour, time.Minute} {
			s.tag("neo4j", "latest", after, "")
		}
		wantEqual(s, "tags", s.refs("neo4j"), []string{
			"neo4j:latest@2026-03-04-05:07:07", "neo4j:latest@2026-03-04-05:06:09",
			"neo4j:latest@2026-03-04-05:06:08", "neo4j:latest@2026-03-04-05:06:07",
		})
	}},
	{"another tag, or another template, can have the same stamp", func(s *templateSuite) {
		s.create("neo4j")
		s.create("mongo")
		for _, id := range []string{"neo4j", "mongo"} {
			for _, tag := range []string{"latest", "5"} {
				if got := s.tag(id, tag, 0, "").Ref().Timestamp; got != "2026-03-04-05:06:07" {
					s.Errorf("%s:%s: got %s", id, tag, got)
				}
			}
		}
	}},
	{"any definition comes back as it was given", func(s *templateSuite) {
		s.create("neo4j")
		rapid.Check(s.T, func(t *rapid.T) {
			tag := pods.TemplateTag{TemplateID: "neo4j", Tag: "latest", CreatedAt: t0, Definition: genDefinition(t)}
			stored, err := s.AddTemplateTag(s.Context(), "uid-of-neo4j", tag)
			if err != nil {
				t.Fatal(err)
			}
			got, err := s.TemplateTag(s.Context(), stored.Ref())
			if err != nil {
				t.Fatal(err)
			}
			wantEqual(t, "tag", got, stored)
			wantEqual(t, "definition", got.Definition, tag.Definition)
		})
	}},
	{"many at once each get a stamp of their own", func(s *templateSuite) {
		s.create("neo4j")
		const n = 12
		var wg sync.WaitGroup
		for range n {
			wg.Go(func() {
				_, err := s.AddTemplateTag(s.Context(), "uid-of-neo4j", pods.TemplateTag{TemplateID: "neo4j", Tag: "latest", CreatedAt: t0})
				if err != nil {
					s.Error(err)
				}
			})
		}
		wg.Wait()
		refs := s.refs("neo4j")
		if len(refs) != n || len(slices.Compact(refs)) != n {
			s.Errorf("got %v, want %d different ones", refs, n)
		}
	}},
}

var tagTests = []templateTest{
	{"a reference leads to the newest version, or to the one it names", func(s *templateSuite) {
		s.create("neo4j")
		s.create("other")
		s.tag("neo4j", "latest", 0, "")
		s.tag("neo4j", "latest", time.Minute, "")
		s.tag("neo4j", "5", time.Hour, "")
		s.tag("other", "6", 0, "")
		for reference, want := range map[string]string{
			"neo4j":                            "neo4j:latest@2026-03-04-05:07:07",
			"neo4j:latest":                     "neo4j:latest@2026-03-04-05:07:07",
			"neo4j:latest@2026-03-04-05:06:07": "neo4j:latest@2026-03-04-05:06:07",
			"neo4j:5":                          "neo4j:5@2026-03-04-06:06:07",
			"neo4j:6":                          "",
			"other":                            "",
			"nothing":                          "",
			"neo4j:5@2026-03-04-05:06:07":      "",
			"neo4j:5@2026-13-41-05:06:07":      "",
			"neo4j:latest@1970-01-01-00:00:00": "",
		} {
			got, err := s.TemplateTag(s.Context(), ref(reference))
			if want == "" {
				if pods.ErrorCode(err) != pods.NotFound {
					s.Errorf("%s: got %v, want not found", reference, err)
				}
			} else if err != nil || got.Ref().String() != want {
				s.Errorf("%s: got %s and %v, want %s", reference, got.Ref(), err, want)
			}
		}
	}},
}

var tagsTests = []templateTest{
	{"they come by template, the newest first, then by tag", func(s *templateSuite) {
		s.create("neo4j")
		s.create("mongo")
		s.create("empty")
		s.tag("neo4j", "b", 0, "")
		s.tag("neo4j", "a", 0, "")
		s.tag("neo4j", "c", time.Minute, "")
		s.tag("mongo", "a", time.Hour, "")
		wantEqual(s, "tags", s.refs("neo4j", "mongo", "empty", "nothing", "neo4j", "\x00"), []string{
			"mongo:a@2026-03-04-06:06:07",
			"neo4j:c@2026-03-04-05:07:07", "neo4j:a@2026-03-04-05:06:07", "neo4j:b@2026-03-04-05:06:07",
		})
		wantEqual(s, "tags of none", s.refs(), []string(nil))
	}},
	{"a thousand templates can be asked for", func(s *templateSuite) {
		var ids []string
		for i := range 1000 {
			ids = append(ids, fmt.Sprint("t", i))
		}
		s.create("t7")
		s.create("t999")
		s.tag("t7", "a", 0, "")
		s.tag("t999", "a", 0, "")
		if got := s.refs(ids...); len(got) != 2 {
			s.Errorf("got %v, want 2", got)
		}
	}},
}

var deleteTagsTests = []templateTest{
	{"the versions are removed, others stay", func(s *templateSuite) {
		s.create("neo4j")
		s.create("other")
		var refs []pods.TemplateRef
		for i := range 3 {
			refs = append(refs, s.tag("neo4j", "latest", time.Duration(i)*time.Minute, "").Ref())
		}
		s.tag("other", "latest", 0, "")
		gone := append(refs[:2:2], ref("neo4j:latest"), ref("neo4j:5@2026-03-04-05:06:07"), ref("other:latest@2026-03-04-05:06:07"))
		uses, err := s.DeleteTemplateTags(s.Context(), "uid-of-neo4j", gone, false)
		if err != nil || !uses.None() {
			s.Fatalf("got %+v and %v, want no uses", uses, err)
		}
		wantEqual(s, "tags", s.refs("neo4j", "other"), []string{refs[2].String(), "other:latest@2026-03-04-05:06:07"})
	}},
	{"one that a pod or a tag builds on is a Conflict, unless it is forced", func(s *templateSuite) {
		s.create("base")
		s.create("other")
		first, second := s.tag("base", "latest", 0, "").Ref(), s.tag("base", "latest", time.Minute, "").Ref()
		p := s.pod("web", first.String())
		s.tag("other", "latest", 0, second.String())
		for _, r := range []pods.TemplateRef{first, second} {
			_, err := s.DeleteTemplateTags(s.Context(), "uid-of-base", []pods.TemplateRef{r}, false)
			s.wantCode(err, pods.Conflict)
		}
		if got := s.refs("base"); len(got) != 2 {
			s.Fatalf("got %v after conflicts, want both", got)
		}
		p.Definition.Template = pods.Opt[string]{}
		if _, err := s.UpdatePod(s.Context(), p); err != nil {
			s.Fatal(err)
		}
		if _, err := s.DeleteTemplateTags(s.Context(), "uid-of-base", []pods.TemplateRef{first}, false); err != nil {
			s.Fatalf("after the pod left it: %v", err)
		}
		uses, err := s.DeleteTemplateTags(s.Context(), "uid-of-base", []pods.TemplateRef{second}, true)
		if err != nil || uses != (pods.TemplateUses{Tags: 1}) {
			s.Fatalf("got %+v and %v, want one tag", uses, err)
		}
		wantEqual(s, "tags", s.refs("base"), []string(nil))
	}},
	{"versions that build on each other go together", func(s *templateSuite) {
		s.create("base")
		first := s.tag("base", "latest", 0, "").Ref()
		second := s.tag("base", "small", 0, first.String()).Ref()
		if _, err := s.DeleteTemplateTags(s.Context(), "uid-of-base", []pods.TemplateRef{first, second}, false); err != nil {
			s.Fatal(err)
		}
	}},
	{"no version at all is no error", func(s *templateSuite) {
		if _, err := s.DeleteTemplateTags(s.Context(), "uid", nil, false); err != nil {
			s.Fatal(err)
		}
	}},
}

// templateCalls are the methods on one template that is there already.
func templateCalls() map[string]func(ctx context.Context, s TemplateStore, t pods.Template) error {
	return map[string]func(ctx context.Context, s TemplateStore, t pods.Template) error{
		"UpdateTemplate": func(ctx context.Context, s TemplateStore, t pods.Template) error {
			_, err := s.UpdateTemplate(ctx, t)
			return err
		},
		"DeleteTemplate": func(ctx context.Context, s TemplateStore, t pods.Template) error {
			_, err := s.DeleteTemplate(ctx, t.ID, t.UID)
			return err
		},
		"AddTemplateTag": func(ctx context.Context, s TemplateStore, t pods.Template) error {
			_, err := s.AddTemplateTag(ctx, t.UID, pods.TemplateTag{TemplateID: t.ID, Tag: "latest", CreatedAt: t0})
			return err
		},
		"DeleteTemplateTags": func(ctx context.Context, s TemplateStore, t pods.Template) error {
			_, err := s.DeleteTemplateTags(ctx, t.UID, []pods.TemplateRef{{ID: t.ID, Tag: "latest", Timestamp: "2026-03-04-05:06:07"}}, true)
			return err
		},
	}
}

var everyTemplateTests = []templateTest{
	{"on a template that is not there, or of another uid, is NotFound and writes nothing", func(s *templateSuite) {
		want := s.create("here")
		s.tag("here", "latest", 0, "")
		other := want
		other.UID = "uid of the template before"
		missing := want
		for _, id := range []string{"her", "HERE", "", "\x00", "\xff"} {
			missing.ID = id
			for name, do := range templateCalls() {
				if err := do(s.Context(), s.TemplateStore, missing); pods.ErrorCode(err) != pods.NotFound {
					s.Errorf("%s of %q: got %v, want not found", name, id, err)
				}
			}
			_, err := s.Template(s.Context(), id)
			s.wantCode(err, pods.NotFound)
		}
		for name, do := range templateCalls() {
			if err := do(s.Context(), s.TemplateStore, other); pods.ErrorCode(err) != pods.NotFound {
				s.Errorf("%s of another uid: got %v, want not found", name, err)
			}
		}
		wantEqual(s, "template", s.read("here"), want)
		wantEqual(s, "tags", s.refs("here"), []string{"here:latest@2026-03-04-05:06:07"})
	}},
	{"with a context that has ended says so and writes nothing", func(s *templateSuite) {
		want := s.create("here")
		ctx, cancel := context.WithCancel(s.Context())
		cancel()
		calls := templateCalls()
		calls["CreateTemplate"] = func(ctx context.Context, s TemplateStore, _ pods.Template) error {
			return s.CreateTemplate(ctx, newTemplate("new"))
		}
		calls["Template"] = func(ctx context.Context, s TemplateStore, t pods.Template) error {
			_, err := s.Template(ctx, t.ID)
			return err
		}
		calls["Templates"] = func(ctx context.Context, s TemplateStore, _ pods.Template) error {
			_, err := s.Templates(ctx, pods.TemplateQuery{})
			return err
		}
		calls["TemplateTag"] = func(ctx context.Context, s TemplateStore, t pods.Template) error {
			_, err := s.TemplateTag(ctx, pods.TemplateRef{ID: t.ID})
			return err
		}
		calls["TemplateTags"] = func(ctx context.Context, s TemplateStore, t pods.Template) error {
			_, err := s.TemplateTags(ctx, t.ID)
			return err
		}
		for name, do := range calls {
			if err := do(ctx, s.TemplateStore, want); !errors.Is(err, context.Canceled) {
				s.Errorf("%s: got %v, want %v", name, err, context.Canceled)
			}
		}
		wantEqual(s, "template", s.read("here"), want)
		_, err := s.Template(s.Context(), "new")
		s.wantCode(err, pods.NotFound)
	}},
}
