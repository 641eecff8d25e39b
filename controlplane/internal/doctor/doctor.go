// Package doctor examines an installation for `podway doctor`: its settings, the
// store, Redis, the edges, the cluster, the Tapis, the clock and, if asked for,
// the way of a client to a host.
//
//	report := doctor.Examine(ctx, doctor.Options{Config: c})
//	err := report.Print(os.Stdout)
//
// It leaves everything as it is. Each check ends within some seconds, whatever is wrong.
package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/config"
	"github.com/tapis-project/podway/podctl/diagnose"
	"github.com/tapis-project/podway/routes/redisroutes"
)

// The faults that [Examine] finds, besides those of [diagnose.Host].
const (
	FaultConfig             = "config"              // a setting can't be used
	FaultAPI                = "api"                 // the control plane does not answer
	FaultTapis              = "tapis"               // the Tapis does not answer
	FaultVolumes            = "volumes"             // the folder of volumes can't be written
	FaultKeyFile            = "key_file"            // it can't be used
	FaultKeyFileMode        = "key_file_mode"       // others may read it
	FaultStoreUnreachable   = "store_unreachable"   // or it refuses the login
	FaultStoreSchema        = "store_schema"        // it is of another release
	FaultStoreKey           = "store_key"           // it holds what no key of ours opens
	FaultRedisUnreachable   = "redis_unreachable"   //
	FaultRedisLogin         = "redis_login"         // user or password are refused
	FaultRedisRights        = "redis_rights"        // the user may not publish
	FaultRedisReadOnly      = "redis_read_only"     // it is a replica
	FaultRedisFull          = "redis_full"          // it takes nothing any more
	FaultRedisExposed       = "redis_exposed"       // over the network without TLS or password
	FaultRedisEviction      = "redis_eviction"      // it may throw routes away
	FaultClock              = "clock"               // ours and that of Redis differ
	FaultRoutesUnpublished  = "routes_unpublished"  // nothing was ever published
	FaultRoutesIncomplete   = "routes_incomplete"   // not every pod is published again
	FaultEdgeNone           = "edge_none"           // no edge was heard of
	FaultEdgeSilent         = "edge_silent"         // one that was there is not heard of
	FaultEdgeBehind         = "edge_behind"         // its table is not the published one
	FaultEdgeRoutes         = "edge_routes"         // it can't use some records
	FaultEdgeHeld           = "edge_held"           // it serves what Redis lacks
	FaultEdgeDraining       = "edge_draining"       // it accepts no connections
	FaultEdgeCertificate    = "edge_certificate"    // it lacks one
	FaultEdgeClock          = "edge_clock"          // its clock is wrong
	FaultClusterUnreachable = "cluster_unreachable" //
	FaultClusterLogin       = "cluster_login"       // the account is refused
	FaultClusterRights      = "cluster_rights"      // the account may do too little
)

const (
	// checkTimeout bounds the wait for one server.
	checkTimeout = 8 * time.Second

	// maxSkew is how far clocks may differ: tokens and certificates have times.
	maxSkew = 2 * time.Second
)

// Options says what to examine.
type Options struct {
	// Config is that of the control plane.
	Config config.Config

	// Volumes is the folder with all volumes. Required.
	Volumes string

	// API is the base URL of the control plane's API. Default: what Config listens on.
	API string

	// Host to try to reach as a client does. Default: none.
	Host *diagnose.Target

	// Settle is how long an edge may take to get and to announce what was published.
	// Default: 12s.
	Settle time.Duration

	// Now is the clock that is examined. Default: [time.Now].
	Now func() time.Time
}

// Examine runs all checks.
func Examine(ctx context.Context, o Options) *diagnose.Report {
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Settle = cmp.Or(o.Settle, 2*redisroutes.AnnounceEvery+maxSkew)
	r := new(diagnose.Report)
	r.Add(checkStore(ctx, o.Config)...)
	r.Add(checkRedis(ctx, o)...)
	if o.Config.Cluster == "kubernetes" {
		r.Add(checkCluster(ctx, o.Config.Kube)...)
	}
	r.Add(checkVolumes(o.Volumes))
	r.Add(checkTapis(ctx, o.Config))
	r.Add(checkAPI(ctx, o))
	if o.Host != nil {
		r.Add(diagnose.Host(ctx, *o.Host)...)
	}
	return r
}

// BadConfig is the report on settings that can't be used, as [config.FromEnv] tells
// of them.
func BadConfig(err error) *diagnose.Report {
	r := new(diagnose.Report)
	for line := range strings.Lines(err.Error()) {
		r.Add(fault("config", FaultConfig, strings.TrimSpace(line), "correct the environment variable; docs/configuration.md describes them all"))
	}
	return r
}

func fault(check, fault, found, remedy string) diagnose.Finding {
	return diagnose.Finding{Check: check, Fault: fault, Found: found, Remedy: remedy}
}

// checkVolumes makes a folder, and removes it again.
func checkVolumes(dir string) diagnose.Finding {
	probe, err := os.MkdirTemp(dir, ".doctor-*")
	if err != nil {
		return fault("volumes", FaultVolumes, err.Error(), "mount the shared folder there, and let the user of the control plane write to it (PODWAY_VOLUMES_DIR)")
	}
	_ = os.Remove(probe) // it is empty
	return diagnose.OK("volumes", "", dir+" can be written")
}

func checkTapis(ctx context.Context, c config.Config) diagnose.Finding {
	if c.TapisURL == "" {
		return fault("tapis", FaultTapis, "PODWAY_TAPIS_URL is not set", "set it to the Tapis whose tokens count, for example https://admin.tapis.io")
	}
	if err := get(ctx, c.TapisURL+"/v3/tenants"); err != nil {
		return fault("tapis", FaultTapis, err.Error(), "until it answers nobody new can log in; who runs it knows more. If it answers from elsewhere, look at PODWAY_TAPIS_URL, firewalls and proxies")
	}
	return diagnose.OK("tapis", "", c.TapisURL+" answers")
}

func checkAPI(ctx context.Context, o Options) diagnose.Finding {
	base := o.API
	if base == "" {
		host, port, _ := net.SplitHostPort(o.Config.Listen) // config has read it
		if ip := net.ParseIP(host); host == "" || ip.IsUnspecified() {
			host = "127.0.0.1"
		}
		base = "http://" + net.JoinHostPort(host, port)
	}
	if err := get(ctx, base+"/v3/pods/healthcheck"); err != nil {
		return fault("api", FaultAPI, err.Error(), "start the control plane (podway serve) and look into its log; from another machine say where it is with --api URL")
	}
	return diagnose.OK("api", "", base+" answers")
}

// get asks for a page. Anything below 500 is an answer of whoever should be there.
func get(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("making a request: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	_ = resp.Body.Close() // what it says is not read
	if resp.StatusCode >= http.StatusInternalServerError {
		return errors.New(url + " answered " + resp.Status)
	}
	return nil
}
