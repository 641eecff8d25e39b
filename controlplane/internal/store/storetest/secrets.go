package storetest

import (
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// SecretStore is what [RunSecrets] needs: pods have generated values.
type SecretStore interface {
	pods.Store
	pods.SecretStore
}

// RunSecrets checks that a store keeps every promise of pods.SecretStore. open is
// as that of [Run].
func RunSecrets(t *testing.T, open func(t *testing.T) SecretStore) {
	for _, tt := range secretTests {
		t.Run(tt.name, func(t *testing.T) { tt.run(&secretSuite{T: t, SecretStore: open(t)}) })
	}
}

// secretSuite is a test with the store it runs on.
type secretSuite struct {
	*testing.T
	SecretStore
}

func secretKey(owner, id string) pods.SecretKey {
	return pods.SecretKey{Tenant: tenant, Owner: owner, ID: id}
}

// newSecret returns a secret as the API makes it.
func newSecret(k pods.SecretKey) pods.Secret {
	return pods.Secret{
		SecretKey: k, UID: "uid-of-" + k.String(), Description: "first", Scope: pods.ScopePod, Pod: "web", Readable: true,
		Permissions: pods.Permissions{k.Owner: pods.LevelAdmin}, CreatedAt: t0, UpdatedAt: t0,
	}
}

func secretEvent(k pods.SecretEventKind) pods.SecretEvent {
	return pods.SecretEvent{At: t0, Kind: k, Actor: "ann", Pod: "web"}
}

func (s *secretSuite) create(k pods.SecretKey, change ...func(*pods.Secret)) pods.Secret {
	s.Helper()
	secret := newSecret(k)
	for _, f := range change {
		f(&secret)
	}
	if err := s.CreateSecret(s.Context(), secret, "value of "+k.Name(), secretEvent(pods.SecretCreated)); err != nil {
		s.Fatalf("creating %s: %v", k, err)
	}
	return s.read(k)
}

func (s *secretSuite) read(k pods.SecretKey) pods.Secret {
	s.Helper()
	secret, err := s.Secret(s.Context(), k)
	if err != nil {
		s.Fatalf("reading %s: %v", k, err)
	}
	return secret
}

func (s *secretSuite) wantCode(err error, want pods.Code) {
	s.Helper()
	if got := pods.ErrorCode(err); got != want {
		s.Fatalf("got code %q (%v), want %q", got, err, want)
	}
}

func (s *secretSuite) wantValue(secret pods.Secret, want string) {
	s.Helper()
	got, err := s.SecretValue(s.Context(), secret.SecretKey, secret.UID)
	if err != nil {
		s.Fatal(err)
	}
	wantEqual(s, "value", got, want)
}

func (s *secretSuite) wantEvents(k pods.SecretKey, want ...pods.SecretEventKind) {
	s.Helper()
	es, err := s.SecretEvents(s.Context(), k)
	if err != nil {
		s.Fatal(err)
	}
	var kinds []pods.SecretEventKind
	for _, e := range es {
		wantEqual(s, "event", e, secretEvent(e.Kind))
		kinds = append(kinds, e.Kind)
	}
	wantEqual(s, "kinds of events", kinds, want)
}

// pod stores a pod.
func (s *secretSuite) pod() pods.Pod {
	s.Helper()
	p := newPod("web")
	if err := s.CreatePod(s.Context(), p, newCredentials(p.ID), event("created")); err != nil {
		s.Fatalf("creating pod %s: %v", p.ID, err)
	}
	return p
}

var secretTests = []struct {
	name string
	run  func(s *secretSuite)
}{
	{"a secret comes back as given, with version 1, its value on its own", func(s *secretSuite) {
		k := secretKey("ann", "pw")
		want := newSecret(k)
		if err := s.CreateSecret(s.Context(), want, "é\n日本\"'", secretEvent(pods.SecretCreated)); err != nil {
			s.Fatal(err)
		}
		want.Version = 1
		wantEqual(s, "secret", s.read(k), want)
		s.wantValue(want, "é\n日本\"'")
		s.wantEvents(k, pods.SecretCreated)
	}},
	{"a name that is taken is Exists, and nothing is written", func(s *secretSuite) {
		k := secretKey("ann", "pw")
		want := s.create(k)
		again := newSecret(k)
		again.Description, again.UID = "second", "second"
		s.wantCode(s.CreateSecret(s.Context(), again, "other", secretEvent(pods.SecretCreated)), pods.Exists)
		wantEqual(s, "secret", s.read(k), want)
		s.wantValue(want, "value of ann:pw")
		s.wantEvents(k, pods.SecretCreated)
	}},
	{"each user and tenant has names of their own", func(s *secretSuite) {
		for _, k := range []pods.SecretKey{secretKey("ann", "pw"), secretKey("bob", "pw"), {Tenant: "other", Owner: "ann", ID: "pw"}} {
			s.wantValue(s.create(k), "value of "+k.Name())
		}
	}},
	{"what can't be stored is Invalid", func(s *secretSuite) {
		for _, change := range []func(*pods.Secret){
			func(x *pods.Secret) { x.ID = "a\x00b" },
			func(x *pods.Secret) { x.Description = "\xff" },
			func(x *pods.Secret) { x.Permissions = pods.Permissions{"\xff": pods.LevelAdmin} },
		} {
			secret := newSecret(secretKey("ann", "pw"))
			change(&secret)
			s.wantCode(s.CreateSecret(s.Context(), secret, "v", secretEvent(pods.SecretCreated)), pods.Invalid)
		}
	}},
	{"a query selects by tenant, user and name, in the order of owner and name", func(s *secretSuite) {
		s.create(secretKey("ann", "bbb"))
		s.create(secretKey("ann", "aaa"), func(x *pods.Secret) { x.Permissions["bob"] = pods.LevelRead })
		s.create(secretKey("bob", "aaa"))
		s.create(secretKey("cat", "ccc"), func(x *pods.Secret) { x.Permissions["*"] = pods.LevelUser })
		s.create(secretKey("dan", "ddd"), func(x *pods.Secret) { x.Permissions["bob"] = pods.LevelNone })
		s.create(pods.SecretKey{Tenant: "other", Owner: "bob", ID: "aaa"})
		for _, c := range []struct {
			name string
			q    pods.SecretQuery
			want []string
		}{
			{"a tenant", pods.SecretQuery{Tenant: tenant}, []string{"dev/ann/aaa", "dev/ann/bbb", "dev/bob/aaa", "dev/cat/ccc", "dev/dan/ddd"}},
			{"a user", pods.SecretQuery{Tenant: tenant, User: "bob"}, []string{"dev/ann/aaa", "dev/bob/aaa", "dev/cat/ccc"}},
			{"a user of all tenants", pods.SecretQuery{User: "bob", ID: "aaa"}, []string{"dev/ann/aaa", "dev/bob/aaa", "other/bob/aaa"}},
			{"a name", pods.SecretQuery{Tenant: tenant, User: "bob", ID: "aaa"}, []string{"dev/ann/aaa", "dev/bob/aaa"}},
			{"a name that is no text", pods.SecretQuery{Tenant: tenant, ID: "\x00"}, nil},
		} {
			got, err := s.Secrets(s.Context(), c.q)
			if err != nil {
				s.Fatal(err)
			}
			var names []string
			for _, secret := range got {
				wantEqual(s, "a secret of the list", secret, s.read(secret.SecretKey))
				names = append(names, secret.String())
			}
			wantEqual(s, c.name, names, c.want)
		}
	}},
	{"an update writes what users may change, and the value if there is one", func(s *secretSuite) {
		want := s.create(secretKey("ann", "pw"))
		want.Description, want.Readable, want.Writable, want.UpdatedAt = "second", false, true, t0.Add(time.Hour)
		want.Permissions = pods.Permissions{"ann": pods.LevelUser, "*": pods.LevelRead}
		given := want
		given.Scope, given.Pod, given.CreatedAt = pods.ScopeUser, "", t0.Add(1)
		got, err := s.UpdateSecret(s.Context(), given, nil, secretEvent(pods.SecretUpdated))
		s.wantCode(err, "")
		want.Version = 2
		wantEqual(s, "returned secret", got, want)
		wantEqual(s, "stored secret", s.read(want.SecretKey), want)
		s.wantValue(want, "value of ann:pw")
		_, err = s.UpdateSecret(s.Context(), want, new("new"), secretEvent(pods.SecretUpdated))
		s.wantCode(err, "")
		s.wantValue(want, "new")
		s.wantEvents(want.SecretKey, pods.SecretCreated, pods.SecretUpdated, pods.SecretUpdated)
	}},
	{"an update of a secret that was written meanwhile is a Conflict and writes nothing", func(s *secretSuite) {
		old := s.create(secretKey("ann", "pw"))
		want, err := s.UpdateSecret(s.Context(), old, nil, secretEvent(pods.SecretUpdated))
		s.wantCode(err, "")
		old.Description = "late"
		_, err = s.UpdateSecret(s.Context(), old, new("late"), secretEvent(pods.SecretUpdated))
		s.wantCode(err, pods.Conflict)
		wantEqual(s, "secret", s.read(want.SecretKey), want)
		s.wantValue(want, "value of ann:pw")
		s.wantEvents(want.SecretKey, pods.SecretCreated, pods.SecretUpdated)
	}},
	{"a deleted secret is gone with its value, its audit log stays", func(s *secretSuite) {
		secret := s.create(secretKey("ann", "pw"))
		s.wantCode(s.DeleteSecret(s.Context(), secret.SecretKey, secret.UID, secretEvent(pods.SecretDeleted)), "")
		_, err := s.Secret(s.Context(), secret.SecretKey)
		s.wantCode(err, pods.NotFound)
		_, err = s.SecretValue(s.Context(), secret.SecretKey, secret.UID)
		s.wantCode(err, pods.NotFound)
		s.wantEvents(secret.SecretKey, pods.SecretCreated, pods.SecretDeleted)
	}},
	{"every method on a secret that is not there, or another one, is NotFound", func(s *secretSuite) {
		s.create(secretKey("ann", "pw"))
		other := newSecret(secretKey("ann", "pw"))
		other.UID = "another uid"
		for _, secret := range []pods.Secret{other, newSecret(secretKey("ann", "gone")), newSecret(secretKey("bob", "pw")), newSecret(secretKey("ann", "\xff"))} {
			secret.Version = 1
			_, valueErr := s.SecretValue(s.Context(), secret.SecretKey, secret.UID)
			_, updateErr := s.UpdateSecret(s.Context(), secret, new("x"), secretEvent(pods.SecretUpdated))
			for name, err := range map[string]error{
				"SecretValue":  valueErr,
				"UpdateSecret": updateErr,
				"DeleteSecret": s.DeleteSecret(s.Context(), secret.SecretKey, secret.UID, secretEvent(pods.SecretDeleted)),
			} {
				if got := pods.ErrorCode(err); got != pods.NotFound {
					s.Errorf("%s of %q: got %v, want not found", name, secret.SecretKey, err)
				}
			}
		}
		s.wantEvents(secretKey("ann", "pw"), pods.SecretCreated)
	}},
	{"no event is lost when many are added at once, to a secret that is there or not", func(s *secretSuite) {
		s.create(secretKey("ann", "pw"))
		for _, k := range []pods.SecretKey{secretKey("ann", "pw"), secretKey("ann", "gone")} {
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					if err := s.AddSecretEvents(s.Context(), k, secretEvent(pods.SecretInjected), secretEvent(pods.SecretRead)); err != nil {
						s.Error(err)
					}
				})
			}
			wg.Wait()
		}
		es, err := s.SecretEvents(s.Context(), secretKey("ann", "gone"))
		s.wantCode(err, "")
		wantEqual(s, "number of events", len(es), 16)
	}},
	{"the newest MaxEvents are returned, oldest first", func(s *secretSuite) {
		k := secretKey("ann", "pw")
		var es []pods.SecretEvent
		for i := range pods.MaxEvents + 5 {
			es = append(es, pods.SecretEvent{At: t0, Kind: pods.SecretRead, Actor: strconv.Itoa(i)})
		}
		s.wantCode(s.AddSecretEvents(s.Context(), k, es...), "")
		got, err := s.SecretEvents(s.Context(), k)
		s.wantCode(err, "")
		wantEqual(s, "events", got, es[5:])
	}},
	{"what was generated first for a pod stays", func(s *secretSuite) {
		p := s.pod()
		keep := func(values, want map[string]string) {
			s.Helper()
			got, err := s.KeepPodSecrets(s.Context(), p.Key, p.UID, values)
			s.wantCode(err, "")
			wantEqual(s, "values", got, want)
		}
		keep(map[string]string{"A": "one", "B": ""}, map[string]string{"A": "one", "B": ""})
		keep(map[string]string{"A": "two", "C": "three"}, map[string]string{"A": "one", "C": "three"})
		keep(map[string]string{}, map[string]string{})
	}},
	{"what was dropped is generated anew, and the rest stays", func(s *secretSuite) {
		p := s.pod()
		_, err := s.KeepPodSecrets(s.Context(), p.Key, p.UID, map[string]string{"A": "one", "B": "two", "C": "three"})
		s.wantCode(err, "")
		s.wantCode(s.DropPodSecrets(s.Context(), p.Key, p.UID, "A", "B", "none"), "")
		s.wantCode(s.DropPodSecrets(s.Context(), p.Key, p.UID), "")
		s.wantCode(s.DropPodSecrets(s.Context(), p.Key, "another uid", "C"), pods.NotFound)
		got, err := s.KeepPodSecrets(s.Context(), p.Key, p.UID, map[string]string{"A": "new", "B": "new", "C": "new"})
		s.wantCode(err, "")
		wantEqual(s, "values", got, map[string]string{"A": "new", "B": "new", "C": "three"})
	}},
	{"what was generated for a pod goes with it", func(s *secretSuite) {
		p := s.pod()
		_, err := s.KeepPodSecrets(s.Context(), p.Key, p.UID, map[string]string{"A": "one"})
		s.wantCode(err, "")
		s.wantCode(s.DeletePod(s.Context(), p.Key), "")
		_, err = s.KeepPodSecrets(s.Context(), p.Key, p.UID, map[string]string{"A": "two"})
		s.wantCode(err, pods.NotFound)
		p = s.pod()
		got, err := s.KeepPodSecrets(s.Context(), p.Key, p.UID, map[string]string{"A": "two"})
		s.wantCode(err, "")
		wantEqual(s, "values", got, map[string]string{"A": "two"})
		_, err = s.KeepPodSecrets(s.Context(), p.Key, "another uid", map[string]string{"A": "two"})
		s.wantCode(err, pods.NotFound)
	}},
	{"of several who generate a value at once all get the same", func(s *secretSuite) {
		p := s.pod()
		var mu sync.Mutex
		values := map[string]bool{}
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				got, err := s.KeepPodSecrets(s.Context(), p.Key, p.UID, map[string]string{"A": strconv.Itoa(i)})
				if err != nil {
					s.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				values[got["A"]] = true
			})
		}
		wg.Wait()
		wantEqual(s, "number of values", len(values), 1)
	}},
}
