package storetest

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// VolumeStore is what [RunVolumes] needs: pods mount volumes.
type VolumeStore interface {
	pods.Store
	pods.VolumeStore
	pods.BindingStore
}

// RunVolumes checks that a store keeps every promise of pods.VolumeStore and
// pods.BindingStore. open is as that of [Run].
func RunVolumes(t *testing.T, open func(t *testing.T) VolumeStore) {
	for _, group := range []struct {
		name  string
		tests []volumeTest
	}{
		{"CreateVolume", createVolumeTests},
		{"Volumes", volumesTests},
		{"UpdateVolume", updateVolumeTests},
		{"SaveVolumeState", volumeStateTests},
		{"GrowVolume", growVolumeTests},
		{"DeleteVolume", deleteVolumeTests},
		{"VolumesToDo", volumesToDoTests},
		{"VolumeUsage", volumeUsageTests},
		{"SetBindings", bindingTests},
		{"every method", everyVolumeTests},
	} {
		t.Run(group.name, func(t *testing.T) {
			for _, tt := range group.tests {
				t.Run(tt.name, func(t *testing.T) { tt.run(&volumeSuite{T: t, VolumeStore: open(t)}) })
			}
		})
	}
}

// volumeTest is one promise, named as a sentence.
type volumeTest struct {
	name string
	run  func(s *volumeSuite)
}

// volumeSuite is a test with the store it runs on.
type volumeSuite struct {
	*testing.T
	VolumeStore
}

func volumeKey(id string) pods.VolumeKey {
	return pods.VolumeKey{Kind: pods.KindVolume, Tenant: tenant, ID: id}
}

func snapshotKey(id string) pods.VolumeKey {
	return pods.VolumeKey{Kind: pods.KindSnapshot, Tenant: tenant, ID: id}
}

// newVolume returns a volume as the API makes it.
func newVolume(k pods.VolumeKey) pods.Volume {
	v := pods.Volume{
		VolumeKey: k, UID: "uid-of-" + k.String(), Owner: "ann", Description: "first", SizeLimit: 10,
		Permissions: pods.Permissions{"ann": pods.LevelAdmin}, CreatedAt: t0, UpdatedAt: t0,
		State: pods.VolumeState{Status: pods.StatusCreating},
	}
	if k.Kind == pods.KindSnapshot {
		v.Source = &pods.SnapshotSource{Volume: "data", Path: "/a/b", Destination: "c", Cron: "0 * * * *", RetentionPolicy: "7d"}
	}
	return v
}

// create stores newVolume(k), changed by the functions, and returns it as stored.
func (s *volumeSuite) create(k pods.VolumeKey, change ...func(*pods.Volume)) pods.Volume {
	s.Helper()
	v := newVolume(k)
	for _, f := range change {
		f(&v)
	}
	if err := s.CreateVolume(s.Context(), v); err != nil {
		s.Fatalf("creating %s: %v", v.VolumeKey, err)
	}
	return s.read(v.VolumeKey)
}

func (s *volumeSuite) read(k pods.VolumeKey) pods.Volume {
	s.Helper()
	v, err := s.Volume(s.Context(), k)
	if err != nil {
		s.Fatalf("reading %s: %v", k, err)
	}
	return v
}

func (s *volumeSuite) wantCode(err error, want pods.Code) {
	s.Helper()
	if got := pods.ErrorCode(err); got != want {
		s.Fatalf("got code %q (%v), want %q", got, err, want)
	}
}

func (s *volumeSuite) saveState(v pods.Volume) pods.Volume {
	s.Helper()
	version, err := s.SaveVolumeState(s.Context(), v)
	if err != nil {
		s.Fatalf("saving state of %s: %v", v.VolumeKey, err)
	}
	v = s.read(v.VolumeKey)
	wantEqual(s, "version of the state", v.State.Version, version)
	return v
}

// pod stores a pod that is in a status, and returns its key and uid.
func (s *volumeSuite) pod(id pods.ID, status pods.Status) (pods.Key, string) {
	s.Helper()
	p := newPod(id)
	p.State.Status = status
	if err := s.CreatePod(s.Context(), p, newCredentials(id), event("created")); err != nil {
		s.Fatalf("creating pod %s: %v", id, err)
	}
	return p.Key, p.UID
}

