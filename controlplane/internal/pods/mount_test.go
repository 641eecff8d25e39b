package pods

import (
	"encoding/json"
	"maps"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

func TestMountsByPathAndByName(t *testing.T) {
	named := VolumeMount{Type: MountVolume, MountPath: "/data"}
	byPath := VolumeMount{Type: MountVolume, MountPath: "/data", SourceID: "mine"}
	elsewhere := VolumeMount{Type: MountVolume, MountPath: "/other", SourceID: "mine"}
	for _, c := range []struct {
		name         string
		lower, upper map[string]VolumeMount
		want         map[string]VolumeMount
	}{
		{"a path covers a name that is mounted there", map[string]VolumeMount{"vol": named}, map[string]VolumeMount{"/data": byPath}, map[string]VolumeMount{"/data": byPath}},
		{"a name covers a path where it is mounted", map[string]VolumeMount{"/data": byPath}, map[string]VolumeMount{"vol": named}, map[string]VolumeMount{"vol": named}},
		{"other paths stay", map[string]VolumeMount{"vol": named}, map[string]VolumeMount{"/other": elsewhere}, map[string]VolumeMount{"vol": named, "/other": elsewhere}},
		{"null at a path removes a name that is mounted there", map[string]VolumeMount{"vol": named}, map[string]VolumeMount{"/data": {}}, map[string]VolumeMount{}},
		{"null at a path removes that path", map[string]VolumeMount{"/data": byPath}, map[string]VolumeMount{"/data": {}}, map[string]VolumeMount{}},
		{"null at a name removes that name", map[string]VolumeMount{"vol": named}, map[string]VolumeMount{"vol": {}}, map[string]VolumeMount{}},
		{"null at a name leaves a path", map[string]VolumeMount{"/data": byPath}, map[string]VolumeMount{"vol": {}}, map[string]VolumeMount{"/data": byPath}},
		{"null of what is not there does nothing", nil, map[string]VolumeMount{"vol": {}}, map[string]VolumeMount{}},
		{"one volume may be mounted twice", map[string]VolumeMount{"/data": byPath}, map[string]VolumeMount{"/other": elsewhere}, map[string]VolumeMount{"/data": byPath, "/other": elsewhere}},
	} {
		t.Run(c.name, func(t *testing.T) {
			lower, upper := Set(maps.Clone(c.lower)), Set(maps.Clone(c.upper))
			got := mounted(overMounts(lower, upper).Or(nil))
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
			if !maps.Equal(lower.Or(nil), c.lower) || !maps.Equal(upper.Or(nil), c.upper) {
				t.Error("the layers were changed")
			}
		})
	}
}

func TestClustersGetMountsUnderNames(t *testing.T) {
	m := func(path, source string) VolumeMount {
		return VolumeMount{Type: MountPVC, MountPath: path, SourceID: source}
	}
	got := workloadMounts(map[string]VolumeMount{"data": m("/x", ""), "/a": m("/a", "data"), "/b": m("/b", "data"), "/c": m("/c", "logs")})
	want := map[string]VolumeMount{"data": m("/x", ""), "data2": m("/a", "data"), "data3": m("/b", "data"), "logs": m("/c", "logs")}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for name, m := range got {
		if source := m.Source(name); source != "data" && source != "logs" {
			t.Errorf("%s: got source %q, want what was mounted", name, source)
		}
	}
}

// TestNoMountIsLostOnTheWayToTheCluster: whatever is mounted, the cluster is told
// each path once, with the volume that belongs there.
func TestNoMountIsLostOnTheWayToTheCluster(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mounts := mounted(anyMounts.Draw(t, "mounts"))
		type place struct{ path, source string }
		want, got := map[place]int{}, map[place]int{}
		for key, m := range mounts {
			want[place{m.MountPath, m.Source(key)}]++
		}
		for key, m := range workloadMounts(mounts) {
			if !volumeKeyPattern.MatchString(key) {
				t.Fatalf("got key %q, want a name", key)
			}
			got[place{m.MountPath, m.Source(key)}]++
		}
		if !maps.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

func TestARemovedMountIsNullInJSON(t *testing.T) {
	const text = `{"data":null,"/logs":{"type":"pvc","mount_path":"/logs","source_id":"logs","sub_path":"","read_only":true}}`
	var mounts, again map[string]VolumeMount
	if err := json.Unmarshal([]byte(text), &mounts); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(mounts)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &again); err != nil || !maps.Equal(mounts, again) || !again["data"].removes() || again["/logs"].removes() {
		t.Errorf("got %s and %v, want %s", b, err, text)
	}
}
