package kube

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

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
	stream, err := c.client.CoreV1().Pods(p.Namespace).GetLogs(p.Name, &corev1.PodLogOptions{Container: p.Name, Follow: follow}).Stream(ctx)
	switch {
	case apierrors.IsNotFound(err), apierrors.IsBadRequest(err): // the container waits for its start
		return nil, errNoLog(k)
	case err != nil:
		return nil, apiError(ctx, "opening the log", err)
	case follow:
		return &followedLog{ctx: ctx, ReadCloser: stream}, nil
	}
	defer stream.Close()
	text, err := newest(stream, pods.MaxLogBytes)
	if err != nil {
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
