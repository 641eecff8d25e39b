package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/tapis-project/podway/controlplane/internal/config"
	"github.com/tapis-project/podway/controlplane/internal/store"
)

// openStore opens the store that the environment names.
func openStore(cmd *cobra.Command) (*store.Store, error) {
	c, err := config.FromEnv(os.Getenv)
	if err != nil {
		return nil, err
	}
	keys, err := store.LoadKeyFile(c.KeyFile)
	if err != nil {
		return nil, err
	}
	return store.Open(cmd.Context(), c.Store, store.Options{Keyring: keys})
}
