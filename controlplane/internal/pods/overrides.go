package pods

import (
	"maps"
	"slices"
)

// TemplateOverrides are a pod's answers to what its templates ask for, and small
// changes of what they give. They apply to the templates' result, below what the
// pod sets itself:
//
//	"template_overrides": {
//	  "volume_mounts": {"/data": {"source_id": "mydata"}},
//	  "secret_map": {"API_KEY": "${secret:apikey}"}
//	}
type TemplateOverrides struct {
	VolumeMounts map[string]MountOverride `json:"volume_mounts,omitempty"` // by the template's key
	SecretMap    map[string]string        `json:"secret_map,omitempty"`    // see SealSecrets
}

// MountOverride changes some fields of a mount that a template gives.
type MountOverride struct {
	Type     Opt[string] `json:"type,omitzero"`
	SourceID Opt[string] `json:"source_id,omitzero"`
	SubPath  Opt[string] `json:"sub_path,omitzero"`
	ReadOnly Opt[bool]   `json:"read_only,omitzero"`

	ConfigContent     Opt[string] `json:"config_content,omitzero"`
	ConfigFilename    Opt[string] `json:"config_filename,omitzero"`
	ConfigPermissions Opt[string] `json:"config_permissions,omitzero"`
	ConfigUpdateMode  Opt[string] `json:"config_update_mode,omitzero"`

	// MountedBy is as that of a [VolumeMount].
	MountedBy string `json:"mounted_by,omitempty"`
}

// clone returns a copy that shares no map with o.
func (o TemplateOverrides) clone() TemplateOverrides {
	return TemplateOverrides{VolumeMounts: maps.Clone(o.VolumeMounts), SecretMap: maps.Clone(o.SecretMap)}
}

// shown returns the overrides as the API shows them.
func (o TemplateOverrides) shown() TemplateOverrides {
	o = o.clone()
	for key, m := range o.VolumeMounts {
		m.MountedBy = ""
		o.VolumeMounts[key] = m
	}
	o.SecretMap = ShownSecretMap(o.SecretMap)
	return o
}

// shownOverrides returns the overrides as a pod shows them; nil if there are none.
func shownOverrides(o TemplateOverrides) *TemplateOverrides {
	if len(o.VolumeMounts) == 0 && len(o.SecretMap) == 0 {
		return nil
	}
	return new(o.shown())
}

// over returns what a template mounts with the changes of the override.
func (o MountOverride) over(m VolumeMount) VolumeMount {
	m.Type = o.Type.Or(m.Type)
	m.SourceID = o.SourceID.Or(m.SourceID)
	m.SubPath = o.SubPath.Or(m.SubPath)
	m.ReadOnly = o.ReadOnly.Or(m.ReadOnly)
	m.MountedBy = o.MountedBy
	return configFields{content: o.ConfigContent, filename: o.ConfigFilename, permissions: o.ConfigPermissions, mode: o.ConfigUpdateMode}.applied(m)
}

// answered returns what templates give together with a pod's answers. Answers
// about mounts that they do not give are left out; [checkOverrides] reports them.
func answered(given Definition, o TemplateOverrides) Definition {
	if len(o.SecretMap) > 0 {
		given.SecretMap = overMap(given.SecretMap, Set(o.SecretMap), replace)
	}
	mounts := maps.Clone(given.VolumeMounts.Or(nil))
	for key, answer := range o.VolumeMounts {
		if m, ok := mounts[key]; ok && !m.removes() {
			mounts[key] = answer.over(m)
		}
	}
	if len(o.VolumeMounts) > 0 && mounts != nil {
		given.VolumeMounts = Set(mounts)
	}
	return given
}

// checkOverrides reports answers of a pod that its templates do not ask for.
func checkOverrides(p *problems, own Definition, chain []Definition) {
	answers := own.TemplateOverrides.Or(TemplateOverrides{})
	if own.Template.Or("") == "" && len(answers.VolumeMounts)+len(answers.SecretMap) > 0 {
		p.add(at("template_overrides"), "the pod has no template; set the fields themselves.")
		return
	}
	given := merge(Definition{}, chain).VolumeMounts.Or(nil)
	for _, key := range slices.Sorted(maps.Keys(answers.VolumeMounts)) {
		if m, ok := given[key]; !ok || m.removes() {
			p.add(at("template_overrides", "volume_mounts", key), "the template has no such mount; it has %s.", quoteList(mountKeys(given)))
		}
	}
}

func mountKeys(mounts map[string]VolumeMount) []string {
	return slices.Sorted(maps.Keys(mounted(mounts)))
}

// takeOverrides reads the overrides of a pod.
func readOverrides(parent *object, where loc, v any) (TemplateOverrides, bool) {
	o, ok := readObject(parent, where, v)
	if !ok {
		return TemplateOverrides{}, false
	}
	var mounts Opt[map[string]MountOverride]
	var secrets Opt[map[string]string]
	takeNullable(o, "volume_mounts", &mounts, readMap(readMountOverride))
	takeNullable(o, "secret_map", &secrets, secretMapReader(at("template_overrides", "secret_map")))
	o.done()
	return TemplateOverrides{VolumeMounts: mounts.Or(nil), SecretMap: secrets.Or(nil)}, true
}

func readMountOverride(parent *object, where loc, v any) (MountOverride, bool) {
	o, ok := readObject(parent, where, v)
	if !ok {
		return MountOverride{}, false
	}
	var m MountOverride
	var mountedBy Opt[string]
	take(o, "type", &m.Type, readLower)
	take(o, "source_id", &m.SourceID, readString)
	take(o, "sub_path", &m.SubPath, readString)
	take(o, "read_only", &m.ReadOnly, readBool)
	takeNullable(o, "mounted_by", &mountedBy, readString) // the service's to set; dropped
	config := takeConfig(o)
	m.ConfigContent, m.ConfigFilename, m.ConfigPermissions, m.ConfigUpdateMode = config.content, config.filename, config.permissions, config.mode
	o.done()
	return m, true
}

// overridesTree is [tree] of overrides, complete, so that two can be compared.
func overridesTree(o TemplateOverrides) map[string]any {
	return map[string]any{"volume_mounts": tree(o.shown().VolumeMounts), "secret_map": tree(o.SecretMap)}
}
