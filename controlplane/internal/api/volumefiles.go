package api

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// maxVolumeUpload bounds the body of an upload to a volume, in bytes: 1 TiB. What
// counts is the volume's size limit.
const maxVolumeUpload = 1 << 40

// filePath returns the path in a volume that a request is about: the end of its
// own path, or the parameter path.
func (r *request) filePath() (string, error) {
	inPath, inQuery := r.param("path"), r.URL.Query().Get("path")
	if strings.Trim(inPath, "/") != "" && r.URL.Query().Has("path") {
		return "", invalidf("query, path: give the path once, in the URL's path or as the parameter path.")
	}
	if inPath == "" {
		inPath = inQuery
	}
	path, err := pods.ParsePath(inPath)
	return path, invalid(err)
}

// listVolumeFiles answers with what is in a folder of a volume.
func listVolumeFiles(k pods.Kind) func(*server, *request) (answer, error) {
	return func(s *server, r *request) (answer, error) {
		path, err := r.filePath()
		if err != nil {
			return answer{}, err
		}
		files, more, err := s.Files.List(r.Context(), r.volume, path)
		if err != nil {
			return answer{}, err
		}
		a := answer{message: titles[k] + " file listing retrieved successfully.", result: viewsOf(files, pods.NewFileView)}
		if more {
			a.warn(fmt.Sprintf("The folder holds more: the first %d files are listed.", len(files)))
		}
		return a, nil
	}
}

// getVolumeContents answers with a file of a volume, as it is, or with a file or
// folder as a ZIP archive.
func (s *server) getVolumeContents(r *request) (answer, error) {
	path, err := r.filePath()
	if err != nil {
		return answer{}, err
	}
	if path == "." {
		return answer{}, invalidf("path, path: the path of a file or folder is needed; it can't be empty or '/'.")
	}
	zipped, err := r.queryBool("zip")
	if err != nil {
		return answer{}, err
	}
	if zipped {
		return s.zippedContents(r, path)
	}
	file, info, err := s.Files.Open(r.Context(), r.volume, path)
	if err != nil {
		return answer{}, s.folderHint(r, path, err)
	}
	return answer{stream: func(w http.ResponseWriter) error {
		defer file.Close()
		attach(w, info.Name(), "application/octet-stream")
		http.ServeContent(steadyWriter{w, http.NewResponseController(w)}, onlyRange(r.Request), "", info.ModifiedAt, file)
		return nil
	}}, nil
}

// onlyRange returns a request for one part of a file, or for the whole: of what
// HTTP knows, an interrupted download needs no more to go on.
func onlyRange(r *http.Request) *http.Request {
	r = r.Clone(r.Context())
	for _, name := range []string{"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"} {
		r.Header.Del(name)
	}
	if strings.Contains(r.Header.Get("Range"), ",") {
		r.Header.Del("Range")
	}
	return r
}

// folderHint adds to an error about a folder what to do.
func (s *server) folderHint(r *request, path string, err error) error {
	if pods.ErrorCode(err) != pods.Invalid {
		return err
	}
	if info, statErr := s.Files.Stat(r.Context(), r.volume, path); statErr == nil && info.Mode.IsDir() {
		return invalidf("path: '%s' is a folder. Use zip=true to get it as an archive.", shorten(info.Path))
	}
	return invalid(err)
}

// zippedContents answers with an archive that is made while it is sent.
func (s *server) zippedContents(r *request, path string) (answer, error) {
	info, err := s.Files.Stat(r.Context(), r.volume, path)
	if err != nil {
		return answer{}, err
	}
	if !info.Mode.IsDir() && !info.Mode.IsRegular() {
		return answer{}, invalidf("path: '%s' is neither a file nor a folder.", shorten(info.Path))
	}
	return answer{stream: func(w http.ResponseWriter) error {
		attach(w, info.Name()+".zip", "application/zip")
		err := s.Files.Zip(r.Context(), r.volume, path, steadyWriter{w, http.NewResponseController(w)})
		return cutShort(r, err)
	}}, nil
}

// cutShort ends an answer that is half sent and can't be completed, so that the
// client does not take it for whole.
func cutShort(r *request, err error) error {
	if err == nil {
		return nil
	}
	traceOf(r.Request).failed(err)
	panic(http.ErrAbortHandler)
}

// attach sets the headers of a file that a user wrote: browsers shall keep it, and
// never show it.
func attach(w http.ResponseWriter, name, mediaType string) {
	h := w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": printable(name)}))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
}

// printable makes a name that a header can hold, and no shell takes for more.
func printable(name string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '/' || r == '\\' {
			return '_'
		}
		return r
	}, strings.ToValidUTF8(name, "_"))
}

// steadyWriter gives up on a client that takes nothing for a while.
type steadyWriter struct {
	http.ResponseWriter
	rc *http.ResponseController
}

// Write writes the next piece.
func (w steadyWriter) Write(p []byte) (int, error) {
	_ = w.rc.SetWriteDeadline(time.Now().Add(streamStall)) // not every ResponseWriter has deadlines
	return w.ResponseWriter.Write(p)
}

// uploadToVolume stores the file of a form while it comes.
func (s *server) uploadToVolume(r *request) (answer, error) {
	path, err := r.filePath()
	if err != nil {
		return answer{}, err
	}
	if path == "." {
		return answer{}, invalidf("path, path: the path of a file is needed; it can't be empty or '/'.")
	}
	part, err := r.filePart()
	if err != nil {
		return answer{}, err
	}
	if err := s.Files.Write(r.Context(), r.volume, path, part); err != nil {
		return answer{}, formError(err)
	}
	return answer{message: "Volume file upload successful.", result: pods.ShownPath(path)}, nil
}

// filePart returns the part of a form with the file, which is read as it comes.
// What comes after it is not looked at.
func (r *request) filePart() (*multipart.Part, error) {
	parts, err := r.MultipartReader()
	if err != nil {
		return nil, invalidf("body: a form was expected; send it as multipart/form-data. Got: %q", r.Header.Get("Content-Type"))
	}
	part, err := nextPart(parts)
	switch {
	case errors.Is(err, io.EOF):
		return nil, invalidf("body, file: field required")
	case err != nil:
		return nil, err
	case part.FormName() != "file":
		return nil, invalidf("body, %s: extra fields not permitted; the only field is file.", shorten(part.FormName()))
	}
	return part, nil
}