// bind binds a pod to volumes and snapshots.
func (s *volumeSuite) bind(id pods.ID, ks ...pods.VolumeKey) error {
	s.Helper()
	var bs []pods.Binding
	for _, k := range ks {
		bs = append(bs, pods.Binding{Kind: k.Kind, ID: k.ID})
	}
	return s.SetBindings(s.Context(), key(id), "uid-of-"+string(id), bs, nil)
}

func volumeIDs(vs []pods.Volume) []string {
	ids := []string{}
	for _, v := range vs {
		ids = append(ids, v.String())
	}
	return ids
}

var createVolumeTests = []volumeTest{
	{"a volume comes back as given, with version 1", func(s *volumeSuite) {
		for _, k := range []pods.VolumeKey{volumeKey("data"), snapshotKey("data")} {
			want := newVolume(k)
			want.State = pods.VolumeState{
				Status: pods.StatusError, Message: "why", Size: 1 << 40, MeasuredAt: new(t0), Copied: 7, Attempts: 2, LeaseUntil: new(t0.Add(1000)),
			}
			if err := s.CreateVolume(s.Context(), want); err != nil {
				s.Fatal(err)
			}
			want.Version, want.State.Version = 1, 1
			wantEqual(s, "volume", s.read(k), want)
		}
	}},
	{"a key that is taken is Exists, and nothing is written", func(s *volumeSuite) {
		want := s.create(volumeKey("data"))
		v := newVolume(volumeKey("data"))
		v.Description, v.Permissions = "second", pods.Permissions{"bob": pods.LevelAdmin}
		s.wantCode(s.CreateVolume(s.Context(), v), pods.Exists)
		wantEqual(s, "volume", s.read(volumeKey("data")), want)
	}},
	{"an id can be taken once by each kind and tenant", func(s *volumeSuite) {
		s.create(volumeKey("data"))
		s.create(snapshotKey("data"))
		s.create(pods.VolumeKey{Kind: pods.KindVolume, Tenant: "other", ID: "data"})
	}},
	{"what can't be stored is Invalid", func(s *volumeSuite) {
		for _, change := range []func(*pods.Volume){
			func(v *pods.Volume) { v.ID = "a\x00b" },
			func(v *pods.Volume) { v.Description = "\xff" },
			func(v *pods.Volume) { v.Permissions = pods.Permissions{"\xff": pods.LevelAdmin} },
		} {
			v := newVolume(volumeKey("data"))
			change(&v)
			s.wantCode(s.CreateVolume(s.Context(), v), pods.Invalid)
		}
	}},
}

var volumesTests = []volumeTest{
	{"a query selects by kind, tenant and user, in the order of tenant and id", func(s *volumeSuite) {
		for _, c := range []struct {
			k  pods.VolumeKey
			ps pods.Permissions
		}{
			{volumeKey("v1"), pods.Permissions{"ann": pods.LevelAdmin}},
			{volumeKey("v2"), pods.Permissions{"ann": pods.LevelAdmin, "bob": pods.LevelRead}},
			{volumeKey("v3"), pods.Permissions{"ann": pods.LevelAdmin, "bob": pods.LevelNone}},
			{volumeKey("v4"), pods.Permissions{"cat": pods.LevelAdmin, "*": pods.LevelRead}},
			{snapshotKey("s1"), pods.Permissions{"bob": pods.LevelAdmin}},
			{pods.VolumeKey{Kind: pods.KindVolume, Tenant: "a", ID: "v9"}, pods.Permissions{"bob": pods.LevelUser}},
		} {
			s.create(c.k, func(v *pods.Volume) { v.Permissions = c.ps })
		}
		for _, c := range []struct {
			name string
			q    pods.VolumeQuery
			want []string
		}{
			{
				"all",
				pods.VolumeQuery{Kind: pods.KindVolume},
				[]string{"a/volumes/v9", "dev/volumes/v1", "dev/volumes/v2", "dev/volumes/v3", "dev/volumes/v4"},
			},
			{"a kind", pods.VolumeQuery{Kind: pods.KindSnapshot}, []string{"dev/snapshots/s1"}},
			{"a tenant and a limit", pods.VolumeQuery{Kind: pods.KindVolume, Tenant: tenant, Limit: 2}, []string{"dev/volumes/v1", "dev/volumes/v2"}},
			{"a user", pods.VolumeQuery{Kind: pods.KindVolume, Tenant: tenant, User: "bob"}, []string{"dev/volumes/v2", "dev/volumes/v4"}},
			{"a user of all tenants", pods.VolumeQuery{Kind: pods.KindVolume, User: "bob"}, []string{"a/volumes/v9", "dev/volumes/v2", "dev/volumes/v4"}},
			{"a stranger", pods.VolumeQuery{Kind: pods.KindVolume, Tenant: tenant, User: "dan"}, []string{"dev/volumes/v4"}},
			{"the name of a tenant's entry", pods.VolumeQuery{Kind: pods.KindVolume, Tenant: tenant, User: "tenant.x"}, []string{"dev/volumes/v4"}},
			{"a name that is no text", pods.VolumeQuery{Kind: pods.KindVolume, User: "\x00"}, []string{}},
		} {
			got, err := s.Volumes(s.Context(), c.q)
			if err != nil {
				s.Fatal(err)
			}
			wantEqual(s, c.name, volumeIDs(got), c.want)
			for _, v := range got {
				wantEqual(s, "a volume of the list", v, s.read(v.VolumeKey))
			}
		}
	}},
}

