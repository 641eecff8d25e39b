package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/net/idna"

	"github.com/tapis-project/podway/podctl/client"
)

func (c *cli) domainsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "domains", Short: "Names of your own that lead to pods", Args: cobra.NoArgs,
		Long: "A custom domain leads to a pod once two records in DNS show that it is yours: a TXT record with a value that the\n" +
			"service gives, and a CNAME to the pod's host. `add` and `list` print what to create.",
	}
	cmd.AddCommand(c.domainsListCommand(), c.domainsAddCommand(), c.domainsRemoveCommand(), c.domainsCheckCommand())
	return cmd
}

func (c *cli) domainsListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list POD", Aliases: []string{"ls"}, Short: "Show the custom domains of a pod and the records they need",
		Args: cobra.ExactArgs(1), ValidArgsFunction: c.completePods,
		RunE: func(cmd *cobra.Command, args []string) error {
			return show(cmd.Context(), c, http.MethodGet, client.PodPath(args[0], "domains"), nil, c.printDomains)
		},
	}
}

// printDomains prints domains, and for those that are not verified what to do.
func (c *cli) printDomains(list []client.Domain) error {
	for _, d := range list {
		fmt.Fprintf(c.out, "%s %s, network %s\n", plain(d.Domain), plain(d.State), plain(d.Network))
		if d.State == client.DomainVerified {
			continue
		}
		fmt.Fprintf(c.out, "  %s. TXT \"%s\"\n", plain(d.RecordName), plain(d.RecordValue))
		fmt.Fprintf(c.out, "  %s. CNAME %s.\n", plain(d.Domain), plain(d.Target))
		if d.Reason != "" {
			fmt.Fprintf(c.out, "  %s\n", plain(d.Reason))
		}
		if d.LastChecked != "" {
			fmt.Fprintf(c.out, "  last checked %s UTC\n", plain(shortTime(d.LastChecked)))
		}
	}
	return nil
}

func (c *cli) domainsAddCommand() *cobra.Command {
	var network string
	cmd := &cobra.Command{
		Use: "add POD DOMAIN", Short: "Claim a custom domain for a pod, and print the records to create",
		Args: cobra.ExactArgs(2), ValidArgsFunction: c.completePods,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.setDomain(cmd.Context(), args[0], network, args[1]); err != nil {
				return err
			}
			return show(cmd.Context(), c, http.MethodGet, client.PodPath(args[0], "domains"), nil, c.printDomains)
		},
	}
	cmd.Flags().StringVar(&network, "network", "default", "networking entry that the domain leads to")
	return cmd
}

func (c *cli) setDomain(ctx context.Context, id, network, domain string) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return cl.SetDomain(ctx, id, network, domain)
}

func (c *cli) domainsRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use: "remove POD DOMAIN", Aliases: []string{"rm"}, Short: "Take a custom domain away from a pod",
		Args: cobra.ExactArgs(2), ValidArgsFunction: c.completePods,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.removeDomain(cmd.Context(), args[0], args[1])
		},
	}
}

func (c *cli) removeDomain(ctx context.Context, id, domain string) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	list, err := cl.Domains(ctx, id)
	if err != nil {
		return err
	}
	// People write international names as they read them.
	ascii, err := idna.Lookup.ToASCII(domain)
	if err != nil {
		ascii = domain
	}
	i := slices.IndexFunc(list, func(d client.Domain) bool { return d.Domain == ascii })
	if i < 0 {
		return fmt.Errorf("pod %s has no custom domain %s", id, domain)
	}
	if err := c.setDomain(ctx, id, list[i].Network, ""); err != nil {
		return err
	}
	fmt.Fprintf(c.out, "%s removed\n", plain(list[i].Domain))
	return nil
}

func (c *cli) domainsCheckCommand() *cobra.Command {
	var w wait
	cmd := &cobra.Command{
		Use: "check POD", Short: "Have the custom domains of a pod checked now", Args: cobra.ExactArgs(1), ValidArgsFunction: c.completePods,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !w.on {
				return show(cmd.Context(), c, http.MethodPost, client.PodPath(args[0], "domains/check"), nil, c.printDomains)
			}
			return c.waitForDomains(cmd.Context(), args[0], w.limit)
		},
	}
	w.flags(cmd, client.DomainVerified)
	return cmd
}

// waitForDomains waits until all custom domains of a pod are verified.
func (c *cli) waitForDomains(ctx context.Context, id string, limit time.Duration) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	list, err := cl.CheckDomains(ctx, id)
	if e, ok := errors.AsType[*client.Error](err); err != nil && (!ok || e.Status != http.StatusTooManyRequests) {
		return err // a check that was made a moment ago is as good
	}
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for list == nil || !allVerified(list) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			_ = c.printDomains(list)
			return fmt.Errorf("not verified after %v", limit)
		}
		latest, err := cl.Domains(ctx, id)
		if err != nil && ctx.Err() == nil {
			return err
		}
		if err == nil {
			list = latest
		}
	}
	return c.printDomains(list)
}

func allVerified(list []client.Domain) bool {
	for _, d := range list {
		if d.State != client.DomainVerified {
			return false
		}
	}
	return true
}
