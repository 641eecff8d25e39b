package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/tapis-project/podway/podctl/client"
)

// cli is one run of the program.
type cli struct {
	in       io.Reader
	out, err io.Writer
	getenv   func(string) string

	// Flags of every command.
	url    string
	asJSON bool
	admin  bool
}

// exitError ends the program with a code and without a message.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// callTimeout bounds calls that neither stream nor carry files.
const callTimeout = 2 * time.Minute

func (c *cli) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "podctl",
		Short: "Long-lived services by one command",
		Long: "podctl makes, watches and reaches pods: databases, notebooks, web services, each at its own host name.\n" +
			"Log in first: podctl login --url https://tacc.tapis.io --user NAME",
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetIn(c.in)
	root.SetOut(c.out)
	root.SetErr(c.err)
	flags := root.PersistentFlags()
	flags.StringVar(&c.url, "url", "", "base URL of the Tapis, instead of the one of the login (PODCTL_URL)")
	flags.BoolVar(&c.asJSON, "json", false, "print what the API answers, as JSON")
	flags.BoolVar(&c.admin, "admin", false, "act as an admin of the tenant; needs the role for it")
	root.AddCommand(
		c.loginCommand(), c.logoutCommand(),
		c.createCommand(), c.listCommand(), c.getCommand(), c.deleteCommand(),
		c.startCommand(), c.stopCommand(), c.restartCommand(),
		c.logsCommand(), c.execCommand(), c.credentialsCommand(), c.connectCommand(), c.doctorCommand(), c.tunnelCommand(),
		c.templatesCommand(), c.imagesCommand(), c.volumesCommand(), c.domainsCommand(),
		c.trustCommand(systemTrust{dir: trustDir, update: []string{"update-ca-certificates"}}),
	)
	return root
}

// complain tells what went wrong, and what to do about it where that is known.
func (c *cli) complain(err error) {
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintf(c.err, "podctl: %s\n", strings.TrimRight(line, "\n"))
	}
	e, ok := errors.AsType[*client.Error](err)
	switch {
	case !ok:
	case e.Status == http.StatusUnauthorized:
		fmt.Fprintln(c.err, "podctl: log in again: podctl login")
	case e.RetryAfter > 0:
		fmt.Fprintf(c.err, "podctl: try again in %v\n", e.RetryAfter)
	case e.Status >= http.StatusInternalServerError && e.RequestID != "":
		fmt.Fprintf(c.err, "podctl: the service's operators find this under request id %s\n", e.RequestID)
	}
}

// session returns who is logged in.
func (c *cli) session() (session, error) {
	s, err := c.loadSession()
	if err != nil {
		return session{}, err
	}
	s.URL = cmp.Or(c.url, c.getenv("PODCTL_URL"), s.URL)
	if token := c.getenv("PODCTL_TOKEN"); token != "" {
		s.Token, s.ExpiresAt = token, time.Time{}
	}
	switch {
	case s.URL == "" || s.Token == "":
		return session{}, errors.New("nobody is logged in; run: podctl login --url https://tacc.tapis.io --user NAME")
	case !s.ExpiresAt.IsZero() && time.Now().After(s.ExpiresAt):
		return session{}, fmt.Errorf("the login of %s has expired; run: podctl login", s.User)
	}
	return s, nil
}

// client returns a client for who is logged in.
func (c *cli) client() (*client.Client, error) {
	s, err := c.session()
	if err != nil {
		return nil, err
	}
	cl := client.New(s.URL, s.Token)
	cl.Admin = c.admin
	return cl, nil
}

// show calls the API and prints the result: as JSON if asked for, else as
// printResult does.
func show[T any](ctx context.Context, c *cli, method, path string, body any, printResult func(T) error) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	a, err := cl.Call(ctx, method, path, body)
	if err != nil {
		return err
	}
	if c.asJSON {
		return c.printJSON(a.Result)
	}
	var result T
	if err := json.Unmarshal(a.Result, &result); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	return printResult(result)
}

// printJSON prints a result indented, with the fields in the order they came in.
func (c *cli) printJSON(v any) error {
	enc := json.NewEncoder(c.out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// table prints rows under a header.
func (c *cli) table(header string, rows func(row func(cells ...string))) error {
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, header)
	rows(func(cells ...string) {
		for i, cell := range cells {
			cells[i] = plain(cell)
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	})
	return w.Flush()
}

// plain keeps texts of others from steering the terminal.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || (r >= 0x7f && r < 0xa0) {
			return ' '
		}
		return r
	}, s)
}

// terminal returns the file behind a reader or writer if that is a terminal.
func terminal(v any) (*os.File, bool) {
	f, ok := v.(*os.File)
	return f, ok && term.IsTerminal(int(f.Fd()))
}

// completePods offers the ids of pods to the shell.
func (c *cli) completePods(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return c.complete(cmd, func(ctx context.Context, cl *client.Client) (names []string, err error) {
		list, err := cl.Pods(ctx, "")
		for _, p := range list {
			names = append(names, p.PodID)
		}
		return names, err
	})
}

// complete offers names that the service knows.
func (c *cli) complete(cmd *cobra.Command, names func(context.Context, *client.Client) ([]string, error)) ([]string, cobra.ShellCompDirective) {
	cl, err := c.client()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), 5*time.Second)
	defer cancel()
	list, err := names(ctx, cl)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return list, cobra.ShellCompDirectiveNoFileComp
}
