package pods

import (
	"encoding/json"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// VolumeMount attaches storage to a pod. The key of the map it stands in is the
// id of the volume or snapshot, or the name of the claim; or, if it starts with
// "/", where the storage is mounted, which allows one volume at several places.
//
// The zero value, null in JSON, removes what a template mounts under the key.
type VolumeMount struct {
	Type      string `json:"type"`                // "tapisvolume", "tapissnapshot", "pvc" or "ephemeral"
	MountPath string `json:"mount_path"`          // absolute; default "/tapis_volume_mount"
	SourceID  string `json:"source_id,omitempty"` // what is mounted, if the key does not say; in templates also "${:?description}"
	SubPath   string `json:"sub_path"`            // below the volume's root; "" is the root
	ReadOnly  bool   `json:"read_only,omitempty"` // snapshots are read-only anyway

	// What an ephemeral mount holds: a file with the content, or an empty folder if
	// there is none. The content may be secret, as the environment may; it has
	// placeholders and references to the secret_map, as that has.
	ConfigContent     string `json:"config_content,omitempty"`
	ConfigFilename    string `json:"config_filename,omitempty"`    // "": the mount path is the file's
	ConfigPermissions string `json:"config_permissions,omitempty"` // octal; "0644" if there is content
	ConfigUpdateMode  string `json:"config_update_mode,omitempty"` // "": "always"

	// MountedBy is the user whose permissions the mount counts on; "" if a
	// template gives it, or nobody's count. It is not shown.
	MountedBy string `json:"mounted_by,omitempty"`
}

// Storages that a mount can name by its type.
const (
	MountVolume   = "tapisvolume"
	MountSnapshot = "tapissnapshot"
	MountPVC      = "pvc"
	// MountEphemeral is made anew at every start, by the pod's definition.
	MountEphemeral = "ephemeral"
)

// removes reports whether the entry takes away what a template mounts.
func (m VolumeMount) removes() bool { return m.Type == "" && m.MountPath == "" }

// MarshalJSON writes null for an entry that removes a mount.
func (m VolumeMount) MarshalJSON() ([]byte, error) {
	if m.removes() {
		return []byte("null"), nil
	}
	type plain VolumeMount
	return json.Marshal(plain(m))
}

// isPath reports whether the key of a mount tells where it is mounted.
func isPath(key string) bool { return strings.HasPrefix(key, "/") }

// Source returns the id or name of what a mount with this key mounts.
func (m VolumeMount) Source(key string) string {
	if m.SourceID != "" {
		return m.SourceID
	}
	return key
}

// Volume returns the volume or snapshot that a mount with this key names, false
// if it names neither.
func (m VolumeMount) Volume(tenant, key string) (VolumeKey, bool) {
	switch m.Type {
	case MountVolume:
		return VolumeKey{Kind: KindVolume, Tenant: tenant, ID: m.Source(key)}, true
	case MountSnapshot:
		return VolumeKey{Kind: KindSnapshot, Tenant: tenant, ID: m.Source(key)}, true
	default:
		return VolumeKey{}, false
	}
}

// overMounts unites the mounts of two layers by key. A mount whose key is its
// path also takes the place of one whose key is not, and the other way round.
func overMounts(lower, upper Opt[map[string]VolumeMount]) Opt[map[string]VolumeMount] {
	below, ok := lower.Get()
	above, set := upper.Get()
	if !ok || !set {
		return over(lower, upper)
	}
	m := maps.Clone(below)
	for key := range above {
		place := placeOf(key, above[key])
		maps.DeleteFunc(m, func(other string, old VolumeMount) bool {
			return isPath(other) != isPath(key) && !old.removes() && placeOf(other, old) == place
		})
	}
	if m == nil {
		m = make(map[string]VolumeMount, len(above))
	}
	maps.Copy(m, above)
	return Set(m)
}

// placeOf is where a mount is, "" if it tells none.
func placeOf(key string, m VolumeMount) string {
	switch {
	case isPath(key):
		return path.Clean(key)
	case m.MountPath == "":
		return ""
	default:
		return path.Clean(m.MountPath)
	}
}

// mounted returns the mounts of a definition that are there: without entries that
// remove others, and with the volumes that templates propose.
func mounted(mounts map[string]VolumeMount) map[string]VolumeMount {
	out := make(map[string]VolumeMount, len(mounts))
	for key, m := range mounts {
		if m.removes() {
			continue
		}
		if r := wholeRef(m.SourceID); r.kind == refDefault && r.value != "" {
			m.SourceID = r.value
		}
		out[key] = m
	}
	return out
}

// workloadMounts returns mounts under keys that clusters can make names of: what
// is mounted, or for ephemeral ones that tell none the end of their path, with a
// number if that is mounted more than once.
func workloadMounts(mounts map[string]VolumeMount) map[string]VolumeMount {
	out := make(map[string]VolumeMount, len(mounts))
	for key, m := range mounts {
		if !isPath(key) {
			out[key] = m
		}
	}
	for _, key := range slices.Sorted(maps.Keys(mounts)) {
		if !isPath(key) {
			continue
		}
		m := mounts[key]
		source := m.Source(key)
		if isPath(source) {
			source = ephemeralName(source)
		}
		name := source
		for n := 2; has(out, name); n++ {
			name = source + strconv.Itoa(n)
		}
		out[name] = m
	}
	return out
}

func has[T any](m map[string]T, key string) bool {
	_, ok := m[key]
	return ok
}

// unclaimed returns mounts that count on nobody's permissions: those of whoever
// made a template are not for all who build on it.
func unclaimed(o Opt[map[string]VolumeMount]) Opt[map[string]VolumeMount] {
	mounts, ok := o.Get()
	if !ok {
		return o
	}
	mounts = maps.Clone(mounts)
	for key, m := range mounts {
		m.MountedBy = ""
		mounts[key] = m
	}
	return Set(mounts)
}
