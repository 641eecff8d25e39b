package kube

import (
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// configPrefix starts the keys of configuration files in the pod's Secret. No
// variable can have such a name.
const configPrefix = "0."

// configKey is where the pod's Secret has the configuration file of a mount.
func configKey(mount string) string { return configPrefix + mount }

func isConfigKey(name string) bool { return strings.HasPrefix(name, configPrefix) }

// ephemeralMount mounts a configuration file in the place of one of the image's,
// or an empty folder.
func ephemeralMount(volume string, m pods.VolumeMount) corev1.VolumeMount {
	if !m.IsConfig() {
		return corev1.VolumeMount{Name: volume, MountPath: m.MountPath}
	}
	// The rest of the folder stays as the image has it.
	return corev1.VolumeMount{Name: volume, MountPath: m.ConfigPath(), SubPath: path.Base(m.ConfigPath()), ReadOnly: true}
}

func (b builder) ephemeralSource(key string, m pods.VolumeMount) corev1.VolumeSource {
	if !m.IsConfig() {
		return corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}
	}
	return corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
		SecretName: b.secretName(),
		Items:      []corev1.KeyToPath{{Key: configKey(key), Path: path.Base(m.ConfigPath()), Mode: new(int32(m.ConfigMode()))}},
	}}
}
