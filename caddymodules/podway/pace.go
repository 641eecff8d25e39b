package podway

import (
	"os"
	"runtime/debug"
)

// What the garbage of an edge under load may take before it is collected. A collection
// goes through all that is in use. Where that fits the processor's caches it costs 1 ns
// for each byte, and Go's own pace is fine; an edge with 100 MB of certificates and
// routes takes 2 ns for each, and spends memory to collect less often. Memory that the
// process may have at most, as Caddy finds it out, still bounds all of it, and a quiet
// edge gives it back.
const (
	largeHeap    = 64 << 20
	goGarbage    = 100 // per cent of what is in use
	largeGarbage = 300 // per cent
	spareGarbage = 512 << 20
)

// garbagePercent returns how much garbage there may be for a number of bytes in use,
// in per cent of these.
func garbagePercent(live uint64) int {
	if live < largeHeap {
		return goGarbage
	}
	return int(min(max(spareGarbage*100/live, goGarbage), largeGarbage))
}

// pacer sets how often garbage is collected.
type pacer struct {
	fixed bool // somebody else set it
	now   int  // per cent
}

func newPacer() *pacer { return &pacer{fixed: os.Getenv("GOGC") != "", now: goGarbage} }

// pace sets it for what is in use now. Small changes are not worth that the whole
// process stops for a moment.
func (p *pacer) pace() {
	if p.fixed {
		return
	}
	next := garbagePercent(runtimeMetric("/gc/heap/live:bytes"))
	if next*10 > p.now*9 && next*10 < p.now*11 {
		return
	}
	debug.SetGCPercent(next)
	p.now = next
}
