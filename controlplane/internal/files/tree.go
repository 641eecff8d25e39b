package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// Rights of what is made; see the package comment.
const (
	parentMode  fs.FileMode = 0o711
	privateMode fs.FileMode = 0o700
	dirMode     fs.FileMode = 0o777
	fileMode    fs.FileMode = 0o666
)

// The service's own folders below the root.
const (
	stateDir      = ".podway"
	ownersDir     = stateDir + "/owners"
	stagingDir    = stateDir + "/staging"
	tombstonesDir = stateDir + "/tombstones"
)

// Tree is the folder that holds the content of all volumes. It is safe for
// concurrent use, by several processes too.
type Tree struct {
	dir string
}

// OpenTree returns the tree in a folder, which is made if it is missing.
func OpenTree(dir string) (*Tree, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("opening the folder for volumes: %w", err)
	}
	if err := os.MkdirAll(dir, parentMode); err != nil {
		return nil, fmt.Errorf("opening the folder for volumes: %w", err)
	}
	return &Tree{dir: dir}, nil
}

// Dir returns the path of the tree's folder.
func (t *Tree) Dir() string { return t.dir }

// root opens the folder anew each time: it may have been mounted again.
func (t *Tree) root() (*os.Root, error) {
	root, err := os.OpenRoot(t.dir)
	if err != nil {
		return nil, unreachable(err)
	}
	return root, nil
}

func unreachable(err error) error {
	return &pods.Error{Code: pods.Unavailable, Messages: []string{"The files can't be reached. Please try again later."}, Cause: err}
}

// initialised reports whether the folder was ever used by init.
func (t *Tree) initialised() bool {
	info, err := os.Stat(filepath.Join(t.dir, stagingDir))
	return err == nil && info.IsDir()
}

// init prepares an empty folder.
func (t *Tree) init() error {
	root, err := t.root()
	if err != nil {
		return err
	}
	defer root.Close()
	for _, dir := range []string{ownersDir, tombstonesDir, stagingDir} {
		if err := root.MkdirAll(dir, privateMode); err != nil {
			return fmt.Errorf("preparing the folder for volumes: %w", err)
		}
	}
	return nil
}

// namePattern is what may be a part of a path that the service makes.
var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

// checkNames refuses keys that can't be folders.
func checkNames(k pods.VolumeKey, uid string) error {
	if (k.Kind != pods.KindVolume && k.Kind != pods.KindSnapshot) ||
		!namePattern.MatchString(k.Tenant) || !namePattern.MatchString(k.ID) || !namePattern.MatchString(uid) {
		return pods.Errorf(pods.Invalid, "no folder can be named after %s %q of tenant %q", k.Kind, k.ID, k.Tenant)
	}
	return nil
}

// create makes the folder of a volume. It does nothing if that was done. Conflict
// if there is a folder that belongs to another volume, or to nobody.
func (t *Tree) create(k pods.VolumeKey, uid string) error {
	root, err := t.claim(k, uid)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := root.Mkdir(k.String(), dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("making the folder of %s: %w", k, err)
	}
	// Mkdir leaves out what the umask says.
	if err := root.Chmod(k.String(), dirMode); err != nil {
		return fmt.Errorf("making the folder of %s: %w", k, err)
	}
	return nil
}

// claim writes the owner's mark of a folder that does not exist yet, unless it is
// there already, and returns the root.
func (t *Tree) claim(k pods.VolumeKey, uid string) (*os.Root, error) {
	if err := checkNames(k, uid); err != nil {
		return nil, err
	}
	root, err := t.root()
	if err != nil {
		return nil, err
	}
	if err := claim(root, k, uid); err != nil {
		root.Close()
		return nil, err
	}
	return root, nil
}

