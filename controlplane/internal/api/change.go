package api

import (
	"errors"
	"fmt"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// maxTries bounds how often a change is tried on a pod that others change at the
// same time. Each lost try means that another one won, so few are needed.
const maxTries = 10

// errNoChange is returned by a change that would change nothing.
var errNoChange = errors.New("nothing to change")

// change applies edit to the caller's pod, stores the result and wakes the
// reconciler. If the pod was written meanwhile, edit is applied again to what it
// is now, provided that the caller may still do so. It returns the pod as it is
// stored then; for an error of edit, the pod that edit saw.
func (s *server) change(r *request, edit func(*pods.Pod) (pods.Event, error)) (pods.Pod, error) {
	current := r.pod
	for range maxTries {
		edited := current
		event, err := edit(&edited)
		if err != nil {
			return current, err
		}
		stored, err := s.Store.UpdatePod(r.Context(), edited, event)
		switch pods.ErrorCode(err) {
		case "":
			s.Wake(stored.Key)
			return stored, nil
		case pods.NotFound:
			return pods.Pod{}, podNotFound(r.pod.ID)
		case pods.Conflict:
		default:
			return pods.Pod{}, err
		}
		if current, err = s.permittedPod(r.Context(), r, r.pod.ID); err != nil {
			return pods.Pod{}, err
		}
		if current.UID != r.pod.UID { // deleted, and its id taken by another
			return pods.Pod{}, podNotFound(r.pod.ID)
		}
	}
	return pods.Pod{}, pods.Errorf(pods.Conflict,
		"The pod was changed by others at the same time. Please look at it and try again.")
}

// event returns a line for the action log that happens now.
func (s *server) event(format string, args ...any) pods.Event {
	return pods.Event{At: s.Now().UTC(), Text: fmt.Sprintf(format, args...)}
}
