package client

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"path"
)

// Volume is storage that pods mount.
type Volume struct {
	VolumeID    string `json:"volume_id"`
	Description string `json:"description"`
	Size        int    `json:"size"`       // MB
	SizeLimit   int    `json:"size_limit"` // MB
	Status      string `json:"status"`
}

// NewVolume is a volume to create.
type NewVolume struct {
	VolumeID    string `json:"volume_id"`
	Description string `json:"description,omitempty"`
	SizeLimit   int    `json:"size_limit,omitempty"` // MB; 0: as the service likes
}

// File is an entry of a folder.
type File struct {
	Path         string `json:"path"`
	Name         string `json:"name"`
	Type         string `json:"type"` // file, dir, symbolic_link or other
	Size         int64  `json:"size"` // bytes
	LastModified string `json:"lastModified"`
}

// Volumes lists the volumes you may read.
func (c *Client) Volumes(ctx context.Context) ([]Volume, error) {
	return call[[]Volume](ctx, c, http.MethodGet, "/pods/volumes", nil)
}

// CreateVolume creates a volume.
func (c *Client) CreateVolume(ctx context.Context, v NewVolume) (Volume, error) {
	return call[Volume](ctx, c, http.MethodPost, "/pods/volumes", v)
}

// DeleteVolume deletes a volume with what is in it.
func (c *Client) DeleteVolume(ctx context.Context, id string) error {
	_, err := c.Call(ctx, http.MethodDelete, VolumePath(id), nil)
	return err
}

// Files lists a folder of a volume; "" is its root.
func (c *Client) Files(ctx context.Context, id, folder string) ([]File, error) {
	return call[[]File](ctx, c, http.MethodGet, FilesPath(id, folder), nil)
}

// FilesPath is the path of a list of files.
func FilesPath(id, folder string) string {
	p := VolumePath(id) + "/list"
	if folder != "" {
		p += "?" + url.Values{"path": {folder}}.Encode()
	}
	return p
}

// VolumePath is the path of a volume.
func VolumePath(id string) string { return "/pods/volumes/" + segment(id) }

// Upload writes a file of a volume from r, which holds size bytes. Folders on the
// way are made.
func (c *Client) Upload(ctx context.Context, id, file string, r io.Reader, size int64) error {
	before, after, contentType, err := formAround(path.Base(file))
	if err != nil {
		return err
	}
	body := io.MultiReader(before, io.LimitReader(r, size), after)
	length := int64(before.Len()) + size + int64(after.Len())
	req, err := c.request(ctx, http.MethodPost, VolumePath(id)+"/upload/"+segments(file), body)
	if err != nil {
		return err
	}
	req.ContentLength = length
	req.Header.Set("Content-Type", contentType)
	resp, err := c.send(req)
	if err != nil {
		return err
	}
	_, err = readAnswer(resp)
	return err
}

// formAround returns what stands before and after the content of a file in a
// form, so that a file is sent as it is read and its length is known before.
func formAround(name string) (before, after *bytes.Buffer, contentType string, err error) {
	var b bytes.Buffer
	form := multipart.NewWriter(&b)
	if _, err := form.CreateFormFile("file", name); err != nil {
		return nil, nil, "", fmt.Errorf("making the form: %w", err)
	}
	head := b.Len()
	if err := form.Close(); err != nil {
		return nil, nil, "", fmt.Errorf("making the form: %w", err)
	}
	whole := b.Bytes()
	return bytes.NewBuffer(whole[:head:head]), bytes.NewBuffer(whole[head:]), form.FormDataContentType(), nil
}

// Download opens a file of a volume, or a folder as a zip archive. The size is -1
// if the service does not know it. The caller closes the content.
func (c *Client) Download(ctx context.Context, id, file string, zip bool) (content io.ReadCloser, size int64, err error) {
	p := VolumePath(id) + "/contents/" + segments(file)
	if zip {
		p += "?zip=true"
	}
	req, err := c.request(ctx, http.MethodGet, p, nil)
	if err != nil {
		return nil, 0, err
	}
	resp, err := c.send(req)
	if err != nil {
		return nil, 0, err
	}
	return resp.Body, resp.ContentLength, nil
}
