package pods

import (
	"encoding/json"
	"fmt"
	"slices"
)

// Source says where the value of a field comes from.
type Source string

// The sources of a field's value.
const (
	FromPod      Source = "pod"      // the pod's owner set or cleared it
	FromTemplate Source = "template" // the owner did not, a template did
	FromDefault  Source = "default"  // nobody did
)

// Field tells where the value of one field of a pod comes from. For those that
// are united of several sources (environment_variables and the like) Source is
// the highest one that gave a part.
type Field struct {
	Source           Source `json:"source"`
	InModifiedFields bool   `json:"in_modified_fields"`
	TemplateProvides bool   `json:"template_provides"`
	PodValue         any    `json:"pod_value"`
	TemplateValue    any    `json:"template_value"`
	DerivedValue     any    `json:"derived_value"`
}

// Provenance tells where the values of a pod come from.
type Provenance struct {
	PodID          ID               `json:"pod_id"`
	Template       string           `json:"template"`
	HasTemplate    bool             `json:"has_template"`
	ModifiedFields []string         `json:"modified_fields"`
	Summary        map[Source]int   `json:"summary"` // how many fields each source gave
	Fields         map[string]Field `json:"fields"`

	// PendingRestart are the fields that a running pod was started without; see
	// [PendingRestart].
	PendingRestart []string `json:"pending_restart"`
}

// Overrides are the fields that a pod's owner set.
type Overrides struct {
	PodID          ID             `json:"pod_id"`
	Template       string         `json:"template"`
	Status         Status         `json:"status"`
	ModifiedFields []string       `json:"modified_fields"`
	Overrides      map[string]any `json:"overrides"`
}

// resettable are the fields that can be given back to the template.
var resettable = []string{
	"arguments", "command", "compute_queue", "description", "environment_variables", "healthchecks", "image",
	"networking", "resources", "secret_map", "template_overrides", "volume_mounts",
}

// tracedFields are the fields that provenance tells about, beside
// status_requested, which is always the owner's.
var tracedFields = append(slices.Clone(resettable), "time_to_stop_default", "time_to_stop_instance")

// ModifiedFields lists the fields that a definition sets, null included, in
// order: "image", and for each part of resources "resources.cpu_limit".
func (d Definition) ModifiedFields() []string {
	fields := []string{}
	for name, value := range tree(d) {
		parts, ok := value.(map[string]any)
		if name != "resources" || !ok {
			fields = append(fields, name)
			continue
		}
		for part := range parts {
			fields = append(fields, name+"."+part)
		}
	}
	slices.Sort(fields)
	return fields
}

// NewOverrides returns what the owner of p set.
func NewOverrides(p Pod) Overrides {
	overrides := shownTree(p.Definition)
	delete(overrides, "template")
	return Overrides{
		PodID: p.ID, Template: p.Definition.Template.Or(""), Status: p.State.Status,
		ModifiedFields: p.Definition.ModifiedFields(), Overrides: overrides,
	}
}

// NewProvenance tells where the values of p come from. e is its effective
// definition, chain are the templates it builds on.
func NewProvenance(p Pod, e Effective, chain ...Definition) Provenance {
	own, given, derived := shownTree(p.Definition), shownTree(merge(Definition{}, chain)), tree(NewView(p, e))
	v := Provenance{
		PodID: p.ID, Template: p.Definition.Template.Or(""), HasTemplate: len(chain) > 0,
		ModifiedFields: p.Definition.ModifiedFields(),
		Summary:        map[Source]int{FromPod: 0, FromTemplate: 0, FromDefault: 0},
		Fields: map[string]Field{"status_requested": {
			Source: FromPod, InModifiedFields: true, PodValue: p.Requested, DerivedValue: p.Requested,
		}},
	}
	for _, name := range tracedFields {
		podValue, set := own[name]
		templateValue, provided := given[name]
		v.Fields[name] = Field{
			Source: sourceOf(set, provided), InModifiedFields: set, TemplateProvides: provided,
			PodValue: podValue, TemplateValue: templateValue, DerivedValue: derived[name],
		}
	}
	for _, f := range v.Fields {
		v.Summary[f.Source]++
	}
	return v
}

func sourceOf(set, provided bool) Source {
	switch {
	case set:
		return FromPod
	case provided:
		return FromTemplate
	default:
		return FromDefault
	}
}

// DecodeReset decodes the body of a request that gives fields back to the
// template: {"fields": ["image", ...]}. The error is as that of [DecodeNewPod].
func DecodeReset(body []byte) ([]string, error) {
	var p problems
	o, ok := bodyObject(body, &p)
	if !ok {
		return nil, p.err()
	}
	var fields Opt[[]string]
	if !o.given("fields") {
		p.add(o.where.in("fields"), "field required")
	}
	take(o, "fields", &fields, readStrings)
	o.done()
	for _, name := range fields.Or(nil) {
		if !slices.Contains(resettable, name) {
			p.add(at("fields"), "'%s' can't be reset. Choose of %s.", clip(name), quoteList(resettable))
		}
	}
	return fields.Or(nil), p.err()
}

// Reset returns d without some of its fields. d is not changed.
func (d Definition) Reset(fields []string) (Definition, error) {
	left := tree(d)
	for _, name := range fields {
		delete(left, name)
	}
	b, err := json.Marshal(left)
	if err != nil {
		return d, fmt.Errorf("encoding definition: %w", err)
	}
	var reset Definition
	if err := json.Unmarshal(b, &reset); err != nil {
		return d, fmt.Errorf("decoding definition: %w", err)
	}
	return reset, nil
}