var updateVolumeTests = []volumeTest{
	{"an update writes the user's columns and returns the volume as stored", func(s *volumeSuite) {
		want := s.create(snapshotKey("snap"), func(v *pods.Volume) { v.Permissions["bob"] = pods.LevelRead })
		want.Description, want.SizeLimit, want.UpdatedAt = "second", 20, t0.Add(time.Hour)
		source := *want.Source
		source.Cron, source.RetentionPolicy = "1 * * * *", ""
		want.Source = &source
		want.Permissions = pods.Permissions{"ann": pods.LevelUser, "*": pods.LevelRead}
		given := want
		given.Owner, given.CreatedAt, given.State.Status, given.State.Size = "other", t0.Add(1), pods.StatusError, 5
		got, err := s.UpdateVolume(s.Context(), given)
		if err != nil {
			s.Fatal(err)
		}
		want.Version = 2
		wantEqual(s, "returned volume", got, want)
		wantEqual(s, "stored volume", s.read(want.VolumeKey), want)
	}},
	{"an update of a volume that was written meanwhile is a Conflict and writes nothing", func(s *volumeSuite) {
		v := s.create(volumeKey("data"))
		want, err := s.UpdateVolume(s.Context(), v)
		s.wantCode(err, "")
		v.Description, v.Permissions = "late", pods.Permissions{"late": pods.LevelAdmin}
		_, err = s.UpdateVolume(s.Context(), v)
		s.wantCode(err, pods.Conflict)
		wantEqual(s, "volume", s.read(v.VolumeKey), want)
	}},
	{"an update succeeds after the state was written, and keeps it", func(s *volumeSuite) {
		v := s.create(volumeKey("data"))
		changed := v
		changed.State.Status = pods.StatusAvailable
		s.saveState(changed)
		_, err := s.UpdateVolume(s.Context(), v)
		s.wantCode(err, "")
		wantEqual(s, "status", s.read(v.VolumeKey).State.Status, pods.StatusAvailable)
	}},
}

