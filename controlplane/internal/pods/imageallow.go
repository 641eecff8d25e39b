package pods

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// AllowedImage is an entry of the list of images that pods may run. Tags and
// digests play no part in it.
type AllowedImage struct {
	// Image as the one who added it wrote it, without tag and digest.
	Image string

	// Tenants whose pods may run it; see [AllowedImage.Allows].
	Tenants []string

	Description string
	AddedBy     string
	CreatedAt   time.Time // zero for those in the operator's settings
}

// ImageStore keeps the list of allowed images of the site. Images are the same
// if their [CanonicalImage] is. All methods are safe for concurrent use. Errors
// are as those of [Store].
type ImageStore interface {
	// Images returns the list, ordered by canonical name.
	Images(ctx context.Context) ([]AllowedImage, error)

	// Image returns the entry for an image, however it is written. NotFound if
	// there is none, or if that is no name of an image.
	Image(ctx context.Context, image string) (AllowedImage, error)

	// AddImages writes entries in one transaction and returns those it wrote. One
	// that is there already, or twice in the list, is passed over if
	// skipDuplicates is set; else the error is Exists, with nothing written.
	AddImages(ctx context.Context, images []AllowedImage, skipDuplicates bool) ([]AllowedImage, error)

	// UpdateImage writes Tenants and Description of the entry for a.Image and
	// returns it. NotFound if there is none.
	UpdateImage(ctx context.Context, a AllowedImage) (AllowedImage, error)

	// DeleteImage removes the entry for an image and returns it. NotFound if there
	// is none.
	DeleteImage(ctx context.Context, image string) (AllowedImage, error)
}

// The entries of a tenants list that are no tenants.
const (
	allTenants    = "**" // every tenant
	mainTenants   = "*"  // the tenants of [Settings.MainTenants]
	exceptPrefix  = "-"  // but not this tenant, whatever the others say
	maxImages     = 500  // of one request
	maxTenants    = 500  // of one image
	maxTenantName = 64
)

// tenantEntryPattern is the grammar of an entry of a tenants list.
var tenantEntryPattern = regexp.MustCompile(`^(\*\*?|-?[A-Za-z0-9][A-Za-z0-9._-]*)$`)

// Allows reports whether pods of a tenant may run the image. "-<tenant>" in its
// list refuses a tenant, "**" allows all, "*" the main ones, an id that one. An
// empty list allows none.
func (a AllowedImage) Allows(tenant string, s Settings) bool {
	switch {
	case slices.Contains(a.Tenants, exceptPrefix+tenant):
		return false
	case slices.Contains(a.Tenants, allTenants), slices.Contains(a.Tenants, tenant):
		return true
	default:
		return slices.Contains(a.Tenants, mainTenants) && slices.Contains(s.MainTenants, tenant)
	}
}

// ImageReader finds the entry for an image; an [ImageStore] does.
type ImageReader interface {
	// Image returns the entry for an image. NotFound if there is none.
	Image(ctx context.Context, image string) (AllowedImage, error)
}

// AllowImage checks an image against the operator's settings and the list, by
// canonical name. Invalid if a pod of the tenant must not run it; other errors
// are the list's.
func AllowImage(ctx context.Context, list ImageReader, tenant, image string, s Settings) error {
	name, err := CanonicalImage(image)
	if err != nil {
		return Errorf(Invalid, "image: %v", err)
	}
	if slices.Contains(s.ImageAllowList, name) {
		return nil
	}
	entry, err := list.Image(ctx, name)
	if err != nil && ErrorCode(err) != NotFound {
		return err
	}
	if err == nil && entry.Allows(tenant, s) {
		return nil
	}
	asWritten, _, _ := splitImage(image)
	return Errorf(Invalid, "image: Custom pod.image images must be in allowlist. Check /pods/images or speak to admin. Image derived: %s", asWritten)
}

// OperatorImages returns the images of the operator's settings as entries of the
// list, ordered by name.
func OperatorImages(s Settings) []AllowedImage {
	var list []AllowedImage
	for _, name := range slices.Sorted(slices.Values(s.ImageAllowList)) {
		short := strings.TrimPrefix(strings.TrimPrefix(name, defaultRegistry+"/"), officialFolder+"/")
		list = append(list, AllowedImage{
			Image: short, Tenants: []string{allTenants}, Description: "Allowed by the operator's settings.",
		})
	}
	return list
}

// NewImage is the decoded body of a request that allows an image.
type NewImage struct {
	Image       string // without tag and digest
	Tenants     []string
	Description string

	// CutTag says that the image was given with a tag or digest.
	CutTag bool
}

