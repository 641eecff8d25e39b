// Command podway is the control plane of Podway: it takes orders for pods by
// REST, makes them run, and publishes where edges find them.
//
//	podway serve      the control plane, configured by environment variables
//	podway dev        the same with everything it needs built in
//	podway migrate    bring the store's schema up to date; --seed adds what is built in
//	podway rekey      encrypt what the store holds with the current key
//	podway doctor     find out what is wrong with the installation, and what to do
//	podway edge       make new edges: users in Redis and configurations
//	podway admin      look after the edges: routes, sessions, drain, kick
//	podway backup     copy the store into a file; podway restore fills an empty one
//	podway import     take over what the Pods service written in Python keeps
//	podway openapi    print the specification of the API
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/tapis-project/podway/controlplane/internal/config"
	"github.com/tapis-project/podway/controlplane/internal/local"
	"github.com/tapis-project/podway/controlplane/internal/local/hello"
	"github.com/tapis-project/podway/controlplane/internal/seed"
	"github.com/tapis-project/podway/controlplane/internal/store"
	"github.com/tapis-project/podway/podctl/diagnose"
)

// version is set by the linker.
var version = "dev"

func main() {
	// The programs that pods of the local cluster run as are this program.
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case local.ShimCommand:
			os.Exit(local.ShimMain(os.Args[2:]))
		case local.HelloCommand:
			os.Exit(hello.Main(os.Args[2:]))
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command().ExecuteContext(ctx)
	stop()
	if _, told := errors.AsType[diagnose.FaultsError](err); told {
		os.Exit(1) // the report has named them
	}
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			fmt.Fprintf(os.Stderr, "podway: %s\n", strings.TrimRight(line, "\n"))
		}
		os.Exit(1)
	}
}

func command() *cobra.Command {
	root := &cobra.Command{
		Use:           "podway",
		Short:         "The control plane of Podway: long-lived services by one REST call",
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(serveCommand(), devCommand(), migrateCommand(), rekeyCommand(), openapiCommand(), doctorCommand(), backupCommand(), restoreCommand(), importCommand(), adminCommand(), edgeCommand())
	return root
}

func serveCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Run the control plane; settings are environment variables, see docs/configuration.md",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.FromEnv(os.Getenv)
			if err != nil {
				return err
			}
			if c.TapisURL == "" {
				return errors.New("PODWAY_TAPIS_URL is not set: which Tapis do the tokens come from, for example https://admin.tapis.io? (`podway dev` brings its own)")
			}
			return serve(cmd.Context(), c)
		},
	}
}

func migrateCommand() *cobra.Command {
	var withSeed bool
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the schema of the store (PODWAY_STORE) up to date",
		Long: `Bring the schema of the store (PODWAY_STORE) up to date.

With --seed it also adds the built-in images and templates that are missing, and
new versions of those that have changed. What others have added stays as it is.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := openStore(cmd)
			if err != nil {
				return err
			}
			defer s.Close()
			return migrate(cmd, s, withSeed)
		},
	}
	cmd.Flags().BoolVar(&withSeed, "seed", false, "add the built-in images and templates, too")
	return cmd
}

func migrate(cmd *cobra.Command, s *store.Store, withSeed bool) error {
	if err := s.Migrate(cmd.Context()); err != nil {
		return err
	}
	have, _, err := s.Version(cmd.Context())
	if err != nil {
		return err
	}
	cmd.Printf("The store is at schema version %d.\n", have)
	if !withSeed {
		return nil
	}
	r, err := seed.Load(cmd.Context(), s, seed.Options{})
	if err != nil {
		return err
	}
	cmd.Printf("Added %d images, %d templates and %d versions of tags.\n", len(r.Images), len(r.Templates), len(r.Tags))
	for _, id := range r.Skipped {
		cmd.Printf("Left alone: the template %s, whose id somebody else has taken.\n", id)
	}
	return nil
}

func devCommand() *cobra.Command {
	var (
		edge, edgeConfig string
		kubeconfig       string
		clean, edgeEnv   bool
	)
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run the control plane with everything built in: store, Redis, Tapis, local pods",
		Long: `Run the control plane with everything built in: a SQLite store, a Redis, a small
Tapis with three users, and pods that are processes of this machine, or, with
--kubeconfig, of a Kubernetes cluster.

With --edge it starts the control plane and an edge, restarts either if it dies,
and prints what to try. State is kept in PODWAY_STATE_DIR (default .run).`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, err := newDevConfig(os.Getenv)
			if err != nil {
				return err
			}
			if err := useKubeconfig(kubeconfig); err != nil {
				return err
			}
			switch {
			case clean:
				return d.clean(cmd.Context(), cmd.OutOrStdout())
			case edgeEnv:
				return d.printEdgeEnv(cmd.OutOrStdout())
			case edge != "":
				return launcher{dev: d, edgeBin: edge, edgeConfig: edgeConfig, out: cmd.OutOrStdout()}.run(cmd.Context())
			default:
				return dev(cmd.Context(), d)
			}
		},
	}
	cmd.Flags().StringVar(&edge, "edge", "", "start this edge program too, and keep both running")
	cmd.Flags().StringVar(&edgeConfig, "edge-config", "edge/Caddyfile.dev", "the edge's Caddyfile, with --edge")
	cmd.Flags().StringVar(&kubeconfig, "kubeconfig", "", "run pods in the Kubernetes cluster that this file names")
	cmd.Flags().BoolVar(&edgeEnv, "edge-env", false, "print the environment an edge needs to join, for eval in a shell")
	cmd.Flags().BoolVar(&clean, "clean", false, "stop left-over pods, those of --kubeconfig too, and delete the state folder")
	cmd.MarkFlagsMutuallyExclusive("edge", "edge-env", "clean")
	return cmd
}
