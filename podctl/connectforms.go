package main

import (
	"fmt"
	"net/url"
	"strings"
)

// hostPort is the host, with its port even if that is the usual one.
func (e endpoint) hostPort() string { return fmt.Sprintf("%s:%d", e.Host, e.Port) }

// authority is the host, with its port unless it is that of https.
func (e endpoint) authority() string {
	if e.Port == 443 {
		return e.Host
	}
	return e.hostPort()
}

// onThisMachine reports whether the host is one of a development system. Not
// every resolver knows those.
func (e endpoint) onThisMachine() bool { return strings.HasSuffix(e.Host, ".localhost") }

// address is what a resolver can find.
func (e endpoint) address() string {
	if e.onThisMachine() {
		return "127.0.0.1"
	}
	return e.Host
}

// userInfo is the part of a URL before the host.
func (e endpoint) userInfo() string {
	if e.password == "" {
		return url.User(e.user).String() + "@"
	}
	return url.UserPassword(e.user, e.password).String() + "@"
}

// hostAddr is libpq's way to connect somewhere else than the name says.
func (e endpoint) hostAddr() string {
	if e.onThisMachine() {
		return e.address()
	}
	return ""
}

// rootCert is libpq's: since version 16 it can use the system's roots.
func (e endpoint) rootCert() string {
	if e.ca == "" {
		return "system"
	}
	return e.ca
}

func (e endpoint) postgresURL() string {
	return "postgresql://" + e.userInfo() + e.hostPort() + "/" + url.PathEscape(e.database) + "?" +
		query("hostaddr", e.hostAddr(), "sslmode", "verify-full", "sslrootcert", e.rootCert())
}

func (e endpoint) psql() string {
	var parts []string
	for _, kv := range [][2]string{
		{"host", e.Host},
		{"hostaddr", e.hostAddr()},
		{"port", fmt.Sprint(e.Port)},
		{"user", e.user},
		{"password", e.password},
		{"dbname", e.database},
		{"sslmode", "verify-full"},
		{"sslrootcert", e.rootCert()},
	} {
		if kv[1] != "" {
			parts = append(parts, kv[0]+"="+libpqQuote(kv[1]))
		}
	}
	return strings.Join(parts, " ")
}

// libpqQuote writes a value of a connection string.
func libpqQuote(s string) string {
	if !strings.ContainsAny(s, ` '\`) {
		return s
	}
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

func (e endpoint) curl() string {
	resolve := ""
	if e.onThisMachine() {
		resolve = e.hostPort() + ":" + e.address()
	}
	return words("curl", option("--cacert", e.ca), option("--resolve", resolve), "https://"+e.authority()+"/")
}

// query writes the parameters of a URL that have a value, in their order.
func query(pairs ...string) string {
	var parts []string
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			parts = append(parts, pairs[i]+"="+strings.ReplaceAll(url.QueryEscape(pairs[i+1]), "%2F", "/"))
		}
	}
	return strings.Join(parts, "&")
}

// option is a flag with its value, or nothing if it has none.
func option(flag, value string) string {
	if value == "" {
		return ""
	}
	return flag + " " + shellQuote(value)
}

// words joins what is not empty.
func words(list ...string) string {
	var kept []string
	for _, w := range list {
		if w != "" {
			kept = append(kept, w)
		}
	}
	return strings.Join(kept, " ")
}

// shellQuote writes a word as shells read it.
func shellQuote(s string) string {
	safe := func(r rune) bool {
		return r < 0x80 && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:=@+,", r))
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !safe(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
