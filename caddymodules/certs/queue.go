package certs

import "sync"

// queue holds names that wait for a worker, each once, in the order they came. It
// is safe for concurrent use.
type queue struct {
	mu      sync.Mutex
	names   []string
	waiting map[string]bool
	some    chan struct{} // has an element while names may wait
}

func newQueue() *queue { return &queue{waiting: map[string]bool{}, some: make(chan struct{}, 1)} }

func (q *queue) add(name string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.waiting[name] {
		return
	}
	q.waiting[name] = true
	q.names = append(q.names, name)
	q.wake()
}

func (q *queue) wake() {
	select {
	case q.some <- struct{}{}:
	default:
	}
}

// next takes the first name.
func (q *queue) next() (name string, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.names) == 0 {
		q.names = nil // gives back what a long queue took
		return "", false
	}
	name, q.names = q.names[0], q.names[1:]
	delete(q.waiting, name)
	if len(q.names) > 0 {
		q.wake()
	}
	return name, true
}
