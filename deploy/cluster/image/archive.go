package image

import (
	"archive/tar"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// Archive writes the image of a folder that [Build] has made as one OCI archive,
// which `ctr images import`, `podman load` and `skopeo copy oci-archive:` read.
// The same image gives the same bytes.
func Archive(w io.Writer, dir string) error {
	t := tar.NewWriter(w)
	tree := os.DirFS(dir)
	err := fs.WalkDir(tree, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return addFile(t, tree, path)
	})
	if err != nil {
		return fmt.Errorf("writing an image archive: %w", err)
	}
	if err := t.Close(); err != nil {
		return fmt.Errorf("ending an image archive: %w", err)
	}
	return nil
}

func addFile(t *tar.Writer, tree fs.FS, path string) error {
	f, err := tree.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	h := tar.Header{Typeflag: tar.TypeReg, Name: path, Mode: 0o644, Size: info.Size(), ModTime: time.Unix(0, 0)}
	if err := t.WriteHeader(&h); err != nil {
		return err
	}
	_, err = io.Copy(t, f)
	return err
}
