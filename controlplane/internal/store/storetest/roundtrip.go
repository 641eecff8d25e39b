package storetest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// WholeStore keeps every model.
type WholeStore interface {
	pods.Store
	pods.TemplateStore
	pods.ImageStore
	pods.VolumeStore
	pods.SecretStore
	pods.AccessTokenStore
	pods.OAuthClientStore
}

// RunRoundTrips checks for every model that whatever it holds comes back from the
// store as it was, and that what the API shows of it can be read again from JSON.
// Pods are written and changed by [Run]. open is as that of [Run].
func RunRoundTrips(t *testing.T, open func(t *testing.T) WholeStore) {
	store := open(t)
	for _, model := range []struct {
		name string
		trip func(ctx context.Context, t *rapid.T, s WholeStore, id string)
	}{
		{"pods", podTrip},
		{"credentials", credentialsTrip},
		{"permissions", permissionsTrip},
		{"templates", templateTrip},
		{"template tags", tagTrip},
		{"images", imageTrip},
		{"volumes", volumeTrip},
		{"snapshots", snapshotTrip},
		{"secrets", secretTrip},
		{"access tokens", accessTokenTrip},
		{"oauth2 clients", clientTrip},
	} {
		t.Run(model.name, func(t *testing.T) {
			n := 0
			rapid.Check(t, func(rt *rapid.T) {
				n++
				model.trip(t.Context(), rt, store, fmt.Sprintf("%s%d", model.name[:1], n))
			})
		})
	}
}

// genWords is text that fits every column: users can't enter a NUL.
var genWords = rapid.StringOf(rapid.Rune().Filter(func(r rune) bool { return r != 0 }))

// genMoment is a time after 1970, which means never where a time is missing, or none.
var genMoment = rapid.Ptr(rapid.Map(genTime, func(t time.Time) time.Time { return t.Add(time.Second) }), true)

