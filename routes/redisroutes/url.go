package redisroutes

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// ParseURL reads the address of a Redis:
//
//	redis://127.0.0.1:6379                      one server, no TLS
//	rediss://user:password@redis.example/2      TLS, ACL user, database 2
//	rediss://:password@a,b,c:26379?master=main  Sentinel: its addresses, the master's name
//	rediss://:password@a:7000,b:7000?cluster=true
//	rediss://user:password@redis.example?ca=/etc/redis/ca.crt&cert=/etc/redis/client.crt&key=/etc/redis/client.key
//
// The port defaults to 6379, or 26379 for Sentinel. Sentinels with a login of
// their own take it from sentinel_user and sentinel_password. With TLS, ca is a
// file of the certificates to trust (default: the system's), and cert and key are
// the files of a client certificate, read again for each connection. Errors never
// hold the URL, which may carry a password.
func ParseURL(s string) (*redis.UniversalOptions, error) {
	o, err := parseURL(s)
	if err != nil {
		return nil, fmt.Errorf("parsing redis url: %w", err)
	}
	return o, nil
}

func parseURL(s string) (*redis.UniversalOptions, error) {
	// net/url knows no list of hosts, so the list is taken out first.
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok || (scheme != "redis" && scheme != "rediss") {
		return nil, errors.New(`it must begin with "redis://" or "rediss://"`)
	}
	end := len(rest)
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		end = i
	}
	begin := strings.LastIndexByte(rest[:end], '@') + 1
	u, err := url.Parse(scheme + "://" + rest[:begin] + "hosts" + rest[end:])
	if err != nil {
		return nil, errors.New(`its user, password, path or query is malformed; write special characters as %XX`)
	}

	o := &redis.UniversalOptions{
		// Readers follow moves of a server by reconnecting.
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	files, err := setQuery(o, u.RawQuery)
	if err != nil {
		return nil, err
	}
	if o.Addrs, err = parseAddrs(rest[begin:end], o.MasterName != ""); err != nil {
		return nil, err
	}
	if len(o.Addrs) > 1 && o.MasterName == "" && !o.IsClusterMode {
		return nil, errors.New("several hosts need ?master=<name> (Sentinel) or ?cluster=true")
	}
	o.Username = u.User.Username()
	o.Password, _ = u.User.Password()
	if db := strings.Trim(u.Path, "/"); db != "" {
		if o.DB, err = strconv.Atoi(db); err != nil || o.DB < 0 {
			return nil, fmt.Errorf("the database %q is not a number", db)
		}
	}
	if o.DB != 0 && o.IsClusterMode {
		return nil, errors.New("a cluster has no databases but 0")
	}
	if scheme == "redis" && files != (tlsFiles{}) {
		return nil, errors.New(`ca, cert and key need "rediss://"`)
	}
	if scheme == "rediss" {
		if o.TLSConfig, err = files.config(); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// setQuery reads the settings behind the question mark. It returns those of TLS.
func setQuery(o *redis.UniversalOptions, raw string) (tlsFiles, error) {
	var files tlsFiles
	query, err := url.ParseQuery(raw)
	if err != nil {
		return files, errors.New("its query is malformed")
	}
	for name := range query {
		value := query.Get(name)
		switch name {
		case "master":
			o.MasterName = value
		case "sentinel_user":
			o.SentinelUsername = value
		case "sentinel_password":
			o.SentinelPassword = value
		case "cluster":
			if o.IsClusterMode, err = strconv.ParseBool(value); err != nil {
				return files, errors.New("cluster is neither true nor false")
			}
		case "ca":
			files.ca = value
		case "cert":
			files.cert = value
		case "key":
			files.key = value
		default:
			return files, fmt.Errorf("unknown setting %q; master, cluster, sentinel_user, sentinel_password, ca, cert and key are known", name)
		}
	}
	if o.MasterName != "" && o.IsClusterMode {
		return files, errors.New("master and cluster exclude each other")
	}
	return files, nil
}

func parseAddrs(list string, sentinel bool) ([]string, error) {
	defaultPort := "6379"
	if sentinel {
		defaultPort = "26379"
	}
	var addrs []string
	for a := range strings.SplitSeq(list, ",") {
		host, port, err := net.SplitHostPort(a)
		if err != nil {
			host, port, err = net.SplitHostPort(a + ":" + defaultPort)
		}
		if err != nil || host == "" || (strings.Contains(host, ":") && !isIP(host)) {
			return nil, fmt.Errorf("%q is not a host or host:port", a)
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return nil, fmt.Errorf("%q: the port is not between 1 and 65535", a)
		}
		addrs = append(addrs, net.JoinHostPort(host, port))
	}
	return addrs, nil
}

func isIP(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

// CheckExposed returns an error if o reaches a Redis beyond this machine without
// TLS or without a password: whoever can write there decides where traffic goes.
func CheckExposed(o *redis.UniversalOptions) error {
	for _, a := range o.Addrs {
		host, _, err := net.SplitHostPort(a)
		if err != nil {
			host = a
		}
		if ip, err := netip.ParseAddr(host); host == "localhost" || (err == nil && ip.IsLoopback()) {
			continue
		}
		if o.TLSConfig == nil || (o.Password == "" && o.CredentialsProvider == nil && o.CredentialsProviderContext == nil) {
			return fmt.Errorf("redis at %s is reached over the network and needs TLS and a password: rediss://user:password@%s", a, a)
		}
	}
	return nil
}
