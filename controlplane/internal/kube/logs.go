package kube

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// Logs implements [pods.Cluster]. A node gives a log from its begin, so without
// follow it is read whole here and the newest part kept; with follow it begins
// where the node does, which keeps 10 MiB unless it is told otherwise.
func (c *Cluster) Logs(ctx context.Context, k pods.Key, follow bool) (io.ReadCloser, error) {
	if err := c.ready(); err != nil {
		return nil, err
	}
	p := observer{view: c.memory.view(k)}.pod()
	if p == nil {
		return nil, errNoLog(k)
	}
	stream, err := c.client.CoreV1().Pods(p.Namespace).GetLogs(p.Name, &corev1.PodLogOptions{Container: p.Name, Follow: follow, Timestamps: true}).Stream(ctx)
	switch {
	case apierrors.IsNotFound(err), apierrors.IsBadRequest(err): // the container waits for its start
		return nil, errNoLog(k)
	case err != nil:
		return nil, apiError(ctx, "opening the log", err)
	}
	written := &output{Closer: stream, src: bufio.NewReaderSize(stream, 64<<10), none: errNoLog(k)}
	if follow {
		return &followedLog{ctx: ctx, ReadCloser: written}, nil
	}
	defer written.Close()
	text, err := newest(written, pods.MaxLogBytes)
	switch {
	case pods.ErrorCode(err) == pods.NotFound:
		return nil, errNoLog(k)
	case err != nil:
		return nil, apiError(ctx, "reading the log", err)
	}
	return io.NopCloser(bytes.NewReader(text)), nil
}

func errNoLog(k pods.Key) error { return pods.Errorf(pods.NotFound, "pod %s has not run", k.ID) }

// newest returns the last bytes of what r gives, at most limit.
func newest(r io.Reader, limit int) ([]byte, error) {
	var kept []byte
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		kept = append(kept, buf[:n]...)
		if len(kept) >= 2*limit {
			kept = kept[:copy(kept, kept[len(kept)-limit:])]
		}
		if errors.Is(err, io.EOF) {
			return kept[max(len(kept)-limit, 0):], nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading: %w", err)
		}
	}
}

// output gives what a container wrote, out of a log with times. A kubelet that
// fails at reading a log, mostly because the container was removed just now, has
// answered 200 already, and writes why behind what it has sent: kubelet 1.33,
// getContainerLogs and GetKubeletContainerLogs. Those words are no output of the
// container. They are told from it by the time that they lack: they are the last
// line, it has no end, and it does not begin with a time.
type output struct {
	io.Closer
	src    *bufio.Reader
	none   error  // what Read returns if the kubelet gave nothing but its reason
	rest   []byte // of src's buffer: read, and not given yet
	within bool   // the next byte of src is inside a line
	some   bool   // something was given
	err    error  // of src
}

// Read implements [io.Reader].
func (o *output) Read(p []byte) (int, error) {
	for len(o.rest) == 0 {
		if o.err != nil {
			return 0, o.err
		}
		o.fill()
	}
	n := copy(p, o.rest)
	o.rest = o.rest[n:]
	return n, nil
}

// fill reads the next line, or as much of it as the buffer holds.
func (o *output) fill() {
	line, err := o.src.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		o.err = err
	}
	begins := !o.within && len(line) > 0
	o.within = len(line) > 0 && line[len(line)-1] != '\n'
	o.rest = line
	if !begins {
		return
	}
	text, ok := withoutTime(line)
	switch {
	case ok:
		o.rest = text
	case errors.Is(err, io.EOF): // the kubelet's reason
		o.rest = nil
		if !o.some {
			o.err = o.none
		}
		return
	default: // the node is of a kind that does not write times
	}
	o.some = true
}

// withoutTime returns what follows the time at the begin of a line.
func withoutTime(line []byte) (text []byte, ok bool) {
	stamp, text, found := bytes.Cut(line, []byte(" "))
	if !found {
		return nil, false
	}
	_, err := time.Parse(time.RFC3339Nano, string(stamp))
	return text, err == nil
}

// followedLog is the stream of a log that goes on. Its error is the context's
// when that ended.
type followedLog struct {
	io.ReadCloser
	ctx context.Context
}

func (f *followedLog) Read(p []byte) (int, error) {
	n, err := f.ReadCloser.Read(p)
	if err != nil && f.ctx.Err() != nil {
		err = f.ctx.Err()
	}
	return n, err
}
