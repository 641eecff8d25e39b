package main

import (
	"maps"
	"strings"
	"testing"
	"time"
)

func TestQuantilesAreOfTheNearestRank(t *testing.T) {
	var all []time.Duration
	for i := range 200 {
		all = append(all, time.Duration(200-i)*time.Millisecond)
	}
	want := quantiles{P50: 100 * time.Millisecond, P90: 180 * time.Millisecond, P99: 198 * time.Millisecond, Max: 200 * time.Millisecond}
	if got := summarise(all); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	one := quantiles{P50: time.Second, P90: time.Second, P99: time.Second, Max: time.Second}
	if got := summarise([]time.Duration{time.Second}); got != one {
		t.Errorf("of one: got %v, want %v", got, one)
	}
	if got := summarise(nil); got != (quantiles{}) {
		t.Errorf("of none: got %v, want zeros", got)
	}
}

func TestCallsOfAnAuditLog(t *testing.T) {
	const log = `{"stage":"ResponseComplete","verb":"create","objectRef":{"resource":"pods"},"responseStatus":{"code":201}}
{"stage":"ResponseComplete","verb":"create","objectRef":{"resource":"pods"},"responseStatus":{"code":409}}
{"stage":"ResponseStarted","verb":"watch","objectRef":{"resource":"events"},"responseStatus":{"code":200}}
{"stage":"ResponseComplete","verb":"watch","objectRef":{"resource":"events"},"responseStatus":{"code":200}}
{"stage":"ResponseComplete","verb":"get","objectRef":{"resource":"pods","subresource":"log"},"responseStatus":{"code":200}}
{"stage":"ResponseComplete","verb":"get","requestURI":"/version","responseStatus":{"code":200}}
{"stage":"ResponseComplete","verb":"get","requ`
	got, err := readCalls(strings.NewReader(log))
	if err != nil {
		t.Fatal(err)
	}
	want := calls{"create pods": 1, "create pods (409)": 1, "watch events": 1, "get pods/log": 1, "get /version": 1}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if d := got.since(calls{"create pods": 1}); d.total() != 4 || d["create pods"] != 0 {
		t.Errorf("got %v after one create, want the other 4", d)
	}
}

func TestUsageOfAProcess(t *testing.T) {
	stat := "7 (a (b) c) S 1 7 7 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 9 0 100 1000 10"
	if got, err := cpuTime([]byte(stat)); err != nil || got != 2*time.Second {
		t.Errorf("got %v, %v, want 2s", got, err)
	}
	if _, err := cpuTime([]byte("7 (a) S 1")); err == nil {
		t.Error("got no error of a line that is too short")
	}
	if got, err := kib([]byte("VmPeak:\t 9 kB\nVmRSS:\t   1234 kB\n"), "VmRSS"); err != nil || got != 1234 {
		t.Errorf("got %v, %v, want 1234", got, err)
	}
}

func TestThePagesOfTheWatcher(t *testing.T) {
	at := time.Now().UTC()
	up := func(i int) pod { return pod{ID: podID(i), Status: "AVAILABLE", StartInstanceTS: timestamp{at}} }
	starting := pod{ID: podID(1), Status: "CREATING"}
	for name, test := range map[string]struct {
		page []pod
		want int
	}{
		"all are available":                {[]pod{up(0), up(1), up(2)}, 3},
		"one that is not ends the count":   {[]pod{up(0), starting, up(2)}, 1},
		"one that is missing ends it, too": {[]pod{up(0), up(2)}, 1},
		"none is there yet":                {nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLoad(client{}, options{pods: 3, rate: 20}, t.Output())
			l.begun = at.Add(-time.Second)
			got, err := l.note(0, test.page)
			if err != nil || got != test.want {
				t.Fatalf("got %v, %v, want %v", got, err, test.want)
			}
			if got > 0 && l.available[0] != time.Second {
				t.Errorf("the first took %v, want 1s", l.available[0])
			}
		})
	}
	failed := []pod{{ID: podID(0), Status: "ERROR"}}
	if _, err := newLoad(client{}, options{pods: 1, rate: 1}, t.Output()).note(0, failed); err == nil {
		t.Error("got no error of a pod in ERROR")
	}
}

func TestTargetsThatWereNotTriedAreNotMet(t *testing.T) {
	f := figures{options: options{pods: 100, rate: 5}, Idled: span{Took: time.Minute}}
	for _, got := range []string{f.availableTarget(), f.idleTarget()} {
		if !strings.HasSuffix(got, "not tried") {
			t.Errorf("got %q, want not tried", got)
		}
	}
	f = figures{options: options{pods: 1000, rate: 20}, Available: quantiles{P99: 6 * time.Second}, Idled: span{Took: time.Minute}}
	if got := f.availableTarget(); !strings.HasSuffix(got, "missed**") {
		t.Errorf("got %q, want missed", got)
	}
	if got := f.idleTarget(); !strings.HasSuffix(got, "met") {
		t.Errorf("got %q, want met", got)
	}
}

func TestWhatIsThereIsComparedWithThePods(t *testing.T) {
	of := func(n, claims int) map[string]int {
		return map[string]int{"pods": n, "services": n, "secrets": n, "endpointslices": n, "routes": n, "persistentvolumeclaims": claims}
	}
	for name, test := range map[string]struct {
		counts map[string]int
		pods   int
		ok     bool
	}{
		"one of each for a pod":      {of(3, 0), 3, true},
		"nothing for no pod":         {of(0, 0), 0, true},
		"more than there are pods":   {of(3, 0), 2, false},
		"less than there are pods":   {of(3, 0), 4, false},
		"claims that nobody defined": {of(0, 1), 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			if err := compare(test.counts, test.pods); (err == nil) != test.ok {
				t.Errorf("got %v, want ok %v", err, test.ok)
			}
		})
	}
}
