package podway

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestGarbageIsBoundedByShareAndSize(t *testing.T) {
	for _, c := range []struct {
		live uint64
		want int
	}{
		{0, 100},
		{20 << 20, 100},
		{64 << 20, 300},
		{128 << 20, 300},
		{256 << 20, 200},
		{512 << 20, 100},
		{8 << 30, 100},
	} {
		if got := garbagePercent(c.live); got != c.want {
			t.Errorf("%d MiB in use: got %d %%, want %d %%", c.live>>20, got, c.want)
		}
	}
}

func TestPaceIsSetUnlessTheAdminSetIt(t *testing.T) {
	before := debug.SetGCPercent(goGarbage)
	defer debug.SetGCPercent(before)
	inUse := make([]*[1 << 10]byte, largeHeap>>10)
	for i := range inUse {
		inUse[i] = new([1 << 10]byte)
	}
	runtime.GC()

	t.Setenv("GOGC", "150")
	newPacer().pace()
	if got := debug.SetGCPercent(goGarbage); got != goGarbage {
		t.Errorf("with GOGC: got %d %%, want it untouched", got)
	}
	t.Setenv("GOGC", "")
	newPacer().pace()
	if got := debug.SetGCPercent(goGarbage); got != largeGarbage {
		t.Errorf("without GOGC: got %d %%, want %d %%", got, largeGarbage)
	}
	runtime.KeepAlive(inUse)
}
