package pods

import (
	"context"
	"io"
	"io/fs"
	"time"
)

// FileCluster is a [Cluster] that can also move files between a pod's container
// and its owner. Paths are those the container sees, absolute and clean. All
// methods are safe for concurrent use.
//
// Errors: Invalid for a path that can't be used, NotFound if the container does
// not run or the path is not there, Conflict if the container lacks what a copy
// needs. A copy ends with ctx.
type FileCluster interface {
	// CopyTo writes the size bytes that r gives to a file in the container,
	// replacing it if it is there and making the folders on the way. A size of -1
	// means that it is not known; the bytes are collected on disk first then.
	CopyTo(ctx context.Context, k Key, path string, size int64, r io.Reader) error

	// CopyFrom opens a regular file in the container. The reader gives exactly
	// the size of the file's description, or an error; the caller closes it.
	CopyFrom(ctx context.Context, k Key, path string) (ContainerFile, io.ReadCloser, error)

	// ListFiles lists a folder in the container, ordered by name, at most
	// [MaxListedFiles] entries. A file is listed as itself.
	ListFiles(ctx context.Context, k Key, path string) ([]ContainerFile, error)
}

// MaxListedFiles bounds the entries that are returned for a folder.
const MaxListedFiles = 10_000

// ContainerFile describes a file in a pod's container.
type ContainerFile struct {
	Name       string      // without its folder
	Mode       fs.FileMode // type and permissions
	Size       int64       // bytes
	ModifiedAt time.Time
}