var volumeStateTests = []volumeTest{
	{"it writes the state and leaves the rest", func(s *volumeSuite) {
		want := s.create(volumeKey("data"))
		want.State = pods.VolumeState{
			Status: pods.StatusAvailable, Message: "m", Size: 3, MeasuredAt: new(t0), Copied: 4, Attempts: 1, LeaseUntil: new(t0.Add(time.Second)), Version: 1,
		}
		given := want
		given.Description, given.Permissions, given.Version = "other", nil, 9
		got := s.saveState(given)
		want.State.Version = 2
		wantEqual(s, "volume", got, want)
		got.State = pods.VolumeState{Status: pods.StatusAvailable, Version: 2} // another time, as it was set
		want.State = pods.VolumeState{Status: pods.StatusAvailable, Version: 3}
		wantEqual(s, "volume with an empty state", s.saveState(got), want)
	}},
	{"the size is written with another time of measurement only", func(s *volumeSuite) {
		v := s.create(volumeKey("data"))
		s.wantCode(s.GrowVolume(s.Context(), v.VolumeKey, v.UID, 5), "")
		v.State.Copied = 1
		v = s.saveState(v)
		wantEqual(s, "size after a write of the rest", v.State.Size, int64(5))
		v.State.Size, v.State.MeasuredAt = 3, new(t0)
		v = s.saveState(v)
		wantEqual(s, "size after it was measured", v.State.Size, int64(3))
		v.State.Size = 9
		wantEqual(s, "size without another time", s.saveState(v).State.Size, int64(3))
	}},
	{"it is a Conflict if the state was written meanwhile, and nothing is written", func(s *volumeSuite) {
		v := s.create(volumeKey("data"))
		want := s.saveState(v)
		v.State.Status = pods.StatusError
		_, err := s.SaveVolumeState(s.Context(), v)
		s.wantCode(err, pods.Conflict)
		wantEqual(s, "volume", s.read(v.VolumeKey), want)
	}},
	{"one of several who take a lease at once gets it", func(s *volumeSuite) {
		v := s.create(volumeKey("data"))
		var won atomic.Int32
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				mine := v
				mine.State.LeaseUntil = new(t0.Add(time.Duration(i) * time.Hour))
				switch _, err := s.SaveVolumeState(s.Context(), mine); pods.ErrorCode(err) {
				case "":
					won.Add(1)
				case pods.Conflict:
				default:
					s.Errorf("got %v, want nothing or conflict", err)
				}
			})
		}
		wg.Wait()
		wantEqual(s, "winners", won.Load(), int32(1))
	}},
}

var growVolumeTests = []volumeTest{
	{"it adds up to the limit and no further, and leaves the versions", func(s *volumeSuite) {
		v := s.create(volumeKey("data"))
		grow := func(bytes int64, want pods.Code, size int64) {
			s.Helper()
			s.wantCode(s.GrowVolume(s.Context(), v.VolumeKey, v.UID, bytes), want)
			wantEqual(s, "size", s.read(v.VolumeKey).State.Size, size)
		}
		grow(10<<20, "", 10<<20)
		grow(1, pods.TooLarge, 10<<20)
		grow(-4<<20, "", 6<<20)
		grow(4<<20+1, pods.TooLarge, 6<<20)
		grow(4<<20, "", 10<<20)
		grow(-11<<20, "", 0)
		v.State.Size = 0
		wantEqual(s, "volume", s.read(v.VolumeKey), v)
	}},
	{"what is over the limit may shrink", func(s *volumeSuite) {
		v := s.create(volumeKey("data"), func(v *pods.Volume) { v.State.Size = 99 << 20 })
		s.wantCode(s.GrowVolume(s.Context(), v.VolumeKey, v.UID, -1<<20), "")
		s.wantCode(s.GrowVolume(s.Context(), v.VolumeKey, v.UID, 1), pods.TooLarge)
	}},
	{"who grow at the same time never pass the limit together", func(s *volumeSuite) {
		v := s.create(volumeKey("data"))
		var won atomic.Int32
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				switch err := s.GrowVolume(s.Context(), v.VolumeKey, v.UID, 1<<20); pods.ErrorCode(err) {
				case "":
					won.Add(1)
				case pods.TooLarge:
				default:
					s.Errorf("got %v, want nothing or too large", err)
				}
			})
		}
		wg.Wait()
		wantEqual(s, "winners", won.Load(), int32(10))
		wantEqual(s, "size", s.read(v.VolumeKey).State.Size, int64(10<<20))
	}},
}

