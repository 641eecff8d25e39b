package kube

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// Events implements [pods.EventCluster]. Those of earlier runs are among them.
func (c *Cluster) Events(_ context.Context, k pods.Key) ([]pods.ClusterEvent, error) {
	if err := c.ready(); err != nil {
		return nil, err
	}
	var list []pods.ClusterEvent
	for _, namespace := range c.placesOf(k.Tenant) {
		for _, e := range c.memory.eventsOf(types.NamespacedName{Namespace: namespace, Name: pods.ObjectName(c.Site, k)}) {
			list = append(list, eventOf(e))
		}
	}
	slices.SortStableFunc(list, func(a, b pods.ClusterEvent) int { return cmp.Or(a.Last.Compare(b.Last), a.First.Compare(b.First)) })
	return list, nil
}

// placesOf lists the namespaces that pods of a tenant may live in.
func (o Options) placesOf(tenant string) []string {
	var list []string
	for _, pattern := range o.patterns() {
		list = append(list, expand(pattern, o.Site, tenant))
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func eventOf(e *corev1.Event) pods.ClusterEvent {
	count := int(e.Count)
	if e.Series != nil {
		count = int(e.Series.Count)
	}
	return pods.ClusterEvent{
		Type: e.Type, Reason: e.Reason, Message: strings.TrimSpace(e.Message), Count: max(count, 1),
		First: firstTime(e), Last: lastTime(e), Source: cmp.Or(e.Source.Component, e.ReportingController),
	}
}

// firstTime returns when an event happened first. Which fields are filled depends
// on the age of what noted it.
func firstTime(e *corev1.Event) time.Time {
	return firstSet(e.FirstTimestamp.Time, e.EventTime.Time, e.CreationTimestamp.Time)
}

// lastTime returns when an event happened last.
func lastTime(e *corev1.Event) time.Time {
	var series time.Time
	if e.Series != nil {
		series = e.Series.LastObservedTime.Time
	}
	return firstSet(series, e.LastTimestamp.Time, e.EventTime.Time, e.CreationTimestamp.Time)
}

func firstSet(times ...time.Time) time.Time {
	for _, t := range times {
		if !t.IsZero() {
			return t
		}
	}
	return time.Time{}
}
