package local

import (
	"errors"
	"maps"
	"path/filepath"
	"slices"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// admit checks a workload against what the local cluster can run, without
// looking at the machine: a program that is missing can be installed until the
// pod starts. Invalid with one message per problem.
func (c *Cluster) admit(w pods.Workload) error {
	var problems []string
	refuse := func(err error) {
		if e, ok := errors.AsType[*pods.Error](err); ok {
			problems = append(problems, e.Messages...)
		}
	}
	img, err := findImage(w.Image)
	refuse(err)
	_, err = folderName(w.Key)
	refuse(err)
	if img.check != nil {
		refuse(img.check(img, w.Ports))
	}
	if len(w.Command) > 0 {
		problems = append(problems, "command: command can't be overridden on the local cluster. Leave it out")
	}
	if w.Resources.GPUs > 0 {
		problems = append(problems, "resources.gpus: the local cluster has no GPUs. Use 0")
	}
	for _, name := range slices.Sorted(maps.Keys(w.VolumeMounts)) {
		refuse(c.admitMount(name, w.VolumeMounts[name]))
	}
	if len(problems) > 0 {
		return &pods.Error{Code: pods.Invalid, Messages: problems}
	}
	return nil
}

func (c *Cluster) admitMount(name string, m pods.VolumeMount) error {
	_, shared := m.Volume("", name)
	own := m.Type == pods.MountPVC || m.Type == pods.MountEphemeral
	switch {
	case !own && (!shared || c.options.Volumes == ""):
		return pods.Errorf(pods.Invalid, "volume_mounts.%s.type: the local cluster has no volumes of type '%s'. Use 'pvc'", name, m.Type)
	case !namePattern.MatchString(name):
		return pods.Errorf(pods.Invalid, "volume_mounts.%s: no folder can have this name", name)
	case !filepath.IsLocal(filepath.Join(".", m.SubPath)):
		return pods.Errorf(pods.Invalid, "volume_mounts.%s.sub_path: must be a path below the volume", name)
	}
	return nil
}

// mountName returns the folder of a mount of type pvc, below the storage. It is
// not mounted at the mount's path, which belongs to the machine;
// PODWAY_VOLUME_<KEY> tells it to the program.
func mountName(name string, m pods.VolumeMount) string {
	return filepath.Join("volumes", m.Source(name), m.SubPath)
}
