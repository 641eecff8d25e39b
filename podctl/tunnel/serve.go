package tunnel

import (
	"context"
	"io"
	"net"
	"sync"
)

// Serve passes each connection of ln on to the pod, until ctx ends or accepting
// fails. It closes ln and all connections, and waits for their end. Connections that
// could not be opened are told to failed, one at a time; it is never the reason to
// stop. The error is nil if ctx has ended.
func Serve(ctx context.Context, ln net.Listener, d *Dialer, failed func(error)) error {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	defer context.AfterFunc(ctx, func() { ln.Close() })()
	var telling sync.Mutex
	for {
		c, err := ln.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			ln.Close()
			return err
		}
		all.Go(func() {
			if err := pass(ctx, c.(Conn), d); err != nil && ctx.Err() == nil {
				telling.Lock()
				defer telling.Unlock()
				failed(err)
			}
		})
	}
}

// pass carries one connection, and returns why it could not be opened.
func pass(ctx context.Context, local Conn, d *Dialer) error {
	defer local.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	pod, err := d.Dial(ctx)
	if err != nil {
		return err
	}
	defer pod.Close()
	defer context.AfterFunc(ctx, func() {
		local.Close()
		pod.Close()
	})()
	relay(local, pod)
	return nil
}

// relay copies in both directions until both have ended, or one has failed.
func relay(local, pod Conn) {
	var both sync.WaitGroup
	way := func(to, from Conn) {
		if _, err := io.Copy(to, from); err != nil || to.CloseWrite() != nil {
			local.Close()
			pod.Close()
		}
	}
	both.Go(func() { way(pod, local) })
	both.Go(func() { way(local, pod) })
	both.Wait()
}
