// Command podctl makes, watches and reaches pods from a terminal.
//
//	podctl login --url https://tacc.tapis.io --user jane
//	podctl create db --template postgres --wait
//	psql "$(podctl connect-string db --password)"
//
// docs/podctl.md shows all of it.
package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
)

// version is set by the linker.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	c := &cli{in: os.Stdin, out: os.Stdout, err: os.Stderr, getenv: os.Getenv}
	err := c.command().ExecuteContext(ctx)
	interrupted := ctx.Err() != nil
	stop()
	if interrupted {
		os.Exit(130) // as shells do for Ctrl-C
	}
	if e, ok := errors.AsType[exitError](err); ok {
		os.Exit(int(e))
	}
	if err != nil {
		c.complain(err)
		os.Exit(1)
	}
}
