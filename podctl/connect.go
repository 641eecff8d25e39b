package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tapis-project/podway/podctl/client"
)

// connect is what the command is told.
type connect struct {
	network  string
	protocol string
	form     string
	password bool
	database string
	port     int
	ca       string
}

func (c *cli) connectCommand() *cobra.Command {
	var o connect
	cmd := &cobra.Command{
		Use:   "connect-string POD",
		Short: "Print how to connect to a pod",
		Long: "Prints an address that programs take, one line for each networking entry of the pod.\n\n" +
			"What a pod with protocol tcp speaks is guessed from its image and template; --protocol says it.\n" +
			"Forms by protocol:\n" + formsHelp(),
		Example: "  psql \"$(podctl connect-string db --password)\"\n" +
			"  curl \"$(podctl connect-string web)\"\n" +
			"  podctl connect-string graph --form cypher-shell --password",
		Args: cobra.ExactArgs(1), ValidArgsFunction: c.completePods,
		RunE: func(cmd *cobra.Command, args []string) error { return c.connect(cmd.Context(), args[0], o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.network, "network", "", "only this networking entry")
	f.StringVar(&o.protocol, "protocol", "", "what the pod speaks: "+strings.Join(slices.Sorted(maps.Keys(dialects)), ", "))
	f.StringVar(&o.form, "form", "url", "how to write it")
	f.BoolVar(&o.password, "password", false, "with the password made for the pod")
	f.StringVar(&o.database, "database", "postgres", "database to name, for postgres")
	f.IntVar(&o.port, "port", 0, "port of the edge (default: that of the login, or 443)")
	f.StringVar(&o.ca, "ca", "", "file with the root certificate (default: that of the login, or the system's)")
	return cmd
}

// endpoint is an entry of a pod's networking, and all that a connection needs.
type endpoint struct {
	Network  string `json:"network"`
	Protocol string `json:"protocol"` // a key of dialects
	Host     string `json:"host"`
	Port     int    `json:"port"`

	user, password, database string
	ca                       string // file; "": the system's roots
	login                    bool   // it asks for one
}

// dialect knows the forms in which clients of a protocol take an address.
type dialect map[string]func(endpoint) string

var dialects = map[string]dialect{
	"http": {
		"url":       func(e endpoint) string { return "https://" + e.authority() },
		"websocket": func(e endpoint) string { return "wss://" + e.authority() },
		"curl":      endpoint.curl,
	},
	"postgres": {
		"url":  endpoint.postgresURL,
		"psql": endpoint.psql,
		"jdbc": func(e endpoint) string {
			return "jdbc:postgresql://" + e.hostPort() + "/" + e.database + "?" + query("user", e.user, "password", e.password, "sslmode", "verify-full", "sslrootcert", e.ca)
		},
	},
	"bolt": {
		"url": func(e endpoint) string { return "bolt+s://" + e.hostPort() },
		"cypher-shell": func(e endpoint) string {
			return words("cypher-shell", "-a", "bolt+s://"+e.hostPort(), "-u", e.user, option("-p", e.password))
		},
	},
	"mongodb": {
		"url": func(e endpoint) string {
			return "mongodb://" + e.userInfo() + e.hostPort() + "/?" + query("tls", "true", "directConnection", "true", "tlsCAFile", e.ca)
		},
	},
	"redis": {
		"url": func(e endpoint) string { return "rediss://" + e.hostPort() },
		"redis-cli": func(e endpoint) string {
			return words("redis-cli", "--tls", "--sni", e.Host, "-h", e.address(), "-p", fmt.Sprint(e.Port), option("--cacert", e.ca))
		},
	},
	"tls": {
		"url": func(e endpoint) string { return "tls://" + e.hostPort() },
		"openssl": func(e endpoint) string {
			return words("openssl", "s_client", "-quiet", "-connect", fmt.Sprintf("%s:%d", e.address(), e.Port), "-servername", e.Host, option("-CAfile", e.ca))
		},
	},
}

func formsHelp() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(dialects)) {
		fmt.Fprintf(&b, "  %-9s %s\n", name, strings.Join(slices.Sorted(maps.Keys(dialects[name])), ", "))
	}
	return b.String()
}

