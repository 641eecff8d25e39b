package podway

import (
	"runtime/debug"
	"time"
)

const (
	// settleEvery is how often memory may be given back, which costs a garbage
	// collection.
	settleEvery = 15 * time.Second

	// settleAt is how many more directions of sessions have to be parked for that.
	settleAt = 500
)

// settle gives the memory of sessions that have become idle back to the system:
// their stacks and buffers. The runtime would wait for its next collection, which
// comes after two minutes where nothing happens. It returns never.
func settle() {
	settled := 0
	for range time.Tick(settleEvery) {
		n := parked()
		if n-settled >= settleAt {
			debug.FreeOSMemory()
			settled = n
		}
		settled = min(settled, n)
	}
}
