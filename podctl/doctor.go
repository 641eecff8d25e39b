package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tapis-project/podway/podctl/client"
	"github.com/tapis-project/podway/podctl/diagnose"
)

func (c *cli) doctorCommand() *cobra.Command {
	var (
		o    connect
		edge string
	)
	cmd := &cobra.Command{
		Use:   "doctor POD",
		Short: "Find out why a pod can't be reached, and what to do",
		Long: "Looks at the state of the pod, and then goes the way of a client to each of its host names:\n" +
			"DNS, port, certificate, server name, and a greeting in the pod's protocol. The exit code is 1\n" +
			"if anything is wrong.",
		Example: "  podctl doctor db",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: c.completePods,
		RunE: func(cmd *cobra.Command, args []string) error { return c.doctor(cmd.Context(), args[0], o, edge) },
	}
	f := cmd.Flags()
	f.StringVar(&o.network, "network", "", "only this networking entry")
	f.StringVar(&o.protocol, "protocol", "", "what the pod speaks, if it is not what its networking entry and image tell")
	f.StringVar(&edge, "edge", "", "name or address of the edge (default: what DNS says)")
	f.IntVar(&o.port, "port", 0, "port of the edge (default: that of the login, or 443)")
	f.StringVar(&o.ca, "ca", "", "file with the root certificate (default: that of the login, or the system's)")
	return cmd
}

func (c *cli) doctor(ctx context.Context, id string, o connect, edge string) error {
	list, err := c.endpoints(ctx, id, o)
	if err != nil {
		return err
	}
	cl, err := c.client()
	if err != nil {
		return err
	}
	p, err := cl.Pod(ctx, id)
	if err != nil {
		return err
	}
	var r diagnose.Report
	r.Add(podFinding(p))
	for _, e := range list {
		roots, err := diagnose.LoadRoots(e.ca)
		if err != nil {
			return err
		}
		r.Add(diagnose.Host(ctx, diagnose.Target{Host: e.Host, Port: e.Port, Address: edge, Protocol: e.Protocol, Roots: roots})...)
	}
	if r.Write(c.out, c.asJSON) != nil {
		return exitError(1) // the report has told why
	}
	return nil
}

// podFinding says whether the pod runs.
func podFinding(p client.Pod) diagnose.Finding {
	f := diagnose.OK("pod", p.PodID, "is "+p.Status)
	if m := p.StatusContainer.Message; m != "" {
		f.Found += ": " + m
	}
	remedy := fmt.Sprintf("wait; `podctl logs %s` tells what happens", p.PodID)
	switch p.Status {
	case client.Available:
		return f
	case client.Stopped, client.Complete:
		remedy = "start it: podctl start " + p.PodID
	case client.Failed:
		remedy = fmt.Sprintf("`podctl logs %s` tells why; when that is mended: podctl restart %s", p.PodID, p.PodID)
	}
	f.Fault, f.Remedy = "pod", remedy
	return f
}
