package certs

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	countDesc    = desc("certificates", "Certificates that the edge keeps, by what they are for and their status.", "kind", "status")
	leftDesc     = desc("certificate_days_left", "Days until the first certificate expires, by what it is for.", "kind")
	soonDesc     = desc("certificates_expiring", "Certificates that expire within a time.", "within")
	orderedDesc  = desc("certificate_orders_total", "Orders of certificates, by what became of them.", "result")
	budgetDesc   = desc("certificate_budget_used", "Share of the orders of an hour that all edges have made, when this one made its last.")
	withinBounds = map[string]time.Duration{"1d": 24 * time.Hour, "7d": 7 * 24 * time.Hour, "30d": 30 * 24 * time.Hour}
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("podway_edge_"+name, help, labels, nil)
}

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
	for _, d := range []*prometheus.Desc{countDesc, leftDesc, soonDesc, orderedDesc, budgetDesc} {
		c <- d
	}
}

// Collect implements [prometheus.Collector].
func (m collector) Collect(c chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		c <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	type class struct {
		kind   string
		status Status
	}
	count, least, soon := map[class]int{}, map[string]float64{}, map[string]int{}
	for _, s := range m.app.states.list() {
		kind := s.kind()
		count[class{kind, s.Status}]++
		if s.NotAfter.IsZero() {
			continue
		}
		left := time.Until(s.NotAfter)
		if old, ok := least[kind]; !ok || left.Hours()/24 < old {
			least[kind] = left.Hours() / 24
		}
		for name, bound := range withinBounds {
			if left < bound {
				soon[name]++
			}
		}
	}
	for _, kind := range []string{"wildcard", "host"} {
		for _, status := range []Status{Pending, Valid, Failed} {
			gauge(countDesc, float64(count[class{kind, status}]), kind, string(status))
		}
		if days, ok := least[kind]; ok {
			gauge(leftDesc, math.Round(days*1000)/1000, kind)
		}
	}
	for name := range withinBounds {
		gauge(soonDesc, float64(soon[name]), name)
	}
	gauge(budgetDesc, m.app.limiter.budget.used())
	for result, n := range map[string]uint64{"issued": issued.Load(), "renewed": renewed.Load(), "failed": failures.Load(), "refused": refused.Load()} {
		c <- prometheus.MustNewConstMetric(orderedDesc, prometheus.CounterValue, float64(n), result)
	}
}

// kind says what a certificate is for: one host or all of a zone.
func (s State) kind() string {
	if s.Subject[0] == '*' {
		return "wildcard"
	}
	return "host"
}
