package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// figures are what was measured of a row.
type figures struct {
	row

	peers   []string            // that were measured, the edge first
	samples map[string][]sample // by peer, one for each round
}

// of returns what was measured of a peer, a value for each round. Nil if that was
// not measured.
func (f figures) of(peer string, m metric) []float64 {
	var values []float64
	for _, s := range f.samples[peer] {
		if v, ok := s[m]; ok {
			values = append(values, v)
		}
	}
	return values
}

// ratios returns the edge's value by that of a peer, for each round.
func (f figures) ratios(peer string, m metric) []float64 {
	a, b := f.of(edge, m), f.of(peer, m)
	var values []float64
	for i := range min(len(a), len(b)) {
		if b[i] != 0 {
			values = append(values, a[i]/b[i])
		}
	}
	return values
}

// median returns the middle of values, NaN for none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(values))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// quantile returns a quantile of times, by nearest rank, in milliseconds.
func quantile(times []time.Duration, q float64) float64 {
	s := slices.Sorted(slices.Values(times))
	i := int(math.Ceil(q*float64(len(s)))) - 1
	return float64(s[max(0, i)].Microseconds()) / 1000
}

// target is a bound of something that was measured.
type target struct {
	text    string
	of      metric
	against string  // peer, or the beginning of the names of several; "": no ratio
	inverse bool    // the ratio is that of the peer by the edge
	atMost  float64 // used unless atLeast is set
	atLeast float64
}

// outcome is a target and what was measured.
type outcome struct {
	Text   string  `json:"target"`
	Peer   string  `json:"peer,omitempty"` // it was compared with
	Value  float64 `json:"value"`
	Spread string  `json:"spread"`
	Met    bool    `json:"met"`
}

// judge compares what was measured with a target; false if that was not measured.
func (f figures) judge(t target) (outcome, bool) {
	values, peer := f.of(edge, t.of), ""
	bound := fmt.Sprintf("at most %g", t.atMost)
	if t.atLeast > 0 {
		bound = fmt.Sprintf("at least %g", t.atLeast)
	}
	if t.against != "" {
		if peer = f.best(t); peer == "" {
			return outcome{}, false
		}
		values = f.ratios(peer, t.of)
		bound += " × " + t.against
	}
	if t.inverse {
		for i, v := range values {
			values[i] = 1 / v
		}
	}
	v := median(values)
	ok := v <= t.atMost
	if t.atLeast > 0 {
		ok = v >= t.atLeast
	}
	return outcome{Text: t.text + ": " + bound, Peer: peer, Value: v, Spread: spread(values), Met: ok}, len(values) > 0
}

// best returns the peer a target is against: of several, the one with the best
// median. "" if none was measured.
func (f figures) best(t target) string {
	var names []string
	for _, p := range f.peers {
		if strings.HasPrefix(p, t.against) {
			names = append(names, p)
		}
	}
	if len(names) == 0 {
		return ""
	}
	byMedian := func(a, b string) int { return cmp.Compare(median(f.of(a, t.of)), median(f.of(b, t.of))) }
	if t.atLeast > 0 && !t.inverse {
		return slices.MaxFunc(names, byMedian)
	}
	return slices.MinFunc(names, byMedian)
}

// number writes a value with three digits or all before the point.
func number(v float64) string {
	switch a := math.Abs(v); {
	case math.IsNaN(v):
		return "–"
	case a >= 100 || v == math.Trunc(v):
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

// spread writes the least and the most of values; "" for fewer than two.
func spread(values []float64) string {
	if len(values) < 2 {
		return ""
	}
	return number(slices.Min(values)) + "–" + number(slices.Max(values))
}

// withSpread writes the median of values, and their spread.
func withSpread(values []float64) string {
	if s := spread(values); s != "" {
		return number(median(values)) + " [" + s + "]"
	}
	return number(median(values))
}
