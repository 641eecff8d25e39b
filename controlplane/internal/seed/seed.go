// Package seed brings the images and templates that are built in: databases,
// notebooks and other services that people ask for first. They are data, in the
// form in which the API takes them: images.json, and a file for each template
// below templates (dev for those that only development has).
//
//	report, err := seed.Load(ctx, store, seed.Options{})
//
// Built-in templates belong to no tenant and can be read by everyone. They build
// on no other, so that users' templates can build on them: a pod looks for its
// image two levels deep.
package seed

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

//go:embed images.json templates/*.json dev/*.json
var files embed.FS

// Author is who added what is built in.
const Author = "podway"

// Store is where images and templates are kept.
type Store interface {
	pods.TemplateStore
	pods.ImageStore
}

// Options configures [Load]. The zero value is ready.
type Options struct {
	// Dev adds the templates of images that only the local cluster has.
	Dev bool

	Now func() time.Time // Default: time.Now.
}

// Report tells what Load did.
type Report struct {
	Images    []string // that were added
	Templates []string // that were added
	Tags      []string // versions that were added, as "id:tag@timestamp"
	Skipped   []string // templates whose id somebody else has taken
}

// Load adds what is built in and not there yet. It may be run again and again: it
// adds a new version of a tag only if what is built in has changed since, and
// leaves alone what others have added. What was deleted comes back.
func Load(ctx context.Context, s Store, o Options) (Report, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	l := loader{store: s, now: o.Now().UTC()}
	if err := l.images(ctx); err != nil {
		return l.report, err
	}
	templates, err := Templates(o.Dev)
	if err != nil {
		return l.report, err
	}
	for _, t := range templates {
		if err := l.template(ctx, t); err != nil {
			return l.report, fmt.Errorf("loading built-in template %s: %w", t.ID, err)
		}
	}
	return l.report, nil
}

// Template is a built-in template.
type Template struct {
	pods.NewTemplate

	Tags []pods.NewTemplateTag
}

// Templates returns the built-in templates, ordered by id; with dev also those
// for development.
func Templates(dev bool) ([]Template, error) {
	folders := []string{"templates"}
	if dev {
		folders = append(folders, "dev")
	}
	var all []Template
	for _, folder := range folders {
		entries, err := fs.ReadDir(files, folder)
		if err != nil {
			return nil, fmt.Errorf("reading built-in templates: %w", err)
		}
		for _, e := range entries {
			t, err := readTemplate(path.Join(folder, e.Name()))
			if err != nil {
				return nil, fmt.Errorf("reading built-in template %s: %w", e.Name(), err)
			}
			all = append(all, t)
		}
	}
	return all, nil
}

// readTemplate reads a file with the decoders of the API.
func readTemplate(name string) (Template, error) {
	b, err := files.ReadFile(name)
	if err != nil {
		return Template{}, err
	}
	var file map[string]json.RawMessage
	if err := json.Unmarshal(b, &file); err != nil {
		return Template{}, err
	}
	var tags []map[string]json.RawMessage
	if err := json.Unmarshal(file["tags"], &tags); err != nil {
		return Template{}, err
	}
	delete(file, "tags")
	head, err := json.Marshal(file)
	if err != nil {
		return Template{}, err
	}
	var t Template
	if t.NewTemplate, err = pods.DecodeNewTemplate(head); err != nil {
		return Template{}, err
	}
	for _, tag := range tags {
		named, err := readTags(tag)
		if err != nil {
			return Template{}, err
		}
		t.Tags = append(t.Tags, named...)
	}
	return t, nil
}

