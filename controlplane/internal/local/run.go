package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"slices"
	"sync/atomic"
	"syscall"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// removal is what is wanted of a run.
type removal string

// The kinds of removal; they are also what the removal file holds.
const (
	notRemoved    removal = ""
	keepStorage   removal = "keep storage"
	removeStorage removal = "remove storage"
)

// run is one run of a pod, from Apply to the removal of its run folder.
type run struct {
	folder runFolder
	spec   spec
	image  image

	// lock is a file that the shim holds locked while it lives; process is the
	// shim, nil until it is known.
	lock    *os.File
	process *os.Process

	wake  chan struct{} // holds a token when removal was set
	hurry atomic.Bool   // the removal shall not take long

	ended context.Context // ends when program and shim have
	end   context.CancelFunc
	gone  chan struct{} // closed when the run is removed

	removal removal // guarded as the fields of pod are
}

func newRun(folder runFolder, sp spec) (*run, error) {
	img, err := findImage(sp.Image)
	if err != nil {
		return nil, err
	}
	lock, err := os.Open(folder.lock())
	if err != nil {
		return nil, fmt.Errorf("opening the lock: %w", err)
	}
	r := &run{folder: folder, spec: sp, image: img, lock: lock, wake: make(chan struct{}, 1), gone: make(chan struct{})}
	r.ended, r.end = context.WithCancel(context.Background())
	return r, nil
}

