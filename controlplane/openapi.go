package main

import (
	"github.com/spf13/cobra"

	"github.com/tapis-project/podway/controlplane/internal/api"
)

func openapiCommand() *cobra.Command {
	var asYAML bool
	cmd := &cobra.Command{
		Use:   "openapi",
		Short: "Print the specification of the API, OpenAPI 3.0",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			render := api.OpenAPI
			if asYAML {
				render = api.OpenAPIYAML
			}
			b, err := render(version)
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(b)
			return err
		},
	}
	cmd.Flags().BoolVar(&asYAML, "yaml", false, "as YAML instead of JSON")
	return cmd
}
