package pods

import (
	"context"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Limits of the files that a definition brings along.
const (
	maxConfigContent = 256 << 10 // bytes, of one file and of all of a pod
	maxConfigName    = 128
)

// defaultConfigMode is the mode of a configuration file that sets none.
const defaultConfigMode = "0644"

// When a configuration file gets its content.
const (
	ConfigAlways = "always" // at every start
	ConfigOnce   = "once"   // at the first start; later ones have the same
)

// configModePattern is what chmod takes, without the special bits.
var configModePattern = regexp.MustCompile(`^0?[0-7]{3}$`)

// IsConfig reports whether the mount is a file with the content that the
// definition gives. Any other of type [MountEphemeral] is an empty folder.
func (m VolumeMount) IsConfig() bool { return m.Type == MountEphemeral && m.ConfigContent != "" }

// ConfigPath is where the pod finds the configuration file: below MountPath if
// ConfigFilename is set, else MountPath itself.
func (m VolumeMount) ConfigPath() string { return path.Join(m.MountPath, m.ConfigFilename) }

// place is where the mount covers what the image has.
func (m VolumeMount) place() string {
	if m.IsConfig() {
		return m.ConfigPath()
	}
	return path.Clean(m.MountPath)
}

// ConfigMode returns the rights of the configuration file, 0644 if it sets none
// that can be read.
func (m VolumeMount) ConfigMode() uint32 {
	mode, err := strconv.ParseUint(m.ConfigPermissions, 8, 9)
	if err != nil {
		return 0o644
	}
	return uint32(mode)
}

// configProblems adds what is wrong with the configuration file of a mount.
func (v validator) configProblems(where loc, m VolumeMount) {
	if m.Type != MountEphemeral {
		if m.ConfigContent != "" || m.ConfigFilename != "" || m.ConfigPermissions != "" || m.ConfigUpdateMode != "" {
			v.problems.add(where.in("config_content"), "volumemount.config_content and what belongs to it need the type '%s'.", MountEphemeral)
		}
		return
	}
	if m.SubPath != "" || m.ReadOnly && !m.IsConfig() {
		v.problems.add(where.in("type"), "volumemount of type '%s' has no sub_path, and is not read-only without config_content.", MountEphemeral)
	}
	if len(m.ConfigContent) > maxConfigContent || strings.Contains(m.ConfigContent, "\x00") {
		v.problems.add(where.in("config_content"), "volumemount.config_content must be text without NUL of at most %d bytes. Got %d bytes.",
			maxConfigContent, len(m.ConfigContent))
	}
	if n := m.ConfigFilename; n != "" && !cleanConfigName(n) {
		v.problems.add(where.in("config_filename"), "volumemount.config_filename must be the name of a file without '/', of at most %d characters. Got %s.",
			maxConfigName, clip(n))
	}
	if p := m.ConfigPermissions; p != "" && !configModePattern.MatchString(p) {
		v.problems.add(where.in("config_permissions"), "volumemount.config_permissions must be three octal digits, such as '0644'. Got %s.", clip(p))
	}
	if mode := m.ConfigUpdateMode; mode != "" && mode != ConfigAlways && mode != ConfigOnce {
		v.problems.add(where.in("config_update_mode"), "volumemount.config_update_mode must be '%s' or '%s'. Got %s.", ConfigAlways, ConfigOnce, clip(mode))
	}
}

func cleanConfigName(n string) bool {
	return len(n) <= maxConfigName && !strings.ContainsAny(n, "/:") && n != "." && !strings.HasPrefix(n, "..") && !hasControl(n)
}

// configTotal bounds the configuration files of a pod together: they are one
// object in the cluster.
func (v validator) configTotal(mounts map[string]VolumeMount) {
	total := 0
	for _, m := range mounts {
		total += len(m.ConfigContent)
	}
	if total > maxConfigContent {
		v.problems.add(v.nested.in("volume_mounts"), "the config_content of all mounts has %d bytes, at most %d are possible.", total, maxConfigContent)
	}
}

// configFields are the fields of a mount that make a configuration file.
type configFields struct{ content, filename, permissions, mode Opt[string] }

// takeConfig reads the fields of a configuration file.
func takeConfig(o *object) configFields {
	var f configFields
	takeNullable(o, "config_content", &f.content, readString)
	takeNullable(o, "config_filename", &f.filename, readString)
	takeNullable(o, "config_permissions", &f.permissions, readString)
	takeNullable(o, "config_update_mode", &f.mode, readLower)
	return f
}

// applied returns the mount with the fields that are set.
func (f configFields) applied(m VolumeMount) VolumeMount {
	m.ConfigContent = f.content.Or(m.ConfigContent)
	m.ConfigFilename = f.filename.Or(m.ConfigFilename)
	m.ConfigPermissions = f.permissions.Or(m.ConfigPermissions)
	m.ConfigUpdateMode = f.mode.Or(m.ConfigUpdateMode)
	return m
}

// ephemeralName makes a name that a cluster can use of where something is mounted.
func ephemeralName(mountPath string) string {
	name := strings.Map(func(r rune) rune {
		if r <= unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r)) {
			return unicode.ToLower(r)
		}
		return -1
	}, path.Base(mountPath))
	if name == "" || !unicode.IsLetter(rune(name[0])) {
		name = "file" + name
	}
	return name[:min(len(name), maxVolumeKey)]
}

