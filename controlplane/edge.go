package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/tapis-project/podway/controlplane/internal/config"
	"github.com/tapis-project/podway/controlplane/internal/enrol"
	"github.com/tapis-project/podway/routes/redisroutes"
)

func edgeCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "edge", Short: "Make new edges"}
	cmd.AddCommand(enrolCommand())
	return cmd
}

func enrolCommand() *cobra.Command {
	var (
		o   enrol.Options
		dir string
	)
	cmd := &cobra.Command{
		Use:   "enrol NAME",
		Short: "Make a user in Redis for a new edge, and its configuration",
		Long: `Make a user in Redis for a new edge, with the rights of an edge only, and its
configuration: edge.env, which holds its password, and a Caddyfile.

If PODWAY_REDIS_ADMIN_URL names a Redis user who may change rights, the user is
created there. Otherwise the command that does it is printed. A second enrolment of
a name replaces the password.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := config.FromEnv(os.Getenv)
			if err != nil {
				return err
			}
			o.Name, o.Namespace = args[0], c.Namespace
			if o.RedisURL == "" {
				o.RedisURL = c.RedisURL
			}
			kit, err := enrol.New(o)
			if err != nil {
				return err
			}
			return hand(cmd.Context(), kit, dir, os.Getenv("PODWAY_REDIS_ADMIN_URL"), cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&o.RedisURL, "redis", "", "address of Redis as the edge reaches it, without user and password; default: that of PODWAY_REDIS_URL")
	cmd.Flags().StringSliceVar(&o.Upstreams, "upstreams", nil, "networks that the edge may dial: those of the cluster's pods, services or nodes; required")
	cmd.Flags().StringVar(&dir, "out", "", "write edge.env and Caddyfile into this folder instead of printing them")
	return cmd
}

// hand creates the user, or says how, and hands over the edge's files.
func hand(ctx context.Context, kit enrol.Kit, dir, adminURL string, out io.Writer) error {
	if dir != "" {
		// Before the user: files that exist may be those of an edge that runs.
		if err := kit.Write(dir); err != nil {
			return err
		}
	}
	if adminURL != "" {
		if err := createUser(ctx, kit, adminURL); err != nil {
			return err
		}
		fmt.Fprintln(out, "# The user is created in Redis.")
	} else {
		fmt.Fprintf(out, "# Run in Redis, as somebody who may change rights, then ACL SAVE:\n%s\n", kit.ACL)
	}
	if dir == "" {
		fmt.Fprintf(out, "\n# edge.env, mode 0600: it holds the password\n%s\n# Caddyfile\n%s", kit.Env, kit.Caddyfile)
	}
	return nil
}

func createUser(ctx context.Context, kit enrol.Kit, adminURL string) error {
	o, err := redisroutes.ParseURL(adminURL)
	if err != nil {
		return fmt.Errorf("PODWAY_REDIS_ADMIN_URL: %w", err)
	}
	if err := redisroutes.CheckExposed(o); err != nil {
		return fmt.Errorf("PODWAY_REDIS_ADMIN_URL: %w", err)
	}
	client := redis.NewUniversalClient(o)
	err = kit.Create(ctx, client)
	return errors.Join(err, client.Close())
}
