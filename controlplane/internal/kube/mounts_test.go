package kube

import (
	"slices"
	"testing"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

func TestOneSourceIsMountedAtSeveralPlaces(t *testing.T) {
	w := fullWorkload()
	w.VolumeMounts = map[string]pods.VolumeMount{
		"data":   {Type: "pvc", MountPath: "/a"},
		"data2":  {Type: "pvc", MountPath: "/b", SourceID: "data", SubPath: "in"},
		"shared": {Type: "tapisvolume", MountPath: "/c", SourceID: "mine", ReadOnly: true},
	}
	b := builder{Options: settled(t, fullOptions()), w: w, name: pods.ObjectName("tacc", w.Key)}
	if got, want := b.claimNames(), []string{b.claimName("data")}; !slices.Equal(got, want) {
		t.Errorf("got claims %v, want %v", got, want)
	}
	_, mounts := b.volumes()
	want := map[string]struct {
		subPath  string
		readOnly bool
	}{
		"/a": {w.Tenant + "/volumes/data", false},
		"/b": {w.Tenant + "/volumes/data/in", false},
		"/c": {w.Tenant + "/volumes/mine", true},
	}
	for _, m := range mounts {
		if got := want[m.MountPath]; m.SubPath != got.subPath || m.ReadOnly != got.readOnly {
			t.Errorf("%s: got %s and read-only %v, want %v", m.MountPath, m.SubPath, m.ReadOnly, got)
		}
	}
	if len(mounts) != len(want) {
		t.Errorf("got %d mounts, want %d", len(mounts), len(want))
	}
}