// alive reports whether the shim lives.
func (r *run) alive() bool {
	for {
		err := syscall.Flock(int(r.lock.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
		switch {
		case errors.Is(err, syscall.EWOULDBLOCK):
			return true
		case errors.Is(err, syscall.EINTR):
		default:
			if err == nil {
				_ = syscall.Flock(int(r.lock.Fd()), syscall.LOCK_UN)
			}
			return false
		}
	}
}

// findProcess finds the shim of a run that was adopted.
func (r *run) findProcess(st state) {
	if r.process != nil || st.ShimPID == 0 {
		return
	}
	process, err := os.FindProcess(st.ShimPID)
	// The shim is alive after its process was found, so what was found is the shim
	// and not a later process with its id.
	if err == nil && r.alive() {
		r.process = process
	}
}

// ran reports whether the program runs or ran.
func (st state) ran() bool { return st.StartedAt != nil }

// adopt takes over the pod in a folder.
func (c *Cluster) adopt(f folder) error {
	m, err := readJSON[meta](f.meta())
	if errors.Is(err, fs.ErrNotExist) {
		return f.remove() // the rest of an interrupted Apply or Purge
	}
	if err != nil {
		return err
	}
	p := &pod{folder: f, meta: m, obs: idle(m)}
	c.mu.Lock()
	c.known[m.key()] = p
	c.mu.Unlock()
	return errors.Join(os.RemoveAll(string(f.newRun())), c.adoptRun(p))
}

// adoptRun takes over the run of a pod, if there is one.
func (c *Cluster) adoptRun(p *pod) error {
	folder := p.folder.run()
	sp, err := readJSON[spec](folder.spec())
	_, stateErr := readJSON[state](folder.state())
	if errors.Is(err, fs.ErrNotExist) || errors.Is(stateErr, fs.ErrNotExist) && !lockHeld(folder) {
		return os.RemoveAll(string(folder)) // the rest of an interrupted removal, or never begun
	}
	if err != nil {
		return err
	}
	r, err := newRun(folder, sp)
	if err != nil {
		return err
	}
	r.removal = readRemoval(folder)
	c.mu.Lock()
	p.run, p.obs = r, pending(p.meta, sp)
	p.obs.Terminating = r.removal != notRemoved
	c.mu.Unlock()
	c.log.Info("adopting a pod", "tenant", p.meta.Tenant, "pod_id", p.meta.ID, "instance", sp.Instance)
	c.mind(p, r)
	return nil
}

// lockHeld reports whether the lock of a run folder is held.
func lockHeld(folder runFolder) bool {
	lock, err := os.Open(folder.lock())
	if err != nil {
		return false
	}
	defer lock.Close()
	return (&run{lock: lock}).alive()
}

// start starts a pod that has a folder and no run. changes is held.
func (c *Cluster) start(ctx context.Context, p *pod, w pods.Workload) error {
	sp, err := c.prepare(ctx, p, w)
	if err != nil {
		return err
	}
	r, err := c.launch(p.folder, sp)
	if err != nil {
		return errors.Join(err, os.RemoveAll(string(p.folder.run())))
	}
	c.mu.Lock()
	c.known[w.Key] = p
	p.run, p.obs = r, pending(p.meta, sp)
	c.touch(w.Key)
	c.mu.Unlock()
	c.mind(p, r)
	return nil
}

// prepare makes everything a run needs but its run folder.
func (c *Cluster) prepare(ctx context.Context, p *pod, w pods.Workload) (spec, error) {
	img, err := findImage(w.Image)
	if err != nil {
		return spec{}, err
	}
	user, err := runAs(img)
	if err != nil {
		return spec{}, err
	}
	ip, ports, err := c.addresses.choose(ctx, w.Key, p.meta.IP, c.usedAddresses(p), w.Ports)
	if err != nil {
		return spec{}, err
	}
	p.meta.IP = ip
	if err := writeJSON(p.folder.meta(), p.meta); err != nil {
		return spec{}, err
	}
	storage, err := makeStorage(p.folder, user, w.VolumeMounts)
	if err != nil {
		return spec{}, err
	}
	mounts, err := c.mounts(w, user)
	if err != nil {
		return spec{}, err
	}
	pl := place{self: c.options.Self, ip: ip, ports: ports, storage: storage, mounts: mounts}
	what, err := img.plan(img, w, pl)
	if err != nil {
		return spec{}, err
	}
	instance := instanceName(w.ID)
	return spec{
		Image: img.name, Instance: instance,
		Setup: what.setup, Main: what.main,
		Env: environment(w, pl, instance), Dir: storage, User: user, Log: p.folder.log(), Mounts: pl.mountPoints(w),
		StopSignal: what.stop, Grace: c.options.Grace,
		Addresses: pl.addresses(), Probe: probed(w.Ports),
	}, clearLog(p.folder.log())
}

// addresses returns the address of each networking key.
func (p place) addresses() map[string]string {
	list := map[string]string{}
	for key := range p.ports {
		list[key] = p.addr(key)
	}
	return list
}

// probed returns the networking keys that must accept connections.
func probed(ports map[string]pods.Port) []string {
	var keys []string
	for _, key := range slices.Sorted(maps.Keys(ports)) {
		if ports[key].Protocol != pods.NetLocalOnly {
			keys = append(keys, key)
		}
	}
	return keys
}

// launch makes the run folder and starts the shim in it.
func (c *Cluster) launch(f folder, sp spec) (*run, error) {
	fresh := f.newRun()
	if err := errors.Join(os.RemoveAll(string(fresh)), os.Mkdir(string(fresh), 0o700)); err != nil {
		return nil, fmt.Errorf("making the run folder: %w", err)
	}
	if err := writeJSON(fresh.spec(), sp); err != nil {
		return nil, err
	}
	// The shim inherits the lock, so it is held from before the shim begins until
	// it ends.
	lock, err := os.OpenFile(fresh.lock(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("making the lock: %w", err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, fmt.Errorf("locking the run folder: %w", err)
	}
	if err := os.Rename(string(fresh), string(f.run())); err != nil {
		return nil, fmt.Errorf("making the run folder: %w", err)
	}
	r, err := newRun(f.run(), sp)
	if err != nil {
		return nil, err
	}
	if r.process, err = c.startShim(r, lock); err != nil {
		r.lock.Close()
		return nil, err
	}
	return r, nil
}

func (c *Cluster) startShim(r *run, lock *os.File) (*os.Process, error) {
	log, err := os.OpenFile(r.spec.Log, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return nil, fmt.Errorf("opening the log: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(c.options.Self, ShimCommand, string(r.folder)) //nolint:noctx // it outlives us
	cmd.Stderr = log
	cmd.Env = []string{"PATH=" + searchPath}
	cmd.Dir = "/"
	cmd.ExtraFiles = []*os.File{lock} // becomes lockFD
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the pod's shim: %w", err)
	}
	return cmd.Process, nil
}

// remove asks for the end of a pod. changes is held.
func (c *Cluster) remove(p *pod, how removal) error {
	r := p.run
	switch {
	case r == nil && how == removeStorage:
		return c.forget(p)
	case r == nil:
		return nil
	}
	if r.removal != removeStorage && r.removal != how {
		// Written down, so that it happens even if we do not live to see the end.
		if err := os.WriteFile(r.folder.removal(), []byte(how), 0o600); err != nil {
			return fmt.Errorf("asking for the end of the pod: %w", err)
		}
		c.mu.Lock()
		r.removal = how
		p.obs.Terminating, p.obs.Ready, p.obs.Addresses = true, false, nil
		c.touch(p.meta.key())
		c.mu.Unlock()
	}
	if r.ended.Err() != nil {
		return c.discard(p, r)
	}
	select {
	case r.wake <- struct{}{}:
	default:
	}
	return nil
}

// readRemoval returns what was asked of a run before.
func readRemoval(folder runFolder) removal {
	b, err := os.ReadFile(folder.removal())
	switch {
	case err != nil:
		return notRemoved
	case removal(b) == removeStorage:
		return removeStorage
	default:
		return keepStorage
	}
}

// discard removes what an ended run left. changes is held.
func (c *Cluster) discard(p *pod, r *run) error {
	if r.removal == removeStorage {
		if err := c.forget(p); err != nil {
			return err
		}
	} else if err := os.RemoveAll(string(r.folder)); err != nil {
		return fmt.Errorf("removing the run folder: %w", err)
	}
	r.lock.Close()
	c.mu.Lock()
	p.run, p.obs = nil, idle(p.meta)
	c.touch(p.meta.key())
	c.mu.Unlock()
	close(r.gone)
	return nil
}

// forget removes all files of a pod that does not run. changes is held.
func (c *Cluster) forget(p *pod) error {
	if err := p.folder.remove(); err != nil {
		return fmt.Errorf("removing the pod's folder: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.known, p.meta.key())
	c.touch(p.meta.key())
	return nil
}