func claim(root *os.Root, k pods.VolumeKey, uid string) error {
	owner, err := readOwner(root, k)
	if err != nil {
		return err
	}
	if owner == uid {
		return nil
	}
	if _, err := root.Lstat(k.String()); err == nil {
		return &pods.Error{
			Code:     pods.Conflict,
			Messages: []string{fmt.Sprintf("There are files of an earlier %s '%s' that are not removed yet. Please try again later.", k.Kind, k.ID)},
			Cause:    fmt.Errorf("folder %s belongs to %q, not to %q", k, owner, uid),
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("looking for the folder of %s: %w", k, err)
	}
	if err := makeParents(root, k); err != nil {
		return fmt.Errorf("making the folders above %s: %w", k, err)
	}
	return writeOwner(root, k, uid)
}

// makeParents makes the folders above a volume, and above its mark.
func makeParents(root *os.Root, k pods.VolumeKey) error {
	if err := root.MkdirAll(path.Dir(ownerFile(k)), privateMode); err != nil {
		return err
	}
	parent := path.Dir(k.String())
	if err := root.MkdirAll(parent, parentMode); err != nil {
		return err
	}
	for _, dir := range []string{path.Dir(parent), parent} {
		if err := root.Chmod(dir, parentMode); err != nil { // MkdirAll leaves out what the umask says
			return err
		}
	}
	return nil
}

func ownerFile(k pods.VolumeKey) string { return path.Join(ownersDir, k.String()) }

// readOwner returns the UID of the volume that a folder belongs to, "" if there is
// no mark.
func readOwner(root *os.Root, k pods.VolumeKey) (string, error) {
	b, err := root.ReadFile(ownerFile(k))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("reading the owner of %s: %w", k, err)
	}
	return strings.TrimSpace(string(b)), nil
}

// writeOwner writes the mark in one step.
func writeOwner(root *os.Root, k pods.VolumeKey, uid string) error {
	tmp := path.Join(stagingDir, "owner-"+uid)
	if err := root.WriteFile(tmp, []byte(uid+"\n"), 0o600); err != nil {
		return fmt.Errorf("writing the owner of %s: %w", k, err)
	}
	if err := root.Rename(tmp, ownerFile(k)); err != nil {
		return fmt.Errorf("writing the owner of %s: %w", k, err)
	}
	return nil
}

// open opens the folder of a volume. Unavailable if it is not there, or not this
// volume's.
func (t *Tree) open(k pods.VolumeKey, uid string) (*os.Root, error) {
	if err := checkNames(k, uid); err != nil {
		return nil, err
	}
	root, err := t.root()
	if err != nil {
		return nil, err
	}
	defer root.Close()
	owner, err := readOwner(root, k)
	if err != nil {
		return nil, unreachable(err)
	}
	if owner != uid {
		return nil, unreachable(fmt.Errorf("folder %s belongs to %q, not to %q", k, owner, uid))
	}
	folder, err := root.OpenRoot(k.String())
	if err != nil {
		return nil, unreachable(err)
	}
	return folder, nil
}

// bury takes the folder of a volume out of reach. It does nothing if that was
// done, or if the folder belongs to another volume.
func (t *Tree) bury(k pods.VolumeKey, uid string) error {
	if err := checkNames(k, uid); err != nil {
		return err
	}
	root, err := t.root()
	if err != nil {
		return err
	}
	defer root.Close()
	owner, err := readOwner(root, k)
	if err != nil {
		return err
	}
	if owner != uid {
		return nil
	}
	// The mark goes last: without it nobody would know whose folder it is.
	err = root.Rename(k.String(), path.Join(tombstonesDir, uid))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("taking %s out of reach: %w", k, err)
	}
	if err := root.Remove(ownerFile(k)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the owner of %s: %w", k, err)
	}
	return nil
}

// purge deletes the files of a volume that was buried.
func (t *Tree) purge(uid string) error {
	if !namePattern.MatchString(uid) {
		return fmt.Errorf("deleting a volume's files: %q is no uid", uid)
	}
	root, err := t.root()
	if err != nil {
		return err
	}
	defer root.Close()
	return errors.Join(removeAll(root, path.Join(tombstonesDir, uid)), clearStaging(root, uid))
}

// clearStaging removes what attempts to copy a snapshot have left.
func clearStaging(root *os.Root, uid string) error {
	entries, err := fs.ReadDir(root.FS(), stagingDir)
	if err != nil {
		return fmt.Errorf("listing unfinished copies: %w", err)
	}
	var errs []error
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), uid+"-") {
			errs = append(errs, removeAll(root, path.Join(stagingDir, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// removeAll deletes a folder with all that is in it. Folders that their owner may
// not write to are made writable first.
func removeAll(root *os.Root, name string) error {
	err := root.RemoveAll(name)
	if errors.Is(err, fs.ErrPermission) {
		// What fails here fails again below.
		_ = fs.WalkDir(root.FS(), name, func(p string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				return root.Chmod(p, privateMode)
			}
			return err
		})
		err = root.RemoveAll(name)
	}
	if err != nil {
		return fmt.Errorf("deleting %s: %w", name, err)
	}
	return nil
}
