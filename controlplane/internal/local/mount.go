package local

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// mounts returns the folders of the volumes and snapshots that a pod mounts, by
// their ids.
func (c *Cluster) mounts(w pods.Workload, user *account) (map[string]string, error) {
	dirs := map[string]string{}
	for id, m := range w.VolumeMounts {
		k, shared := m.Volume(w.Tenant, id)
		if !shared {
			continue
		}
		dir := filepath.Join(c.options.Volumes, k.String(), m.SubPath)
		if err := c.prepareMount(k, m.SubPath); err != nil {
			return nil, err
		}
		if user != nil && !user.reaches(dir) {
			return nil, pods.Errorf(pods.Invalid,
				"volume_mounts.%s: the pod runs as another user, who can't reach the folder for volumes. Set PODWAY_VOLUMES_DIR to one that all can pass", id)
		}
		dirs[id] = dir
	}
	return dirs, nil
}

// prepareMount makes the folder below a volume that a pod mounts, if it is
// missing. That of a snapshot has to be there.
func (c *Cluster) prepareMount(k pods.VolumeKey, sub string) error {
	root, err := os.OpenRoot(filepath.Join(c.options.Volumes, k.String()))
	if err != nil {
		return &pods.Error{Code: pods.Unavailable, Messages: []string{"volume_mounts." + k.ID + ": its files can't be reached"}, Cause: err}
	}
	defer root.Close()
	sub = filepath.Join(".", sub)
	info, err := root.Stat(sub)
	if errors.Is(err, fs.ErrNotExist) && k.Kind == pods.KindVolume {
		if err = root.MkdirAll(sub, 0o777); err == nil {
			info, err = root.Stat(sub)
		}
	}
	if err != nil || !info.IsDir() {
		return pods.Errorf(pods.Invalid, "volume_mounts.%s.sub_path: '%s' is no folder of the %s", k.ID, sub, k.Kind)
	}
	return nil
}

// mountPoints returns what stands in for the mounts of a pod, by their paths.
func (p place) mountPoints(w pods.Workload) map[string]string {
	points := map[string]string{}
	for name, m := range w.VolumeMounts {
		switch m.Type {
		case pods.MountPVC:
			points[filepath.Clean(m.MountPath)] = filepath.Join(p.storage, mountName(name, m))
		case pods.MountEphemeral:
			at := m.MountPath
			if m.IsConfig() {
				at = m.ConfigPath()
			}
			points[filepath.Clean(at)] = filepath.Join(p.storage, ephemeralPath(name, m))
		default:
			points[filepath.Clean(m.MountPath)] = p.mounts[name]
		}
	}
	return points
}

// onMachine returns where a path of the pod is on this machine: below a mount in
// what stands in for that, else where it says.
func (sp spec) onMachine(path string) string {
	for at := path; at != "/" && at != "."; at = filepath.Dir(at) {
		if to, ok := sp.Mounts[at]; ok {
			return filepath.Join(to, path[len(at):])
		}
	}
	return path
}
