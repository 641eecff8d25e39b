package main

import (
	"github.com/spf13/cobra"

	"github.com/tapis-project/podway/controlplane/internal/store"
)

func rekeyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "rekey",
		Short: "Encrypt what the store (PODWAY_STORE) holds with the current key",
		Long: `Encrypt every secret, password and generated value in the store (PODWAY_STORE)
that an older key of PODWAY_KEY_FILE encrypted with the current key, which is the
first one in that file. Then the older keys can go.

It may run while control planes serve, provided that all of them have the current
key, and it may be interrupted: each row is changed whole or not at all, and the
next run goes on where it ended.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := openStore(cmd)
			if err != nil {
				return err
			}
			defer s.Close()
			return rekey(cmd, s)
		},
	}
}

func rekey(cmd *cobra.Command, s *store.Store) error {
	if err := s.Ready(cmd.Context()); err != nil {
		return err
	}
	n, err := s.Rekey(cmd.Context())
	cmd.Printf("Encrypted %d rows with the current key.\n", n)
	if err != nil {
		return err
	}
	cmd.Println("Nothing needs the older keys of the key file any more.")
	return nil
}
