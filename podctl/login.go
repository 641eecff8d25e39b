package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/tapis-project/podway/podctl/client"
)

// login is what the command is told.
type login struct {
	user          string
	passwordStdin bool
	edgePort      int
	edgeCA        string
}

func (c *cli) loginCommand() *cobra.Command {
	var l login
	cmd := &cobra.Command{
		Use:   "login",
		Short: "Log in to a Tapis and keep the token",
		Long: "Exchanges name and password for an access token and keeps it in a file that only you may read.\n" +
			"The password is asked for, or read from standard input with --password-stdin; it is not kept.\n" +
			"For a system of your own machine: podctl login --url http://localhost:8000 --user testuser --edge-port 8443 --edge-ca .run/ca.crt",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.login(cmd.Context(), l) },
	}
	f := cmd.Flags()
	f.StringVar(&l.user, "user", "", "name of the user; default: that of the last login")
	f.BoolVar(&l.passwordStdin, "password-stdin", false, "read the password from standard input")
	f.IntVar(&l.edgePort, "edge-port", 0, "port at which pods are reached, if it is not 443")
	f.StringVar(&l.edgeCA, "edge-ca", "", "file with the root certificate of pods, if it is not a public one")
	return cmd
}

func (c *cli) login(ctx context.Context, l login) error {
	last, err := c.loadSession()
	if err != nil {
		last = session{} // a login replaces what can't be read
	}
	s := session{URL: strings.TrimRight(cmp.Or(c.url, c.getenv("PODCTL_URL"), last.URL), "/"), User: cmp.Or(l.user, last.User)}
	if s.URL == "" || s.User == "" {
		return errors.New("say where and who: podctl login --url https://tacc.tapis.io --user NAME")
	}
	if err := checkURL(s.URL); err != nil {
		return err
	}
	if s.URL == last.URL {
		s.EdgePort, s.EdgeCA = last.EdgePort, last.EdgeCA
	}
	s.EdgePort = cmp.Or(l.edgePort, s.EdgePort)
	if l.edgeCA != "" {
		if s.EdgeCA, err = filepath.Abs(l.edgeCA); err != nil {
			return fmt.Errorf("finding the certificate: %w", err)
		}
	}
	password, err := c.password(s.User, l.passwordStdin)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	token, err := client.New(s.URL, "").Login(ctx, s.User, password)
	if err != nil {
		return err
	}
	s.Token, s.ExpiresAt = token.AccessToken, token.ExpiresAt
	if err := c.saveSession(s); err != nil {
		return err
	}
	if c.asJSON {
		return c.printJSON(map[string]any{"url": s.URL, "user": s.User, "expires_at": s.ExpiresAt})
	}
	fmt.Fprintf(c.out, "Logged in to %s as %s until %s.\n", s.URL, s.User, s.ExpiresAt.Local().Format(time.DateTime))
	return nil
}

// checkURL refuses addresses to which a password must not be sent.
func checkURL(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") || strings.Trim(u.Path, "/") != "" {
		return fmt.Errorf("%q is no base URL such as https://tacc.tapis.io", address)
	}
	host := u.Hostname()
	local := host == "localhost" || host == "127.0.0.1" || host == "::1" || strings.HasSuffix(host, ".localhost")
	if u.Scheme == "http" && !local {
		return fmt.Errorf("%s would carry your password in the clear; use https", address)
	}
	return nil
}

// password asks for a password, or reads the first line of standard input.
func (c *cli) password(user string, fromInput bool) (string, error) {
	if f, ok := terminal(c.in); ok && !fromInput {
		fmt.Fprintf(c.err, "Password of %s: ", user)
		b, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(c.err)
		if err != nil {
			return "", fmt.Errorf("reading the password: %w", err)
		}
		return string(b), nil
	}
	if !fromInput {
		return "", errors.New("there is no terminal to ask for the password; use --password-stdin")
	}
	line, err := bufio.NewReader(c.in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("reading the password: %w", err)
	}
	return strings.TrimRight(line, "\r\n"), nil
}

func (c *cli) logoutCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "logout",
		Short: "Forget the login",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return c.removeSession() },
	}
}
