package pods

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// fakeTags are versions by pinned reference, and what other references lead to.
type fakeTags map[string]Definition

func (f fakeTags) TemplateTag(_ context.Context, r TemplateRef) (TemplateTag, error) {
	if f == nil {
		return TemplateTag{}, errors.New("disk on fire")
	}
	for name, d := range f {
		pinned, _ := ParseTemplateRef(name)
		if pinned == r || (!r.Pinned() && pinned.Newest() == r.Newest()) {
			return TemplateTag{TemplateID: pinned.ID, Tag: pinned.Tag, Stamp: pinned.Stamp(), Definition: d}, nil
		}
	}
	return TemplateTag{}, Errorf(NotFound, "nothing there")
}

const at17 = "@2025-01-30-17:14:14"

func on(template string) Definition { return Definition{Template: Set(template)} }

func TestTemplateChain(t *testing.T) {
	image := Definition{Image: Set("nginx")}
	deep := fakeTags{"t0x:latest" + at17: image}
	for i := range 12 {
		deep[fmt.Sprintf("t%dx:latest%s", i+1, at17)] = on(fmt.Sprintf("t%dx:latest%s", i, at17))
	}
	for _, c := range []struct {
		name string
		tags fakeTags
		own  Definition
		want []string
		err  string
	}{
		{"no template", fakeTags{}, image, nil, ""},
		{"an empty one", fakeTags{}, on(""), nil, ""},
		{"a template", fakeTags{"abc:latest" + at17: image}, on("abc"), []string{"abc:latest" + at17}, ""},
		{"a template on a template", deep, on("t1x:latest"), []string{"t1x:latest" + at17, "t0x:latest" + at17}, ""},
		{
			"an image further away than a pod looks", deep, on("t2x"), nil,
			"template: Pods cannot have more than 2 levels of templates. (template -> template -> image)",
		},
		{
			"a longer chain, if the pod has an image", deep,
			Definition{Template: Set("t2x"), Image: Set("nginx")},
			[]string{"t2x:latest" + at17, "t1x:latest" + at17, "t0x:latest" + at17},
			"",
		},
		{
			"more templates than may be", deep,
			Definition{Template: Set("t12x"), Image: Set("nginx")},
			nil,
			"template: 't12x' builds on more than 10 templates.",
		},
		{
			"a template on itself",
			fakeTags{"abc:latest" + at17: on("abc")},
			on("abc"), nil,
			"template: Infinite loop detected: template abc:latest" + at17 + " is referenced more than once in template waterfall.",
		},
		{
			"a circle",
			fakeTags{"abc:latest" + at17: on("xyz:a"), "xyz:a" + at17: on("abc:latest" + at17)},
			on("abc:latest"), nil,
			"template: Infinite loop detected: template abc:latest" + at17 + " is referenced more than once in template waterfall.",
		},
		{
			"another version of a template is no circle",
			fakeTags{"abc:new" + at17: on("abc:latest" + at17), "abc:latest" + at17: image},
			on("abc:new"),
			[]string{"abc:new" + at17, "abc:latest" + at17},
			"",
		},
		{"a template that is not there", fakeTags{}, on("abc"), nil, "template: Template not found: 'abc'. Verify template_id exists."},
		{
			"a base that is not there",
			fakeTags{"abc:latest" + at17: on("xyz:a" + at17)},
			on("abc"), nil,
			"template: Template tag not found: 'xyz:a" + at17 + "'. Verify template_id, tag, and timestamp all exist.",
		},
		{
			"a reference that is none",
			fakeTags{},
			on("a b"), nil,
			"template: Invalid template format: 'a b'. The template_id must be 3 to 64 lowercase letters and digits, the first one a letter.",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			chain, err := TemplateChain(t.Context(), c.tags, c.own)
			if c.err != "" {
				wantProblems(t, err, c.err)
				return
			}
			var refs []string
			for _, tag := range chain {
				refs = append(refs, tag.Ref().String())
			}
			if err != nil || !slices.Equal(refs, c.want) {
				t.Errorf("got %q and %v, want %q", refs, err, c.want)
			}
		})
	}
	t.Run("a failure of the store is told from a missing template", func(t *testing.T) {
		if _, err := TemplateChain(t.Context(), fakeTags(nil), on("abc")); ErrorCode(err) != Internal {
			t.Errorf("got %v, want an internal error", err)
		}
	})
	t.Run("the base of a template may be one level away only, if it has the image", func(t *testing.T) {
		if _, err := BaseChain(t.Context(), deep, on("t0x")); err != nil {
			t.Error(err)
		}
		_, err := BaseChain(t.Context(), deep, on("t1x"))
		wantProblems(t, err, "template: Pods cannot have more than 2 levels of templates. (template -> template -> image)")
	})
}

