package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapis-project/podway/podctl/client"
)

func (c *cli) listCommand() *cobra.Command {
	var watch bool
	var every time.Duration
	var search string
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List your pods",
		Long: "Lists the pods you may read; with --admin all of the tenant.\n" +
			"With --watch the table stays on the terminal and follows what happens; into a file or pipe it is written\n" +
			"again whenever it changes.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if watch {
				return c.watchPods(cmd.Context(), search, every)
			}
			return show(cmd.Context(), c, http.MethodGet, client.PodsPath(search), nil, c.printPods)
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&watch, "watch", "w", false, "keep on showing what happens")
	f.DurationVar(&every, "every", 2*time.Second, "with --watch: time between two looks")
	f.StringVar(&search, "search", "", "only pods with this text in id, description, image or template")
	return cmd
}

func (c *cli) printPods(list []client.Pod) error {
	slices.SortFunc(list, byID)
	return c.table("POD\tSTATUS\tSTARTED\tRUNS\tADDRESS", func(row func(...string)) {
		for _, p := range list {
			address := ""
			if keys := slices.Sorted(maps.Keys(p.Networking)); len(keys) > 0 {
				address = p.Networking[firstKey(keys)].URL
			}
			runs := p.Image
			if runs == "" {
				runs = p.Template
			}
			row(p.PodID, p.Status, shortTime(p.StartInstanceTS), runs, address)
		}
	})
}

func byID(a, b client.Pod) int {
	switch {
	case a.PodID < b.PodID:
		return -1
	case a.PodID > b.PodID:
		return 1
	default:
		return 0
	}
}

// firstKey is the networking entry that people mean if they name none.
func firstKey(keys []string) string {
	if slices.Contains(keys, "default") {
		return "default"
	}
	return keys[0]
}

// watchPods shows the list again and again, until ctx ends. A call that fails
// once is told and tried again: networks come and go.
func (c *cli) watchPods(ctx context.Context, search string, every time.Duration) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	_, onTerminal := terminal(c.out)
	tick := time.NewTicker(max(every, 100*time.Millisecond))
	defer tick.Stop()
	last := ""
	for first := true; ; first = false {
		list, err := c.poll(ctx, cl, search)
		switch {
		case ctx.Err() != nil:
			return nil // Ctrl-C is how a watch ends
		case err != nil && (first || client.StatusOf(err) == http.StatusUnauthorized):
			return err
		case err != nil:
			c.complain(err)
		case string(list) != last:
			last = string(list)
			if onTerminal {
				fmt.Fprint(c.out, "\x1b[H\x1b[2J") // to the corner, clear
			}
			if err := c.printSnapshot(list); err != nil {
				return err
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (c *cli) poll(ctx context.Context, cl *client.Client, search string) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	a, err := cl.Call(ctx, http.MethodGet, client.PodsPath(search), nil)
	return a.Result, err
}

// printSnapshot prints a list: as one line of JSON if asked for.
func (c *cli) printSnapshot(list json.RawMessage) error {
	if c.asJSON {
		_, err := fmt.Fprintf(c.out, "%s\n", list)
		return err
	}
	var pods []client.Pod
	if err := json.Unmarshal(list, &pods); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	return c.printPods(pods)
}
