package pods

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// fakeSealer shows what it sealed to whoever knows how.
type fakeSealer struct{}

func (fakeSealer) Seal(plain []byte, context string) string {
	return hex.EncodeToString([]byte(context)) + "." + hex.EncodeToString(plain)
}

func (fakeSealer) Open(sealed, context string) ([]byte, error) {
	place, text, _ := strings.Cut(sealed, ".")
	if place != hex.EncodeToString([]byte(context)) {
		return nil, errors.New("sealed for another place")
	}
	return hex.DecodeString(text)
}

// fakeOutside holds volumes and secrets in memory.
type fakeOutside struct {
	VolumeStore // what is not used
	SecretStore

	volumes  map[VolumeKey]Volume
	secrets  map[SecretKey]Secret
	kept     map[string]string
	bindings []Binding
	events   map[string][]SecretEventKind
	broken   error
}

func newFakeOutside() *fakeOutside {
	return &fakeOutside{
		volumes: map[VolumeKey]Volume{}, secrets: map[SecretKey]Secret{}, kept: map[string]string{}, events: map[string][]SecretEventKind{},
	}
}

func (f *fakeOutside) Volume(_ context.Context, k VolumeKey) (Volume, error) {
	v, ok := f.volumes[k]
	if !ok {
		return v, k.NotFound()
	}
	return v, f.broken
}

func (f *fakeOutside) Secret(_ context.Context, k SecretKey) (Secret, error) {
	s, ok := f.secrets[k]
	if !ok {
		return s, k.NotFound()
	}
	return s, f.broken
}

func (f *fakeOutside) SecretValue(_ context.Context, k SecretKey, _ string) (string, error) {
	return "value of ${pods:pod_id} " + k.Name(), nil
}

func (f *fakeOutside) AddSecretEvents(_ context.Context, k SecretKey, es ...SecretEvent) error {
	for _, e := range es {
		f.events[k.Name()] = append(f.events[k.Name()], e.Kind)
	}
	return nil
}

func (f *fakeOutside) KeepPodSecrets(_ context.Context, _ Key, _ string, values map[string]string) (map[string]string, error) {
	got := map[string]string{}
	for name, value := range values {
		if _, ok := f.kept[name]; !ok {
			f.kept[name] = value
		}
		got[name] = f.kept[name]
	}
	return got, nil
}

func (f *fakeOutside) DropPodSecrets(_ context.Context, _ Key, _ string, names ...string) error {
	for _, name := range names {
		delete(f.kept, name)
	}
	return nil
}

func (f *fakeOutside) SetBindings(_ context.Context, _ Key, _ string, bs []Binding, _ map[string]string) error {
	f.bindings = bs
	return nil
}

func (*fakeOutside) Started(context.Context, Key) (map[string]string, error) { return nil, nil }

func (*fakeOutside) BoundPods(context.Context, string, Binding, bool) ([]ID, error) { return nil, nil }

// fakeTenants knows one admin.
type fakeTenants struct{ Identity }

func (fakeTenants) Tenant(context.Context, string) (Tenant, error) {
	return Tenant{ID: "dev", BaseURL: "https://dev.localhost:8443"}, nil
}

func (fakeTenants) Admin(_ context.Context, p Principal) bool { return p.User == "admin" }

func (f *fakeOutside) binder() *Binder {
	return &Binder{Volumes: f, Secrets: f, Bindings: f, Sealer: fakeSealer{}, Identity: fakeTenants{}, Now: func() time.Time { return time.Unix(0, 0) }}
}

// addSecret adds a secret of ann's.
func (f *fakeOutside) addSecret(id string, change ...func(*Secret)) {
	s := Secret{SecretKey: SecretKey{Tenant: "dev", Owner: "ann", ID: id}, UID: "uid"}
	for _, c := range change {
		c(&s)
	}
	f.secrets[s.SecretKey] = s
}

// boundPod is a pod of ann's with a definition.
func boundPod(t testing.TB, d Definition) (Pod, Effective) {
	t.Helper()
	p := Pod{
		Key: Key{Tenant: "dev", ID: "web"}, UID: "uid", Site: "dev", Owner: "ann",
		Permissions: Permissions{"ann": LevelAdmin, "bob": LevelUser, "cat": LevelRead},
	}
	d.Image = Set("podway/hello")
	d, err := SealSecrets(fakeSealer{}, p.Key, "ann", Definition{}, d)
	if err != nil {
		t.Fatal(err)
	}
	p.Definition = d
	e, err := Resolve(p.ID, "dev.localhost", DefaultSettings(), d)
	if err != nil {
		t.Fatal(err)
	}
	return p, e
}