var deleteVolumeTests = []volumeTest{
	{"a deleted volume is gone and leaves a tombstone, until that is dropped", func(s *volumeSuite) {
		a, b := s.create(volumeKey("aaa")), s.create(snapshotKey("bbb"))
		s.wantCode(s.DeleteVolume(s.Context(), b.VolumeKey, b.UID, t0.Add(time.Second)), "")
		s.wantCode(s.DeleteVolume(s.Context(), a.VolumeKey, a.UID, t0), "")
		_, err := s.Volume(s.Context(), a.VolumeKey)
		s.wantCode(err, pods.NotFound)
		stone := func(v pods.Volume, at time.Time) pods.Tombstone {
			return pods.Tombstone{VolumeKey: v.VolumeKey, UID: v.UID, DeletedAt: at}
		}
		s.wantTombstones(stone(a, t0), stone(b, t0.Add(time.Second)))
		s.wantCode(s.DropTombstone(s.Context(), a.UID), "")
		s.wantCode(s.DropTombstone(s.Context(), a.UID), "")
		s.wantTombstones(stone(b, t0.Add(time.Second)))
	}},
	{"the key of a deleted volume can be taken again at once", func(s *volumeSuite) {
		v := s.create(volumeKey("data"))
		s.wantCode(s.DeleteVolume(s.Context(), v.VolumeKey, v.UID, t0), "")
		s.create(volumeKey("data"), func(v *pods.Volume) { v.UID = "second" })
		s.wantCode(s.DeleteVolume(s.Context(), v.VolumeKey, v.UID, t0), pods.NotFound)
		s.wantCode(s.DeleteVolume(s.Context(), v.VolumeKey, "second", t0), "")
	}},
	{"a volume that a pod uses which is not stopped is a Conflict that names the pod", func(s *volumeSuite) {
		v := s.create(volumeKey("data"))
		for i, status := range []pods.Status{pods.StatusAvailable, pods.StatusError, pods.StatusRequested, pods.StatusDeleting} {
			id := pods.ID(fmt.Sprint("pod", i))
			k, _ := s.pod(id, status)
			s.wantCode(s.bind(id, v.VolumeKey), "")
			s.wantCode(s.DeleteVolume(s.Context(), v.VolumeKey, v.UID, t0), pods.Conflict)
			s.wantCode(s.DeletePod(s.Context(), k), "")
		}
		s.wantTombstones()
		s.wantCode(s.DeleteVolume(s.Context(), v.VolumeKey, v.UID, t0), "")
	}},
	{"a pod that is stopped, or uses another volume, is not in the way", func(s *volumeSuite) {
		v := s.create(volumeKey("data"))
		s.create(snapshotKey("data"))
		s.create(volumeKey("other"))
		s.pod("stopped", pods.StatusStopped)
		s.wantCode(s.bind("stopped", v.VolumeKey), "")
		s.pod("running", pods.StatusAvailable)
		s.wantCode(s.bind("running", v.VolumeKey), "")
		s.wantCode(s.bind("running", snapshotKey("data"), volumeKey("other")), "")
		s.wantCode(s.DeleteVolume(s.Context(), v.VolumeKey, v.UID, t0), "")
	}},
	{"either a pod is bound to a volume or the volume is deleted, never both", func(s *volumeSuite) {
		s.pod("web", pods.StatusSpawnerSetup)
		for i := range 20 {
			v := s.create(volumeKey(fmt.Sprint("data", i)))
			var bound, deleted error
			var wg sync.WaitGroup
			wg.Go(func() { bound = s.bind("web", v.VolumeKey) })
			wg.Go(func() { deleted = s.DeleteVolume(s.Context(), v.VolumeKey, v.UID, t0) })
			wg.Wait()
			if (bound == nil) == (deleted == nil) {
				s.Fatalf("got bound %v and deleted %v, want one of the two", bound, deleted)
			}
			s.wantCode(s.bind("web"), "")
		}
	}},
}

