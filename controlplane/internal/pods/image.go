package pods

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// The registry that an image without one comes from, and the folder that an
// image of it without one is in.
const (
	defaultRegistry = "docker.io"
	officialFolder  = "library"
)

// maxImageLength bounds an image reference; registries allow no longer names.
const maxImageLength = 255 + 1 + 128 + 1 + 160

// ImageRef is a parsed image reference.
type ImageRef struct {
	Registry   string // "docker.io", "host:5000"
	Repository string // "library/postgres"
	Tag        string // "" if none was given
	Digest     string // "sha256:...", "" if none was given
}

var (
	repositoryPattern = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$`)
	registryPattern   = regexp.MustCompile(`^(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*(?::[0-9]{1,5})?$`)
	tagPattern        = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)
	digestPattern     = regexp.MustCompile(`^sha256:[0-9a-f]{64}$|^sha512:[0-9a-f]{128}$`)
)

// ParseImage reads an image reference as container tools do:
//
//	postgres                       docker.io/library/postgres
//	podway/hello:1                 docker.io/podway/hello, tag 1
//	localhost:5000/x/y:2           localhost:5000/x/y, tag 2
//	ghcr.io/x/y@sha256:9f86...     ghcr.io/x/y with a digest
func ParseImage(ref string) (ImageRef, error) {
	if ref == "" {
		return ImageRef{}, errors.New("image is empty")
	}
	if len(ref) > maxImageLength {
		return ImageRef{}, fmt.Errorf("image has %d characters, at most %d are allowed", len(ref), maxImageLength)
	}
	name, tag, digest := splitImage(ref)
	r := ImageRef{Tag: strings.TrimPrefix(tag, ":"), Digest: strings.TrimPrefix(digest, "@")}
	r.Registry, r.Repository = splitRegistry(name)
	switch {
	case digest != "" && !digestPattern.MatchString(r.Digest):
		return ImageRef{}, errors.New("the digest of image must look like @sha256:<64 hex digits>")
	case tag != "" && !tagPattern.MatchString(r.Tag):
		return ImageRef{}, errors.New("the tag of image must be 1 to 128 letters, digits, '_', '.' or '-'")
	case !registryPattern.MatchString(r.Registry):
		return ImageRef{}, errors.New("the registry of image must be a lowercase host name, optionally with a port")
	case !repositoryPattern.MatchString(r.Repository):
		return ImageRef{}, errors.New("image must look like [registry[:port]/]name[:tag][@digest] with a lowercase name")
	}
	return r, nil
}

// Name returns registry and repository, without tag and digest. Two references
// name the same image if their names are equal.
func (r ImageRef) Name() string { return r.Registry + "/" + r.Repository }

// CanonicalImage returns the [ImageRef.Name] of a reference: the form in which
// images are compared.
func CanonicalImage(ref string) (string, error) {
	r, err := ParseImage(ref)
	if err != nil {
		return "", err
	}
	return r.Name(), nil
}

// splitImage cuts a reference into name, tag with its colon, and digest with its
// at sign. A colon before the last slash belongs to the registry's port.
func splitImage(ref string) (name, tag, digest string) {
	name = ref
	if i := strings.IndexByte(name, '@'); i >= 0 {
		name, digest = name[:i], name[i:]
	}
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		name, tag = name[:i], name[i:]
	}
	return name, tag, digest
}

// splitRegistry tells a registry from the first folder of a name: it has a dot
// or a port, or is localhost.
func splitRegistry(name string) (registry, repository string) {
	first, rest, ok := strings.Cut(name, "/")
	if !ok || (!strings.ContainsAny(first, ".:") && first != "localhost") {
		registry, repository = defaultRegistry, name
	} else {
		registry, repository = first, rest
	}
	if registry == "index.docker.io" || registry == "registry-1.docker.io" {
		registry = defaultRegistry
	}
	if registry == defaultRegistry && !strings.Contains(repository, "/") {
		repository = officialFolder + "/" + repository
	}
	return registry, repository
}
