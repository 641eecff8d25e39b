package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/tapis-project/podway/controlplane/internal/config"
	"github.com/tapis-project/podway/routes/redisroutes"
)

// answerTimeout is how long edges have to answer.
const answerTimeout = 10 * time.Second

// admin is one run of a command that looks after edges.
type admin struct {
	fleet  *redisroutes.Fleet
	out    io.Writer
	asJSON bool
	edge   string // "" for all
	host   string
	limit  int
	id     uint64
}

func adminCommand() *cobra.Command {
	a := new(admin)
	cmd := &cobra.Command{
		Use:   "admin",
		Short: "Look after the edges, by way of Redis (PODWAY_REDIS_URL)",
		Long: `Look after the edges. They may be anywhere: they announce themselves in Redis, and
read there what they are told. docs/operations/edges.md shows all of it.`,
	}
	cmd.PersistentFlags().BoolVar(&a.asJSON, "json", false, "print JSON")
	edges := a.command("edges", "List the edges, and how they are", a.edges)
	published := a.command("routes [HOST]", "List the published routes, or with --edge those that an edge has", a.routes)
	published.Args = cobra.MaximumNArgs(1)
	sessions := a.command("sessions", "List what goes on at the edges, oldest first", a.sessions)
	drain := a.command("drain", "Make an edge accept no more connections; what goes on goes on", a.drain)
	kick := a.command("kick", "End the sessions of a host, or one session of an edge", a.kick)
	for _, c := range []*cobra.Command{published, sessions, drain, kick} {
		c.Flags().StringVar(&a.edge, "edge", "", "name of an edge, as `podway admin edges` lists it, with or without what follows the slash")
	}
	for _, c := range []*cobra.Command{sessions, kick} {
		c.Flags().StringVar(&a.host, "host", "", "only those of this host")
	}
	for _, c := range []*cobra.Command{published, sessions} {
		c.Flags().IntVar(&a.limit, "limit", 100, "at most so many of each edge, up to 1000")
	}
	kick.Flags().Uint64Var(&a.id, "session", 0, "the session of this id; needs --edge")
	cmd.AddCommand(edges, published, sessions, drain, kick)
	return cmd
}

// command makes a command that is connected to Redis while it runs.
func (a *admin) command(use, short string, run func(context.Context) error) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, args []string) error {
		c, err := config.FromEnv(os.Getenv)
		if err != nil {
			return err
		}
		opts, err := redisroutes.ParseURL(c.RedisURL)
		if err != nil {
			return err
		}
		if err := redisroutes.CheckExposed(opts); err != nil {
			return err
		}
		client := redis.NewUniversalClient(opts)
		defer client.Close()
		if a.fleet, err = redisroutes.NewFleet(client, c.Namespace); err != nil {
			return err
		}
		a.out = cmd.OutOrStdout()
		if len(args) > 0 {
			a.host = args[0]
		}
		return run(cmd.Context())
	}}
}

// listed is an edge as it is shown.
type listed struct {
	redisroutes.EdgeStatus

	Silent bool `json:"silent"`
	Behind bool `json:"behind"` // it does not have all that is published
}

// list returns the edges that the command is about, by name.
func (a *admin) list(ctx context.Context) ([]listed, time.Time, error) {
	now, err := a.fleet.Now(ctx)
	if err != nil {
		return nil, now, err
	}
	p, err := a.fleet.Published(ctx)
	if err != nil {
		return nil, now, err
	}
	edges, err := a.fleet.Edges(ctx, now)
	if err != nil {
		return nil, now, err
	}
	all := []listed{}
	for _, e := range edges {
		if a.edge == "" || (redisroutes.EdgeCommand{Edge: a.edge}).For(e.Edge) {
			all = append(all, listed{e, now.Sub(e.At) > redisroutes.EdgeSilentAfter, !e.Synced || e.Epoch != p.Epoch || e.Version < p.Version})
		}
	}
	slices.SortFunc(all, func(x, y listed) int { return cmp.Compare(x.Edge, y.Edge) })
	return all, now, nil
}

func (a *admin) edges(ctx context.Context) error {
	all, now, err := a.list(ctx)
	if err != nil {
		return err
	}
	if a.asJSON {
		return a.printJSON(all)
	}
	return a.table("EDGE\tSTATE\tROUTES\tVERSION\tCONNECTIONS\tSESSIONS\tUP\tHEARD", func(w io.Writer) {
		for _, e := range all {
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d\t%v\t%v ago\n", e.Edge, e.state(), e.Routes, e.Version, e.Connections, e.Sessions,
				e.At.Sub(e.Started).Round(time.Second), now.Sub(e.At).Round(time.Second))
		}
	})
}

func (e listed) state() string {
	switch {
	case e.Silent:
		return "silent"
	case e.Draining:
		return "draining"
	case e.Behind:
		return "behind"
	case !e.Ready:
		return "not ready"
	}
	return "ready"
}

// ask sends a command to the edges it is for that are up, and returns what they
// answer.
func (a *admin) ask(ctx context.Context, c redisroutes.EdgeCommand) ([]redisroutes.EdgeAnswer, error) {
	all, _, err := a.list(ctx)
	if err != nil {
		return nil, err
	}
	up := 0
	for _, e := range all {
		if !e.Silent {
			up++
		}
	}
	if up == 0 {
		return nil, errors.New("no such edge is up; `podway admin edges` lists those that are")
	}
	c.Edge = cmp.Or(a.edge, "*")
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	answers, err := a.fleet.Send(ctx, c, up)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(answers, func(x, y redisroutes.EdgeAnswer) int { return cmp.Compare(x.Edge, y.Edge) })
	var errs []error
	if len(answers) < up {
		errs = append(errs, fmt.Errorf("%d of %d edges did not answer", up-len(answers), up))
	}
	for _, x := range answers {
		if x.Error != "" {
			errs = append(errs, fmt.Errorf("%s: %s", x.Edge, x.Error))
		}
	}
	return answers, errors.Join(errs...)
}

