package pods

import (
	"strings"
	"testing"
)

func TestParseTemplateRef(t *testing.T) {
	for _, c := range []struct {
		ref      string
		want     TemplateRef
		notFound string
	}{
		{"neo4j", TemplateRef{ID: "neo4j"}, "template: Template not found: 'neo4j'. Verify template_id exists."},
		{"neo4j:v1.2-a", TemplateRef{ID: "neo4j", Tag: "v1.2-a"}, "template: Template tag not found: 'neo4j:v1.2-a'. Verify template_id and tag both exist."},
		{
			"neo4j:latest@2025-01-30-17:14:14",
			TemplateRef{ID: "neo4j", Tag: "latest", Timestamp: "2025-01-30-17:14:14"},
			"template: Template tag not found: 'neo4j:latest@2025-01-30-17:14:14'. Verify template_id, tag, and timestamp all exist.",
		},
	} {
		t.Run(c.ref, func(t *testing.T) {
			got, err := ParseTemplateRef(c.ref)
			if err != nil {
				t.Fatal(err)
			}
			if got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
			if got.String() != c.ref {
				t.Errorf("got %q back, want %q", got, c.ref)
			}
			wantProblems(t, got.NotFound(), c.notFound)
		})
	}
}

func TestParseTemplateRefRefuses(t *testing.T) {
	const (
		unpinned = "template: User specified @timestamp without :tag. Template should be formated as 'template_name:template_tag@tag_timestamp'. Got "
		badID    = ". The template_id must be 3 to 64 lowercase letters and digits, the first one a letter."
		badTag   = ". The tag must be 1 to 80 letters, digits, '.' or '-'."
		badTime  = ". The timestamp must look like 2025-01-30-17:14:14."
	)
	for _, c := range []struct{ name, ref, want string }{
		{"nothing", "", "template: Invalid template format: ''" + badID},
		{"a timestamp without a tag", "neo4j@2025-01-30-17:14:14", unpinned + "neo4j@2025-01-30-17:14:14"},
		{"a capital in the id", "Neo4j", "template: Invalid template format: 'Neo4j'" + badID},
		{"an id of two letters", "ab:x", "template: Invalid template format: 'ab:x'" + badID},
		{"an empty tag", "neo4j:", "template: Invalid template format: 'neo4j:'" + badTag},
		{"a tag with an underscore", "neo4j:a_b", "template: Invalid template format: 'neo4j:a_b'" + badTag},
		{"a tag of 81 characters", "neo4j:" + strings.Repeat("a", 81), "template: Invalid template format: 'neo4j:" + strings.Repeat("a", 81) + "'" + badTag},
		{"an empty timestamp", "neo4j:a@", "template: Invalid template format: 'neo4j:a@'" + badTime},
		{"another time format", "neo4j:a@2025-01-30T17:14:14", "template: Invalid template format: 'neo4j:a@2025-01-30T17:14:14'" + badTime},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ParseTemplateRef(c.ref)
			wantProblems(t, err, c.want)
		})
	}
}
