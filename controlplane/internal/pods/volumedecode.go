package pods

import (
	"errors"
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits of volumes and snapshots.
const (
	maxVolumeID      = 128
	defaultSizeLimit = 1024 // MiB
	maxSnapshotSize  = 3072 // MiB
)

// NewVolume is the decoded body of a request that creates a volume.
type NewVolume struct {
	ID          string
	Description string
	SizeLimit   int // MiB
}

// NewSnapshot is the decoded body of a request that creates a snapshot. The paths
// are as they were given, and such that [ParsePath] reads them.
type NewSnapshot struct {
	ID              string
	SourceVolume    string
	SourcePath      string
	Destination     string
	Description     string
	SizeLimit       int // MiB
	Cron            string
	RetentionPolicy string
}

// VolumePatch is the decoded body of a request that updates a volume or snapshot:
// only fields that are set change. Cron and RetentionPolicy are those of
// snapshots only.
type VolumePatch struct {
	Description     Opt[string]
	SizeLimit       Opt[int]
	Cron            Opt[string]
	RetentionPolicy Opt[string]
}

// DecodeNewVolume decodes and validates the body of a request that creates a
// volume. The error is as that of [DecodeNewPod].
func DecodeNewVolume(body []byte, s Settings) (NewVolume, error) {
	var p problems
	o, ok := bodyObject(body, &p)
	if !ok {
		return NewVolume{}, p.err()
	}
	n := NewVolume{ID: takeVolumeID(o, "volume_id")}
	patch := takeVolumePatch(o, s.maxVolumeSize())
	o.done()
	n.Description, n.SizeLimit = patch.Description.Or(""), patch.SizeLimit.Or(min(defaultSizeLimit, s.maxVolumeSize()))
	return n, p.err()
}

// DecodeNewSnapshot decodes and validates the body of a request that creates a
// snapshot. Whether the source is there is left to others. The error is as that
// of [DecodeNewPod].
func DecodeNewSnapshot(body []byte) (NewSnapshot, error) {
	var p problems
	o, ok := bodyObject(body, &p)
	if !ok {
		return NewSnapshot{}, p.err()
	}
	n := NewSnapshot{
		ID:           takeVolumeID(o, "snapshot_id"),
		SourceVolume: takeRequired(o, "source_volume_id"),
		SourcePath:   takeSourcePath(o),
	}
	var destination Opt[string]
	take(o, "destination_path", &destination, readString)
	n.Destination = destination.Or("")
	checkPath(&p, "destination_path", n.Destination)
	patch := takeVolumePatch(o, maxSnapshotSize)
	takeSnapshotPatch(o, &patch)
	o.done()
	n.Description, n.SizeLimit = patch.Description.Or(""), patch.SizeLimit.Or(defaultSizeLimit)
	n.Cron, n.RetentionPolicy = patch.Cron.Or(""), patch.RetentionPolicy.Or("")
	return n, p.err()
}

// DecodeVolumePatch decodes and validates the body of a request that updates a
// volume or, by its kind, a snapshot. Null counts as absent. The error is as that
// of [DecodeNewPod].
func DecodeVolumePatch(k Kind, body []byte, s Settings) (VolumePatch, error) {
	var p problems
	o, ok := bodyObject(body, &p)
	if !ok {
		return VolumePatch{}, p.err()
	}
	o.nulls = true
	limit := s.maxVolumeSize()
	if k == KindSnapshot {
		limit = maxSnapshotSize
	}
	patch := takeVolumePatch(o, limit)
	if k == KindSnapshot {
		takeSnapshotPatch(o, &patch)
	}
	o.done()
	return patch, p.err()
}

// Apply returns v with the fields that the patch sets. v is not changed.
func (p VolumePatch) Apply(v Volume) Volume {
	v.Description = p.Description.Or(v.Description)
	v.SizeLimit = p.SizeLimit.Or(v.SizeLimit)
	if v.Source != nil {
		source := *v.Source
		source.Cron = p.Cron.Or(source.Cron)
		source.RetentionPolicy = p.RetentionPolicy.Or(source.RetentionPolicy)
		v.Source = &source
	}
	return v
}

func takeVolumePatch(o *object, maxSize int) VolumePatch {
	var patch VolumePatch
	take(o, "description", &patch.Description, readString)
	take(o, "size_limit", &patch.SizeLimit, readInt)
	checkDescription(o.problems, at("description"), "description", patch.Description.Or(""))
	if size, ok := patch.SizeLimit.Get(); ok && (size < 1 || size > maxSize) {
		o.problems.add(at("size_limit"), "size_limit must be between 1 and %d MB. Got: %d", maxSize, size)
	}
	return patch
}

func takeSnapshotPatch(o *object, patch *VolumePatch) {
	take(o, "cron", &patch.Cron, readString)
	take(o, "retention_policy", &patch.RetentionPolicy, readString)
	checkDescription(o.problems, at("cron"), "cron", patch.Cron.Or(""))
	checkDescription(o.problems, at("retention_policy"), "retention_policy", patch.RetentionPolicy.Or(""))
}

func takeVolumeID(o *object, field string) string {
	given := o.given(field)
	var s Opt[string]
	take(o, field, &s, readString)
	id, ok := s.Get()
	switch {
	case !given:
		o.problems.add(o.where.in(field), "field required")
	case ok:
		checkVolumeID(o.problems, field, id)
	}
	return id
}

func checkVolumeID(p *problems, field, id string) {
	where := at(field)
	switch n := utf8.RuneCountInString(id); {
	case slices.Contains(reservedVolumeIDs, id):
		p.add(where, "%s overlaps with reserved ids: %s", field, quoteList(reservedVolumeIDs))
	case id != "" && !idPattern.MatchString(id):
		p.add(where, "%s must be lowercase alphanumeric. First character must be alpha.", field)
	case n < minID || n > maxVolumeID:
		p.add(where, "%s length must be between %d-%d characters. Inputted length: %d", field, minID, maxVolumeID, n)
	}
}

// takeSourcePath takes the path that a snapshot is made of.
func takeSourcePath(o *object) string {
	const field = "source_volume_path"
	if !o.given(field) {
		return takeRequired(o, field)
	}
	var s Opt[string]
	take(o, field, &s, readString)
	text, ok := s.Get()
	if ok && !strings.HasPrefix(text, "/") {
		o.problems.add(at(field), "source_volume_path must start with '/'. Use '/' for the whole volume.")
	}
	checkPath(o.problems, field, text)
	return text
}

// checkPath checks a path in a volume.
func checkPath(p *problems, field, text string) {
	_, err := ParsePath(text)
	if e, ok := errors.AsType[*Error](err); ok {
		p.add(at(field), "%s", strings.TrimPrefix(e.Messages[0], "path: "))
	}
}