// configTexts returns the content of the configuration files of mounts, by the
// mounts' keys.
func configTexts(mounts map[string]VolumeMount) map[string]string {
	texts := map[string]string{}
	for key, m := range mounts {
		if m.IsConfig() {
			texts[key] = m.ConfigContent
		}
	}
	return texts
}

// checkConfigRefs reports configuration files that refer to entries of the
// secret_map that are not there.
func checkConfigRefs(p *problems, mounts map[string]VolumeMount, secretMap map[string]string) {
	texts := configTexts(mounts)
	for _, key := range slices.Sorted(maps.Keys(texts)) {
		for _, match := range envRefPattern.FindAllStringSubmatch(texts[key], -1) {
			if _, ok := secretMap[match[1]]; !ok {
				p.add(at("volume_mounts", key, "config_content"), "secret_map has no entry '%s'. Add it, or remove the reference.", clip(match[1]))
			}
		}
	}
}

// FillConfigs replaces the references to entries of a secret_map in the
// configuration files of mounts.
func FillConfigs(mounts map[string]VolumeMount, secrets map[string]string) {
	texts := configTexts(mounts)
	FillSecrets(texts, secrets)
	for key, text := range texts {
		m := mounts[key]
		m.ConfigContent = text
		mounts[key] = m
	}
}

// keptConfig names the content of a configuration file among what is kept for a
// pod. Names of entries of a secret_map have no slash.
func keptConfig(m VolumeMount) string { return "file:" + m.ConfigPath() }

// keepConfigs gives the files that are written once the content that they had at
// their first start, and forgets that of files which are written always.
func (b *Binder) keepConfigs(ctx context.Context, p Pod, mounts map[string]VolumeMount) error {
	once, always := map[string]string{}, []string{}
	for _, m := range mounts {
		switch {
		case !m.IsConfig():
		case m.ConfigUpdateMode == ConfigOnce:
			once[keptConfig(m)] = m.ConfigContent
		default:
			always = append(always, keptConfig(m))
		}
	}
	if len(always) > 0 {
		if err := b.Secrets.DropPodSecrets(ctx, p.Key, p.UID, always...); err != nil {
			return fmt.Errorf("forgetting configuration files: %w", err)
		}
	}
	if len(once) == 0 {
		return nil
	}
	kept, err := b.Secrets.KeepPodSecrets(ctx, p.Key, p.UID, once)
	if err != nil {
		return fmt.Errorf("keeping configuration files: %w", err)
	}
	for key, m := range mounts {
		if text, ok := kept[keptConfig(m)]; ok && m.IsConfig() {
			m.ConfigContent = text
			mounts[key] = m
		}
	}
	return nil
}

// WithoutConfigs returns mounts without the content of their configuration files.
func WithoutConfigs(mounts map[string]VolumeMount) map[string]VolumeMount {
	out := maps.Clone(mounts)
	for key, m := range out {
		m.ConfigContent = ""
		out[key] = m
	}
	return out
}

// configWarnings returns a sentence for each configuration file that holds a
// ${...} which is not replaced, ordered by key.
func configWarnings(mounts map[string]VolumeMount) []string {
	var warnings []string
	texts := configTexts(mounts)
	for _, key := range slices.Sorted(maps.Keys(texts)) {
		if refPattern.MatchString(envRefPattern.ReplaceAllString(texts[key], "")) {
			warnings = append(warnings, fmt.Sprintf("volume_mounts, %s, config_content: holds a ${...} that stays as it is; "+
				"only ${pods:secrets:KEY} is replaced, where KEY is an entry of secret_map.", clip(key)))
		}
	}
	return warnings
}
