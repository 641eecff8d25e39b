package files

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"syscall"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// copyJob is the copy of a part of a volume into a snapshot.
type copyJob struct {
	source    pods.VolumeKey
	sourceUID string
	from      string // what is copied, as pods.ParsePath returns it

	target    pods.VolumeKey
	targetUID string
	to        string // the path it gets in the target, "." for its root
	limit     int64  // bytes

	// progress is told how many bytes there are before each piece is copied. Its
	// error ends the copy. It is called for every file, empty ones too.
	progress func(bytes int64) error

	bytes int64
}

// copy makes the target's folder with the copy in it. It does nothing if that was
// done. Nobody else may work on the same target.
func (t *Tree) copy(ctx context.Context, j *copyJob) error {
	root, err := t.claim(j.target, j.targetUID)
	if err != nil {
		return err
	}
	defer root.Close()
	if _, err := root.Lstat(j.target.String()); err == nil {
		return nil // ours, as claim has seen, and it was whole when it got its name
	}
	if err := clearStaging(root, j.targetUID); err != nil {
		return err
	}
	staging := path.Join(stagingDir, j.targetUID+"-"+rand.Text())
	if err := root.Mkdir(staging, privateMode); err != nil {
		return fmt.Errorf("making a folder for a copy: %w", err)
	}
	err = t.copyInto(ctx, root, staging, j)
	if err == nil {
		err = root.Rename(staging, j.target.String())
	}
	if err != nil {
		return errors.Join(err, removeAll(root, staging))
	}
	return nil
}

// copyInto copies into a folder that nobody else sees.
func (t *Tree) copyInto(ctx context.Context, root *os.Root, staging string, j *copyJob) error {
	from, err := t.find(j.source, j.sourceUID, j.from)
	if err != nil {
		return err
	}
	defer from.close()
	info, err := from.stat()
	if err != nil {
		return err
	}
	target, err := root.OpenRoot(staging)
	if err != nil {
		return fmt.Errorf("opening the folder of a copy: %w", err)
	}
	if info.IsDir() {
		err = j.tree(ctx, from, target)
	} else {
		err = j.alone(ctx, from, target)
	}
	if err != nil {
		return err
	}
	return root.Chmod(staging, dirMode) // private until now
}

// tree copies what is in a folder. It closes target.
func (j *copyJob) tree(ctx context.Context, from place, target *os.Root) error {
	to, err := descend(target, j.to, j.to, true)
	if err != nil {
		return err
	}
	defer to.Close()
	dir, err := from.enter()
	if err != nil {
		return err
	}
	defer dir.Close()
	return j.folder(ctx, dir, to, j.from, 0)
}

// alone copies what is no folder. It closes target.
func (j *copyJob) alone(ctx context.Context, from place, target *os.Root) error {
	to, err := find(target, j.to, true)
	if err != nil {
		return err
	}
	defer to.close()
	if to.name == "." {
		return pods.Errorf(pods.Invalid, "destination_path must be set if source_volume_path is a file so we can save to a proper path.")
	}
	return j.file(ctx, from, to)
}

// folder copies what is in a folder, whose path is p.
func (j *copyJob) folder(ctx context.Context, from, to *os.Root, p string, depth int) error {
	return walker{}.each(ctx, from, p, depth, func(at place) error {
		info, err := at.stat()
		if err != nil {
			return err
		}
		return j.entry(ctx, at, place{dir: to, name: at.name, path: at.path}, info, depth)
	})
}

// entry copies one thing.
func (j *copyJob) entry(ctx context.Context, from, to place, info fs.FileInfo, depth int) error {
	switch m := info.Mode(); {
	case m.IsDir():
		return j.subfolder(ctx, from, to, info, depth)
	case m.IsRegular():
		return j.file(ctx, from, to)
	case m.Type() == fs.ModeSymlink:
		return link(from, to)
	default:
		return nil // pipes, sockets and devices are nothing to keep
	}
}

func (j *copyJob) subfolder(ctx context.Context, from, to place, info fs.FileInfo, depth int) error {
	source, err := from.enter()
	if pods.ErrorCode(err) == pods.Invalid {
		return nil // a link has taken its place
	}
	if err != nil {
		return err
	}
	defer source.Close()
	if err := to.dir.Mkdir(to.name, privateMode); err != nil {
		return targetError(err)
	}
	target, err := to.dir.OpenRoot(to.name)
	if err != nil {
		return targetError(err)
	}
	defer target.Close()
	if err := j.folder(ctx, source, target, from.path, depth+1); err != nil {
		return err
	}
	return to.keep(info, 0o755)
}

// file copies a regular file, as long as it was when it was opened.
func (j *copyJob) file(ctx context.Context, from, to place) error {
	in, info, err := from.open()
	if err != nil {
		return err // Invalid if something else has taken its place
	}
	defer in.Close()
	if err := j.progress(j.bytes); err != nil {
		return err
	}
	out, err := to.dir.OpenFile(to.name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return targetError(err)
	}
	err = copySome(ctx, out, in, info.Size(), j.count)
	if err := errors.Join(err, out.Close()); err != nil {
		return targetError(err)
	}
	return to.keep(info, 0o644)
}

// count counts a piece that is about to be copied.
func (j *copyJob) count(n int64) error {
	j.bytes += n
	if j.bytes > j.limit {
		return pods.Errorf(pods.TooLarge, "The source holds more than the snapshot's size_limit of %d MB.", j.limit>>20)
	}
	return j.progress(j.bytes)
}

// targetError tells an error of the copy from one of the original: nothing that
// is missing there was removed by a pod.
func targetError(err error) error {
	if e, ok := errors.AsType[*pods.Error](err); ok {
		return e
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fileError(".", err)
	}
	return fmt.Errorf("writing a copy: %w", err)
}

// keep gives a copy the rights and the time of its original. Pods of other users
// than the one that wrote it read a snapshot, so all of them may.
func (p place) keep(info fs.FileInfo, everyone fs.FileMode) error {
	if err := p.dir.Chmod(p.name, info.Mode().Perm()|everyone); err != nil {
		return targetError(err)
	}
	if err := p.dir.Chtimes(p.name, info.ModTime(), info.ModTime()); err != nil {
		return targetError(err)
	}
	return nil
}

// link copies a symbolic link as it is. It leads where it leads in the pod.
func link(from, to place) error {
	target, err := from.dir.Readlink(from.name)
	if err != nil {
		return fileError(from.path, err)
	}
	if err := to.dir.Symlink(target, to.name); err != nil {
		return targetError(err)
	}
	return nil
}