func (c *cli) connect(ctx context.Context, id string, o connect) error {
	list, err := c.endpoints(ctx, id, o)
	if err != nil {
		return err
	}
	if c.asJSON {
		return c.printEndpoints(list)
	}
	for _, e := range list {
		render, ok := dialects[e.Protocol][o.form]
		if !ok {
			return fmt.Errorf("there is no form %q for %s; there are %s", o.form, e.Protocol, strings.Join(slices.Sorted(maps.Keys(dialects[e.Protocol])), ", "))
		}
		fmt.Fprintln(c.out, render(e))
	}
	return nil
}

// printEndpoints prints every form of every endpoint.
func (c *cli) printEndpoints(list []endpoint) error {
	type shown struct {
		endpoint

		Forms map[string]string `json:"forms"`
	}
	all := make([]shown, 0, len(list))
	for _, e := range list {
		forms := map[string]string{}
		for name, render := range dialects[e.Protocol] {
			forms[name] = render(e)
		}
		all = append(all, shown{endpoint: e, Forms: forms})
	}
	return c.printJSON(all)
}

// endpoints returns where a pod can be reached.
func (c *cli) endpoints(ctx context.Context, id string, o connect) ([]endpoint, error) {
	s, err := c.session()
	if err != nil {
		return nil, err
	}
	cl, err := c.client()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	p, err := cl.DerivedPod(ctx, id)
	if err != nil {
		return nil, err
	}
	e := endpoint{
		Port: cmp.Or(o.port, s.EdgePort, 443), ca: cmp.Or(o.ca, s.EdgeCA), user: p.PodID, database: o.database,
	}
	if o.password {
		made, err := cl.Credentials(ctx, id)
		if err != nil {
			return nil, err
		}
		e.user, e.password = made.Username, made.Password
	}
	return choose(p, e, o)
}

// choose returns an endpoint for each networking entry that is asked for.
func choose(p client.Pod, e endpoint, o connect) ([]endpoint, error) {
	if _, known := dialects[o.protocol]; o.protocol != "" && !known {
		return nil, fmt.Errorf("protocol %q is not known; there are %s", o.protocol, strings.Join(slices.Sorted(maps.Keys(dialects)), ", "))
	}
	if _, ok := p.Networking[o.network]; o.network != "" && !ok {
		return nil, fmt.Errorf("%s has no networking entry %q; it has %s", p.PodID, o.network, strings.Join(slices.Sorted(maps.Keys(p.Networking)), ", "))
	}
	var list []endpoint
	for _, key := range slices.Sorted(maps.Keys(p.Networking)) {
		n := p.Networking[key]
		if (o.network != "" && o.network != key) || n.Protocol == "local_only" {
			continue
		}
		e.Network, e.Host, e.login = key, n.URL, n.TapisAuth
		e.Protocol = cmp.Or(o.protocol, spoken(n.Protocol, p))
		list = append(list, e)
	}
	if len(list) == 0 {
		return nil, errors.New("the pod can be reached inside the cluster only: its protocol is local_only")
	}
	return list, nil
}

// wellKnown are the protocols of programs, by a word of their image or template.
var wellKnown = []struct{ word, protocol string }{
	{"neo4j", "bolt"}, {"mongo", "mongodb"}, {"redis", "redis"}, {"valkey", "redis"},
}

// spoken guesses what a pod speaks.
func spoken(protocol string, p client.Pod) string {
	if protocol != "tcp" {
		return protocol
	}
	for _, w := range wellKnown {
		if strings.Contains(p.Image, w.word) || strings.Contains(p.Template, w.word) {
			return w.protocol
		}
	}
	return "tls"
}
