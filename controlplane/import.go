package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/tapis-project/podway/controlplane/internal/config"
	"github.com/tapis-project/podway/controlplane/internal/files"
	"github.com/tapis-project/podway/controlplane/internal/importer"
	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// importFromVariable names the source of an import where a list of processes does
// not show it.
const importFromVariable = "PODWAY_IMPORT_FROM"

func importCommand() *cobra.Command {
	var (
		o      importer.Options
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "import --from ADDRESS",
		Short: "Take over what the Pods service written in Python keeps in Postgres",
		Long: `Take what the Pods service written in Python keeps in Postgres into the store
(PODWAY_STORE): images, templates with their tags, volumes, snapshots and pods, with
their permissions, passwords and action logs. See docs/migrate-from-python.md.

Folders of volumes and snapshots in PODWAY_VOLUMES_DIR become theirs.

The source is read only. Each object is imported whole or not at all, and what is
there already stays as it is, so the command can be repeated.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.From == "" {
				o.From = os.Getenv(importFromVariable)
			}
			if o.From == "" {
				return errors.New("--from is not set: where is the database, for example postgres://pods@db.example/pods? (the password may be in PGPASSWORD)")
			}
			return runImport(cmd, o, asJSON)
		},
	}
	cmd.Flags().StringVar(&o.From, "from", "", "address of the source, postgres://…; also "+importFromVariable)
	cmd.Flags().StringSliceVar(&o.Tenants, "tenant", nil, "only what is of these tenants, and what the site shares")
	cmd.Flags().BoolVar(&o.DryRun, "dry-run", false, "write nothing, say what would be imported")
	cmd.Flags().BoolVar(&o.Off, "off", false, "import all pods as switched off")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the report as JSON")
	return cmd
}

func runImport(cmd *cobra.Command, o importer.Options, asJSON bool) error {
	c, err := config.FromEnv(os.Getenv)
	if err != nil {
		return err
	}
	if o.Settings, err = settings(c); err != nil {
		return err
	}
	if o.Adopt, err = adopter(volumesDir(c, c.StateDir)); err != nil {
		return err
	}
	s, err := openStore(cmd)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.Ready(cmd.Context()); err != nil {
		return err
	}
	report, err := importer.Import(cmd.Context(), s, o)
	if err != nil && len(report.Items) == 0 {
		return err
	}
	return errors.Join(printImport(cmd, report, asJSON), err)
}

// adopter returns what gives volumes their folders below dir. Where that is not
// there, none of them has one, and it is not made.
func adopter(dir string) (func(k pods.VolumeKey, uid string) (bool, error), error) {
	if _, err := os.Stat(dir); err != nil {
		return func(pods.VolumeKey, string) (bool, error) { return false, nil }, nil //nolint:nilerr // the report tells of each
	}
	tree, err := files.OpenTree(dir)
	if err != nil {
		return nil, err
	}
	return tree.Adopt, nil
}

func printImport(cmd *cobra.Command, r importer.Report, asJSON bool) error {
	if !asJSON {
		return r.Print(cmd.OutOrStdout())
	}
	enc := json.NewEncoder(cmd.OutOrStdout())
	enc.SetIndent("", "  ")
	if err := enc.Encode(r); err != nil {
		return fmt.Errorf("printing the report: %w", err)
	}
	return nil
}
