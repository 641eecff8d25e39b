// Package config reads the settings of the control plane from the environment.
//
// Everything has a name that starts with PODWAY_. [FromEnv] reports all
// problems at once, each naming its variable, so that an admin mends a
// deployment in one go.
package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Config is everything the control plane can be told.
type Config struct {
	// Listen is the address of the API, "host:port". PODWAY_LISTEN.
	// Default: "127.0.0.1:8000".
	Listen string

	// Store is where the desired state is kept: "sqlite:FILE" or
	// "postgres://…". PODWAY_STORE. Default: "sqlite:podway.db".
	Store string

	// KeyFile holds the keys that encrypt secrets in the store.
	// PODWAY_KEY_FILE. Default: "podway.key".
	KeyFile string

	// RedisURL is where routes are published. PODWAY_REDIS_URL.
	// Default: "redis://127.0.0.1:6379".
	RedisURL string

	// Namespace separates several Podways on one Redis. PODWAY_NAMESPACE.
	// Default: "default".
	Namespace string

	// Cluster is what runs the pods: "local" or "kubernetes". PODWAY_CLUSTER.
	// Default: "local".
	Cluster string

	// Kube is for the cluster "kubernetes".
	Kube Kube

	// StateDir holds what the local cluster keeps. PODWAY_STATE_DIR.
	// Default: ".run".
	StateDir string

	// VolumesDir is the folder with all volumes and snapshots, which pods mount
	// too. PODWAY_VOLUMES_DIR. Default: "", the folder volumes in StateDir.
	VolumesDir string

	// VolumeGraceHours is how long the files of a deleted volume are kept.
	// PODWAY_VOLUME_GRACE_HOURS. Default: 24.
	VolumeGraceHours int

	// MaxVolumeMB bounds the size limit that a user may give a volume, in MiB.
	// PODWAY_VOLUME_MAX_MB. Default: 102400.
	MaxVolumeMB int

	// Site is the Tapis site this control plane serves. PODWAY_SITE.
	// Default: "dev".
	Site string

	// TapisURL is the Tapis whose tenants and keys count. PODWAY_TAPIS_URL.
	// Required by serve; dev mode brings its own.
	TapisURL string

	// GateKeyFile holds the keys that the login gate seals with, the same as those
	// of the edges. PODWAY_GATE_KEY_FILE. Default: "", PODWAY_GATE_KEY counts.
	GateKeyFile string

	// GateKey holds the keys themselves. PODWAY_GATE_KEY. Default: "". Without keys
	// nobody can log in to pods.
	GateKey string

	// Service is our own account in Tapis, which keeps the OAuth2 clients that
	// logins need.
	Service Service

	// Images are allowed for every tenant, besides those the local cluster
	// knows. PODWAY_IMAGES, comma separated.
	Images []string

	// MainTenants are those that "*" stands for in the tenants of an image.
	// PODWAY_MAIN_TENANTS, comma separated. Default: those of the public service.
	MainTenants []string

	// AdminTenants are those whose admins may change what all tenants share: the
	// list of images and the built-in templates. PODWAY_ADMIN_TENANTS, comma
	// separated. Default: all tenants.
	AdminTenants []string

	// AllowedOrigins may call the API from a browser. PODWAY_ALLOWED_ORIGINS,
	// comma separated. Default: none.
	AllowedOrigins []string

	// MutationsPerMinute bounds the changes one user may make. 0 means no limit.
	// PODWAY_MUTATIONS_PER_MINUTE. Default: 60.
	MutationsPerMinute int

	// DNSServers are asked about custom domains, "host:port" or "host".
	// PODWAY_DNS_SERVERS, comma separated. Default: those of /etc/resolv.conf.
	DNSServers []string

	// BaseDomains are names of the installation, which can be no custom domain, nor
	// can what is below. PODWAY_BASE_DOMAINS, comma separated. Default: none.
	BaseDomains []string

	// DomainRecheck is the number of seconds between two checks of a custom domain
	// that is verified. PODWAY_DOMAIN_RECHECK. Default: 3600.
	DomainRecheck int

	// LogLevel is debug, info, warn or error. PODWAY_LOG_LEVEL. Default: info.
	LogLevel slog.Level
}

