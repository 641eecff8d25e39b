package main

import (
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapis-project/podway/podctl/client"
)

// timedOut is the exit code for a command that took too long, as that of
// timeout(1).
const timedOut = 124

func (c *cli) execCommand() *cobra.Command {
	var limit time.Duration
	cmd := &cobra.Command{
		Use:     "exec POD -- PROGRAM [WORD...]",
		Short:   "Run a command in a pod and end with its exit code",
		Long:    "Runs a program in the pod, without a shell, terminal or input, and shows what it wrote when it has ended.",
		Example: "  podctl exec web -- ls -l /\n  podctl exec db -- sh -c 'df -h | head'",
		Args:    cobra.MinimumNArgs(2), ValidArgsFunction: c.completePods,
		RunE: func(cmd *cobra.Command, args []string) error {
			seconds := max(1, int(limit.Seconds()))
			body := client.Exec{Commands: [][]string{args[1:]}, TotalTimeout: seconds, CommandTimeout: seconds}
			return show(cmd.Context(), c, http.MethodPost, client.PodPath(args[0], "exec"), body, c.printExec)
		},
	}
	cmd.Flags().DurationVar(&limit, "timeout", time.Minute, "time the command may take")
	return cmd
}

func (c *cli) printExec(r client.ExecReport) error {
	for _, result := range r.Results {
		fmt.Fprint(c.out, result.Stdout)
		fmt.Fprint(c.err, result.Stderr)
		switch {
		case result.ExitCode == nil:
			if text, ok := result.Success.(string); ok {
				c.complain(fmt.Errorf("%s", text))
				return exitError(timedOut)
			}
			return exitError(1)
		case *result.ExitCode != 0:
			return exitError(*result.ExitCode)
		}
	}
	return nil
}
