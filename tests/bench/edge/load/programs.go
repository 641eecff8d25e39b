package load

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"regexp"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// HTTP1 makes requests with h2load over 16 HTTP/1.1 connections for a time.
func HTTP1(ctx context.Context, t Target, d time.Duration) (Result, error) {
	return requests(ctx, t, d, "--h1", "-c16", "-m1")
}

// HTTP2 makes requests with h2load over 8 HTTP/2 connections, 16 at once on each,
// for a time.
func HTTP2(ctx context.Context, t Target, d time.Duration) (Result, error) {
	return requests(ctx, t, d, "-c8", "-m16")
}

// requests makes requests with h2load for a time with one thread, and one before
// to see that it is the upstream that answers.
func requests(ctx context.Context, t Target, d time.Duration, args ...string) (Result, error) {
	if err := CheckAnswer(ctx, t); err != nil {
		return Result{}, err
	}
	if t.Cookie != "" {
		args = append(args, "-Hcookie: "+t.Cookie)
	}
	args = append(args, "-t1", "--connect-to="+t.Addr, "https://"+t.Host+"/", "-D")
	for ; ; d *= 2 {
		out, err := runProgram(ctx, "h2load", append(args, fmt.Sprintf("%dms", d.Milliseconds()))...)
		if err != nil {
			return Result{}, err
		}
		res, err := parseH2load(out, d)
		if !errors.Is(err, errNothingDone) || d >= opTimeout/4 {
			return res, err
		}
	}
}

// errNothingDone is the error of a load that ended before its first response: it was
// short, and the machine is busy with other things.
var errNothingDone = errors.New("no request was answered in time")

// CheckAnswer makes a request and compares the answer with the upstream's.
func CheckAnswer(ctx context.Context, t Target) error {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+t.Host+"/", http.NoBody)
	if err != nil {
		return fmt.Errorf("making a request: %w", err)
	}
	if t.Cookie != "" {
		req.Header.Set("Cookie", t.Cookie)
	}
	tr := &http.Transport{
		TLSClientConfig: t.tlsConfig(), DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer().DialContext(ctx, "tcp", t.Addr)
		},
	}
	res, err := tr.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("making a request: %w", err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err == nil && string(got) != body {
		err = fmt.Errorf("%s with %d bytes is not the upstream's answer", res.Status, len(got))
	}
	if err != nil {
		return fmt.Errorf("making a request to %s: %w", t.Addr, err)
	}
	return nil
}

var h2loadLine = regexp.MustCompile(`requests: .*?(\d+) succeeded, (\d+) failed`)

// parseH2load reads the counts of h2load. It may say that some failed which were
// under way at the end, so failures are an error only if there are many.
func parseH2load(out string, d time.Duration) (Result, error) {
	m := h2loadLine.FindStringSubmatch(out)
	if m == nil {
		return Result{}, fmt.Errorf("reading the output of h2load: no line of requests in %q", last(out))
	}
	ok, err1 := strconv.Atoi(m[1])
	failed, err2 := strconv.Atoi(m[2])
	if err := errors.Join(err1, err2); err != nil {
		return Result{}, fmt.Errorf("reading the output of h2load: %w", err)
	}
	if ok == 0 && failed == 0 {
		return Result{}, fmt.Errorf("making requests with h2load: %w", errNothingDone)
	}
	if ok == 0 || failed > ok/100 {
		return Result{}, fmt.Errorf("making requests with h2load: %d succeeded, %d failed", ok, failed)
	}
	return Result{Ops: float64(ok), Failed: failed, Took: d}, nil
}

// Database is a PostgreSQL to connect to, in plaintext or through an edge.
type Database struct {
	Target

	TLS bool // ask for TLS as PostgreSQL clients do
}

// PostgresConnects opens database connections for a time, one after the other;
// each asks "select 1" and ends.
func PostgresConnects(ctx context.Context, db Database, d time.Duration) (Result, error) {
	cfg, err := db.config()
	if err != nil {
		return Result{}, err
	}
	return repeat(ctx, 1, d, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, opTimeout)
		defer cancel()
		c, err := pgconn.ConnectConfig(ctx, cfg)
		if err != nil {
			return fmt.Errorf("connecting to the database: %w", err)
		}
		_, err = c.Exec(ctx, "select 1").ReadAll()
		return errors.Join(err, c.Close(ctx))
	})
}

func (db Database) config() (*pgconn.Config, error) {
	cfg, err := pgconn.ParseConfig("postgres://postgres@" + db.Addr + "/postgres?sslmode=disable")
	if err != nil {
		return nil, fmt.Errorf("making the settings of a database connection: %w", err)
	}
	if db.TLS {
		cfg.TLSConfig = db.tlsConfig()
		// PostgreSQL 15 itself knows no X25519.
		cfg.TLSConfig.CurvePreferences = []tls.CurveID{tls.X25519, tls.CurveP256}
	}
	return cfg, nil
}

// Pgbench runs the select-only script of pgbench for a time; connect has each
// transaction use a connection of its own, otherwise there are four for all of
// it. The tables have to be there, see [PgbenchTables].
func Pgbench(ctx context.Context, db Database, connect bool, d time.Duration) (Result, error) {
	args := []string{"-n", "-S", "-T", strconv.Itoa(max(1, int(d.Round(time.Second).Seconds())))}
	if connect {
		args = append(args, "-C", "-c", "1")
	} else {
		args = append(args, "-c", "4", "-j", "1")
	}
	out, err := runProgram(ctx, "pgbench", append(args, db.conninfo())...)
	if err != nil {
		return Result{}, err
	}
	return parsePgbench(out)
}

// PgbenchTables makes the tables that [Pgbench] reads.
func PgbenchTables(ctx context.Context, db Database) error {
	_, err := runProgram(ctx, "pgbench", "-i", "-q", "-s", "1", db.conninfo())
	return err
}

func (db Database) conninfo() string {
	host, port, _ := net.SplitHostPort(db.Addr)
	mode := "disable"
	if db.TLS {
		mode = "require"
	}
	return fmt.Sprintf("host=%s hostaddr=%s port=%s sslmode=%s user=postgres dbname=postgres", db.Host, host, port, mode)
}

var (
	pgbenchCount = regexp.MustCompile(`transactions actually processed: (\d+)`)
	pgbenchRate  = regexp.MustCompile(`tps = ([\d.]+)`)
)

// parsePgbench reads count and rate; the rate is without the time of the first
// connects, unless connects are part of the work.
func parsePgbench(out string) (Result, error) {
	count, rate := pgbenchCount.FindStringSubmatch(out), pgbenchRate.FindStringSubmatch(out)
	if count == nil || rate == nil {
		return Result{}, fmt.Errorf("reading the output of pgbench: no count or rate in %q", last(out))
	}
	n, err1 := strconv.ParseFloat(count[1], 64)
	tps, err2 := strconv.ParseFloat(rate[1], 64)
	if err := errors.Join(err1, err2); err != nil || n == 0 || tps == 0 {
		return Result{}, fmt.Errorf("reading the output of pgbench: %s transactions, %s a second: %w", count[1], rate[1], err)
	}
	return Result{Ops: n, Took: time.Duration(n / tps * float64(time.Second))}, nil
}

// runWithin bounds the run of a program.
const runWithin = 2 * time.Minute

// runProgram runs a program to its end and returns what it said.
func runProgram(ctx context.Context, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, runWithin)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("running %s: %w: %s", name, err, last(string(out)))
	}
	return string(out), nil
}

// last returns the end of a program's output, for an error message.
func last(out string) string { return out[max(0, len(out)-500):] }
