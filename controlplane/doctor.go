package main

import (
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapis-project/podway/controlplane/internal/config"
	"github.com/tapis-project/podway/controlplane/internal/doctor"
	"github.com/tapis-project/podway/podctl/diagnose"
)

func doctorCommand() *cobra.Command {
	var (
		o      doctor.Options
		target diagnose.Target
		ca     string
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Find out what is wrong with the installation, and what to do",
		Long: `Find out what is wrong with the installation, and what to do.

It reads the settings of the control plane from the environment, as serve does, and
looks at the key file, the store, Redis, each edge, the cluster and the rights
there, the volumes, the Tapis, the API and the clocks. With --host it also goes
the way of a client to a pod: DNS, port, certificate, server name, protocol.

The exit code is 1 if anything is wrong. docs/operations/doctor.md lists all faults.`,
		Example: "  podway doctor\n  podway doctor --host db.pods.example.org --protocol postgres --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.FromEnv(os.Getenv)
			if err != nil {
				return doctor.BadConfig(err).Write(cmd.OutOrStdout(), asJSON)
			}
			if target.Roots, err = diagnose.LoadRoots(ca); err != nil {
				return err
			}
			if target.Host != "" {
				o.Host = &target
			}
			o.Config, o.Volumes, o.Now = c, volumesDir(c, c.StateDir), time.Now
			return doctor.Examine(cmd.Context(), o).Write(cmd.OutOrStdout(), asJSON)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&asJSON, "json", false, "print the report as JSON")
	f.StringVar(&o.API, "api", "", "base URL of the control plane (default: where PODWAY_LISTEN says)")
	f.StringVar(&target.Host, "host", "", "host name of a pod to reach as a client does")
	f.StringVar(&target.Protocol, "protocol", "tcp", "what that pod speaks: http, postgres, bolt, mongodb, redis, tcp")
	f.StringVar(&target.Address, "edge", "", "name or address of the edge (default: what DNS says of the host)")
	f.IntVar(&target.Port, "port", 443, "port of the edge")
	f.StringVar(&ca, "ca", "", "file with the root certificate to trust (default: the system's)")
	return cmd
}