func bindTo(t testing.TB, f *fakeOutside, p Pod, e Effective) map[string]string {
	t.Helper()
	w := BuildWorkload(p, e, Credentials{UserPassword: "generated"})
	if err := f.binder().Bind(t.Context(), p, e, &w); err != nil {
		t.Fatal(err)
	}
	return w.Env
}

func TestBindFillsInTheEnvironment(t *testing.T) {
	f := newFakeOutside()
	f.addSecret("pw")
	p, e := boundPod(t, Definition{
		SecretMap: Set(map[string]string{
			"PW": "${secret:pw}", "LIT": "a ${b} $c", "URL": "https://${pods:url}:${pods:networking:default:port}/${pods:pod_id}?t=${pods:tapis_url}",
			"PROTO": "${pods:networking:default:protocol}", "HOST": "${pods:networking:default:hostname}", "EMPTY": "",
		}),
		EnvironmentVariables: Set(map[string]string{
			"A": "x${pods:secrets:PW}y", "B": "${pods:secrets:LIT:?what it is}", "C": "${pods:secrets:URL}", "D": "${pods:secrets:PROTO}${pods:secrets:HOST}",
			"E": "[${pods:secrets:EMPTY}]", "F": "${HOME} ${pods:url}", "G": "<<TAPIS_user_password>> ${pods:secrets:PW}",
		}),
	})
	want := map[string]string{
		// What a secret holds is not searched again.
		"A": "xvalue of ${pods:pod_id} ann:pwy", "B": "a ${b} $c", "C": "https://web.pods.dev.localhost:5000/web?t=dev.localhost",
		"D": "httpweb.pods.dev.localhost", "E": "[]", "F": "${HOME} ${pods:url}", "G": "generated value of ${pods:pod_id} ann:pw",
	}
	if got := bindTo(t, f, p, e); !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if want := []Binding{{Kind: KindSecret, Owner: "ann", ID: "pw"}}; !reflect.DeepEqual(f.bindings, want) {
		t.Errorf("got %v, want %v", f.bindings, want)
	}
	if want := []SecretEventKind{SecretInjected}; !reflect.DeepEqual(f.events["ann:pw"], want) {
		t.Errorf("got %v, want %v", f.events, want)
	}
}

func TestGeneratedValuesAreMadeOnce(t *testing.T) {
	f := newFakeOutside()
	define := func(text string) map[string]string {
		p, e := boundPod(t, Definition{
			SecretMap:            Set(map[string]string{"KEY": text, "TWO": "${pods:random:8}-${pods:random:8}"}),
			EnvironmentVariables: Set(map[string]string{"KEY": "${pods:secrets:KEY}", "TWO": "${pods:secrets:TWO}"}),
		})
		return bindTo(t, f, p, e)
	}
	first := define("${pods:random:32}")
	if !regexp.MustCompile(`^[a-zA-Z0-9!@#$%^&*]{32}$`).MatchString(first["KEY"]) {
		t.Errorf("got %q, want 32 characters", first["KEY"])
	}
	if a, b, ok := strings.Cut(first["TWO"], "-"); !ok || len(a) != 8 || len(b) != 8 || a == b {
		t.Errorf("got %q, want two values", first["TWO"])
	}
	if again := define("${pods:random:32}"); !maps.Equal(first, again) {
		t.Errorf("got %v, want %v as before", again, first)
	}
	if longer := define("${pods:random:40}"); len(longer["KEY"]) != 40 || longer["TWO"] != first["TWO"] {
		t.Errorf("got %v, want another value of another length", longer)
	}
}

