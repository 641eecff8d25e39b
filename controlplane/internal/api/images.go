package api

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// getImages answers with the images that pods may run: the site's list, and
// those in the operator's settings.
func (s *server) getImages(r *request) (answer, error) {
	q, err := r.listQuery()
	if err != nil {
		return answer{}, err
	}
	list, err := s.Store.Images(r.Context())
	if err != nil {
		return answer{}, err
	}
	list = pageOf(q, append(list, s.operatorImages(list)...), func(a pods.AllowedImage) []string {
		return []string{a.Image, a.Description}
	})
	a := answer{message: "Images retrieved successfully.", result: imageViews(list), metadata: map[string]any{}}
	if r.adminMode {
		a.metadata["admin_context"] = newImageContext(s.allowed(r, list))
	}
	return a, nil
}

// operatorImages returns the images of the settings that are not in a list.
func (s *server) operatorImages(list []pods.AllowedImage) []pods.AllowedImage {
	return slices.DeleteFunc(pods.OperatorImages(s.Settings), func(o pods.AllowedImage) bool {
		return slices.ContainsFunc(list, func(a pods.AllowedImage) bool { return sameImage(a.Image, o.Image) })
	})
}

func sameImage(a, b string) bool {
	x, err1 := pods.CanonicalImage(a)
	y, err2 := pods.CanonicalImage(b)
	return err1 == nil && err2 == nil && x == y
}

// allowed returns the names of the images that the caller's tenant may run.
func (s *server) allowed(r *request, list []pods.AllowedImage) []string {
	names := []string{}
	for _, a := range list {
		if a.Allows(r.who.Tenant.ID, s.Settings) {
			names = append(names, a.Image)
		}
	}
	return names
}

func imageViews(list []pods.AllowedImage) []pods.ImageView {
	views := make([]pods.ImageView, 0, len(list))
	for _, a := range list {
		views = append(views, pods.NewImageView(a))
	}
	return views
}

// imageContext is [adminContext] for the list of images.
type imageContext struct {
	AdminMode            bool     `json:"admin_mode"`
	UserAccessibleImages []string `json:"user_accessible_images"`
	Msg                  string   `json:"msg"`
}

func newImageContext(allowed []string) imageContext {
	return imageContext{
		AdminMode: true, UserAccessibleImages: allowed,
		Msg: "Admin mode: user_accessible_images are those that pods of your tenant may run.",
	}
}

// getImage answers with one image. One that is not in the list is no error of
// the request, as clients expect it.
func (s *server) getImage(r *request) (answer, error) {
	name := r.param("image_id")
	a, err := s.Store.Image(r.Context(), name)
	if pods.ErrorCode(err) == pods.NotFound {
		return s.unlistedImage(name), nil
	}
	if err != nil {
		return answer{}, err
	}
	return answer{message: "Image retrieved successfully.", result: pods.NewImageView(a)}, nil
}

// unlistedImage answers for an image that is not in the list: it may be in the
// settings.
func (s *server) unlistedImage(name string) answer {
	for _, o := range pods.OperatorImages(s.Settings) {
		if sameImage(o.Image, name) {
			return answer{message: "Image retrieved successfully.", result: pods.NewImageView(o)}
		}
	}
	return answer{message: fmt.Sprintf("Image with id %s not found.", shorten(name)), result: "", status: failure}
}

// addImage adds an image to the list.
func (s *server) addImage(r *request) (answer, error) {
	n, err := pods.DecodeNewImage(r.body)
	if err != nil {
		return answer{}, invalid(err)
	}
	added, err := s.Store.AddImages(r.Context(), s.newImages(r, n), false)
	if err != nil {
		return answer{}, duplicate(err)
	}
	return answer{
		message: "Images added successfully.", result: pods.NewImageView(added[0]), metadata: notice(cutNotice(n)),
	}, nil
}

// addImages adds several images to the list, all of them or none.
func (s *server) addImages(r *request) (answer, error) {
	skip, err := r.queryBool("skip_duplicates")
	if err != nil {
		return answer{}, err
	}
	list, err := pods.DecodeNewImages(r.body)
	if err != nil {
		return answer{}, invalid(err)
	}
	added, err := s.Store.AddImages(r.Context(), s.newImages(r, list...), skip)
	if err != nil {
		return answer{}, duplicate(err)
	}
	message := "Images added successfully."
	switch len(added) {
	case 0:
		message = "No images added - all images were duplicates."
	case 1:
		message = "Image added successfully."
	}
	return answer{
		message: message, result: imageViews(added), metadata: notice(cutNotice(list...), skippedNotice(list, added)),
	}, nil
}

