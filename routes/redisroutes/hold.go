package redisroutes

import "time"

// holds decides whether routes that Redis lacks are served on for now. complete
// says that the control plane has published everything in the epoch.
//
//	same epoch, at most half of the table missed   drop: changes that were missed
//	same epoch, more than half missed              hold: no publisher works like that
//	same epoch, some held already                  hold on
//	another epoch, not complete                    hold: they may not be published yet
//	another epoch, complete                        drop: the control plane says so
func (w *Watcher) holds(gone int, epoch string, complete bool) bool {
	if epoch == w.pos.epoch && epoch != "" {
		return 2*gone > w.table.Len() || (len(w.held) > 0 && !complete)
	}
	return !complete
}

// hold holds or drops the routes of the hosts that are gone.
func (w *Watcher) hold(gone []string, hold bool, epoch string) {
	if !hold {
		clear(w.held)
		for _, host := range gone {
			w.remove(host)
		}
		return
	}
	if len(w.held) == 0 {
		w.heldFrom = w.pos.epoch
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
