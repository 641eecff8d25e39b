package podway

import (
	"cmp"
	"log/slog"
	"sync"
	"time"

	"github.com/tapis-project/podway/sni"
)

// parkers are the parkers of this process by their time. They are never closed:
// sessions use them beyond the configuration they were opened under.
var parkers = struct {
	mu sync.Mutex
	by map[time.Duration]*sni.Parker
}{by: map[time.Duration]*sni.Parker{}}

// parkerOf returns the parker of a time, 0 for the default. It returns nil if that
// is negative, or if this system has none.
func parkerOf(after time.Duration, log *slog.Logger) *sni.Parker {
	if after < 0 {
		return nil
	}
	after = cmp.Or(after, sni.DefaultParkAfter)
	parkers.mu.Lock()
	defer parkers.mu.Unlock()
	if k := parkers.by[after]; k != nil {
		return k
	}
	k, err := sni.NewParker(after)
	if err != nil {
		log.Warn("idle sessions keep their goroutines", "error", err)
		return nil
	}
	parkers.by[after] = k
	return k
}

// parked returns how many directions of sessions are parked.
func parked() int {
	parkers.mu.Lock()
	defer parkers.mu.Unlock()
	n := 0
	for _, k := range parkers.by {
		n += k.Parked()
	}
	return n
}
