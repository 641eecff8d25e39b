package podway

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tapis-project/podway/sni"
)

// Descriptions of the metrics. Their labels have a fixed set of values.
var (
	acceptedDesc   = desc("connections_accepted_total", "Connections accepted.")
	openedDesc     = desc("connections_opened_total", "How the opening of connections ended.", "result")
	openDesc       = desc("connections_open", "Connections that are open.")
	computingDesc  = desc("tls_handshakes_computing", "TLS handshakes that compute right now.")
	clientsDesc    = desc("clients", "Clients, by address or /64, that have connections.")
	handshakesDesc = desc("tls_handshakes_total", "TLS handshakes that succeeded.")
	cancelsDesc    = desc("cancel_keys_dropped_total", "Cancel keys of PostgreSQL sessions that were not shared because Redis is slow.")
	parkedDesc     = desc("session_directions_parked", "Directions of TCP sessions that are idle and cost neither goroutine nor buffer; a session has two.")
	startedDesc    = desc("sessions_opened_total", "TCP sessions and HTTP requests that were begun.", "protocol")
	refusedDesc    = desc("sessions_refused_total", "TCP sessions and HTTP requests that were refused over a limit of the pod or the tenant.", "protocol")
	activeDesc     = desc("sessions", "TCP sessions and HTTP requests that go on.", "protocol")
	revokedDesc    = desc("sessions_revoked_total", "TCP sessions and HTTP requests that were ended because their route changed.", "protocol")
	bytesDesc      = desc("session_bytes_total", "Bytes of TCP sessions, received from or sent to clients.", "protocol", "direction")
	limitDesc      = desc("limit", "Limits of connections as they are configured.", "limit")
	writtenDesc    = desc("connection_records_written_total", "Records of connections that were written, to the log or to Redis.")
	droppedDesc    = desc("connection_records_dropped_total", "Records of connections that were not written because too many waited or Redis failed.")
	leavingDesc    = desc("draining", "1 while the edge accepts no connections because it is to end.")
	routesDesc     = desc("routes", "Routes in the table.")
	loadedDesc     = desc("routes_loaded", "1 once the table was filled, from Redis or from the snapshot.")
	syncedDesc     = desc("routes_synced", "1 while the table is as published.")
	staleDesc      = desc("routes_stale_seconds", "Time since Redis was last heard of, 0 while synced.")
	badDesc        = desc("routes_bad", "Hosts whose published record can't be used.")
	heldDesc       = desc("routes_held", "Routes that are served on although Redis lacks them.")
	resyncsDesc    = desc("routes_resyncs_total", "How often all routes were read.")
	snapshotDesc   = desc("routes_snapshot_errors_total", "Snapshots that could not be written or read.")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("podway_edge_"+name, help, labels, nil)
}

// collector reads the counters when somebody asks for them.
type collector struct{ app *App }

// registerMetrics adds the app's metrics to those of its configuration.
func (a *App) registerMetrics() error {
	err := a.ctx.GetMetricsRegistry().Register(collector{a})
	if _, twice := errors.AsType[prometheus.AlreadyRegisteredError](err); err != nil && !twice {
		return fmt.Errorf("registering metrics: %w", err)
	}
	return nil
}

// Describe implements [prometheus.Collector].
func (collector) Describe(c chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		acceptedDesc, openedDesc, openDesc, computingDesc, clientsDesc, handshakesDesc, cancelsDesc,
		limitDesc, writtenDesc, droppedDesc, leavingDesc, parkedDesc, startedDesc, refusedDesc, activeDesc, revokedDesc, bytesDesc,
		routesDesc, loadedDesc, syncedDesc, staleDesc, badDesc, heldDesc, resyncsDesc, snapshotDesc,
	} {
		c <- d
	}
}

// Collect implements [prometheus.Collector].
func (m collector) Collect(c chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		c <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		c <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter(acceptedDesc, stats.Accepted.Load())
	counter(handshakesDesc, stats.Handshakes.Load())
	gauge(parkedDesc, float64(parked()))
	counter(cancelsDesc, stats.CancelsDropped.Load())
	stats.Outcomes(func(o sni.Outcome, n uint64) { counter(openedDesc, n, o.String()) })
	gauge(openDesc, float64(m.app.preface.Open()))
	gauge(computingDesc, float64(m.app.preface.Handshaking()))
	gauge(clientsDesc, float64(m.app.preface.Clients()))
	for _, p := range stats.Protocols() {
		name := string(p.Protocol)
		counter(startedDesc, p.Opened, name)
		counter(refusedDesc, p.Refused, name)
		gauge(activeDesc, float64(p.Active), name)
		counter(revokedDesc, p.Revoked, name)
		counter(bytesDesc, p.Received, name, "received")
		counter(bytesDesc, p.Sent, name, "sent")
	}

	for name, n := range m.app.limits() {
		gauge(limitDesc, n, name)
	}
	counter(writtenDesc, recordsWritten.Load())
	counter(droppedDesc, recordsDropped.Load())
	gauge(leavingDesc, number(leaving.Load()))

	s := m.app.store.watcher.Status()
	gauge(routesDesc, float64(s.Routes))
	gauge(loadedDesc, number(s.Loaded))
	gauge(syncedDesc, number(s.Synced))
	gauge(staleDesc, s.Stale.Seconds())
	gauge(badDesc, float64(s.BadRecords))
	gauge(heldDesc, float64(s.Held))
	counter(resyncsDesc, s.Resyncs)
	counter(snapshotDesc, s.SnapshotErrors)
}

// limits returns the limits that are in force, by their names in a Caddyfile.
func (a *App) limits() map[string]float64 {
	l := a.Limits
	seconds := func(d caddy.Duration, byDefault time.Duration) float64 {
		return cmp.Or(time.Duration(d), byDefault).Seconds()
	}
	return map[string]float64{
		"open_timeout":    seconds(l.OpenTimeout, sni.DefaultOpenTimeout),
		"dial_timeout":    seconds(l.DialTimeout, sni.DefaultDialTimeout),
		"max_open_bytes":  float64(cmp.Or(l.MaxOpenBytes, sni.DefaultMaxOpenBytes)),
		"max_connections": float64(cmp.Or(l.MaxConnections, sni.DefaultMaxConnections)),
		"max_handshakes":  float64(cmp.Or(l.MaxHandshakes, sni.DefaultMaxHandshakes)),
		"max_per_client":  float64(cmp.Or(l.MaxPerClient, sni.DefaultMaxPerClient)),
		"new_per_second":  float64(cmp.Or(l.NewPerSecond, sni.DefaultNewPerSecond)),
		"new_burst":       float64(cmp.Or(l.NewBurst, sni.DefaultNewBurst)),
		"max_per_pod":     float64(cmp.Or(l.MaxPerPod, sni.DefaultMaxPerPod)),
		"max_per_tenant":  float64(cmp.Or(l.MaxPerTenant, sni.DefaultMaxPerTenant)),
	}
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
