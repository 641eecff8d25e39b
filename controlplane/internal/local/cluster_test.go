package local

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/tests/parts"
)

func TestOptionsAreChecked(t *testing.T) {
	tests := []struct {
		name    string
		options Options
	}{
		{"a folder is missing", Options{Self: "/podway"}},
		{"a range of others", Options{Dir: t.TempDir(), Self: "/podway", AddressRange: netip.MustParsePrefix("10.0.0.0/16")}},
		{"a range of IPv6", Options{Dir: t.TempDir(), Self: "/podway", AddressRange: netip.MustParsePrefix("::1/128")}},
		{"the folder is a file", Options{Dir: os.Args[0], Self: "/podway"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if c, err := Open(test.options); err == nil {
				c.Close()
				t.Fatal("got no error")
			}
		})
	}
}

func TestClosedClusterRefusesChanges(t *testing.T) {
	c := open(t, stateDir(t))
	c.Close()
	c.Close() // again
	w := workload("web", "podway/hello")
	for name, err := range map[string]error{
		"Apply": c.Apply(t.Context(), w), "Remove": c.Remove(t.Context(), w.Key), "Purge": c.Purge(t.Context(), w.Key),
		"StopAll": c.StopAll(t.Context()), "Watch": c.Watch(t.Context(), func(pods.Key) {}),
	} {
		if err == nil {
			t.Errorf("%s of a closed cluster: got no error", name)
		}
	}
}

