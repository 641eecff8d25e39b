package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// podLogs is what a pod's container wrote, and what happened to the pod.
type podLogs struct {
	Logs       string   `json:"logs"`        // newest 10 MiB of stdout and stderr
	ActionLogs []string `json:"action_logs"` // oldest first
}

// getPodLogs answers with the logs of a pod: of its container while there is
// one, else those that were kept when it stopped. With follow=true it streams
// the container's output as plain text until the container ends.
func (s *server) getPodLogs(r *request) (answer, error) {
	follow, err := r.queryBool("follow")
	if err != nil {
		return answer{}, err
	}
	if follow {
		return s.followLogs(r)
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.Timeout)
	defer cancel()
	r = r.during(ctx)
	text, err := s.logs(r)
	if err != nil {
		return answer{}, err
	}
	events, err := s.Store.Events(r.Context(), r.pod.Key)
	if err != nil {
		return answer{}, gone(err, r.pod.ID)
	}
	lines := make([]string, 0, len(events))
	for _, e := range events {
		lines = append(lines, e.Line())
	}
	return answer{
		message: "Pod logs retrieved successfully.",
		result:  podLogs{Logs: strings.ToValidUTF8(string(text), "\uFFFD"), ActionLogs: lines},
	}, nil
}

// logs returns the newest output of a pod.
func (s *server) logs(r *request) ([]byte, error) {
	live, err := s.openLogs(r.Context(), r.pod, false)
	if pods.ErrorCode(err) == pods.NotFound {
		return s.keptLogs(r)
	}
	if err != nil {
		return nil, err
	}
	defer live.Close()
	text, err := io.ReadAll(io.LimitReader(live, pods.MaxLogBytes))
	if err != nil {
		return nil, fmt.Errorf("reading logs: %w", err)
	}
	return text, nil
}

// keptLogs returns the output that was kept when a pod stopped.
func (s *server) keptLogs(r *request) ([]byte, error) {
	kept, err := s.Store.Logs(r.Context(), r.pod.Key)
	return kept, gone(err, r.pod.ID)
}

// openLogs opens the output of the pod's container. NotFound if there is none of
// this very pod: what an earlier pod with the same id left behind belongs to
// whoever owned that one.
func (s *server) openLogs(ctx context.Context, p pods.Pod, follow bool) (io.ReadCloser, error) {
	if err := s.runs(ctx, p); err != nil {
		return nil, err
	}
	return s.Cluster.Logs(ctx, p.Key, follow)
}

// runs returns NotFound unless the cluster has objects of this very pod.
func (s *server) runs(ctx context.Context, p pods.Pod) error {
	o, err := s.Cluster.Observe(ctx, p.Key)
	if err != nil {
		return fmt.Errorf("observing pod: %w", err)
	}
	if !o.Present || o.UID != p.UID {
		return pods.Errorf(pods.NotFound, "The pod has no running container. Its status is %s.", shownStatus(p))
	}
	return nil
}

// followLogs streams the output of the pod's container. Without a container it
// sends what was kept and ends.
func (s *server) followLogs(r *request) (answer, error) {
	src, err := s.openLogs(r.Context(), r.pod, true)
	if pods.ErrorCode(err) == pods.NotFound {
		var kept []byte
		kept, err = s.keptLogs(r)
		src = io.NopCloser(bytes.NewReader(kept))
	}
	if err != nil {
		return answer{}, err
	}
	return answer{stream: func(w http.ResponseWriter) error {
		defer src.Close()
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff") // pods write what they like
		w.WriteHeader(http.StatusOK)
		err := copyFlushing(w, src)
		if pods.ErrorCode(err) == pods.NotFound { // the container's end was faster than we
			var kept []byte
			if kept, err = s.keptLogs(r); err == nil {
				err = copyFlushing(w, bytes.NewReader(kept))
			}
		}
		if r.Context().Err() != nil { // the client has seen enough, or we shut down
			return nil
		}
		return err
	}}, nil
}

// streamStall is how long a client may leave a piece of a stream unread.
const streamStall = time.Minute

// copyFlushing sends each piece of src as soon as it is there.
func copyFlushing(w http.ResponseWriter, src io.Reader) error {
	rc := http.NewResponseController(w)
	if err := rc.Flush(); err != nil { // the client learns at once that there is a stream
		return fmt.Errorf("starting stream: %w", err)
	}
	buf := make([]byte, 32<<10)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			if err := writePiece(w, rc, buf[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading stream: %w", err)
		}
	}
}

func writePiece(w io.Writer, rc *http.ResponseController, b []byte) error {
	_ = rc.SetWriteDeadline(time.Now().Add(streamStall)) // not every ResponseWriter has deadlines
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("writing stream: %w", err)
	}
	if err := rc.Flush(); err != nil {
		return fmt.Errorf("writing stream: %w", err)
	}
	return nil
}
