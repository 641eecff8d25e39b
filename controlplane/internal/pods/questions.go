package pods

import (
	"maps"
	"slices"
)

// Questions are what templates ask of the pods that build on them, and pods
// answer in secret_map, volume_mounts or template_overrides.
type Questions struct {
	Required []Question `json:"required"` // values without which the pod can't start
	Optional []Question `json:"optional"` // values that the template has a default for
	Volumes  []Question `json:"-"`        // mounts that have to name what they mount
}

// Question is one value that a template asks for.
type Question struct {
	Key         string `json:"key"` // in secret_map, or of the mount
	Description string `json:"description"`
}

// TemplateQuestions returns what the templates of a chain ask for, ordered by key.
// The chain is as that of [Resolve].
func TemplateQuestions(chain ...Definition) Questions {
	q := Questions{Required: []Question{}, Optional: []Question{}, Volumes: []Question{}}
	given := merge(Definition{}, chain)
	secrets := given.SecretMap.Or(nil)
	for _, name := range slices.Sorted(maps.Keys(secrets)) {
		switch r := wholeRef(secrets[name]); r.kind {
		case refRequired:
			q.Required = append(q.Required, Question{Key: name, Description: r.description})
		case refDefault:
			q.Optional = append(q.Optional, Question{Key: name, Description: r.description})
		default:
		}
	}
	mounts := given.VolumeMounts.Or(nil)
	for _, key := range slices.Sorted(maps.Keys(mounts)) {
		if r := wholeRef(mounts[key].SourceID); r.kind == refRequired || r.kind == refDefault {
			q.Volumes = append(q.Volumes, Question{Key: key, Description: r.description})
		}
	}
	return q
}

// Unresolved lists the references in a pod's environment, configuration files and
// secret_map that lead nowhere, as they are written, in order. Values of the secret_map that are
// sealed are not looked into.
func Unresolved(e Effective) []string {
	found := map[string]bool{}
	for _, texts := range []map[string]string{e.EnvironmentVariables, configTexts(e.VolumeMounts)} {
		for _, value := range texts {
			for _, match := range refPattern.FindAllString(value, -1) {
				name := envRefPattern.FindStringSubmatch(match)
				if name == nil || !has(e.SecretMap, name[1]) {
					found[match] = true
				}
			}
		}
	}
	for _, value := range e.SecretMap {
		expandRefs(value, func(r secretRef) (string, bool) {
			if r.kind == refRequired || r.kind == refNet && !has(e.Networking, r.net) {
				found[value] = true
			}
			return "", false
		})
	}
	return append([]string{}, slices.Sorted(maps.Keys(found))...)
}
