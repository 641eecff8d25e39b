package podway

import (
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
)

const (
	// settleEvery is how often it is looked whether memory can be given back.
	settleEvery = 500 * time.Millisecond

	// settleCalm is for how many looks nothing must have happened before.
	settleCalm = 2

	// settleShare bounds what settling costs: after one that took a second, there is
	// none for 50.
	settleShare = 50

	// What makes it worth a garbage collection since the last one: memory that was
	// used for something, or directions of sessions that were parked.
	settleBytes  = 32 << 20
	settleParked = 500

	// How much of these may come between two looks while nothing happens.
	calmBytes  = 1 << 20
	calmParked = 50
)

// usage is what has happened to the memory of this process.
type usage struct {
	allocated uint64 // bytes, since its start
	parked    int    // directions of sessions that are parked now
}

// settler knows when to give memory back to the system. After a burst of work - of
// connections that are idle now, of routes that were loaded, of requests - stacks and
// garbage fill a heap of twice its size, and the runtime would wait for its next
// collection, which comes after two minutes where nothing happens. Under load it
// collects by itself, so a settler waits for a quiet moment.
type settler struct {
	last, settled usage // at the last look, and at the last time that it was due
	calm          int   // looks in a row at which nothing had happened
}

// due takes a look, and reports whether memory should be given back now.
func (s *settler) due(now usage) bool {
	s.calm++
	if now.allocated-s.last.allocated > calmBytes || now.parked-s.last.parked > calmParked {
		s.calm = 0
	}
	s.last = now
	s.settled.parked = min(s.settled.parked, now.parked)
	if s.calm < settleCalm || now.allocated-s.settled.allocated < settleBytes && now.parked-s.settled.parked < settleParked {
		return false
	}
	s.settled = now
	return true
}

// settle paces the collection of garbage and gives memory back whenever that is due,
// as long as the process lives. Only the first call begins it.
var settle = sync.OnceFunc(func() { go runSettler() })

func runSettler() {
	var s settler
	p := newPacer()
	for {
		p.pace()
		time.Sleep(settleEvery)
		if s.due(measure()) {
			start := time.Now()
			debug.FreeOSMemory()
			time.Sleep(settleShare * time.Since(start))
		}
	}
}

// measure returns the usage up to now.
func measure() usage {
	return usage{allocated: runtimeMetric("/gc/heap/allocs:bytes"), parked: parked()}
}

// runtimeMetric returns a number of package runtime/metrics.
func runtimeMetric(name string) uint64 {
	m := []metrics.Sample{{Name: name}}
	metrics.Read(m)
	return m[0].Value.Uint64()
}