// route is what is shown of a record.
type route struct {
	Host      string   `json:"host"`
	Version   uint64   `json:"version"`
	Tenant    string   `json:"tenant"`
	Pod       string   `json:"pod"`
	Protocol  string   `json:"protocol"`
	State     string   `json:"state"`
	Upstreams []string `json:"upstreams"`
}

func (a *admin) routes(ctx context.Context) error {
	if a.edge != "" {
		return a.routesOfEdge(ctx)
	}
	found := map[string]json.RawMessage{}
	err := a.fleet.Records(ctx, func(host, record string) {
		if a.host == "" || a.host == host {
			found[host] = json.RawMessage(record)
		}
	})
	if err != nil {
		return err
	}
	all, shown := []json.RawMessage{}, []route{}
	for _, host := range slices.Sorted(maps.Keys(found)) {
		var r route
		if json.Unmarshal(found[host], &r) == nil {
			all, shown = append(all, found[host]), append(shown, r)
		}
	}
	if a.host != "" && len(all) == 0 {
		return fmt.Errorf("no route of %s is published", a.host)
	}
	if a.asJSON {
		return a.printJSON(all)
	}
	return a.printRoutes(shown)
}

func (a *admin) routesOfEdge(ctx context.Context) error {
	answers, err := a.ask(ctx, redisroutes.EdgeCommand{Do: redisroutes.CommandRoutes, Host: a.host, Limit: a.limit})
	if a.asJSON || err != nil {
		return errors.Join(a.printJSON(answers), err)
	}
	for _, x := range answers {
		var list struct {
			Routes []route `json:"routes"`
		}
		if err := json.Unmarshal(x.Result, &list); err != nil {
			return fmt.Errorf("reading the answer of %s: %w", x.Edge, err)
		}
		fmt.Fprintf(a.out, "%s:\n", x.Edge)
		if err := a.printRoutes(list.Routes); err != nil {
			return err
		}
	}
	return nil
}

func (a *admin) printRoutes(list []route) error {
	return a.table("HOST\tPOD\tPROTOCOL\tSTATE\tVERSION\tUPSTREAMS", func(w io.Writer) {
		for _, r := range list {
			fmt.Fprintf(w, "%s\t%s/%s\t%s\t%s\t%d\t%s\n", r.Host, r.Tenant, r.Pod, r.Protocol, r.State, r.Version, strings.Join(r.Upstreams, " "))
		}
	})
}

func (a *admin) sessions(ctx context.Context) error {
	answers, err := a.ask(ctx, redisroutes.EdgeCommand{Do: redisroutes.CommandSessions, Host: a.host, Limit: a.limit})
	if a.asJSON || err != nil {
		return errors.Join(a.printJSON(answers), err)
	}
	return a.table("EDGE\tSESSION\tHOST\tPROTOCOL\tCLIENT\tSINCE\tRECEIVED\tSENT", func(w io.Writer) {
		for _, x := range answers {
			var list struct {
				Sessions []struct {
					ID                     uint64
					Host, Protocol, Client string
					Since                  time.Time
					Received, Sent         int64
				}
			}
			if err := json.Unmarshal(x.Result, &list); err != nil {
				fmt.Fprintf(w, "%s\tits answer can't be read: %v\n", x.Edge, err)
				continue
			}
			for _, s := range list.Sessions {
				fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\t%d\t%d\n", x.Edge, s.ID, s.Host, s.Protocol, s.Client, s.Since.UTC().Format(time.DateTime), s.Received, s.Sent)
			}
		}
	})
}

func (a *admin) drain(ctx context.Context) error {
	if a.edge == "" {
		return errors.New("say which edge with --edge; --edge '*' drains all of them, and nobody can connect")
	}
	return a.tell(ctx, redisroutes.EdgeCommand{Do: redisroutes.CommandDrain}, "accepts no more connections; %d sessions go on", "sessions")
}

func (a *admin) kick(ctx context.Context) error {
	switch {
	case (a.host == "") == (a.id == 0):
		return errors.New("say which sessions: --host HOST, or --edge EDGE --session ID")
	case a.id != 0 && a.edge == "":
		return errors.New("ids of sessions are those of one edge: name it with --edge")
	}
	return a.tell(ctx, redisroutes.EdgeCommand{Do: redisroutes.CommandKick, Host: a.host, Session: a.id}, "ended %d sessions", "kicked")
}

// tell sends a command whose answer is a number.
func (a *admin) tell(ctx context.Context, c redisroutes.EdgeCommand, format, count string) error {
	answers, err := a.ask(ctx, c)
	if a.asJSON {
		return errors.Join(a.printJSON(answers), err)
	}
	for _, x := range answers {
		var n map[string]int
		if x.Error == "" && json.Unmarshal(x.Result, &n) == nil {
			fmt.Fprintf(a.out, "%s "+format+"\n", x.Edge, n[count])
		}
	}
	return err
}

func (a *admin) printJSON(v any) error {
	enc := json.NewEncoder(a.out)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return nil
}

func (a *admin) table(head string, rows func(io.Writer)) error {
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, head)
	rows(w)
	if err := w.Flush(); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return nil
}