func must(t *rapid.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantRead compares what was read, which also has to have been read.
func wantRead[T any](t *rapid.T, what string, got T, err error, want T) {
	t.Helper()
	must(t, err)
	wantEqual(t, what, got, want)
}

// wantJSON checks that the JSON of a view can be read again.
func wantJSON[T any](t *rapid.T, view T) {
	t.Helper()
	b, err := json.Marshal(view)
	must(t, err)
	var back T
	must(t, json.Unmarshal(b, &back))
	wantEqual(t, "view", back, view)
}

// wantSameJSON is wantJSON of what has several forms in memory.
func wantSameJSON[T any](t *rapid.T, view T) {
	t.Helper()
	b, err := json.Marshal(view)
	must(t, err)
	var back T
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	must(t, dec.Decode(&back))
	again, err := json.Marshal(back)
	must(t, err)
	wantEqual(t, "JSON", string(again), string(b))
}

func drawPod(t *rapid.T, id string) pods.Pod {
	return pods.Pod{
		Key: pods.Key{Tenant: tenant, ID: pods.ID(id)}, UID: "uid-of-" + id, Site: "site", Owner: genWords.Draw(t, "owner"),
		Definition: genDefinition(t), Requested: genRequested.Draw(t, "requested"), Permissions: genPermissions(t),
		CreatedAt: genTime.Draw(t, "created"), UpdatedAt: genTime.Draw(t, "updated"), State: genState(t),
	}
}

func createPod(ctx context.Context, t *rapid.T, s WholeStore, p pods.Pod, c pods.Credentials) {
	t.Helper()
	must(t, s.CreatePod(ctx, p, c, event("created")))
}

func podTrip(ctx context.Context, t *rapid.T, s WholeStore, id string) {
	p := drawPod(t, id)
	createPod(ctx, t, s, p, pods.Credentials{})
	p.Version, p.State.Version = 1, 1
	got, err := s.Pod(ctx, p.Key)
	wantRead(t, "pod", got, err, p)
	e, _ := pods.Show(p.ID, "dev.example.org", pods.DefaultSettings(), p.Definition) // shown even if it is not valid
	wantSameJSON(t, pods.NewView(p, e))
}

func credentialsTrip(ctx context.Context, t *rapid.T, s WholeStore, id string) {
	p := drawPod(t, "c"+id)
	c := pods.Credentials{
		AdminUsername: rapid.String().Draw(t, "admin"), AdminPassword: rapid.String().Draw(t, "admin password"),
		UserUsername: rapid.String().Draw(t, "user"), UserPassword: rapid.String().Draw(t, "password"),
	}
	createPod(ctx, t, s, p, c)
	got, err := s.Credentials(ctx, p.Key)
	wantRead(t, "credentials", got, err, c)
}

func permissionsTrip(ctx context.Context, t *rapid.T, s WholeStore, id string) {
	p := drawPod(t, "p"+id)
	createPod(ctx, t, s, p, pods.Credentials{})
	p.Version = 1
	p.Permissions = genPermissions(t)
	got, err := s.UpdatePod(ctx, p, event("changed"))
	wantRead(t, "permissions", got.Permissions, err, p.Permissions)
	for user, level := range p.Permissions {
		wantEqual(t, "level of "+user, got.Permissions[user], level)
	}
}

func drawTemplate(t *rapid.T, id string) pods.Template {
	return pods.Template{
		ID: id, UID: "uid-of-" + id, Tenant: tenant, Owner: genWords.Draw(t, "owner"), Description: genWords.Draw(t, "description"),
		Metatags: append([]string{}, rapid.SliceOfN(genWords, 0, 3).Draw(t, "metatags")...), ArchiveMessage: genWords.Draw(t, "archived"),
		Permissions: genPermissions(t), CreatedAt: genTime.Draw(t, "created"), UpdatedAt: genTime.Draw(t, "updated"),
	}
}

func templateTrip(ctx context.Context, t *rapid.T, s WholeStore, id string) {
	template := drawTemplate(t, id)
	must(t, s.CreateTemplate(ctx, template))
	template.Version = 1
	got, err := s.Template(ctx, id)
	wantRead(t, "template", got, err, template)
	wantJSON(t, pods.NewTemplateView(got))
}

func tagTrip(ctx context.Context, t *rapid.T, s WholeStore, id string) {
	template := drawTemplate(t, "tag"+id)
	must(t, s.CreateTemplate(ctx, template))
	tag := pods.TemplateTag{
		TemplateID: template.ID, Tag: rapid.StringMatching("[a-z][a-z0-9.]{0,10}").Draw(t, "tag"), Definition: genDefinition(t),
		CommitMessage: genWords.Draw(t, "message"), Description: genWords.Draw(t, "description"),
		ArchiveMessage: genWords.Draw(t, "archived"), AddedBy: genWords.Draw(t, "by"), CreatedAt: genTime.Draw(t, "created"),
	}
	tag.Definition.Template = pods.Opt[string]{} // which would have to be there
	stored, err := s.AddTemplateTag(ctx, template.UID, tag)
	must(t, err)
	tag.Stamp = stored.Stamp
	wantEqual(t, "stored tag", stored, tag)
	got, err := s.TemplateTag(ctx, stored.Ref())
	wantRead(t, "tag", got, err, tag)
	wantSameJSON(t, pods.NewTemplateTagView(got, true))
}

func imageTrip(ctx context.Context, t *rapid.T, s WholeStore, id string) {
	image := pods.AllowedImage{
		Image: "registry.example/" + id, Tenants: append([]string{}, rapid.SliceOfN(genWords, 0, 3).Draw(t, "tenants")...),
		Description: genWords.Draw(t, "description"), AddedBy: genWords.Draw(t, "by"), CreatedAt: genTime.Draw(t, "created"),
	}
	_, err := s.AddImages(ctx, []pods.AllowedImage{image}, false)
	must(t, err)
	got, err := s.Image(ctx, image.Image+":tag")
	wantRead(t, "image", got, err, image)
}

func drawVolume(t *rapid.T, kind pods.Kind, id string) pods.Volume {
	return pods.Volume{
		VolumeKey: pods.VolumeKey{Kind: kind, Tenant: tenant, ID: id}, UID: "uid-of-" + string(kind) + id, Owner: genWords.Draw(t, "owner"),
		Description: genWords.Draw(t, "description"), SizeLimit: rapid.IntRange(0, 1<<30).Draw(t, "limit"), Permissions: genPermissions(t),
		CreatedAt: genTime.Draw(t, "created"), UpdatedAt: genTime.Draw(t, "updated"),
		State: pods.VolumeState{
			Status:  rapid.SampledFrom([]pods.Status{pods.StatusRequested, pods.StatusCreating, pods.StatusAvailable, pods.StatusError}).Draw(t, "status"),
			Message: genWords.Draw(t, "message"), Size: rapid.Int64Range(0, 1<<50).Draw(t, "size"), MeasuredAt: genMoment.Draw(t, "measured"),
			Copied: rapid.Int64Range(0, 1<<50).Draw(t, "copied"), Attempts: rapid.IntRange(0, 9).Draw(t, "attempts"), LeaseUntil: genMoment.Draw(t, "lease"),
		},
	}
}

func storedVolume(ctx context.Context, t *rapid.T, s WholeStore, v pods.Volume) pods.Volume {
	t.Helper()
	must(t, s.CreateVolume(ctx, v))
	v.Version, v.State.Version = 1, 1
	got, err := s.Volume(ctx, v.VolumeKey)
	wantRead(t, string(v.Kind), got, err, v)
	return got
}

func volumeTrip(ctx context.Context, t *rapid.T, s WholeStore, id string) {
	wantJSON(t, pods.NewVolumeView(storedVolume(ctx, t, s, drawVolume(t, pods.KindVolume, id))))
}

func snapshotTrip(ctx context.Context, t *rapid.T, s WholeStore, id string) {
	source := "of" + id
	must(t, s.CreateVolume(ctx, drawVolume(t, pods.KindVolume, source)))
	v := drawVolume(t, pods.KindSnapshot, id)
	v.Source = &pods.SnapshotSource{
		Volume: source, Path: genWords.Draw(t, "path"), Destination: genWords.Draw(t, "destination"),
		Cron: genWords.Draw(t, "cron"), RetentionPolicy: genWords.Draw(t, "retention"),
	}
	wantJSON(t, pods.NewSnapshotView(storedVolume(ctx, t, s, v)))
}

func secretTrip(ctx context.Context, t *rapid.T, s WholeStore, id string) {
	secret := pods.Secret{
		SecretKey: secretKey("ann", id), UID: "uid-of-" + id, Description: genWords.Draw(t, "description"),
		Scope: rapid.SampledFrom([]pods.SecretScope{pods.ScopeUser, pods.ScopePod}).Draw(t, "scope"), Pod: genID.Draw(t, "pod"),
		Readable: rapid.Bool().Draw(t, "readable"), Writable: rapid.Bool().Draw(t, "writable"), Permissions: genPermissions(t),
		CreatedAt: genTime.Draw(t, "created"), UpdatedAt: genTime.Draw(t, "updated"),
	}
	value := rapid.String().Draw(t, "value")
	must(t, s.CreateSecret(ctx, secret, value, secretEvent(pods.SecretCreated)))
	secret.Version = 1
	got, err := s.Secret(ctx, secret.SecretKey)
	wantRead(t, "secret", got, err, secret)
	read, err := s.SecretValue(ctx, secret.SecretKey, secret.UID)
	wantRead(t, "value", read, err, value)
	wantJSON(t, pods.NewSecretView(got))
}

func accessTokenTrip(ctx context.Context, t *rapid.T, s WholeStore, id string) {
	p := drawPod(t, "a"+id)
	createPod(ctx, t, s, p, pods.Credentials{})
	token := pods.AccessToken{
		ID: "id-of-" + id, Pod: p.Key, Label: genWords.Draw(t, "label"),
		Kind: rapid.SampledFrom([]pods.AccessTokenKind{pods.AccessLink, pods.AccessPassword}).Draw(t, "kind"), CreatedBy: genWords.Draw(t, "by"),
		CreatedAt: genTime.Draw(t, "created"), ExpiresAt: genMoment.Draw(t, "expires"), MaxUses: rapid.IntRange(0, 1<<30).Draw(t, "uses"),
		Hashes: rapid.MapOfN(rapid.StringMatching("[a-z]+"), genWords, 1, 3).Draw(t, "hashes"),
	}
	must(t, s.AddAccessToken(ctx, p.UID, token))
	got, err := s.AccessTokens(ctx, p.Key)
	wantRead(t, "access tokens", got, err, []pods.AccessToken{token})
}

func clientTrip(ctx context.Context, t *rapid.T, s WholeStore, id string) {
	client := pods.OAuthClient{
		ID: genWords.Draw(t, "id"), Key: rapid.String().Draw(t, "key"), CallbackURL: genWords.Draw(t, "callback"), // its display name is not kept
	}
	must(t, s.SetOAuthClient(ctx, "tenant of "+id, client))
	got, err := s.OAuthClient(ctx, "tenant of "+id)
	wantRead(t, "client", got, err, client)
}
