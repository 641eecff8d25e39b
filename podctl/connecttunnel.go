package main

import (
	"cmp"
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tapis-project/podway/podctl/client"
	"github.com/tapis-project/podway/podctl/tunnel"
)

// tunnelOptions is what the command is told.
type tunnelOptions struct {
	network  string
	port     int
	edgePort int
	ca       string
	password bool
}

func (c *cli) tunnelCommand() *cobra.Command {
	var o tunnelOptions
	cmd := &cobra.Command{
		Use:   "connect POD",
		Short: "Give a pod a port of this machine",
		Long: "Opens a port on 127.0.0.1 whose connections go to the pod, through port 443 of its host, until Ctrl-C.\n" +
			"Pods that ask for a login are sent your token; what uses the port needs none. So every program of this\n" +
			"machine may reach the pod meanwhile, whoever runs it.\n\n" +
			"Programs that can't name the pod in TLS need it too: MariaDB's and MySQL's clients, older redis-cli.\n" +
			"Where only HTTP gets through, a WebSocket carries the bytes; HTTPS_PROXY is heeded then.",
		Example: "  podctl connect db --port 5432\n" +
			"  podctl connect graph --net bolt",
		Args: cobra.ExactArgs(1), ValidArgsFunction: c.completePods,
		RunE: func(cmd *cobra.Command, args []string) error { return c.tunnel(cmd.Context(), args[0], o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.network, "net", "", "networking entry (default: the only one that is not http, or \"default\")")
	f.IntVar(&o.port, "port", 0, "port of this machine (default: any that is free)")
	f.IntVar(&o.edgePort, "edge-port", 0, "port of the edge (default: that of the login, or 443)")
	f.StringVar(&o.ca, "ca", "", "file with the root certificate (default: that of the login, or the system's)")
	f.BoolVar(&o.password, "password", false, "print the password made for the pod, too")
	return cmd
}

// tunnel passes connections on until ctx ends.
func (c *cli) tunnel(ctx context.Context, id string, o tunnelOptions) error {
	e, speaks, err := c.tunnelEnd(ctx, id, o)
	if err != nil {
		return err
	}
	d, err := c.dialer(e)
	if err != nil {
		return err
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", o.port))
	if err != nil {
		return fmt.Errorf("opening a port of this machine: %w", err)
	}
	if err := c.announce(id, e, speaks, ln.Addr().(*net.TCPAddr).Port); err != nil {
		ln.Close()
		return err
	}
	return tunnel.Serve(ctx, ln, d, c.complain)
}

// tunnelEnd returns the networking entry to reach, and what the pod speaks there.
func (c *cli) tunnelEnd(ctx context.Context, id string, o tunnelOptions) (endpoint, string, error) {
	cl, err := c.client()
	if err != nil {
		return endpoint{}, "", err
	}
	lookup, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	p, err := cl.DerivedPod(lookup, id)
	if err != nil {
		return endpoint{}, "", err
	}
	list, err := c.endpoints(ctx, id, connect{network: o.network, port: o.edgePort, ca: o.ca, password: o.password, database: "postgres"})
	if err != nil {
		return endpoint{}, "", err
	}
	e, err := theOne(list, o.network)
	return e, localProtocol(e.Protocol, p), err
}

// theOne returns the entry to connect to.
func theOne(list []endpoint, network string) (endpoint, error) {
	var raw []endpoint
	for _, e := range list {
		if e.Protocol != "http" {
			raw = append(raw, e)
		}
	}
	switch {
	case len(raw) == 1:
		return raw[0], nil
	case len(raw) == 0 && network != "":
		return endpoint{}, fmt.Errorf("%s is http: open https://%s", network, list[0].authority())
	case len(raw) == 0:
		return endpoint{}, fmt.Errorf("the pod speaks http only: open https://%s", list[0].authority())
	}
	names := make([]string, 0, len(raw))
	for _, e := range raw {
		if e.Network == "default" {
			return e, nil
		}
		names = append(names, e.Network)
	}
	return endpoint{}, fmt.Errorf("which one? --net %s", strings.Join(names, ", --net "))
}

// localProtocol guesses what programs speak to a pod when no TLS is in between.
func localProtocol(protocol string, p client.Pod) string {
	for _, word := range []string{"mysql", "mariadb"} {
		if strings.Contains(p.Image, word) || strings.Contains(p.Template, word) {
			return "mysql"
		}
	}
	return protocol
}

// dialer returns what opens connections to an entry.
func (c *cli) dialer(e endpoint) (*tunnel.Dialer, error) {
	d := &tunnel.Dialer{Host: e.Host, Port: e.Port}
	if e.onThisMachine() {
		d.Address = e.address()
	}
	if e.login {
		d.Token = c.freshToken
	}
	if e.ca == "" {
		return d, nil
	}
	pem, err := os.ReadFile(e.ca)
	if err != nil {
		return nil, fmt.Errorf("reading the root certificate: %w", err)
	}
	d.Roots = x509.NewCertPool()
	if !d.Roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("reading the root certificate: %s holds none", e.ca)
	}
	return d, nil
}

// freshToken reads the login again: it may have been renewed since.
func (c *cli) freshToken(context.Context) (string, error) {
	s, err := c.session()
	return s.Token, err
}

// announce tells where the pod is now, and how to use it.
func (c *cli) announce(id string, e endpoint, speaks string, port int) error {
	address := fmt.Sprintf("127.0.0.1:%d", port)
	command := localCommand(e, speaks, port)
	if c.asJSON {
		return c.printJSON(map[string]string{"pod_id": id, "network": e.Network, "address": address, "command": command})
	}
	fmt.Fprintf(c.out, "%s is at %s until Ctrl-C.\n", id, address)
	if command != "" {
		fmt.Fprintf(c.out, "Try: %s\n", command)
	}
	return nil
}

// localCommand returns a command that uses the port, "" if none is known.
func localCommand(e endpoint, speaks string, port int) string {
	at := []string{"127.0.0.1", fmt.Sprint(port)}
	switch speaks {
	case "postgres":
		return "psql " + shellQuote("postgresql://"+e.userInfo()+strings.Join(at, ":")+"/"+cmp.Or(e.database, "postgres"))
	case "mysql":
		return words("mariadb", "--host", at[0], "--port", at[1], "--user", shellQuote(e.user), "--password")
	case "redis":
		return words("redis-cli", "-h", at[0], "-p", at[1])
	case "mongodb":
		return "mongosh " + shellQuote("mongodb://"+strings.Join(at, ":")+"/?directConnection=true")
	case "bolt":
		return words("cypher-shell", "-a", "bolt://"+strings.Join(at, ":"), "-u", shellQuote(e.user), option("-p", e.password))
	default:
		return ""
	}
}
