package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// folder is the folder of one pod. The package comment lists what is in it.
type folder string

func (f folder) meta() string   { return filepath.Join(string(f), "pod.json") }
func (f folder) log() string    { return filepath.Join(string(f), "log") }
func (f folder) run() runFolder { return runFolder(filepath.Join(string(f), "run")) }

// newRun is where a run folder is made, before it is renamed to run.
func (f folder) newRun() runFolder { return runFolder(filepath.Join(string(f), "run.new")) }

// storageEntry is the storage, or the link to it; see [folder.storage].
func (f folder) storageEntry() string { return filepath.Join(string(f), "storage") }

// storage returns the folder that keeps the pod's own files, which may lie
// elsewhere.
func (f folder) storage() (string, error) { return filepath.EvalSymlinks(f.storageEntry()) }

// remove deletes the folder and the storage.
func (f folder) remove() error {
	var errs []error
	if target, err := os.Readlink(f.storageEntry()); err == nil {
		errs = append(errs, os.RemoveAll(target))
	}
	// Without pod.json, which goes first, the next Open removes the rest.
	if err := os.Remove(f.meta()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, err)
	}
	errs = append(errs, os.RemoveAll(string(f)))
	return errors.Join(errs...)
}

// runFolder holds one run of a pod.
type runFolder string

func (r runFolder) spec() string  { return filepath.Join(string(r), "spec.json") }
func (r runFolder) state() string { return filepath.Join(string(r), "state.json") }

// lock is held by the shim as long as it lives.
func (r runFolder) lock() string { return filepath.Join(string(r), "lock") }

// removal is there when the run shall be removed, and says how.
func (r runFolder) removal() string { return filepath.Join(string(r), "removal") }

// meta is what is remembered of a pod between runs.
type meta struct {
	Tenant string     `json:"tenant"`
	ID     pods.ID    `json:"pod_id"`
	UID    string     `json:"uid"`
	Site   string     `json:"site"`
	IP     netip.Addr `json:"ip"`
}

func (m meta) key() pods.Key { return pods.Key{Tenant: m.Tenant, ID: m.ID} }

// namePattern is what a tenant or pod id may look like to be part of a file
// name: no separators, no "@", nothing hidden.
var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)

// folderName returns the name of a pod's folder, "<id>@<tenant>".
func folderName(k pods.Key) (string, error) {
	if !namePattern.MatchString(k.Tenant) || !namePattern.MatchString(string(k.ID)) {
		return "", pods.Errorf(pods.Invalid, "pod_id: no folder can be named after pod %q of tenant %q", k.ID, k.Tenant)
	}
	return string(k.ID) + "@" + k.Tenant, nil
}

// podFolders lists the folders below dir that have the name of a pod's.
func podFolders(dir string) ([]folder, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("listing pods: %w", err)
	}
	var found []folder
	for _, e := range entries {
		if e.IsDir() && strings.Contains(e.Name(), "@") {
			found = append(found, folder(filepath.Join(dir, e.Name())))
		}
	}
	return found, nil
}

// writeJSON writes a file that only the owner can read, in one step: a reader
// sees the old content or the new.
func writeJSON(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding %s: %w", filepath.Base(path), err)
	}
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("writing %s: %w", filepath.Base(path), err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("writing %s: %w", filepath.Base(path), err)
	}
	return nil
}

// readJSON reads what writeJSON wrote. The error is fs.ErrNotExist if there is
// no such file.
func readJSON[T any](path string) (T, error) {
	var v T
	b, err := os.ReadFile(path)
	if err != nil {
		return v, fmt.Errorf("reading %s: %w", filepath.Base(path), err)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return v, fmt.Errorf("decoding %s: %w", path, err)
	}
	return v, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