// readTags reads a tag, once for each of its names.
func readTags(tag map[string]json.RawMessage) ([]pods.NewTemplateTag, error) {
	var names []json.RawMessage
	if err := json.Unmarshal(tag["names"], &names); err != nil {
		return nil, err
	}
	delete(tag, "names")
	var all []pods.NewTemplateTag
	for _, name := range names {
		tag["tag"] = name
		body, err := json.Marshal(tag)
		if err != nil {
			return nil, err
		}
		n, err := pods.DecodeNewTemplateTag(body, pods.DefaultSettings())
		if err != nil {
			return nil, err
		}
		all = append(all, n)
	}
	return all, nil
}

// Images returns the images that built-in templates use.
func Images() ([]pods.NewImage, error) {
	b, err := files.ReadFile("images.json")
	if err != nil {
		return nil, fmt.Errorf("reading built-in images: %w", err)
	}
	list, err := pods.DecodeNewImages(b)
	if err != nil {
		return nil, fmt.Errorf("reading built-in images: %w", err)
	}
	return list, nil
}

// loader is one run of [Load].
type loader struct {
	store  Store
	now    time.Time
	report Report
}

func (l *loader) images(ctx context.Context) error {
	list, err := Images()
	if err != nil {
		return err
	}
	images := make([]pods.AllowedImage, 0, len(list))
	for _, n := range list {
		images = append(images, pods.AllowedImage{
			Image: n.Image, Tenants: n.Tenants, Description: n.Description, AddedBy: Author, CreatedAt: l.now,
		})
	}
	added, err := l.store.AddImages(ctx, images, true)
	if err != nil {
		return fmt.Errorf("adding built-in images: %w", err)
	}
	for _, a := range added {
		l.report.Images = append(l.report.Images, a.Image)
	}
	return nil
}

func (l *loader) template(ctx context.Context, t Template) error {
	stored, err := l.ensure(ctx, t)
	if err != nil {
		return err
	}
	if stored.Tenant != "" {
		l.report.Skipped = append(l.report.Skipped, t.ID)
		return nil
	}
	there, err := l.store.TemplateTags(ctx, t.ID)
	if err != nil {
		return err
	}
	for _, tag := range t.Tags {
		if err := l.tag(ctx, stored, tag, there); err != nil {
			return err
		}
	}
	return nil
}

// ensure returns the template of that id, whoever has added it.
func (l *loader) ensure(ctx context.Context, t Template) (pods.Template, error) {
	err := l.store.CreateTemplate(ctx, pods.Template{
		ID: t.ID, UID: pods.NewUID(), Owner: Author,
		Description: t.Description, Metatags: t.Metatags, ArchiveMessage: t.ArchiveMessage,
		Permissions: pods.Permissions{Author: pods.LevelAdmin, "**": pods.LevelRead}, CreatedAt: l.now, UpdatedAt: l.now,
	})
	switch pods.ErrorCode(err) {
	case "":
		l.report.Templates = append(l.report.Templates, t.ID)
	case pods.Exists:
	default:
		return pods.Template{}, err
	}
	return l.store.Template(ctx, t.ID)
}

// tag adds a version of a tag unless our newest one says the same.
func (l *loader) tag(ctx context.Context, t pods.Template, n pods.NewTemplateTag, there []pods.TemplateTag) error {
	ours := func(v pods.TemplateTag) bool { return v.Tag == n.Tag && v.AddedBy == Author }
	if i := slices.IndexFunc(there, ours); i >= 0 && same(there[i].Definition, n.Definition) { // the newest comes first
		return nil
	}
	stored, err := l.store.AddTemplateTag(ctx, t.UID, pods.TemplateTag{
		TemplateID: t.ID, Tag: n.Tag, Definition: n.Definition, CommitMessage: n.CommitMessage,
		Description: n.Description, ArchiveMessage: n.ArchiveMessage, AddedBy: Author, CreatedAt: l.now,
	})
	if err != nil {
		return err
	}
	l.report.Tags = append(l.report.Tags, stored.Ref().String())
	return nil
}

// same reports whether two definitions are stored alike.
func same(a, b pods.Definition) bool {
	x, err1 := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && bytes.Equal(x, y)
}
