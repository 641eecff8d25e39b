package hello

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// stopGrace is how long requests in flight may go on after a signal to stop.
const stopGrace = time.Second

// Main runs the program with the arguments after its name until it is told to
// stop, and returns its exit status: 0 after an orderly stop, 1 after a
// failure, 2 for wrong arguments, or what -exit-code says.
func Main(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	return run(ctx, args, os.Stdout, os.Stderr)
}

// options are the program's arguments.
type options struct {
	endpoints []endpoint
	exitAfter time.Duration // negative: never
	exitCode  int
}

// endpoint is one address to serve.
type endpoint struct {
	name  string // the networking key
	proto string // "http" or "tcp"
	addr  string // "host:port"; an empty host means all addresses
}

// String returns the endpoint as the -listen flag takes it.
func (e endpoint) String() string { return e.name + "=" + e.proto + "://" + e.addr }

func parseArgs(args []string, stderr io.Writer) (options, error) {
	o := options{}
	fs := flag.NewFlagSet("hello", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.DurationVar(&o.exitAfter, "exit-after", -1, "end after this `time`; negative means never")
	fs.IntVar(&o.exitCode, "exit-code", 0, "exit `status` for -exit-after")
	fs.Func("listen", "serve `name=proto://host:port`, proto being http or tcp; may be repeated", func(s string) error {
		e, err := parseEndpoint(s)
		o.endpoints = append(o.endpoints, e)
		return err
	})
	if err := fs.Parse(args); err != nil {
		return options{}, err
	}
	if fs.NArg() > 0 {
		err := fmt.Errorf("unexpected argument %q", fs.Arg(0))
		fmt.Fprintln(stderr, err)
		return options{}, err
	}
	if len(o.endpoints) == 0 {
		o.endpoints = []endpoint{{name: "default", proto: "http", addr: ":5000"}}
	}
	return o, nil
}

func parseEndpoint(s string) (endpoint, error) {
	name, rest, ok := strings.Cut(s, "=")
	proto, addr, ok2 := strings.Cut(rest, "://")
	if !ok || !ok2 || (proto != "http" && proto != "tcp") {
		return endpoint{}, fmt.Errorf("%q does not look like name=http://host:port or name=tcp://host:port", s)
	}
	if _, _, err := net.SplitHostPort(addr); err != nil {
		return endpoint{}, fmt.Errorf("reading the address of %q: %w", s, err)
	}
	return endpoint{name: name, proto: proto, addr: addr}, nil
}

// errTimeToExit ends the program for -exit-after.
var errTimeToExit = errors.New("time to exit")

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parseArgs(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	switch err := serve(ctx, o, stdout); {
	case errors.Is(err, errTimeToExit):
		fmt.Fprintf(stdout, "hello: ending with status %d, as asked\n", o.exitCode)
		return o.exitCode
	case err != nil:
		fmt.Fprintf(stderr, "hello: %v\n", err)
		return 1
	}
	fmt.Fprintln(stdout, "hello: stopped")
	return 0
}

// serve serves every endpoint until ctx ends (nil), it is time to exit
// (errTimeToExit) or an endpoint fails.
func serve(ctx context.Context, o options, stdout io.Writer) error {
	listeners, err := listen(ctx, o.endpoints)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for i, e := range o.endpoints {
		l := listeners[i]
		fmt.Fprintf(stdout, "hello: %s listens on %s://%s\n", e.name, e.proto, l.Addr())
		if e.proto == "tcp" {
			group.Go(func() error { return serveEcho(ctx, l) })
		} else {
			group.Go(func() error { return serveHTTP(ctx, l) })
		}
	}
	if o.exitAfter >= 0 {
		group.Go(func() error { return exitAfter(ctx, o.exitAfter) })
	}
	return group.Wait()
}

// listen opens every endpoint, or none.
func listen(ctx context.Context, endpoints []endpoint) ([]net.Listener, error) {
	var listeners []net.Listener
	for _, e := range endpoints {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", e.addr)
		if err != nil {
			for _, open := range listeners {
				open.Close()
			}
			return nil, fmt.Errorf("opening %s: %w", e, err)
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}

func exitAfter(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return nil
	case <-time.After(d):
		return errTimeToExit
	}
}

// serveHTTP serves HTTP on l until ctx ends.
func serveHTTP(ctx context.Context, l net.Listener) error {
	srv := &http.Server{
		Handler:           Handler(podName()),
		ReadHeaderTimeout: 10 * time.Second,
		// Streams and WebSockets end with the context of their request: Shutdown
		// alone would wait for the streams and forget the WebSockets.
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	stopped := make(chan struct{})
	cancel := context.AfterFunc(ctx, func() {
		defer close(stopped)
		grace, done := context.WithTimeout(context.WithoutCancel(ctx), stopGrace)
		defer done()
		if srv.Shutdown(grace) != nil {
			_ = srv.Close()
		}
	})
	err := srv.Serve(l)
	if !cancel() {
		<-stopped
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serving http: %w", err)
}

// podName returns what this pod calls itself.
func podName() string {
	if id := os.Getenv("PODWAY_POD_ID"); id != "" {
		return id
	}
	if h, err := os.Hostname(); err == nil {
		return h
	}
	return "hello"
}
