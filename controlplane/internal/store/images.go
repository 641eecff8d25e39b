package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

var _ pods.ImageStore = (*Store)(nil)

const selectImages = "select image, tenants, description, added_by, created_at from images"

// scanImage reads a row of selectImages.
func scanImage(row scanner) (pods.AllowedImage, error) {
	var a pods.AllowedImage
	var tenants string
	var created int64
	if err := row.Scan(&a.Image, &tenants, &a.Description, &a.AddedBy, &created); err != nil {
		return pods.AllowedImage{}, err
	}
	a.CreatedAt = fromMicros(created)
	if err := json.Unmarshal([]byte(tenants), &a.Tenants); err != nil {
		return pods.AllowedImage{}, fmt.Errorf("decoding tenants of %s: %w", a.Image, err)
	}
	return a, nil
}

func imageNotFound(image string) error {
	return pods.Errorf(pods.NotFound, "Image with id %s not found.", image)
}

func orNoImage(err error, image string) error {
	if errors.Is(err, sql.ErrNoRows) {
		return imageNotFound(image)
	}
	return err
}

// Images returns the list of allowed images.
func (s *Store) Images(ctx context.Context) ([]pods.AllowedImage, error) {
	var all []pods.AllowedImage
	err := s.read(ctx, func() (err error) {
		all, err = queryAll(ctx, s.reader, scanImage, selectImages)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading images: %w", err)
	}
	// Not by the database: engines differ in the order of punctuation.
	slices.SortFunc(all, func(a, b pods.AllowedImage) int { return strings.Compare(canonical(a), canonical(b)) })
	return all, nil
}

func canonical(a pods.AllowedImage) string {
	name, err := pods.CanonicalImage(a.Image)
	if err != nil {
		return a.Image
	}
	return name
}

// Image returns the entry for an image.
func (s *Store) Image(ctx context.Context, image string) (pods.AllowedImage, error) {
	name, err := pods.CanonicalImage(image)
	if err != nil {
		return pods.AllowedImage{}, imageNotFound(image)
	}
	var a pods.AllowedImage
	err = s.read(ctx, func() (err error) {
		a, err = scanImage(s.reader.QueryRowContext(ctx, selectImages+" where name = $1", name))
		return err
	})
	return a, doing("reading image", name, orNoImage(err, image))
}

// AddImages writes entries in one transaction.
func (s *Store) AddImages(ctx context.Context, images []pods.AllowedImage, skipDuplicates bool) ([]pods.AllowedImage, error) {
	var added []pods.AllowedImage
	err := s.write(ctx, func(tx *sql.Tx) error {
		added = nil
		for _, a := range images {
			err := insertImage(ctx, tx, a)
			if skipDuplicates && pods.ErrorCode(err) == pods.Exists {
				continue
			}
			if err != nil {
				return err
			}
			a.CreatedAt = fromMicros(a.CreatedAt.UnixMicro())
			added = append(added, a)
		}
		return nil
	})
	if err != nil {
		return nil, doing("adding", fmt.Sprintf("%d images", len(images)), err)
	}
	return added, nil
}

func insertImage(ctx context.Context, tx *sql.Tx, a pods.AllowedImage) error {
	name, err := pods.CanonicalImage(a.Image)
	if err != nil {
		return pods.Errorf(pods.Invalid, "image: %v", err)
	}
	if !storable(append([]string{a.Description, a.AddedBy}, a.Tenants...)...) {
		return pods.Errorf(pods.Invalid, "image texts must be valid UTF-8 without NUL characters.")
	}
	tenants, err := json.Marshal(a.Tenants)
	if err != nil {
		return fmt.Errorf("encoding tenants: %w", err)
	}
	res, err := tx.ExecContext(ctx, `
		insert into images (name, image, tenants, description, added_by, created_at)
		values ($1, $2, $3, $4, $5, $6)
		on conflict (name) do nothing`,
		name, a.Image, string(tenants), a.Description, a.AddedBy, a.CreatedAt.UnixMicro())
	if err != nil {
		return fmt.Errorf("inserting image: %w", err)
	}
	return orNoRow(res, pods.Errorf(pods.Exists, "Key (image)=(%s) already exists.", a.Image))
}

// UpdateImage writes what can be changed of the entry for an image.
func (s *Store) UpdateImage(ctx context.Context, a pods.AllowedImage) (pods.AllowedImage, error) {
	name, err := pods.CanonicalImage(a.Image)
	if err != nil {
		return pods.AllowedImage{}, imageNotFound(a.Image)
	}
	if !storable(append([]string{a.Description}, a.Tenants...)...) {
		return pods.AllowedImage{}, pods.Errorf(pods.Invalid, "image texts must be valid UTF-8 without NUL characters.")
	}
	tenants, err := json.Marshal(a.Tenants)
	if err != nil {
		return pods.AllowedImage{}, fmt.Errorf("encoding tenants: %w", err)
	}
	var updated pods.AllowedImage
	err = s.write(ctx, func(tx *sql.Tx) (err error) {
		updated, err = scanImage(tx.QueryRowContext(ctx, `
			update images set tenants = $2, description = $3 where name = $1
			returning image, tenants, description, added_by, created_at`, name, string(tenants), a.Description))
		return err
	})
	return updated, doing("updating image", name, orNoImage(err, a.Image))
}

// DeleteImage removes the entry for an image.
func (s *Store) DeleteImage(ctx context.Context, image string) (pods.AllowedImage, error) {
	name, err := pods.CanonicalImage(image)
	if err != nil {
		return pods.AllowedImage{}, imageNotFound(image)
	}
	var a pods.AllowedImage
	err = s.write(ctx, func(tx *sql.Tx) (err error) {
		a, err = scanImage(tx.QueryRowContext(ctx, `
			delete from images where name = $1
			returning image, tenants, description, added_by, created_at`, name))
		return err
	})
	return a, doing("deleting image", name, orNoImage(err, image))
}