func TestAFileWrittenOnceStays(t *testing.T) {
	f := newFakeOutside()
	start := func(text, mode string) string {
		t.Helper()
		p, e := boundPod(t, Definition{
			SecretMap: Set(map[string]string{"KEY": text}),
			VolumeMounts: Set(map[string]VolumeMount{
				"/etc/app": {Type: MountEphemeral, MountPath: "/etc/app", ConfigContent: "<<TAPIS_pod_id>> ${pods:secrets:KEY}", ConfigFilename: "a.conf", ConfigUpdateMode: mode},
				"/etc/b":   {Type: MountEphemeral, MountPath: "/etc/b", ConfigContent: text},
				"/tmp/c":   {Type: MountEphemeral, MountPath: "/tmp/c", ConfigUpdateMode: ConfigOnce}, // a folder
			}),
		})
		w := BuildWorkload(p, e, Credentials{})
		if err := f.binder().Bind(t.Context(), p, e, &w); err != nil {
			t.Fatal(err)
		}
		var got string
		for _, m := range w.VolumeMounts {
			switch m.MountPath {
			case "/etc/app":
				got = m.ConfigContent
			case "/etc/b":
				if m.ConfigContent != text {
					t.Errorf("got %q in a file that is always written, want %q", m.ConfigContent, text)
				}
			case "/tmp/c":
				if m.IsConfig() {
					t.Error("got a file, want a folder")
				}
			}
		}
		return got
	}
	for _, c := range []struct{ name, text, mode, want string }{
		{"always is the default", "one", "", "web one"},
		{"the first start with once", "two", ConfigOnce, "web two"},
		{"the next one", "three", ConfigOnce, "web two"},
		{"always writes it", "four", ConfigAlways, "web four"},
		{"and what was kept is gone", "five", ConfigOnce, "web five"},
	} {
		if got := start(c.text, c.mode); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestCheckTellsWhatCantBeHad(t *testing.T) {
	f := newFakeOutside()
	f.addSecret("pw")
	f.addSecret("bobs", func(s *Secret) { s.Owner = "bob" })
	f.addSecret("strangers", func(s *Secret) { s.Owner = "dan" })
	f.addSecret("other", func(s *Secret) { s.Scope, s.Pod = ScopePod, "another" })
	f.addSecret("own", func(s *Secret) { s.Scope, s.Pod = ScopePod, "web" })
	for name, c := range map[string]struct {
		secretMap, env map[string]string
		want           string
	}{
		"everything is there":              {map[string]string{"A": "${secret:ann:pw}", "B": "${secret:bob:bobs}", "C": "${secret:ann:own}"}, map[string]string{"V": "${pods:secrets:A}"}, ""},
		"a secret is missing":              {map[string]string{"A": "${secret:ann:none}"}, nil, "secret_map, A: user 'ann' has no secret 'none'."},
		"a secret of another tenant":       {map[string]string{"A": "${secret:x:y}"}, nil, "secret_map, A: user 'x' has no secret 'y'."},
		"a secret of another pod":          {map[string]string{"A": "${secret:ann:other}"}, nil, "secret_map, A: secret 'ann:other' can be used by pod 'another' only."},
		"its owner may not use the pod":    {map[string]string{"A": "${secret:dan:strangers}"}, nil, "secret_map, A: secret 'strangers' is one of 'dan', who has no permission on the pod any more."},
		"a value that a template asks for": {map[string]string{"A": "${:?the password}"}, nil, "secret_map, A: a value is required: the password"},
		"a value that a template has":      {map[string]string{"A": "${pods:default:x:?the host}"}, nil, ""},
		"a networking entry is missing":    {map[string]string{"A": "${pods:networking:no:url}"}, nil, "secret_map, A: networking has no entry 'no'."},
		"a variable refers to nothing":     {nil, map[string]string{"V": "a ${pods:secrets:NO}"}, "environment_variables, V: secret_map has no entry 'NO'. Add it, or remove the reference."},
	} {
		t.Run(name, func(t *testing.T) {
			p, e := boundPod(t, Definition{})
			e.SecretMap, e.EnvironmentVariables = c.secretMap, c.env
			err := f.binder().Check(t.Context(), p, e)
			if c.want == "" {
				if err != nil {
					t.Errorf("got %v, want no error", err)
				}
				return
			}
			e2, ok := errors.AsType[*Error](err)
			if !ok || e2.Code != Invalid || strings.Join(e2.Messages, "\n") != c.want {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestAFailedBindIsAudited(t *testing.T) {
	f := newFakeOutside()
	f.addSecret("pw")
	p, e := boundPod(t, Definition{SecretMap: Set(map[string]string{"A": "${secret:pw}", "B": "${secret:gone}"})})
	w := BuildWorkload(p, e, Credentials{})
	if got := ErrorCode(f.binder().Bind(t.Context(), p, e, &w)); got != Invalid {
		t.Errorf("got %q, want invalid", got)
	}
	want := map[string][]SecretEventKind{"ann:pw": {SecretResolutionFailed}, "ann:gone": {SecretResolutionFailed}}
	if !reflect.DeepEqual(f.events, want) {
		t.Errorf("got %v, want %v", f.events, want)
	}
}

func TestAFaultOfAPartIsNotTheOwners(t *testing.T) {
	f := newFakeOutside()
	f.addSecret("pw")
	f.broken = errors.New("disk on fire")
	p, e := boundPod(t, Definition{SecretMap: Set(map[string]string{"A": "${secret:pw}"})})
	if err := f.binder().Check(t.Context(), p, e); !errors.Is(err, f.broken) || ErrorCode(err) != Internal {
		t.Errorf("got %v, want %v", err, f.broken)
	}
}

func TestMountsCountForWhoMadeThem(t *testing.T) {
	f := newFakeOutside()
	add := func(id string, perms Permissions, status Status) {
		k := VolumeKey{Kind: KindVolume, Tenant: "dev", ID: id}
		f.volumes[k] = Volume{VolumeKey: k, Permissions: perms, State: VolumeState{Status: status}}
	}
	add("anns", Permissions{"ann": LevelAdmin}, StatusAvailable)
	add("bobs", Permissions{"bob": LevelUser, "ann": LevelRead}, StatusAvailable)
	add("cats", Permissions{"cat": LevelAdmin}, StatusAvailable)
	add("new", Permissions{"ann": LevelAdmin}, StatusCreating)
	for _, c := range []struct{ id, by, want string }{
		{"anns", "", ""}, // the pod's owner
		{"anns", "ann", ""},
		{"bobs", "bob", ""},
		{"cats", "admin", ""},
		{"anns", "bob", "volume_mounts, anns: volume_mounts key must be a valid volume_id when type == 'tapisvolume'. Could not find volume_id: anns."},
		{"bobs", "ann", "volume_mounts, bobs: User 'ann' does not have permission to mount volume_id: bobs. USER is needed."},
		{"cats", "cat", "volume_mounts, cats: it was mounted by 'cat', who has no permission on the pod any more. Mount it again, or remove it."},
		{"new", "ann", "volume_mounts, new: volume new can't be mounted while its status is CREATING."},
		{"gone", "admin", "volume_mounts, gone: volume_mounts key must be a valid volume_id when type == 'tapisvolume'. Could not find volume_id: gone."},
	} {
		p, e := boundPod(t, Definition{})
		e.VolumeMounts = map[string]VolumeMount{c.id: {Type: MountVolume, MountPath: "/x", MountedBy: c.by}, "own": {Type: MountPVC, MountPath: "/y"}}
		err := f.binder().Check(t.Context(), p, e)
		got := ""
		if e, ok := errors.AsType[*Error](err); ok {
			got = strings.Join(e.Messages, "\n")
		}
		if got != c.want || (err != nil) != (c.want != "") {
			t.Errorf("%s by %q: got %v, want %q", c.id, c.by, err, c.want)
		}
	}
}

func TestATemplatesMountsCountForThePodsOwner(t *testing.T) {
	template := Definition{VolumeMounts: Set(map[string]VolumeMount{"data": {Type: MountVolume, MountPath: "/x", MountedBy: "author"}})}
	e, err := Resolve("web", "dev.localhost", DefaultSettings(), Definition{Image: Set("x"), Template: Set("app:latest")}, template)
	if got := e.VolumeMounts["data"].MountedBy; got != "" || err != nil {
		t.Errorf("got %q and %v, want nobody", got, err)
	}
	if got := template.VolumeMounts.Or(nil)["data"].MountedBy; got != "author" {
		t.Errorf("got %q, want the template as it was", got)
	}
}

func TestWhatIsSecretIsSealed(t *testing.T) {
	k := Key{Tenant: "dev", ID: "web"}
	refs := map[string]string{
		"A": "${secret:pw}", "B": "${secret:ann:pw}", "C": "${pods:random:8}", "D": "${pods:url}", "E": "${pods:networking:default:port}",
	}
	literals := map[string]string{
		"F": "hunter2", "G": "${pods:url}x", "H": "", "I": "${HOME}", "J": "${secret:pw}${secret:pw}", "K": "sealed:hunter2", "L": "<<write-only>",
	}
	given := maps.Clone(refs)
	maps.Copy(given, literals)
	d, err := SealSecrets(fakeSealer{}, k, "ann", Definition{}, Definition{SecretMap: Set(given)})
	if err != nil {
		t.Fatal(err)
	}
	got := d.SecretMap.Or(nil)
	refs["A"] = "${secret:ann:pw}"
	for name, want := range refs {
		if got[name] != want {
			t.Errorf("%s: got %q, want %q", name, got[name], want)
		}
	}
	literals["J"] = "${secret:ann:pw}${secret:ann:pw}"
	for name, want := range literals {
		plain, err := openEntry(fakeSealer{}, k, name, got[name])
		if !strings.HasPrefix(got[name], sealedPrefix) || plain != want || err != nil {
			t.Errorf("%s: got %q, which holds %q (%v), want %q sealed", name, got[name], plain, err, want)
		}
		if shown := ShownSecretMap(got)[name]; shown != WriteOnly {
			t.Errorf("%s: is shown as %q", name, shown)
		}
	}
	if len(SealedSecrets(d)) != len(literals) {
		t.Errorf("got %v, want %d sealed values", SealedSecrets(d), len(literals))
	}
	// A sealed value that is moved to another name or pod does not open.
	if _, err := openEntry(fakeSealer{}, k, "G", got["F"]); err == nil {
		t.Error("a value opens at another place")
	}
}

// TestShownSecretsCanBeSentBack checks that whatever was given, sending back what
// is shown changes nothing.
func TestShownSecretsCanBeSentBack(t *testing.T) {
	k := Key{Tenant: "dev", ID: "web"}
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{
			"${secret:pw}", "${pods:url}", "${pods:random:9}", "x${pods:url}", "<<write-only>>", "sealed:", "${", "${}",
		}))
		given := rapid.MapOfN(rapid.StringMatching("[A-C]"), value, 0, 3).Draw(t, "map")
		for name, v := range given {
			if v == WriteOnly {
				delete(given, name)
			}
		}
		first, err := SealSecrets(fakeSealer{}, k, "ann", Definition{}, Definition{SecretMap: Set(given)})
		if err != nil {
			t.Fatal(err)
		}
		shown := ShownSecretMap(first.SecretMap.Or(nil))
		again, err := SealSecrets(fakeSealer{}, k, "bob", first, Definition{SecretMap: Set(shown)})
		if err != nil || !maps.Equal(again.SecretMap.Or(nil), first.SecretMap.Or(nil)) {
			t.Fatalf("got %v and %v, want %v", again.SecretMap, err, first.SecretMap)
		}
		resealed, changed, err := ResealSecrets(fakeSealer{}, k, first)
		if err != nil || changed != (len(SealedSecrets(first)) > 0) || !maps.Equal(resealed.SecretMap.Or(nil), first.SecretMap.Or(nil)) {
			t.Fatalf("got %v, %v and %v after sealing again", resealed.SecretMap, changed, err)
		}
	})
}

func TestAnothersReferenceStays(t *testing.T) {
	k := Key{Tenant: "dev", ID: "web"}
	before := Definition{SecretMap: Set(map[string]string{"A": "${secret:ann:pw}"})}
	for value, want := range map[string]string{
		"${secret:ann:pw}":    "", // as it was
		"${secret:ann:other}": "secret_map, A: the secret is one of 'ann'. Only that user can set a reference to it.",
		"x${secret:ann:pw}":   "secret_map, A: the secret is one of 'ann'. Only that user can set a reference to it.",
		"${secret:pw}":        "",
	} {
		_, err := SealSecrets(fakeSealer{}, k, "bob", before, Definition{SecretMap: Set(map[string]string{"A": value})})
		got := ""
		if e, ok := errors.AsType[*Error](err); ok {
			got = e.Messages[0]
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", value, got, want)
		}
	}
}

func TestATemplateHoldsNoSecrets(t *testing.T) {
	p, _ := boundPod(t, Definition{SecretMap: Set(map[string]string{"A": "${secret:pw}", "B": "hunter2", "C": "${pods:random:16}"})})
	got := TemplateSecrets(p.Definition).SecretMap.Or(nil)
	if want := map[string]string{"A": "${:?A}", "B": "${:?B}", "C": "${pods:random:16}"}; !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestChangesOfSecretsAreHidden(t *testing.T) {
	_, before := boundPod(t, Definition{SecretMap: Set(map[string]string{"A": "hunter2", "B": "${pods:url}", "C": "x"})})
	_, after := boundPod(t, Definition{SecretMap: Set(map[string]string{"A": "hunter3", "B": "${pods:url}", "D": "x"})})
	got := UpdateText("ann", Diff(before, after, On, On))
	if want := "'ann' updated pod: secret_map.A: changed (hidden), secret_map.C: removed, secret_map.D: added (hidden)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestMountsAreClaimed(t *testing.T) {
	m := func(path, by string) VolumeMount {
		return VolumeMount{Type: MountVolume, MountPath: path, MountedBy: by}
	}
	before := Definition{VolumeMounts: Set(map[string]VolumeMount{"a": m("/a", "ann"), "old": m("/o", "")})}
	for _, c := range []struct {
		name  string
		level Level
		now   map[string]VolumeMount
		want  map[string]VolumeMount
	}{
		{"what stays is as it was", LevelUser, map[string]VolumeMount{"a": m("/a", ""), "old": m("/o", "")}, map[string]VolumeMount{"a": m("/a", "ann"), "old": m("/o", "")}},
		{"what a client says of it does not count", LevelUser, map[string]VolumeMount{"a": m("/a", "bob"), "old": m("/o", "x")}, map[string]VolumeMount{"a": m("/a", "ann"), "old": m("/o", "")}},
		{"what is added is the caller's", LevelUser, map[string]VolumeMount{"a": m("/a", ""), "old": m("/o", ""), "b": m("/b", "ann")}, map[string]VolumeMount{"a": m("/a", "ann"), "old": m("/o", ""), "b": m("/b", "bob")}},
		{"what nobody claimed may be changed", LevelUser, map[string]VolumeMount{"a": m("/a", ""), "old": m("/x", "")}, map[string]VolumeMount{"a": m("/a", "ann"), "old": m("/x", "bob")}},
		{"another's may not be changed", LevelUser, map[string]VolumeMount{"a": m("/x", "")}, nil},
		{"another's may not be removed", LevelUser, map[string]VolumeMount{}, nil},
		{"an ADMIN may", LevelAdmin, map[string]VolumeMount{"a": m("/x", "")}, map[string]VolumeMount{"a": m("/x", "bob")}},
	} {
		got, err := ClaimMounts("bob", c.level, before, Definition{VolumeMounts: Set(c.now)})
		if c.want == nil {
			if ErrorCode(err) != Forbidden {
				t.Errorf("%s: got %v, want forbidden", c.name, err)
			}
			continue
		}
		if err != nil || !maps.Equal(got.VolumeMounts.Or(nil), c.want) {
			t.Errorf("%s: got %v and %v, want %v", c.name, got.VolumeMounts, err, c.want)
		}
	}
	if got, err := ClaimMounts("bob", LevelUser, before, Definition{}); err != nil || got.VolumeMounts.IsSet() {
		t.Errorf("got %v and %v, want a definition that says nothing about mounts", got.VolumeMounts, err)
	}
}

func TestSyntaxWarnings(t *testing.T) {
	got := SyntaxWarnings(Effective{
		EnvironmentVariables: map[string]string{"B": "${HOME}", "A": "${pods:url}", "C": "$x {y} ${pods:secrets:Z}", "D": "${"},
		VolumeMounts: map[string]VolumeMount{
			"/b": {Type: MountEphemeral, ConfigContent: "a ${HOME}"}, "/c": {Type: MountEphemeral, ConfigContent: "a ${pods:secrets:Z}"},
		},
	})
	var names []string
	for _, w := range got {
		names = append(names, strings.SplitN(w, ":", 2)[0])
	}
	if want := []string{"environment_variables, A", "environment_variables, B", "volume_mounts, /b, config_content"}; !slices.Equal(names, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestMessagesAboutSecretsShowNoValue(t *testing.T) {
	for _, body := range []string{
		`{"pod_id":"web","image":"x","secret_map":{"A":["canary"]}}`, `{"pod_id":"web","image":"x","secret_map":"canary"}`,
		`{"pod_id":"web","image":"x","secret_map":{"A":"canary ${pods:canary}"}}`, `{"pod_id":"web","image":"x","secret_map":{"A":"canary ${:?x}"}}`,
		fmt.Sprintf(`{"pod_id":"web","image":"x","secret_map":{"A":"%s"}}`, strings.Repeat("canary", 10_000)),
	} {
		if _, err := DecodeNewPod([]byte(body), DefaultSettings()); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("got %v, want an error without the value", err)
		}
	}
}
