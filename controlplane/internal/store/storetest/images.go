package storetest

import (
	"testing"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// RunImages checks that a store keeps every promise of pods.ImageStore. open is
// as that of [Run].
func RunImages(t *testing.T, open func(t *testing.T) pods.ImageStore) {
	for _, tt := range imageTests {
		t.Run(tt.name, func(t *testing.T) { tt.run(&imageSuite{T: t, ImageStore: open(t)}) })
	}
}

type imageTest struct {
	name string
	run  func(s *imageSuite)
}

type imageSuite struct {
	*testing.T
	pods.ImageStore
}

func newImage(image string, tenants ...string) pods.AllowedImage {
	return pods.AllowedImage{Image: image, Tenants: append([]string{}, tenants...), Description: "of " + image, AddedBy: "ann", CreatedAt: t0}
}

// add writes images and returns the names of those that were written.
func (s *imageSuite) add(skip bool, images ...pods.AllowedImage) []string {
	s.Helper()
	added, err := s.AddImages(s.Context(), images, skip)
	if err != nil {
		s.Fatal(err)
	}
	return imageNames(added)
}

func (s *imageSuite) wantList(want ...string) {
	s.Helper()
	all, err := s.Images(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	wantEqual(s, "images", imageNames(all), want)
}

func imageNames(list []pods.AllowedImage) []string {
	var names []string
	for _, a := range list {
		names = append(names, a.Image)
	}
	return names
}

func (s *imageSuite) wantCode(err error, want pods.Code) {
	s.Helper()
	if got := pods.ErrorCode(err); got != want {
		s.Fatalf("got code %q (%v), want %q", got, err, want)
	}
}

var imageTests = []imageTest{
	{"an added image comes back as given, however it is asked for", func(s *imageSuite) {
		want := newImage("postgres", "**", "-dev")
		zone := time.FixedZone("east", 3600)
		given := want
		given.CreatedAt = t0.Add(789 * time.Nanosecond).In(zone)
		added, err := s.AddImages(s.Context(), []pods.AllowedImage{given}, false)
		if err != nil {
			s.Fatal(err)
		}
		wantEqual(s, "added images", added, []pods.AllowedImage{want})
		for _, name := range []string{"postgres", "docker.io/library/postgres", "library/postgres:15"} {
			got, err := s.Image(s.Context(), name)
			if err != nil {
				s.Fatal(err)
			}
			wantEqual(s, "image", got, want)
		}
	}},
	{"the list is in the order of canonical names", func(s *imageSuite) {
		s.add(false, newImage("quay.io/x/a"), newImage("redis"), newImage("a/z"), newImage("host:5000/y"))
		s.wantList("a/z", "redis", "host:5000/y", "quay.io/x/a")
	}},
	{"an image that is there is Exists, and nothing of the list is written", func(s *imageSuite) {
		s.add(false, newImage("postgres"))
		for _, list := range [][]pods.AllowedImage{
			{newImage("redis"), newImage("library/postgres")},
			{newImage("redis"), newImage("docker.io/library/redis")},
		} {
			_, err := s.AddImages(s.Context(), list, false)
			s.wantCode(err, pods.Exists)
			s.wantList("postgres")
		}
	}},
	{"duplicates can be passed over", func(s *imageSuite) {
		s.add(false, newImage("postgres", "dev"))
		got := s.add(true, newImage("library/postgres", "**"), newImage("redis"), newImage("redis"))
		wantEqual(s, "added images", got, []string{"redis"})
		a, err := s.Image(s.Context(), "postgres")
		if err != nil {
			s.Fatal(err)
		}
		wantEqual(s, "tenants", a.Tenants, []string{"dev"})
	}},
	{"an empty list changes nothing", func(s *imageSuite) {
		wantEqual(s, "added images", s.add(false), []string(nil))
		s.wantList()
	}},
	{"what is no image is Invalid, and nothing is written", func(s *imageSuite) {
		for _, bad := range []pods.AllowedImage{newImage("Not An Image"), newImage(""), newImage("a", "\xff"), {Image: "a", Description: "\x00"}} {
			_, err := s.AddImages(s.Context(), []pods.AllowedImage{newImage("redis"), bad}, true)
			s.wantCode(err, pods.Invalid)
		}
		s.wantList()
	}},
	{"an updated image has new tenants and a new description, and nothing else changes", func(s *imageSuite) {
		s.add(false, newImage("postgres", "dev"), newImage("redis"))
		change := pods.AllowedImage{Image: "docker.io/library/postgres", Tenants: []string{"**"}, Description: "new", AddedBy: "bob", CreatedAt: t0.Add(time.Hour)}
		got, err := s.UpdateImage(s.Context(), change)
		if err != nil {
			s.Fatal(err)
		}
		want := newImage("postgres", "**")
		want.Description = "new"
		wantEqual(s, "updated image", got, want)
		got, err = s.Image(s.Context(), "postgres")
		s.wantCode(err, "")
		wantEqual(s, "stored image", got, want)
		s.wantList("postgres", "redis")
		change.Description = "a\x00b"
		_, err = s.UpdateImage(s.Context(), change)
		s.wantCode(err, pods.Invalid)
	}},
	{"a deleted image is returned and gone, others stay", func(s *imageSuite) {
		s.add(false, newImage("postgres", "dev"), newImage("redis"))
		got, err := s.DeleteImage(s.Context(), "docker.io/library/postgres:1")
		if err != nil {
			s.Fatal(err)
		}
		wantEqual(s, "deleted image", got, newImage("postgres", "dev"))
		s.wantList("redis")
	}},
	{"an image that is not there, or is none, is NotFound", func(s *imageSuite) {
		s.add(false, newImage("postgres"))
		for _, name := range []string{"postgre", "evil/postgres", "host:5000/postgres", "", "A B", "\x00"} {
			_, err := s.Image(s.Context(), name)
			s.wantCode(err, pods.NotFound)
			_, err = s.DeleteImage(s.Context(), name)
			s.wantCode(err, pods.NotFound)
			_, err = s.UpdateImage(s.Context(), newImage(name))
			s.wantCode(err, pods.NotFound)
		}
		s.wantList("postgres")
	}},
}
