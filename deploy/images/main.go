// Command images builds the container images of Podway without a container
// engine, as OCI archives:
//
//	go run ./deploy/images -out dist -version v1.2.0
//
// writes podway.tar and podway-edge.tar and, beside each, what it consists of as a
// CycloneDX document (.cdx.json). An image holds one static program, certificates
// of public authorities and time zones, runs as user 65532 and has no shell. The
// same commit and the same Go give the same bytes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	var b builder
	flags := flag.NewFlagSet("images", flag.ContinueOnError)
	flags.StringVar(&b.out, "out", "dist", "folder for the archives")
	flags.StringVar(&b.version, "version", "dev", "version of the programs, and tag of the images")
	flags.StringVar(&b.revision, "revision", "", "commit that is built, for the labels")
	flags.StringVar(&b.arch, "arch", runtime.GOARCH, "processor architecture, as GOARCH")
	flags.StringVar(&b.prefix, "prefix", "docker.io/podway/", "what the names of the images begin with")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return errors.New("unexpected arguments")
	}
	if err := os.MkdirAll(b.out, 0o755); err != nil { //nolint:gosec // archives are for everyone
		return fmt.Errorf("making the folder for archives: %w", err)
	}
	for _, p := range products {
		digest, err := b.build(ctx, p)
		if err != nil {
			return fmt.Errorf("building %s: %w", p.name, err)
		}
		fmt.Printf("%s%s:%s %s\n", b.prefix, p.name, b.version, digest)
	}
	return nil
}
