package local

import (
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// searchPath is the PATH of pods, unless their environment sets another.
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// tempName is the folder for temporary files in the storage.
const tempName = "tmp"

// instanceVariable names the run that a process belongs to, and so marks the
// processes that a killed shim leaves behind.
const instanceVariable = "PODWAY_INSTANCE"

// environment returns the complete environment of a pod's programs. What the
// control plane has in its own, secrets for one, is no part of it.
func environment(w pods.Workload, p place, instance string) []string {
	env := map[string]string{"PATH": searchPath, "HOME": p.storage, "TMPDIR": filepath.Join(p.storage, tempName), "LANG": "C.UTF-8"}
	maps.Copy(env, w.Env)
	env["PODWAY_POD_ID"] = string(w.ID)
	env["PODWAY_ADDRESS"] = p.ip.String()
	env[instanceVariable] = instance
	for key, port := range p.ports {
		env["PODWAY_PORT_"+strings.ToUpper(key)] = strconv.Itoa(port)
	}
	for name, m := range w.VolumeMounts {
		switch m.Type {
		case pods.MountPVC:
			env["PODWAY_VOLUME_"+strings.ToUpper(name)] = filepath.Join(p.storage, mountName(name, m))
		case pods.MountEphemeral:
			env["PODWAY_EPHEMERAL_"+strings.ToUpper(name)] = filepath.Join(p.storage, ephemeralPath(name, m))
		}
	}
	for name, dir := range p.mounts {
		env["PODWAY_MOUNT_"+strings.ToUpper(name)] = dir
	}
	list := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		list = append(list, name+"="+env[name])
	}
	return list
}

// lookup returns the value of a variable in a complete environment.
func lookup(env []string, name string) string {
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, name+"="); ok {
			return v
		}
	}
	return ""
}
