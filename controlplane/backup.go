package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tapis-project/podway/controlplane/internal/store"
)

func backupCommand() *cobra.Command {
	var check bool
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Copy everything the store (PODWAY_STORE) holds into a file, or check such a file",
		Long: `Copy everything the store (PODWAY_STORE) holds, as of one moment, into a new file,
while control planes serve. The file is read again and compared with its checksums.

Secrets stay encrypted: the file is of use only together with the key file, which is
not in it. Neither are the files of volumes, and Redis, which needs no backup.

With --check it checks an existing file and prints what is in it.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if check {
				m, err := checkBackup(args[0])
				if err == nil {
					printManifest(cmd, "The backup is sound", m)
				}
				return err
			}
			s, err := openStore(cmd)
			if err != nil {
				return err
			}
			defer s.Close()
			return backup(cmd, s, args[0])
		},
	}
	cmd.Flags().BoolVar(&check, "check", false, "check an existing file; needs neither store nor key")
	return cmd
}

func restoreCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "restore FILE",
		Short: "Fill an empty store (PODWAY_STORE) from a backup",
		Long: `Fill an empty store (PODWAY_STORE) from a backup, all of it or nothing. The key file
(PODWAY_KEY_FILE) must have the keys that the backup was sealed with.

It does not matter which engine the backup was taken of, so this also moves an
installation from SQLite to Postgres or back. A backup of an older release is
brought up to date. Stop all control planes before.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := openStore(cmd)
			if err != nil {
				return err
			}
			defer s.Close()
			f, err := os.Open(args[0])
			if err != nil {
				return fmt.Errorf("opening the backup: %w", err)
			}
			defer f.Close()
			m, err := s.Restore(cmd.Context(), f)
			if err != nil {
				return err
			}
			printManifest(cmd, "The store is restored", m)
			return nil
		},
	}
}

// backup writes a file that is there whole and checked, or not at all.
func backup(cmd *cobra.Command, s *store.Store, path string) error {
	if _, err := os.Stat(path); err == nil {
		return fmt.Errorf("%s is there already", path)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".podway-backup-*") // mode 0600
	if err != nil {
		return fmt.Errorf("creating the backup: %w", err)
	}
	defer os.Remove(f.Name()) //nolint:errcheck // it is gone if all went well
	_, err = s.Backup(cmd.Context(), f, version)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	m, err := checkBackup(f.Name())
	if err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil { // unlike a rename, it does not replace
		return fmt.Errorf("naming the backup: %w", err)
	}
	printManifest(cmd, "The backup is written and checked", m)
	return nil
}

func checkBackup(path string) (store.Manifest, error) {
	f, err := os.Open(path)
	if err != nil {
		return store.Manifest{}, fmt.Errorf("opening the backup: %w", err)
	}
	defer f.Close()
	return store.CheckBackup(io.Reader(f))
}

func printManifest(cmd *cobra.Command, what string, m store.Manifest) {
	cmd.Printf("%s: %d rows in %d tables, schema version %d, taken %s of %s by %s.\n",
		what, m.Rows(), len(m.Tables), m.Schema, m.Created.Format("2006-01-02 15:04:05 UTC"), m.Engine, m.Program)
	if len(m.Keys) > 0 {
		cmd.Printf("It needs the keys %s of the key file.\n", strings.Join(m.Keys, ", "))
	}
}