// TestChainsOfTemplatesMergeAsOne splits a chain anywhere: what its lower part
// gives together is what a single template of the same content would give.
func TestChainsOfTemplatesMergeAsOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		chain := rapid.SliceOfN(anyDefinition, 1, 5).Draw(t, "chain")
		own := anyDefinition.Draw(t, "own")
		whole := merge(own, chain)
		at := rapid.IntRange(0, len(chain)-1).Draw(t, "split")
		lower := merge(chain[at], chain[at+1:])
		split := merge(own, append(slices.Clone(chain[:at]), lower))
		if !reflect.DeepEqual(whole, split) {
			t.Fatalf("got %+v split at %d, want %+v", split, at, whole)
		}
	})
}

func TestLevelOnATemplate(t *testing.T) {
	p := Permissions{"ann": LevelAdmin, "bob": LevelUser, "*": LevelRead, "tenant.two": LevelRead, "tenant.zero": LevelNone}
	for _, c := range []struct {
		name         string
		of           string
		p            Permissions
		user, tenant string
		want         Level
	}{
		{"the owner", "one", p, "ann", "one", LevelAdmin},
		{"a user", "one", p, "bob", "one", LevelUser},
		{"anyone of the tenant", "one", p, "cat", "one", LevelRead},
		{"the owner's name in another tenant", "one", p, "ann", "three", LevelNone},
		{"the owner's name in a tenant it is shared with", "one", p, "ann", "two", LevelRead},
		{"a tenant whose entry says NONE", "one", p, "ann", "zero", LevelNone},
		{"a user who is called like a tenant", "one", Permissions{"tenant.two": LevelRead}, "tenant.two", "one", LevelNone},
		{"everyone of every tenant", "one", Permissions{"**": LevelRead}, "cat", "three", LevelRead},
		{"everyone of every tenant gets no more than READ", "one", Permissions{"**": LevelAdmin}, "cat", "three", LevelRead},
		{"a built-in one", "", Permissions{"podway": LevelAdmin, "**": LevelRead}, "podway", "one", LevelRead},
		{"a built-in one without a tenant", "", Permissions{"podway": LevelAdmin}, "podway", "", LevelNone},
	} {
		t.Run(c.name, func(t *testing.T) {
			who := Principal{User: c.user, Tenant: Tenant{ID: c.tenant}}
			if got := (Template{Tenant: c.of, Permissions: c.p}).Level(who); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestStampsOfReferences(t *testing.T) {
	stamp := time.Date(2025, 1, 30, 17, 14, 14, 0, time.UTC)
	tag := TemplateTag{TemplateID: "abc", Tag: "a.b", Stamp: stamp.In(time.FixedZone("east", 3600))}
	r := tag.Ref()
	if got, want := r.String(), "abc:a.b"+at17; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := r.Stamp(); !got.Equal(stamp) {
		t.Errorf("got %v, want %v", got, stamp)
	}
	if got := r.Newest().String(); got != "abc:a.b" {
		t.Errorf("got %s, want the tag without its version", got)
	}
	if got := (TemplateRef{ID: "abc"}).Newest().String(); got != "abc:latest" {
		t.Errorf("got %s, want latest", got)
	}
	if got := (TemplateRef{Timestamp: "2025-13-30-17:14:14"}).Stamp(); !got.IsZero() {
		t.Errorf("got %v for a time that never was, want none", got)
	}
}