func TestPodOutlivesItsCluster(t *testing.T) {
	dir := stateDir(t)
	first := open(t, dir)
	w := workload("web", "podway/hello")
	before := ready(t, first, w)
	// The first cluster is not closed, as if its process had been killed.
	second := open(t, dir)
	after, err := second.Observe(t.Context(), w.Key)
	if err != nil || !after.Ready || after.Instance != before.Instance {
		t.Fatalf("right after Open: got %#v, %v, want the pod ready as before", after, err)
	}
	if got := get(t, "http://"+after.Addresses["default"][0]+"/"); !strings.Contains(got, "Hello from web") {
		t.Fatalf("got %q, want a greeting", got)
	}
	shim := shimState(t, second, w.Key)
	if err := second.Purge(t.Context(), w.Key); err != nil {
		t.Fatalf("Purge: %v", err)
	}
	await(t, second, w.Key, "nothing", isNothing)
	awaitGone(t, "the shim", shim.ShimPID)
	awaitGone(t, "the program", shim.PID)
	if left := files(t, dir); len(left) > 0 {
		t.Fatalf("files are left: %v", left)
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestRemovalGoesOnAfterACrash(t *testing.T) {
	for _, how := range []removal{keepStorage, removeStorage} {
		t.Run(string(how), func(t *testing.T) {
			dir := stateDir(t)
			first := openWith(t, Options{Dir: dir, Grace: 200 * time.Millisecond})
			w, _ := readyStubborn(t, first)
			if err := first.removeKey(w.Key, how); err != nil {
				t.Fatalf("removing: %v", err)
			}
			first.Close()

			second := open(t, dir)
			if o, _ := second.Observe(t.Context(), w.Key); o.Present && !o.Terminating {
				t.Fatalf("got %#v, want the pod to be terminating", o)
			}
			o := await(t, second, w.Key, "absent", isAbsent)
			if want := how == keepStorage; o.Retained != want {
				t.Fatalf("got retained %v, want %v", o.Retained, want)
			}
		})
	}
}

func TestPodWhoseShimIsKilledFails(t *testing.T) {
	dir := stateDir(t)
	c := open(t, dir)
	w, child := readyStubborn(t, c)
	shim := shimState(t, c, w.Key)
	if err := syscall.Kill(shim.ShimPID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	o := await(t, c, w.Key, "terminated", isTerminated)
	if o.Phase != pods.PhaseFailed || o.ExitCode != 137 || o.Message != "the process was killed" || o.Ready {
		t.Fatalf("got %#v, want it failed with 137", o)
	}
	awaitGone(t, "the program", shim.PID)
	awaitGone(t, "its child in another session", child)

	// A cluster that finds it later sees the same.
	later, _ := open(t, dir).Observe(t.Context(), w.Key)
	if later.Terminated == "" || later.Message != o.Message {
		t.Fatalf("after another Open: got %#v, want %#v", later, o)
	}
	if err := c.Remove(t.Context(), w.Key); err != nil {
		t.Fatalf("Remove: %v", err)
	}
	ready(t, c, w)
}

func TestProgramThatIsKilledFails(t *testing.T) {
	c := open(t, stateDir(t))
	w := workload("web", "podway/hello")
	ready(t, c, w)
	if err := syscall.Kill(shimState(t, c, w.Key).PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	o := await(t, c, w.Key, "terminated", isTerminated)
	if o.Phase != pods.PhaseFailed || o.Terminated != "Error" || o.ExitCode != 137 || !strings.Contains(o.Message, "signal 9") {
		t.Fatalf("got %#v, want it failed by signal 9", o)
	}
}

func TestStubbornProgramIsKilledAfterTheGrace(t *testing.T) {
	c := openWith(t, Options{Dir: stateDir(t), Grace: 100 * time.Millisecond})
	w, child := readyStubborn(t, c)
	program := shimState(t, c, w.Key).PID
	if err := c.Remove(t.Context(), w.Key); err != nil {
		t.Fatalf("Remove: %v", err)
	}
	if o, _ := c.Observe(t.Context(), w.Key); !o.Terminating || o.Ready || o.Addresses != nil {
		t.Fatalf("right after Remove: got %#v, want it terminating and not ready", o)
	}
	err := c.Apply(t.Context(), w)
	if err == nil || pods.ErrorCode(err) == pods.Invalid {
		t.Fatalf("Apply while it stops: got %v, want an error that is worth a retry", err)
	}
	await(t, c, w.Key, "absent", isAbsent)
	awaitGone(t, "the program", program)
	awaitGone(t, "its child in another session", child)
}

// readyStubborn runs the stubborn program and returns its child.
func readyStubborn(t *testing.T, c *Cluster) (w pods.Workload, child int) {
	t.Helper()
	w = workload("mule", "test/stubborn")
	w.Ports = nil
	ready(t, c, w)
	parts.Eventually(t, limit, func() error {
		_, err := fmt.Sscanf(logText(c, w.Key), "stubborn: child %d", &child)
		return err
	})
	return w, child
}

func TestStopAllStopsEverythingSoon(t *testing.T) {
	dir := stateDir(t)
	c := openWith(t, Options{Dir: dir, Grace: time.Hour})
	web := workload("web", "podway/hello")
	ready(t, c, web)
	stubborn, child := readyStubborn(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if err := c.StopAll(ctx); err != nil { // takes the grace of the stubborn program, or 2s
		t.Fatalf("StopAll: %v", err)
	}
	for _, k := range []pods.Key{web.Key, stubborn.Key} {
		if o, _ := c.Observe(t.Context(), k); o.Present || !o.Retained {
			t.Errorf("got %#v, want retained storage only", o)
		}
	}
	awaitGone(t, "the child of the stubborn program", child)
	c.Close()
	if list, err := open(t, dir).List(t.Context()); err != nil || len(list) != 2 || list[0].Present || list[1].Present {
		t.Fatalf("after another Open: got %#v, %v, want two pods that do not run", list, err)
	}
}

func TestStopAllEndsWithItsContext(t *testing.T) {
	c := open(t, stateDir(t))
	readyStubborn(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := c.StopAll(ctx); err == nil {
		t.Fatal("got no error, want one that says that a pod still runs")
	}
}

func TestProgramThatCanNotStartFails(t *testing.T) {
	self := catalogueEntry(t, "test/missing", func(_ image, _ pods.Workload, p place) (plan, error) {
		return plan{main: command{Argv: []string{filepath.Join(p.storage, "missing")}}, stop: syscall.SIGTERM}, nil
	})
	c := open(t, stateDir(t))
	w := workload("web", self)
	apply(t, c, w)
	o := await(t, c, w.Key, "terminated", isTerminated)
	if o.Phase != pods.PhaseFailed || o.Terminated != "StartError" || !strings.Contains(o.Message, "no such file") {
		t.Fatalf("got %#v, want StartError and the reason", o)
	}
}

// catalogueEntry adds an image to the catalogue for one test.
func catalogueEntry(t *testing.T, name string, p func(image, pods.Workload, place) (plan, error)) string {
	t.Helper()
	before := catalogue
	catalogue = append(slices.Clip(catalogue), image{name: name, plan: p})
	t.Cleanup(func() { catalogue = before })
	return name
}

func TestMissingProgramIsToldWithAHint(t *testing.T) {
	name := catalogueEntry(t, "test/uninstalled", func(image, pods.Workload, place) (plan, error) {
		_, err := findProgram("no-such-server", "no-such-package", "/nowhere/*/bin")
		return plan{}, err
	})
	dir := stateDir(t)
	c := open(t, dir)
	w := workload("web", name)
	if err := c.Admit(t.Context(), w); err != nil {
		t.Fatalf("Admit: got %v, want nil: the program can be installed yet", err)
	}
	err := c.Apply(t.Context(), w)
	if pods.ErrorCode(err) != pods.Invalid || !strings.Contains(err.Error(), "apt-get install no-such-package") {
		t.Fatalf("Apply: got %v, want code invalid and the hint", err)
	}
	if left := files(t, dir); len(left) > 0 {
		t.Fatalf("files are left: %v", left)
	}
	if o, _ := c.Observe(t.Context(), w.Key); !isNothing(o) {
		t.Fatalf("got %#v, want nothing", o)
	}
}

func TestPodsShareOneAddressWithFreePorts(t *testing.T) {
	c := openWith(t, Options{Dir: stateDir(t), AddressRange: netip.MustParsePrefix("127.0.0.1/32")})
	one, two := workload("one", "podway/hello"), workload("two", "podway/hello")
	one.Ports["same"] = pods.Port{Protocol: pods.NetHTTP, Number: 5000}
	a, b := ready(t, c, one), ready(t, c, two)
	if a.Addresses["default"][0] == b.Addresses["default"][0] {
		t.Fatalf("both pods have %v", a.Addresses)
	}
	if a.Addresses["default"][0] != a.Addresses["same"][0] {
		t.Fatalf("got %v, want one address for entries with one port", a.Addresses)
	}
	_, port, _ := strings.Cut(b.Addresses["default"][0], ":")
	if got := script(t, c, two.Key, "echo $PODWAY_ADDRESS $PODWAY_PORT_DEFAULT"); got != "127.0.0.1 "+port+"\n" {
		t.Fatalf("got %q, want the address and port %s", got, port)
	}
}

// script runs a shell script in a pod and returns its output.
func script(t *testing.T, c *Cluster, k pods.Key, script string) string {
	t.Helper()
	var out bytes.Buffer
	if code, err := c.Exec(t.Context(), k, []string{"sh", "-c", script}, &out, &out); code != 0 || err != nil {
		t.Fatalf("Exec: got %d, %v, output %q", code, err, &out)
	}
	return out.String()
}

func TestEveryNetworkingEntryIsServed(t *testing.T) {
	c := open(t, stateDir(t))
	w := workload("web", "podway/hello")
	w.Ports = map[string]pods.Port{
		"default": {Protocol: pods.NetHTTP, Number: 5000},
		"raw":     {Protocol: pods.NetTCP, Number: 7000},
		"inside":  {Protocol: pods.NetLocalOnly, Number: 8000},
	}
	o := ready(t, c, w)
	for key, p := range w.Ports {
		addr := o.Addresses[key]
		if len(addr) != 1 || !strings.HasSuffix(addr[0], ":"+strconv.Itoa(p.Number)) {
			t.Errorf("%s: got addresses %v, want one with port %d", key, addr, p.Number)
		}
	}
	if got := get(t, "http://"+o.Addresses["inside"][0]+"/"); !strings.Contains(got, "Hello") {
		t.Errorf("got %q, want a greeting", got)
	}
}

func TestAddressStaysOverARestart(t *testing.T) {
	dir := stateDir(t)
	c := open(t, dir)
	w := workload("web", "podway/hello")
	before := ready(t, c, w)
	if err := c.StopAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if after := ready(t, open(t, dir), w); after.Addresses["default"][0] != before.Addresses["default"][0] {
		t.Fatalf("got %v, want %v", after.Addresses, before.Addresses)
	}
}

func TestPodSeesNothingOfTheControlPlane(t *testing.T) {
	t.Setenv("CONTROL_PLANE_SECRET", "s3cret")
	dir := stateDir(t)
	c := open(t, dir)
	w := workload("web", "podway/hello")
	w.Env = map[string]string{"OWN": "value", "PODWAY_ADDRESS": "forged", "PATH": "/opt/own:/usr/bin:/bin"}
	ready(t, c, w)
	st := shimState(t, c, w.Key)
	for _, pid := range []int{st.ShimPID, st.PID} {
		if env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid)); err == nil && bytes.Contains(env, []byte("s3cret")) {
			t.Errorf("process %d has the control plane's environment: %s", pid, env)
		}
	}
	env := script(t, c, w.Key, "env")
	for _, want := range []string{"OWN=value\n", "PODWAY_POD_ID=web\n", "PODWAY_PORT_DEFAULT=5000\n", "PATH=/opt/own:/usr/bin:/bin\n", "PODWAY_ADDRESS=127.80."} {
		if !strings.Contains(env, want) {
			t.Errorf("got %q, want %q in it", env, want)
		}
	}
	if strings.Contains(env, "s3cret") || strings.Contains(env, "forged") {
		t.Errorf("got %q, want neither s3cret nor forged in it", env)
	}
}

func TestFilesAreSecret(t *testing.T) {
	dir := stateDir(t)
	c := open(t, dir)
	w := workload("web", "podway/hello")
	w.VolumeMounts = map[string]pods.VolumeMount{"data": {Type: "pvc", SubPath: "a/b"}}
	ready(t, c, w)
	for _, rel := range files(t, dir) {
		info, err := os.Lstat(dir + rel)
		if err != nil {
			t.Fatal(err)
		}
		// If we are root, other users may pass through the pod's folder.
		if mode := info.Mode().Perm(); mode&0o066 != 0 || !info.IsDir() && mode&0o077 != 0 {
			t.Errorf("%s: got mode %v, want nothing that others can read", rel, info.Mode())
		}
	}
	if got := script(t, c, w.Key, "cd $PODWAY_VOLUME_DATA && pwd"); !strings.HasSuffix(got, "storage/volumes/data/a/b\n") {
		t.Errorf("got the volume in %q", got)
	}
}

func TestTemporaryFilesDoNotOutliveARun(t *testing.T) {
	c := open(t, stateDir(t))
	w := workload("web", "podway/hello")
	ready(t, c, w)
	script(t, c, w.Key, "touch $TMPDIR/temp $HOME/kept")
	if err := c.Remove(t.Context(), w.Key); err != nil {
		t.Fatal(err)
	}
	await(t, c, w.Key, "absent", isAbsent)
	ready(t, c, w)
	if got := script(t, c, w.Key, "ls $TMPDIR; ls $HOME"); got != "kept\ntmp\n" {
		t.Fatalf("got %q, want kept and an empty tmp", got)
	}
}

func TestLogOfARemovedPodIsKept(t *testing.T) {
	c := open(t, stateDir(t))
	w := workload("web", "podway/hello")
	ready(t, c, w)
	if err := c.Remove(t.Context(), w.Key); err != nil {
		t.Fatal(err)
	}
	await(t, c, w.Key, "absent", isAbsent)
	if got := logText(c, w.Key); !strings.HasSuffix(got, "hello: stopped\n") {
		t.Fatalf("got %q, want the output to its end", got)
	}
	ready(t, c, w)
	if got := logText(c, w.Key); strings.Contains(got, "stopped") {
		t.Fatalf("got %q, want the output of the new run only", got)
	}
}

func TestShimRefusesToBeStartedByHand(t *testing.T) {
	c := open(t, stateDir(t))
	w := workload("web", "podway/hello")
	ready(t, c, w)
	for _, args := range [][]string{nil, {"/nowhere"}, {string(c.pod(w.Key).folder.run())}} {
		cmd := exec.Command(c.options.Self, append([]string{"pod-shim"}, args...)...)
		if out, _ := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != 2 || !strings.Contains(string(out), "only the local cluster") {
			t.Errorf("pod-shim %v: got %v and %q, want status 2", args, cmd.ProcessState, out)
		}
	}
}

func TestOpenCleansUpWhatWasInterrupted(t *testing.T) {
	write := func(t *testing.T, path string, v any) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := writeJSON(path, v); err != nil {
			t.Fatal(err)
		}
	}
	key := pods.Key{Tenant: "dev", ID: "web"}
	known := meta{Tenant: key.Tenant, ID: key.ID, UID: "u", IP: netip.MustParseAddr("127.80.1.2")}
	tests := []struct {
		name         string
		make         func(t *testing.T, f folder)
		wantRetained bool
	}{
		{"a purge is finished", func(t *testing.T, f folder) {
			t.Helper()
			write(t, f.run().spec(), spec{Image: "podway/hello"})
		}, false},
		{"a run folder that was not ready is removed", func(t *testing.T, f folder) {
			t.Helper()
			write(t, f.meta(), known)
			write(t, f.newRun().spec(), spec{Image: "podway/hello"})
		}, true},
		{"a run whose shim never began is removed", func(t *testing.T, f folder) {
			t.Helper()
			write(t, f.meta(), known)
			write(t, f.run().spec(), spec{Image: "podway/hello"})
			write(t, f.run().lock(), "")
		}, true},
		{"a run folder that was being removed is removed", func(t *testing.T, f folder) {
			t.Helper()
			write(t, f.meta(), known)
			write(t, f.run().lock(), "")
		}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := stateDir(t)
			f := folder(filepath.Join(dir, "web@dev"))
			test.make(t, f)
			c := open(t, dir)
			o, err := c.Observe(t.Context(), key)
			if err != nil || o.Present || o.Retained != test.wantRetained {
				t.Fatalf("got %#v, %v, want retained %v and nothing else", o, err, test.wantRetained)
			}
			if exists(string(f)) != test.wantRetained || exists(string(f.run())) || exists(string(f.newRun())) {
				t.Fatalf("got the files %v", files(t, dir))
			}
		})
	}
}

func TestOpenGoesOnAfterABadFolder(t *testing.T) {
	dir := stateDir(t)
	c := open(t, dir)
	w := workload("web", "podway/hello")
	ready(t, c, w)
	c.Close()
	bad := folder(filepath.Join(dir, "bad@dev"))
	if err := os.Mkdir(string(bad), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(bad.meta(), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	c = open(t, dir)
	await(t, c, w.Key, "ready", isReady)
	if !exists(bad.meta()) {
		t.Fatal("what can't be read was removed, and might have been somebody's data")
	}
}