func (s *server) newImages(r *request, list ...pods.NewImage) []pods.AllowedImage {
	images := make([]pods.AllowedImage, 0, len(list))
	for _, n := range list {
		images = append(images, pods.AllowedImage{
			Image: n.Image, Tenants: n.Tenants, Description: n.Description, AddedBy: r.who.User, CreatedAt: s.Now().UTC(),
		})
	}
	return images
}

// duplicate tells what to do about an image that is there already.
func duplicate(err error) error {
	if pods.ErrorCode(err) != pods.Exists {
		return err
	}
	return pods.Errorf(pods.Exists, "%s Nothing was added. Delete that image first, or add several with skip_duplicates=true.",
		problemOf(err).message)
}

// notice puts notes into the metadata of an answer.
func notice(notes ...string) map[string]any {
	notes = slices.DeleteFunc(notes, func(n string) bool { return n == "" })
	if len(notes) == 0 {
		return map[string]any{}
	}
	return map[string]any{"notice": strings.Join(notes, "; ")}
}

// cutNotice says that tags play no part in the list.
func cutNotice(list ...pods.NewImage) string {
	if slices.ContainsFunc(list, func(n pods.NewImage) bool { return n.CutTag }) {
		return "removed tag from image, tag enforcement does not yet exist"
	}
	return ""
}

// skippedNotice names the images that were not added.
func skippedNotice(asked []pods.NewImage, added []pods.AllowedImage) string {
	var skipped []string
	i := 0
	for _, n := range asked { // what was added is in the order of what was asked for
		if i < len(added) && added[i].Image == n.Image {
			i++
			continue
		}
		skipped = append(skipped, n.Image)
	}
	switch len(skipped) {
	case 0:
		return ""
	case 1:
		return "skipped 1 duplicate image: " + skipped[0]
	default:
		return fmt.Sprintf("skipped %d duplicate images: %s", len(skipped), strings.Join(skipped, ", "))
	}
}

// updateImage changes who may run an image, and what is said about it. Pods that
// run it go on.
func (s *server) updateImage(r *request) (answer, error) {
	name := r.param("image_id")
	patch, err := pods.DecodeImagePatch(r.body)
	if err != nil {
		return answer{}, invalid(err)
	}
	a, err := s.Store.Image(r.Context(), name)
	if pods.ErrorCode(err) == pods.NotFound {
		if s.unlistedImage(name).status == "" {
			return answer{}, byOperator(name, "changed")
		}
		return s.unlistedImage(name), nil
	}
	if err != nil {
		return answer{}, err
	}
	changed := patch.Apply(a)
	if changed.Description == a.Description && slices.Equal(changed.Tenants, a.Tenants) {
		return answer{
			message: "Incoming data made no changes to image. Is incoming data equal to current data?",
			result:  pods.NewImageView(a), status: failure,
		}, nil
	}
	if changed, err = s.Store.UpdateImage(r.Context(), changed); err != nil {
		return answer{}, err
	}
	return answer{message: "Image updated successfully.", result: pods.NewImageView(changed)}, nil
}

// byOperator is the error of who would change an image of the settings.
func byOperator(name, what string) error {
	return pods.Errorf(pods.Conflict, "Image %s is allowed by the operator's settings, not by the list. It can't be %s here.", shorten(name), what)
}

// deleteImage takes an image from the list. Pods that run it go on.
func (s *server) deleteImage(r *request) (answer, error) {
	name := r.param("image_id")
	gone, err := s.Store.DeleteImage(r.Context(), name)
	switch {
	case err == nil:
		return answer{message: "Image successfully deleted.", result: gone.Image}, nil
	case pods.ErrorCode(err) != pods.NotFound:
		return answer{}, err
	case s.unlistedImage(name).status == "":
		return answer{}, byOperator(name, "deleted")
	default:
		return answer{
			message: fmt.Sprintf("Image with id %s not found - not deleted.", shorten(name)), result: "", status: failure,
		}, nil
	}
}
