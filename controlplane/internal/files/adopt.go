package files

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// Adopt makes a folder that somebody else has put into the tree that of a volume
// or snapshot. It reports whether there is one; if not it does nothing, as the
// tree may be a share that is not mounted. Conflict if it belongs to another
// volume. The files in it keep their rights: pods may have to be given some.
func (t *Tree) Adopt(k pods.VolumeKey, uid string) (found bool, err error) {
	if err := checkNames(k, uid); err != nil {
		return false, err
	}
	root, err := t.root()
	if err != nil {
		return false, err
	}
	defer root.Close()
	info, err := root.Lstat(k.String())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("looking for the folder of %s: %w", k, err)
	case !info.IsDir():
		return false, pods.Errorf(pods.Conflict, "%s is no folder", k)
	}
	switch owner, err := readOwner(root, k); {
	case err != nil:
		return true, err
	case owner == uid:
		return true, nil
	case owner != "":
		return true, pods.Errorf(pods.Conflict, "the folder %s belongs to another %s", k, k.Kind)
	}
	if err := t.init(); err != nil {
		return true, err
	}
	if err := makeParents(root, k); err != nil {
		return true, fmt.Errorf("making the folders above %s: %w", k, err)
	}
	if err := root.Chmod(k.String(), dirMode); err != nil {
		return true, fmt.Errorf("adopting the folder of %s: %w", k, err)
	}
	return true, writeOwner(root, k, uid)
}
