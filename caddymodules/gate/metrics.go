package gate

import (
	"fmt"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"
)

// event is something that is counted.
type event int

const (
	passExcluded event = iota
	passSession
	passToken
	passShare
	needLogin
	needToken
	badToken
	notAllowed
	badOrigin
	noAnswer
	lastDecision // those before are decisions
	loginStarted
	loginDone
	loginDenied
	loginFailed
	loginLimited
	loggedOut
	lastLogin // those before are steps of logins
	shareRedeemed
	shareFailed
	shareLimited
	lastShare
	sessionLookups
	endedRequests
	events
)

// names of the events, in metrics.
var names = [events]string{
	passExcluded: "excluded", passSession: "session", passToken: "token", passShare: "share",
	needLogin: "login", needToken: "unauthorized", badToken: "bad_token", notAllowed: "denied", badOrigin: "bad_origin", noAnswer: "unavailable",
	loginStarted: "started", loginDone: "done", loginDenied: "denied", loginFailed: "failed", loginLimited: "limited", loggedOut: "logged_out",
	shareRedeemed: "redeemed", shareFailed: "failed", shareLimited: "limited",
}

// counters of the process.
var counters [events]atomic.Uint64

func count(e event) { counters[e].Add(1) }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("podway_gate_"+name, help, labels, nil)
}

// Descriptions of the metrics. Their labels have a fixed set of values.
var (
	decisionsDesc = desc("decisions_total", "What became of requests at gated hosts.", "result")
	loginsDesc    = desc("logins_total", "Steps of logins.", "result")
	redeemsDesc   = desc("shares_total", "Links and passwords that were tried.", "result")
	lookupsDesc   = desc("session_lookups_total", "Sessions that were looked up in Redis.")
	endedDesc     = desc("requests_ended_total", "Requests that were ended because their visitor may not pass any more.")
	sessionsDesc  = desc("sessions_remembered", "Sessions that are not looked up again.")
)

// collector reads the counters when somebody asks for them.
type collector struct{ g *guard }

// register adds the metrics to those of a configuration.
func register(ctx caddy.Context, g *guard) error {
	err := ctx.GetMetricsRegistry().Register(collector{g})
	if _, twice := err.(prometheus.AlreadyRegisteredError); err != nil && !twice { //nolint:errorlint // as it is returned
		return fmt.Errorf("registering metrics: %w", err)
	}
	return nil
}

// Describe implements [prometheus.Collector].
func (collector) Describe(c chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{decisionsDesc, loginsDesc, redeemsDesc, lookupsDesc, endedDesc, sessionsDesc} {
		c <- d
	}
}

// Collect implements [prometheus.Collector].
func (m collector) Collect(c chan<- prometheus.Metric) {
	for e := range events {
		v := float64(counters[e].Load())
		switch {
		case e < lastDecision:
			c <- prometheus.MustNewConstMetric(decisionsDesc, prometheus.CounterValue, v, names[e])
		case e > lastDecision && e < lastLogin:
			c <- prometheus.MustNewConstMetric(loginsDesc, prometheus.CounterValue, v, names[e])
		case e > lastLogin && e < lastShare:
			c <- prometheus.MustNewConstMetric(redeemsDesc, prometheus.CounterValue, v, names[e])
		case e == sessionLookups:
			c <- prometheus.MustNewConstMetric(lookupsDesc, prometheus.CounterValue, v)
		case e == endedRequests:
			c <- prometheus.MustNewConstMetric(endedDesc, prometheus.CounterValue, v)
		}
	}
	c <- prometheus.MustNewConstMetric(sessionsDesc, prometheus.GaugeValue, float64(m.g.sessions.len()))
}

// Interface guards
var _ prometheus.Collector = collector{}