func (s *volumeSuite) wantTombstones(want ...pods.Tombstone) {
	s.Helper()
	got, err := s.Tombstones(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	wantEqual(s, "tombstones", got, want)
}

var volumesToDoTests = []volumeTest{
	{"the unfinished come first, then those that were not measured for the longest time", func(s *volumeSuite) {
		create := func(k pods.VolumeKey, status pods.Status, created int, measured, lease time.Duration) {
			s.create(k, func(v *pods.Volume) {
				v.CreatedAt = t0.Add(time.Duration(created) * time.Second)
				v.State.Status = status
				if measured != 0 {
					v.State.MeasuredAt = new(t0.Add(measured))
				}
				if lease != 0 {
					v.State.LeaseUntil = new(t0.Add(lease))
				}
			})
		}
		create(volumeKey("new"), pods.StatusCreating, 2, 0, 0)
		create(snapshotKey("older"), pods.StatusRequested, 1, 0, -time.Second)
		create(snapshotKey("leased"), pods.StatusCreating, 0, 0, time.Second)
		create(volumeKey("never"), pods.StatusAvailable, 0, 0, 0)
		create(volumeKey("long"), pods.StatusAvailable, 0, -time.Hour, 0)
		create(volumeKey("short"), pods.StatusAvailable, 0, -time.Minute, 0)
		create(volumeKey("busy"), pods.StatusAvailable, 0, 0, time.Second)
		create(volumeKey("broken"), pods.StatusError, 0, 0, 0)
		for limit, want := range [][]string{
			1: {"dev/snapshots/older"},
			3: {"dev/snapshots/older", "dev/volumes/new", "dev/volumes/never"},
			9: {"dev/snapshots/older", "dev/volumes/new", "dev/volumes/never", "dev/volumes/long"},
		} {
			if want == nil {
				continue
			}
			got, err := s.VolumesToDo(s.Context(), t0, t0.Add(-10*time.Minute), limit)
			if err != nil {
				s.Fatal(err)
			}
			wantEqual(s, "volumes", volumeIDs(got), want)
		}
	}},
}

var volumeUsageTests = []volumeTest{
	{"sizes come newest first, with the limit of now", func(s *volumeSuite) {
		v := s.create(volumeKey("data"))
		s.create(volumeKey("other"))
		for i, at := range []time.Duration{2 * time.Minute, time.Minute, 3 * time.Minute} {
			s.wantCode(s.AddVolumeUsage(s.Context(), v.VolumeKey, v.UID, int64(i), t0.Add(at)), "")
		}
		s.wantCode(s.AddVolumeUsage(s.Context(), v.VolumeKey, "another uid", 9, t0.Add(time.Hour)), "")
		usage := func(size int64, at time.Duration) pods.VolumeUsage {
			return pods.VolumeUsage{VolumeKey: v.VolumeKey, Size: size, SizeLimit: 10, MeasuredAt: t0.Add(at)}
		}
		for limit, want := range map[int][]pods.VolumeUsage{
			2: {usage(2, 3*time.Minute), usage(0, 2*time.Minute)}, 9: {usage(2, 3*time.Minute), usage(0, 2*time.Minute), usage(1, time.Minute)},
		} {
			got, err := s.VolumeUsage(s.Context(), v.VolumeKey, limit)
			if err != nil {
				s.Fatal(err)
			}
			wantEqual(s, "sizes", got, want)
		}
	}},
	{"the newest are kept", func(s *volumeSuite) {
		v := s.create(volumeKey("data"))
		for i := range pods.MaxUsage + 3 {
			s.wantCode(s.AddVolumeUsage(s.Context(), v.VolumeKey, v.UID, int64(i), t0.Add(time.Duration(i)*time.Second)), "")
		}
		got, err := s.VolumeUsage(s.Context(), v.VolumeKey, 2*pods.MaxUsage)
		if err != nil {
			s.Fatal(err)
		}
		wantEqual(s, "number of sizes", len(got), pods.MaxUsage)
		wantEqual(s, "oldest size", got[len(got)-1].Size, int64(3))
	}},
}

var bindingTests = []volumeTest{
	{"they replace the ones before, and go with the pod", func(s *volumeSuite) {
		s.create(volumeKey("aaa"))
		s.create(snapshotKey("aaa"))
		k, uid := s.pod("web", pods.StatusAvailable)
		s.pod("app", pods.StatusStopped)
		secret := pods.Binding{Kind: pods.KindSecret, Owner: "ann", ID: "pw"}
		volume := pods.Binding{Kind: pods.KindVolume, ID: "aaa"}
		want := func(b pods.Binding, running bool, want ...pods.ID) {
			s.Helper()
			got, err := s.BoundPods(s.Context(), tenant, b, running)
			if err != nil {
				s.Fatal(err)
			}
			wantEqual(s, "pods", got, want)
		}
		s.wantCode(s.SetBindings(s.Context(), k, uid, []pods.Binding{volume, secret, volume}, map[string]string{"image": uid}), "")
		s.wantCode(s.bind("app", volumeKey("aaa")), "")
		want(volume, false, "app", "web")
		want(volume, true, "web")
		want(secret, false, "web")
		want(pods.Binding{Kind: pods.KindSecret, Owner: "bob", ID: "pw"}, false)
		want(pods.Binding{Kind: pods.KindVolume, ID: "\x00"}, false)
		s.wantCode(s.bind("web", snapshotKey("aaa")), "")
		want(volume, false, "app")
		s.wantCode(s.DeletePod(s.Context(), k), "")
		want(pods.Binding{Kind: pods.KindSnapshot, ID: "aaa"}, false)
	}},
	{"a volume that is not there is NotFound, and the ones before stay", func(s *volumeSuite) {
		s.create(volumeKey("aaa"))
		s.pod("web", pods.StatusAvailable)
		s.wantCode(s.bind("web", volumeKey("aaa")), "")
		s.wantCode(s.bind("web", volumeKey("bbb")), pods.NotFound)
		s.wantCode(s.bind("web", snapshotKey("aaa")), pods.NotFound)
		got, err := s.BoundPods(s.Context(), tenant, pods.Binding{Kind: pods.KindVolume, ID: "aaa"}, true)
		s.wantCode(err, "")
		wantEqual(s, "pods", got, []pods.ID{"web"})
	}},
	{"what a pod was started with stays until its next start, and goes with it", func(s *volumeSuite) {
		k, uid := s.pod("web", pods.StatusAvailable)
		want := func(want map[string]string) {
			s.Helper()
			got, err := s.Started(s.Context(), k)
			s.wantCode(err, "")
			wantEqual(s, "fingerprints", got, want)
		}
		want(nil)
		for _, fields := range []map[string]string{{"image": "a", "command": "ü'"}, {"image": "b"}, {}} {
			s.wantCode(s.SetBindings(s.Context(), k, uid, nil, fields), "")
			want(fields)
		}
		// A start that fails leaves what runs.
		missing := []pods.Binding{{Kind: pods.KindVolume, ID: "missing"}}
		s.wantCode(s.SetBindings(s.Context(), k, uid, missing, map[string]string{"image": "c"}), pods.NotFound)
		want(map[string]string{})
		s.wantCode(s.DeletePod(s.Context(), k), "")
		want(nil)
		got, err := s.Started(s.Context(), key("\x00"))
		s.wantCode(err, "")
		wantEqual(s, "fingerprints of no name", got, map[string]string(nil))
	}},
	{"a pod that is gone or another one is NotFound", func(s *volumeSuite) {
		s.wantCode(s.bind("web"), pods.NotFound)
		k, _ := s.pod("web", pods.StatusAvailable)
		s.wantCode(s.SetBindings(s.Context(), k, "another uid", nil, nil), pods.NotFound)
	}},
}

var everyVolumeTests = []volumeTest{
	{"on a volume that is not there, or another one, is NotFound", func(s *volumeSuite) {
		s.create(volumeKey("data"))
		gone, other, strange := newVolume(volumeKey("gone")), newVolume(volumeKey("data")), newVolume(volumeKey("\xff"))
		other.UID = "another uid"
		for _, v := range []pods.Volume{gone, other, strange} {
			v.Version, v.State.Version = 1, 1
			_, updateErr := s.UpdateVolume(s.Context(), v)
			_, stateErr := s.SaveVolumeState(s.Context(), v)
			for name, err := range map[string]error{
				"UpdateVolume":    updateErr,
				"SaveVolumeState": stateErr,
				"GrowVolume":      s.GrowVolume(s.Context(), v.VolumeKey, v.UID, 1),
				"DeleteVolume":    s.DeleteVolume(s.Context(), v.VolumeKey, v.UID, t0),
			} {
				if got := pods.ErrorCode(err); got != pods.NotFound {
					s.Errorf("%s of %q: got %v, want not found", name, v.VolumeKey, err)
				}
			}
		}
		s.wantTombstones()
	}},
}