// FromEnv reads the configuration through getenv, usually [os.Getenv].
func FromEnv(getenv func(string) string) (Config, error) {
	r := reader{getenv: getenv}
	c := Config{
		Listen:             r.str("PODWAY_LISTEN", "127.0.0.1:8000"),
		Store:              r.str("PODWAY_STORE", "sqlite:podway.db"),
		KeyFile:            r.str("PODWAY_KEY_FILE", "podway.key"),
		RedisURL:           r.str("PODWAY_REDIS_URL", "redis://127.0.0.1:6379"),
		Namespace:          r.str("PODWAY_NAMESPACE", "default"),
		Cluster:            r.oneOf("PODWAY_CLUSTER", "local", "kubernetes"),
		Kube:               r.kube(),
		StateDir:           r.str("PODWAY_STATE_DIR", ".run"),
		VolumesDir:         r.str("PODWAY_VOLUMES_DIR", ""),
		VolumeGraceHours:   r.integer("PODWAY_VOLUME_GRACE_HOURS", 24, 1, 24*365),
		MaxVolumeMB:        r.integer("PODWAY_VOLUME_MAX_MB", 100<<10, 1, 1<<30),
		Site:               r.str("PODWAY_SITE", "dev"),
		TapisURL:           strings.TrimSuffix(r.url("PODWAY_TAPIS_URL"), "/"),
		GateKeyFile:        r.str("PODWAY_GATE_KEY_FILE", ""),
		GateKey:            r.str("PODWAY_GATE_KEY", ""),
		Service:            r.service(),
		Images:             r.list("PODWAY_IMAGES"),
		MainTenants:        r.list("PODWAY_MAIN_TENANTS"),
		AdminTenants:       r.list("PODWAY_ADMIN_TENANTS"),
		AllowedOrigins:     r.list("PODWAY_ALLOWED_ORIGINS"),
		MutationsPerMinute: r.integer("PODWAY_MUTATIONS_PER_MINUTE", 60, 0, 1_000_000),
		DNSServers:         r.list("PODWAY_DNS_SERVERS"),
		BaseDomains:        r.domains("PODWAY_BASE_DOMAINS"),
		DomainRecheck:      r.integer("PODWAY_DOMAIN_RECHECK", 3600, 1, 86_400),
		LogLevel:           r.level("PODWAY_LOG_LEVEL"),
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		r.bad("PODWAY_LISTEN", "%q is not host:port, for example 127.0.0.1:8000", c.Listen)
	}
	return c, errors.Join(r.errs...)
}

// Port reads a TCP port from the environment.
func Port(getenv func(string) string, name string, def int) (int, error) {
	r := reader{getenv: getenv}
	return r.integer(name, def, 1, 65535), errors.Join(r.errs...)
}

// reader collects problems while it reads variables.
type reader struct {
	getenv func(string) string
	errs   []error
}

func (r *reader) bad(name, format string, args ...any) {
	r.errs = append(r.errs, fmt.Errorf("%s: %s", name, fmt.Sprintf(format, args...)))
}

func (r *reader) str(name, def string) string {
	if v := strings.TrimSpace(r.getenv(name)); v != "" {
		return v
	}
	return def
}

// oneOf reads a choice; the first is the default.
func (r *reader) oneOf(name string, choices ...string) string {
	v := r.str(name, choices[0])
	if !slices.Contains(choices, v) {
		r.bad(name, "%q is not one of: %s", v, strings.Join(choices, ", "))
	}
	return v
}

func (r *reader) list(name string) []string {
	var out []string
	for v := range strings.SplitSeq(r.getenv(name), ",") {
		if v = strings.TrimSpace(v); v != "" {
			out = append(out, v)
		}
	}
	return out
}

// domains reads a list of host names, in lower case.
func (r *reader) domains(name string) []string {
	list := r.list(name)
	for i, v := range list {
		list[i] = strings.ToLower(strings.Trim(v, "."))
		if strings.ContainsAny(list[i], ":/*@ ") || !strings.Contains(list[i], ".") {
			r.bad(name, "%q is not a domain such as pods.example.org", v)
		}
	}
	return list
}

func (r *reader) integer(name string, def, low, high int) int {
	v := r.str(name, strconv.Itoa(def))
	n, err := strconv.Atoi(v)
	if err != nil || n < low || n > high {
		r.bad(name, "%q is not a whole number from %d to %d", v, low, high)
		return def
	}
	return n
}

func (r *reader) url(name string) string {
	v := r.str(name, "")
	if v == "" {
		return ""
	}
	if u, err := url.Parse(v); err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		r.bad(name, "%q is not a URL that starts with http:// or https://", v)
	}
	return v
}

func (r *reader) level(name string) slog.Level {
	var l slog.Level
	if err := l.UnmarshalText([]byte(r.str(name, "info"))); err != nil {
		r.bad(name, "%q is not one of: debug, info, warn, error", r.getenv(name))
	}
	return l
}
