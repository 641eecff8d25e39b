package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapis-project/podway/podctl/client"
)

func (c *cli) getCommand() *cobra.Command {
	return &cobra.Command{
		Use: "get POD", Short: "Show a pod", Args: cobra.ExactArgs(1), ValidArgsFunction: c.completePods,
		RunE: func(cmd *cobra.Command, args []string) error {
			return show(cmd.Context(), c, http.MethodGet, client.PodPath(args[0], ""), nil, c.printPod)
		},
	}
}

// printPod prints what people want to know of a pod.
func (c *cli) printPod(p client.Pod) error {
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(c.out, "%-12s %s\n", name, plain(value))
		}
	}
	line("pod", p.PodID)
	line("status", p.Status+" (asked for: "+p.StatusRequested+")")
	line("why", p.StatusContainer.Message)
	line("description", p.Description)
	line("image", p.Image)
	line("template", p.Template)
	for _, key := range slices.Sorted(maps.Keys(p.Networking)) {
		n := p.Networking[key]
		line(key, fmt.Sprintf("%s, port %d, %s", n.Protocol, n.Port, n.URL))
	}
	line("created", p.CreationTS)
	line("running since", p.StartInstanceTS)
	line("stops at", p.TimeToStopTS)
	return nil
}

func (c *cli) deleteCommand() *cobra.Command {
	return &cobra.Command{
		Use: "delete POD...", Short: "Delete pods with everything that is their own",
		Args: cobra.MinimumNArgs(1), ValidArgsFunction: c.completePods,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.each(args, func(id string) error {
				return show(cmd.Context(), c, http.MethodDelete, client.PodPath(id, ""), nil, func(string) error {
					fmt.Fprintf(c.out, "%s deleted\n", id)
					return nil
				})
			})
		},
	}
}

// each does something for each of several pods. One that fails does not keep the
// others from their turn.
func (c *cli) each(ids []string, do func(id string) error) error {
	failed := false
	for _, id := range ids {
		if err := do(id); err != nil {
			if len(ids) == 1 {
				return err
			}
			c.complain(fmt.Errorf("%s: %w", id, err))
			failed = true
		}
	}
	if failed {
		return exitError(1)
	}
	return nil
}

func (c *cli) startCommand() *cobra.Command {
	return c.powerCommand("start", "Start pods that are stopped", client.Available)
}

func (c *cli) stopCommand() *cobra.Command {
	return c.powerCommand("stop", "Stop pods", client.Stopped)
}

func (c *cli) restartCommand() *cobra.Command {
	return c.powerCommand("restart", "Stop pods if need be, and start them", client.Available)
}

func (c *cli) powerCommand(action, short, goal string) *cobra.Command {
	var w wait
	cmd := &cobra.Command{
		Use: action + " POD...", Short: short, Args: cobra.MinimumNArgs(1), ValidArgsFunction: c.completePods,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.each(args, func(id string) error {
				return c.change(cmd.Context(), http.MethodGet, client.PodPath(id, action), nil, w, goal)
			})
		},
	}
	w.flags(cmd, goal)
	return cmd
}

// wait says whether to wait until a pod is as it should be.
type wait struct {
	on    bool
	limit time.Duration
}

func (w *wait) flags(cmd *cobra.Command, goal string) {
	if goal == client.Available {
		goal += " and answers"
	}
	cmd.Flags().BoolVar(&w.on, "wait", false, "wait until it is "+goal)
	cmd.Flags().DurationVar(&w.limit, "timeout", 10*time.Minute, "with --wait: give up after this time")
}

// change makes a call that changes a pod, and prints the pod it answers with, or
// the pod as it is after the wait.
func (c *cli) change(ctx context.Context, method, path string, body any, w wait, goal string) error {
	if !w.on {
		return show(ctx, c, method, path, body, c.printStatus)
	}
	cl, err := c.client()
	if err != nil {
		return err
	}
	a, err := cl.Call(ctx, method, path, body)
	if err != nil {
		return err
	}
	var p client.Pod
	if err := json.Unmarshal(a.Result, &p); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if err := c.waitFor(ctx, cl, p.PodID, goal, w.limit); err != nil {
		return err
	}
	return show(ctx, c, http.MethodGet, client.PodPath(p.PodID, ""), nil, c.printStatus)
}

func (c *cli) printStatus(p client.Pod) error {
	fmt.Fprintf(c.out, "%s %s\n", p.PodID, plain(p.Status))
	return nil
}

// pollEvery is the time between two looks at a pod.
const pollEvery = time.Second

// answersWithin is how long a pod that is AVAILABLE is waited for yet: its program runs,
// but may need a while until it listens. It may listen elsewhere, or to nobody.
const answersWithin = time.Minute

// waitFor waits until a pod has a status and, if it is AVAILABLE, is reached at its hosts.
// A pod that has failed, or ended, will not get there any more; what it was before it began
// to restart does not count.
func (c *cli) waitFor(ctx context.Context, cl *client.Client, id, goal string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	last := ""
	reached, away := false, time.Now() // whether it has the status, and when it had not, lately
	for {
		p, err := cl.Pod(ctx, id)
		if ctx.Err() != nil && reached {
			return fmt.Errorf("%s is %s, but does not answer after %v", id, last, limit)
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s is still %s after %v", id, last, limit)
		}
		if err != nil {
			return err
		}
		if p.Status != last {
			fmt.Fprintf(c.err, "%s %s %s\n", id, plain(p.Status), plain(p.StatusContainer.Message))
			last = p.Status
		}
		settled := p.StatusRequested != "RESTART"
		if reached = settled && p.Status == goal; !reached {
			away = time.Now()
		}
		switch {
		case reached && (goal != client.Available || p.NetworkingLive):
			return nil
		case reached && time.Since(away) > answersWithin:
			fmt.Fprintf(c.err, "%s does not answer yet; `podctl doctor %s` tells why\n", id, id)
			return nil
		case settled && (p.Status == client.Failed || p.Status == client.Complete) && goal != client.Stopped:
			return fmt.Errorf("%s is %s: %s", id, p.Status, p.StatusContainer.Message)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

func (c *cli) credentialsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "credentials POD", Short: "Show the user and the password made for a pod",
		Args: cobra.ExactArgs(1), ValidArgsFunction: c.completePods,
		RunE: func(cmd *cobra.Command, args []string) error {
			return show(cmd.Context(), c, http.MethodGet, client.PodPath(args[0], "credentials"), nil, func(s client.Credentials) error {
				fmt.Fprintf(c.out, "user     %s\npassword %s\n", s.Username, s.Password)
				return nil
			})
		},
	}
}

// shortTime is a time of the API without what comes after the second.
func shortTime(s string) string {
	s, _, _ = strings.Cut(s, ".")
	return strings.Replace(s, "T", " ", 1)
}
