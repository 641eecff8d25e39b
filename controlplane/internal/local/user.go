package local

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// runAs returns the user to run an image as: nil, which is ourselves, unless we
// are root and the image wants another.
func runAs(i image) (*account, error) {
	if os.Geteuid() != 0 || len(i.accounts) == 0 {
		return nil, nil
	}
	for _, name := range i.accounts {
		if u, err := user.Lookup(name); err == nil {
			return parseAccount(u)
		}
	}
	return nil, fmt.Errorf("finding a user to run %s as: none of %v exists", i.name, i.accounts)
}

func parseAccount(u *user.User) (*account, error) {
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("reading the id of user %s: %w", u.Username, err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("reading the group of user %s: %w", u.Username, err)
	}
	return &account{UID: uint32(uid), GID: uint32(gid)}, nil
}

// reaches reports whether the account may pass through a folder and all its
// parents.
func (a *account) reaches(dir string) bool {
	for {
		info, err := os.Stat(dir)
		if err != nil || !a.passes(info) {
			return false
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return true
		}
		dir = parent
	}
}

// passes reports whether the account has the execute right on a folder.
func (a *account) passes(info os.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok:
		return false
	case stat.Uid == a.UID:
		return info.Mode()&0o100 != 0
	case stat.Gid == a.GID:
		return info.Mode()&0o010 != 0
	default:
		return info.Mode()&0o001 != 0
	}
}

// makeStorage makes the folder for a pod's own files, unless it is there, and
// gives it to the account, with an empty folder for temporary files and one for
// each mount of type pvc. It lies in the pod's folder, or, if the account can't reach
// that, in the machine's folder for temporary files, with a link to it.
func makeStorage(f folder, a *account, mounts map[string]pods.VolumeMount) (string, error) {
	if _, err := os.Stat(f.storageEntry()); err != nil {
		// What is there is nothing, or a link to a folder that the machine cleaned up.
		if err := errors.Join(os.RemoveAll(f.storageEntry()), placeStorage(f, a)); err != nil {
			return "", fmt.Errorf("making the storage: %w", err)
		}
	}
	storage, err := f.storage()
	if err != nil {
		return "", fmt.Errorf("finding the storage: %w", err)
	}
	if err := fillStorage(storage, a, mounts); err != nil {
		return "", fmt.Errorf("making the storage: %w", err)
	}
	return storage, nil
}

func placeStorage(f folder, a *account) error {
	entry := f.storageEntry()
	if a == nil || a.reaches(string(f)) {
		if err := os.Mkdir(entry, 0o700); err != nil {
			return err
		}
		return a.own(entry)
	}
	elsewhere, err := os.MkdirTemp("", "podway-"+filepath.Base(string(f))+"-")
	if err != nil {
		return err
	}
	if err := os.Symlink(elsewhere, entry); err != nil {
		return err
	}
	return a.own(elsewhere)
}

// own gives a folder to the account.
func (a *account) own(dir string) error {
	if a == nil {
		return nil
	}
	return os.Chown(dir, int(a.UID), int(a.GID))
}

// fillStorage makes the folders inside the storage. The account owns that and
// may have put links there that lead out of it, which root must not follow.
func fillStorage(storage string, a *account, mounts map[string]pods.VolumeMount) error {
	root, err := os.OpenRoot(storage)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, dir := range []string{tempName, ephemeralName} {
		if err := root.RemoveAll(dir); err != nil {
			return err
		}
	}
	dirs := []string{tempName}
	for name, m := range mounts {
		switch m.Type {
		case pods.MountPVC:
			dirs = append(dirs, mountName(name, m))
		case pods.MountEphemeral:
			dirs = append(dirs, ephemeralFolder(name))
		}
	}
	for _, dir := range dirs {
		if err := root.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		if err := a.ownIn(root, dir); err != nil {
			return err
		}
	}
	return writeConfigs(root, a, mounts)
}

// ownIn gives an entry of root, and the folders on the way to it, to the account.
func (a *account) ownIn(root *os.Root, name string) error {
	for ; a != nil && name != "."; name = filepath.Dir(name) {
		if err := root.Lchown(name, int(a.UID), int(a.GID)); err != nil {
			return err
		}
	}
	return nil
}
