package redisroutes

import (
	"context"
	"math"
	"time"
)

// unreached is a version that no Redis has. A table with it has changes of its
// epoch that Redis lacks, and is known to after a restart too.
const unreached = math.MaxUint64

// holds decides whether routes that Redis lacks are served on for now. complete
// says that the control plane has published everything in the epoch, lost that
// Redis has forgotten a part of the epoch, which the mark cannot know of.
//
//	same epoch, at most half of the table missed   drop: changes that were missed
//	same epoch, more than half missed              hold: no publisher works like that
//	same epoch, writes were lost                   hold: they are published again
//	same epoch, some held already                  hold on
//	another epoch, not complete                    hold: they may not be published yet
//	another epoch, complete                        drop: the control plane says so
func (w *Watcher) holds(gone int, epoch string, complete, lost bool) bool {
	if epoch != w.pos.epoch || epoch == "" {
		return !complete
	}
	if len(w.held) > 0 && (!complete || w.heldFrom.version > 0) {
		return true // a mark that was there before says nothing
	}
	return lost || 2*gone > w.table.Len()
}

// lost reports whether Redis has forgotten changes of the epoch that the table has:
// it was restored, or a replica took over that had not got them.
func (w *Watcher) lost(ctx context.Context, h head) (bool, error) {
	pos := w.position()
	if h.epoch == "" || h.epoch != pos.epoch {
		return false, nil
	}
	if h.version < pos.version {
		return true, nil
	}
	if pos.digest == 0 {
		return false, nil // nothing to compare with
	}
	c, ok, err := w.src.at(ctx, pos.version)
	return ok && c.digest() != pos.digest, err
}

// hold serves the routes of the hosts that are gone on, because Redis lost them or
// may have.
func (w *Watcher) hold(gone []string, epoch string, complete bool) {
	if len(w.held) == 0 {
		w.heldFrom = position{epoch: w.pos.epoch}
		if complete && epoch == w.pos.epoch {
			w.heldFrom.version = unreached
		}
	}
	if len(w.held) == 0 || epoch != w.pos.epoch {
		w.heldSince = time.Now()
	}
	clear(w.held)
	for _, host := range gone {
		w.held[host] = struct{}{}
	}
	if len(gone) > 0 {
		w.log.Warn("serving routes that redis lost until all are published again",
			"routes", len(gone), "epoch", epoch, "hold_time", w.opts.HoldTime)
	}
}

// drop removes the hosts that are gone.
func (w *Watcher) drop(gone []string) {
	clear(w.held)
	for _, host := range gone {
		w.remove(host)
	}
}

// endHold drops held routes when their time is over.
func (w *Watcher) endHold() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if left, ok := w.holdLeft(); ok && left <= 0 {
		w.dropHeld("the hold time is over")
	}
}

// holdLeft returns how long held routes are served on. There is no limit while
// nobody has published anything: nothing says then that they should be gone.
func (w *Watcher) holdLeft() (time.Duration, bool) {
	if len(w.held) == 0 || w.pos.epoch == "" {
		return 0, false
	}
	return w.opts.HoldTime - time.Since(w.heldSince), true
}

// block returns how long to wait for the log.
func (w *Watcher) block() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if left, ok := w.holdLeft(); ok {
		return max(min(left, w.opts.CheckInterval), time.Millisecond)
	}
	return w.opts.CheckInterval
}

// dropHeld removes the routes that are held and returns their number.
func (w *Watcher) dropHeld(reason string) int {
	n := len(w.held)
	if n == 0 {
		return 0
	}
	w.log.Info("dropping routes that are not published any more", "routes", n, "reason", reason)
	for host := range w.held {
		w.remove(host)
	}
	w.touched()
	return n
}

// Confirm removes the routes that are held, see [WatcherOptions.HoldTime], and
// returns their number.
func (w *Watcher) Confirm() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dropHeld("confirmed by an operator")
}
