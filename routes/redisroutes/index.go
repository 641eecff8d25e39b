package redisroutes

import (
	"bytes"
	"cmp"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"

	"github.com/tapis-project/podway/routes"
)

// sumSeed is the seed of the sums by which records are compared in memory.
var sumSeed = maphash.MakeSeed()

// record is an encoded route without the number of its version, which the
// publishing script puts between the two parts.
type record struct{ before, after string }

// versionMark stands for the version in a record that is being encoded. It is as
// long as a version gets, so that the size limit is checked for the final record.
const versionMark = 1<<53 - 1

var versionField = fmt.Appendf(nil, `"version":%d`, uint64(versionMark))

// newRecord encodes r, without its version.
func newRecord(r routes.Route) (record, error) {
	r.Version = versionMark
	b, err := routes.Encode(r)
	if err != nil {
		return record{}, err
	}
	// Ahead of the version stand the schema and a host name without quotes only,
	// so the first match is the field.
	before, after, ok := bytes.Cut(b, versionField)
	if !ok {
		return record{}, fmt.Errorf("encoding route %q: no version in the record", r.Host)
	}
	return record{before: string(before) + `"version":`, after: string(after)}, nil
}

func (r record) sum() uint64 { return maphash.String(sumSeed, r.before+r.after) }

// op is one change to publish. A zero record removes the host.
type op struct {
	host   string
	record record
}

// index is what a publisher knows to be in Redis.
type index struct {
	head
	hosts map[string]published
	pods  map[routes.PodRef]map[string]struct{} // to hosts, never empty

	// unusable are hosts whose record could not be read: they belong to no pod, and
	// whoever claims one gets it.
	unusable map[string]struct{}

	newest uint64 // version of the newest record
}

// published is the record of one host.
type published struct {
	pod routes.PodRef
	sum uint64
}

func newIndex() *index {
	return &index{
		hosts:    make(map[string]published),
		pods:     make(map[routes.PodRef]map[string]struct{}),
		unusable: make(map[string]struct{}),
	}
}

// len returns the number of hosts in Redis.
func (x *index) len() int { return len(x.hosts) + len(x.unusable) }

// put notes the record of a host as it stands in Redis, "" if it was removed.
func (x *index) put(host, raw string) {
	x.remove(host)
	if raw == "" {
		return
	}
	r, err := decode(host, raw)
	if err != nil {
		x.unusable[host] = struct{}{}
		return
	}
	x.newest = max(x.newest, r.Version)
	rec, err := newRecord(r)
	if err != nil {
		x.unusable[host] = struct{}{}
		return
	}
	x.add(routes.PodRef{Tenant: r.Tenant, Pod: r.Pod}, host, rec)
}

// apply notes changes of a pod that were written.
func (x *index) apply(pod routes.PodRef, ops []op) {
	for _, o := range ops {
		x.remove(o.host)
		if o.record != (record{}) {
			x.add(pod, o.host, o.record)
		}
	}
}

func (x *index) add(pod routes.PodRef, host string, r record) {
	x.hosts[host] = published{pod: pod, sum: r.sum()}
	if x.pods[pod] == nil {
		x.pods[pod] = make(map[string]struct{})
	}
	x.pods[pod][host] = struct{}{}
}

func (x *index) remove(host string) {
	delete(x.unusable, host)
	p, ok := x.hosts[host]
	if !ok {
		return
	}
	delete(x.hosts, host)
	delete(x.pods[p.pod], host)
	if len(x.pods[p.pod]) == 0 {
		delete(x.pods, p.pod)
	}
}

// diff returns what to write so that pod has the wanted routes and no others, and
// which of them another pod holds. A nil record means: leave that host as it is.
func (x *index) diff(pod routes.PodRef, want map[string]*record) (ops []op, taken []string) {
	for host, r := range want {
		if r == nil {
			continue
		}
		have, ok := x.hosts[host]
		switch {
		case ok && have.pod != pod:
			taken = append(taken, host)
		case !ok || have.sum != r.sum():
			ops = append(ops, op{host: host, record: *r})
		}
	}
	for host := range x.pods[pod] {
		if _, ok := want[host]; !ok {
			ops = append(ops, op{host: host})
		}
	}
	slices.SortFunc(ops, func(a, b op) int { return cmp.Compare(a.host, b.host) })
	slices.Sort(taken)
	return ops, taken
}

// decode reads the record of a host.
func decode(host, raw string) (routes.Route, error) {
	r, err := routes.Decode([]byte(raw))
	if err != nil {
		return routes.Route{}, err
	}
	if r.Host != host {
		return routes.Route{}, fmt.Errorf("decoding route %q: the record is of host %q", host, r.Host)
	}
	return r, nil
}

func comparePods(a, b routes.PodRef) int {
	return cmp.Or(strings.Compare(a.Tenant, b.Tenant), strings.Compare(a.Pod, b.Pod))
}
