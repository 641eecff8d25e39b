package main

import (
	"math"
	"testing"
	"time"
)

func TestMedianAndQuantile(t *testing.T) {
	if got := median([]float64{9, 1, 5}); got != 5 {
		t.Errorf("got %v, want 5", got)
	}
	if got := median([]float64{9, 1, 5, 6}); got != 5.5 {
		t.Errorf("got %v, want 5.5", got)
	}
	if got := median(nil); !math.IsNaN(got) {
		t.Errorf("of none: got %v, want NaN", got)
	}
	var times []time.Duration
	for i := range 200 {
		times = append(times, time.Duration(200-i)*time.Millisecond)
	}
	if p50, p99 := quantile(times, 0.5), quantile(times, 0.99); p50 != 100 || p99 != 198 {
		t.Errorf("got %v and %v, want 100 and 198", p50, p99)
	}
}

// measured returns figures of three rounds.
func measured() figures {
	rounds := func(rate, cpu float64) (s []sample) {
		for _, noise := range []float64{1, 2, 0.5} { // of the machine: it slows all
			s = append(s, sample{perSecond: rate / noise, cpuEach: cpu * noise})
		}
		return s
	}
	return figures{
		peers: []string{edge, caddy, "haproxy-1", "haproxy-2"},
		samples: map[string][]sample{
			edge: rounds(100, 10), caddy: rounds(50, 15), "haproxy-1": rounds(80, 9), "haproxy-2": rounds(90, 12),
		},
	}
}

func TestTargetsAreJudged(t *testing.T) {
	for name, c := range map[string]struct {
		target target
		peer   string
		value  float64
		met    bool
	}{
		"less CPU than the HAProxy that needs less":  {target{of: cpuEach, against: "haproxy", atMost: 1}, "haproxy-1", 10.0 / 9, false},
		"a rate above the HAProxy that is faster":    {target{of: perSecond, against: "haproxy", atLeast: 1}, "haproxy-2", 100.0 / 90, true},
		"work per CPU is the inverse of CPU":         {target{of: cpuEach, against: caddy, inverse: true, atLeast: 1.3}, caddy, 1.5, true},
		"a value by itself":                          {target{of: cpuEach, atMost: 9}, "", 10, false},
		"a value that is as much as it may be":       {target{of: cpuEach, atMost: 10}, "", 10, true},
		"a rate that has to be more than it is":      {target{of: perSecond, against: caddy, atLeast: 2.5}, caddy, 2, false},
		"a peer that is no better than one that can": {target{of: perSecond, against: "haproxy-1", atLeast: 1}, "haproxy-1", 1.25, true},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := measured().judge(c.target)
			if !ok || got.Peer != c.peer || math.Abs(got.Value-c.value) > 1e-9 || got.Met != c.met {
				t.Errorf("got %+v, %v, want %v by %q, met %v", got, ok, c.value, c.peer, c.met)
			}
		})
	}
	for _, target := range []target{{of: cpuEach, against: nginx, atMost: 1}, {of: kbPerConn, atMost: 1}} {
		if got, ok := measured().judge(target); ok {
			t.Errorf("got %+v of what was not measured", got)
		}
	}
}

func TestNumbersHaveThreeDigits(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 3: "3", 1.234: "1.23", 12.34: "12.3", 123.4: "123", 23456.7: "23457", math.NaN(): "–"} {
		if got := number(v); got != want {
			t.Errorf("of %v: got %q, want %q", v, got, want)
		}
	}
	if got := withSpread([]float64{2, 1, 3}); got != "2 [1–3]" {
		t.Errorf("got %q, want a median with its spread", got)
	}
}

func TestTheCommandLine(t *testing.T) {
	o, err := parse([]string{"--quick", "-only", "h1,idle", "-rounds", "2"})
	if err != nil || o.rounds != 2 || o.duration != 700*time.Millisecond || len(o.only) != 2 || o.whole() {
		t.Errorf("got %+v, %v", o, err)
	}
	if o, err := parse(nil); err != nil || o.rounds != 5 || o.duration != 2*time.Second || !o.whole() {
		t.Errorf("got %+v, %v", o, err)
	}
	for _, args := range [][]string{{"-only", "h3"}, {"-peers", "iis"}, {"h1"}, {"-rounds", "many"}} {
		if _, err := parse(args); err == nil {
			t.Errorf("of %v: got no error", args)
		}
	}
}