// DecodeNewImage decodes and validates the body of a request that allows an
// image. The error is as that of [DecodeNewPod].
func DecodeNewImage(body []byte) (NewImage, error) {
	var p problems
	o, ok := bodyObject(body, &p)
	if !ok {
		return NewImage{}, p.err()
	}
	n := takeImage(o)
	return n, p.err()
}

// ImagePatch is what an update changes of an allowed image.
type ImagePatch struct {
	Tenants     Opt[[]string]
	Description Opt[string]
}

// DecodeImagePatch decodes and validates the body of a request that changes an
// allowed image. Null counts as absent. The error is as that of [DecodeNewPod].
func DecodeImagePatch(body []byte) (ImagePatch, error) {
	var p problems
	o, ok := bodyObject(body, &p)
	if !ok {
		return ImagePatch{}, p.err()
	}
	o.nulls = true
	var patch ImagePatch
	take(o, "tenants", &patch.Tenants, readStrings)
	take(o, "description", &patch.Description, readString)
	checkTenants(&p, patch.Tenants.Or(nil))
	checkDescription(&p, at("description"), "description", patch.Description.Or(""))
	o.done()
	return patch, p.err()
}

// Apply returns a with the fields that the patch sets. a is not changed.
func (p ImagePatch) Apply(a AllowedImage) AllowedImage {
	a.Tenants = slices.Clone(p.Tenants.Or(a.Tenants))
	a.Description = p.Description.Or(a.Description)
	return a
}

// DecodeNewImages decodes and validates the body of a request that allows
// several images: a list of what [DecodeNewImage] takes.
func DecodeNewImages(body []byte) ([]NewImage, error) {
	var p problems
	items, ok := parseList(body, &p)
	if !ok {
		return nil, p.err()
	}
	where := at(bodyLoc)
	if len(items) > maxImages {
		p.add(where, "the list may hold %d images at most. Got %d", maxImages, len(items))
		return nil, p.err()
	}
	list := make([]NewImage, 0, len(items))
	outer := &object{where: where, problems: &p}
	for i, item := range items {
		if o, ok := readObject(outer, where.in(strconv.Itoa(i)), item); ok {
			list = append(list, takeImage(o))
		}
	}
	return list, p.err()
}

func takeImage(o *object) NewImage {
	var (
		n                  NewImage
		image, description Opt[string]
		tenants            Opt[[]string]
	)
	if !o.given("image") {
		o.problems.add(o.where.in("image"), "field required")
	}
	take(o, "image", &image, readString)
	if ref, ok := image.Get(); ok {
		name, err := cutImage(ref)
		if err != nil {
			o.problems.add(at("image"), "%v", err)
		}
		n.Image, n.CutTag = name, name != ref
	}
	take(o, "tenants", &tenants, readStrings)
	take(o, "description", &description, readString)
	n.Tenants, n.Description = tenants.Or([]string{}), description.Or("")
	checkTenants(o.problems, n.Tenants)
	checkDescription(o.problems, at("description"), "description", n.Description)
	o.done()
	return n
}

// cutImage returns a reference without tag and digest.
func cutImage(image string) (string, error) {
	name, _, _ := splitImage(image)
	if strings.Contains(name, ":") && !strings.Contains(name, "/") {
		return name, fmt.Errorf("image cannot have more than one ':' in the string. Got '%s'", clip(image))
	}
	_, err := ParseImage(image)
	return name, err
}

func checkTenants(p *problems, tenants []string) {
	where := at("tenants")
	if len(tenants) > maxTenants {
		p.add(where, "tenants may hold %d entries at most. Got %d", maxTenants, len(tenants))
		return
	}
	bad := func(t string) bool { return len(t) > maxTenantName || !tenantEntryPattern.MatchString(t) }
	if i := slices.IndexFunc(tenants, bad); i >= 0 {
		p.add(where, "tenants must hold tenant ids, '-' and a tenant id for all but that one, "+
			"'*' for the main tenants or '**' for every tenant. Got '%s'", clip(tenants[i]))
	}
}

// ImageView is an allowed image as the API shows it. Make one with
// [NewImageView].
type ImageView struct {
	Image       string    `json:"image"`
	Tenants     []string  `json:"tenants"`
	Description string    `json:"description"`
	CreationTS  Timestamp `json:"creation_ts"` // null: in the operator's settings
	AddedBy     string    `json:"added_by"`
}

// NewImageView renders an allowed image.
func NewImageView(a AllowedImage) ImageView {
	v := ImageView{
		Image: a.Image, Tenants: append([]string{}, a.Tenants...), Description: a.Description, AddedBy: a.AddedBy,
	}
	if !a.CreatedAt.IsZero() {
		v.CreationTS = At(a.CreatedAt)
	}
	return v
}
