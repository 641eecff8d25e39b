package local

import (
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// ephemeralName is the folder in the storage that is emptied before every start.
const ephemeralName = "ephemeral"

// ephemeralFolder is the folder of a mount of type ephemeral, below the storage.
func ephemeralFolder(name string) string { return filepath.Join(ephemeralName, name) }

// ephemeralPath is the configuration file that the mount is, or its folder.
// PODWAY_EPHEMERAL_<NAME> tells it to the program.
func ephemeralPath(name string, m pods.VolumeMount) string {
	if !m.IsConfig() {
		return ephemeralFolder(name)
	}
	return filepath.Join(ephemeralFolder(name), filepath.Base(m.ConfigPath()))
}

// writeConfigs writes the configuration files of a pod into its storage, of which
// root is the folder.
func writeConfigs(root *os.Root, a *account, mounts map[string]pods.VolumeMount) error {
	for name, m := range mounts {
		if !m.IsConfig() {
			continue
		}
		file := ephemeralPath(name, m)
		mode := fs.FileMode(m.ConfigMode())
		if err := root.WriteFile(file, []byte(m.ConfigContent), 0o600); err != nil {
			return err
		}
		if err := a.ownIn(root, file); err != nil {
			return err
		}
		if err := root.Chmod(file, mode); err != nil { // whatever the umask is
			return err
		}
	}
	return nil
}
