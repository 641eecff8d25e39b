package api

import (
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"slices"
	"time"
)

const (
	maxUpload     = 1 << 30 // bytes of a form with a file
	maxFormField  = 4 << 10 // bytes of another field
	uploadTimeout = 30 * time.Second
)

// form is a multipart form with a file. SDK clients send every field as a file,
// so a field is told from the file by its name only.
type form struct {
	fields   map[string]string
	file     *os.File // at its begin; it has no name on disk
	size     int64    // of the file
	filename string   // as the client calls it, without a folder; may be empty
}

// Close frees the file.
func (f *form) Close() {
	if f.file != nil {
		f.file.Close()
	}
}

// formBody bounds what a client may send: its size, and the time between two
// pieces of it.
func formBody(w http.ResponseWriter, r *http.Request, most int64) io.ReadCloser {
	return http.MaxBytesReader(w, &steadyReader{ReadCloser: r.Body, rc: http.NewResponseController(w)}, most)
}

// steadyReader gives up on a client that sends nothing for a while. However long
// the whole takes, a client that goes on sending may finish.
type steadyReader struct {
	io.ReadCloser
	rc *http.ResponseController
}

// Read reads the next piece.
func (r *steadyReader) Read(p []byte) (int, error) {
	// Not every ResponseWriter has deadlines; those of net/http do.
	_ = r.rc.SetReadDeadline(time.Now().Add(uploadTimeout))
	return r.ReadCloser.Read(p)
}

// readForm reads a form that has a field "file" and some others. The file may
// come before the fields that say where it goes, so it is kept on disk meanwhile.
// The caller closes the form.
func (r *request) readForm(fields ...string) (*form, error) {
	parts, err := r.MultipartReader()
	if err != nil {
		return nil, invalidf("body: a form was expected; send it as multipart/form-data. Got: %q", r.Header.Get("Content-Type"))
	}
	f := &form{fields: map[string]string{}}
	for {
		part, err := nextPart(parts)
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = f.take(part, fields)
		}
		if err != nil {
			f.Close()
			return nil, formError(err)
		}
	}
	if err := f.complete(fields); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// nextPart returns the next part of a form, io.EOF after the last one. Its content is
// as it came: forms of HTTP have no transfer encodings, RFC 7578 §4.7.
func nextPart(parts *multipart.Reader) (*multipart.Part, error) {
	part, err := parts.NextRawPart()
	if err == nil || errors.Is(err, io.EOF) {
		return part, err
	}
	if known := formError(err); known != err { //nolint:errorlint // is it the same one?
		return nil, known
	}
	return nil, invalidf("body: the form can't be read: %s", shorten(err.Error()))
}

// take reads one part of the form.
func (f *form) take(part *multipart.Part, fields []string) error {
	name := part.FormName()
	switch {
	case name == "file" && f.file == nil:
		return f.keep(part)
	case slices.Contains(fields, name):
		b, err := io.ReadAll(io.LimitReader(part, maxFormField+1))
		if err != nil {
			return err
		}
		if len(b) > maxFormField {
			return invalidf("body, %s: ensure this value has at most %d characters", name, maxFormField)
		}
		f.fields[name] = string(b)
		return nil
	default:
		return invalidf("body, %s: extra fields not permitted", shorten(name))
	}
}

// keep puts the file on disk.
func (f *form) keep(part *multipart.Part) (err error) {
	if f.file, err = os.CreateTemp("", "podway-upload-"); err != nil {
		return fmt.Errorf("keeping an uploaded file: %w", err)
	}
	if err := os.Remove(f.file.Name()); err != nil {
		return fmt.Errorf("keeping an uploaded file: %w", err)
	}
	f.filename = part.FileName()
	if f.size, err = io.Copy(f.file, part); err != nil {
		return fmt.Errorf("reading an uploaded file: %w", err)
	}
	_, err = f.file.Seek(0, io.SeekStart)
	return err
}

// complete reports the parts that are missing.
func (f *form) complete(fields []string) error {
	if f.file == nil {
		return invalidf("body, file: field required")
	}
	for _, name := range fields {
		if _, ok := f.fields[name]; !ok {
			return invalidf("body, %s: field required", name)
		}
	}
	return nil
}

// formError says what is wrong with a form that could not be read.
func formError(err error) error {
	if e, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return &httpError{
			status:  http.StatusRequestEntityTooLarge,
			message: fmt.Sprintf("The upload is larger than %d bytes.", e.Limit),
		}
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &httpError{
			status:  http.StatusRequestTimeout,
			message: fmt.Sprintf("The upload stood still for %d seconds.", int(uploadTimeout.Seconds())),
		}
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return invalidf("body: the form is cut off")
	}
	return err
}
