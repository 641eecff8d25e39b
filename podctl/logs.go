package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tapis-project/podway/podctl/client"
)

func (c *cli) logsCommand() *cobra.Command {
	var follow, actions bool
	cmd := &cobra.Command{
		Use: "logs POD", Short: "Show what a pod wrote", Args: cobra.ExactArgs(1), ValidArgsFunction: c.completePods,
		RunE: func(cmd *cobra.Command, args []string) error {
			if follow {
				return c.followLogs(cmd.Context(), args[0])
			}
			return show(cmd.Context(), c, http.MethodGet, client.PodPath(args[0], "logs"), nil, func(l client.Logs) error {
				text := l.Logs
				if actions {
					text = strings.Join(l.ActionLogs, "\n") + "\n"
				}
				_, err := fmt.Fprint(c.out, text)
				return err
			})
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on as the pod writes, until it ends")
	cmd.Flags().BoolVar(&actions, "actions", false, "show what happened to the pod instead")
	cmd.MarkFlagsMutuallyExclusive("follow", "actions")
	return cmd
}

func (c *cli) followLogs(ctx context.Context, id string) error {
	if c.asJSON {
		return errors.New("--json and --follow don't go together: the stream is plain text")
	}
	cl, err := c.client()
	if err != nil {
		return err
	}
	if err := cl.FollowLogs(ctx, id, c.out); ctx.Err() == nil {
		return err
	}
	return nil // Ctrl-C is how people stop
}
