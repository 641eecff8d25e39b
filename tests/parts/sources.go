package parts

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"strings"
)

// Repo returns the root of the checkout.
func Repo() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// Product returns the paths of all that the programs of this repository are made of.
func Product() []string {
	var paths []string
	for _, name := range []string{
		"Caddyfile.acme.example", "Caddyfile.example", "go.mod", "go.sum", "caddymodules", "controlplane", "deploy", "edge",
		"podctl", "routes", "sni",
	} {
		paths = append(paths, filepath.Join(Repo(), name))
	}
	return paths
}

// DependsOn makes a result in the cache of `go test` good only as long as everything
// below these paths is as it is now. `go test` knows what a test reads itself, and
// nothing of what the programs read that it runs, `go build` above all: without this,
// a test of a program would pass from the cache after the program was changed. A test
// calls it before it runs such a program.
func DependsOn(paths ...string) error {
	for _, root := range paths {
		// Listing a folder is what makes `go test` look at the files in it.
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() && path != root && strings.HasPrefix(d.Name(), ".") {
				return fs.SkipDir
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("looking at the sources: %w", err)
		}
	}
	return nil
}
