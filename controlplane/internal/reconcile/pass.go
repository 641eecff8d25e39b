package reconcile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/routes"
)

// maxPasses bounds the passes that follow each other without a wait. A start
// takes five; a pod that takes more than this does not settle.
const maxPasses = 16

// result is what reconcile came to.
type result struct {
	published bool          // the pod's routes are as they should be
	after     time.Duration // look again then; zero: at the next event
}

// outcome is what one pass came to.
type outcome struct {
	again   bool
	after   time.Duration
	publish error // why the routes could not be published; not in the way of the rest
}

// errChanged says that the pod was written between being read and being saved.
var errChanged = errors.New("pod changed meanwhile")

// reconcile takes steps until there is nothing to do without an event.
func (r *Reconciler) reconcile(ctx context.Context, t task) (result, error) {
	var out outcome
	for range maxPasses {
		var err error
		out, err = r.pass(ctx, t)
		if errors.Is(err, errChanged) {
			continue
		}
		if err != nil {
			return result{published: out.publish == nil}, errors.Join(err, out.publish)
		}
		if !out.again {
			return result{published: out.publish == nil, after: out.after}, out.publish
		}
	}
	return result{}, errors.Join(fmt.Errorf("the pod did not settle in %d passes", maxPasses), out.publish)
}

// pass reads everything and takes one step.
func (r *Reconciler) pass(ctx context.Context, t task) (outcome, error) {
	absent := r.absences.get(t.Key)
	p, err := r.Store.Pod(ctx, t.Key)
	if pods.ErrorCode(err) == pods.NotFound {
		return r.removeDeleted(ctx, t, absent)
	}
	if err != nil {
		return unpublished(fmt.Errorf("reading pod: %w", err))
	}
	r.absences.end(t.Key, absent)
	d := r.resolve(ctx, p)
	o, err := r.Cluster.Observe(ctx, t.Key)
	if err != nil {
		return r.passBlind(ctx, p, d, err)
	}
	return r.take(ctx, t, p, d, o, r.Settings.next(p, d, o, r.now()))
}

// unpublished returns an error that came before anything was published.
func unpublished(err error) (outcome, error) { return outcome{publish: errNotReached}, err }

// errNotReached marks an outcome without a word about routes.
var errNotReached = errors.New("routes not published")

// passBlind is a pass without a word from the cluster. What the user does not
// want any more is withdrawn all the same; everything else stays as it is.
func (r *Reconciler) passBlind(ctx context.Context, p pods.Pod, d definition, cause error) (outcome, error) {
	cause = fmt.Errorf("observing pod: %w", cause)
	if p.Requested == pods.On {
		return unpublished(cause)
	}
	out := outcome{publish: r.publish(ctx, p, d, pods.Observation{Key: p.Key}, noEffect)}
	return out, cause
}

// take carries a step out, in the order the package comment gives.
func (r *Reconciler) take(ctx context.Context, t task, p pods.Pod, d definition, o pods.Observation, s step) (outcome, error) {
	if s.state.Status == pods.StatusAvailable && p.State.Status != pods.StatusAvailable {
		// Who reads AVAILABLE may connect at once, so the routes are there first. They
		// are published again below, which costs nothing if that went well.
		opened := p
		opened.State = s.state
		_ = r.publish(ctx, opened, d, o, s.effect) // an error is the one below
	}
	p, err := r.save(ctx, p, s)
	if err != nil {
		return unpublished(err)
	}
	out := outcome{again: s.again, after: s.after, publish: r.publish(ctx, p, d, o, s.effect)}
	if out.publish != nil && s.effect.removes() && !r.overdue(t) {
		return out, errWithdrawFirst
	}
	if s.keepLogs {
		r.keepLogs(ctx, p)
	}
	if s.effect == apply {
		again, err := r.apply(ctx, p, d)
		out.again = again
		return out, err
	}
	return out, r.remove(ctx, t.Key, s.effect)
}

// removes reports whether an effect takes something away that routes may lead to.
func (e effect) removes() bool { return e == remove || e == purge }

// overdue reports whether a removal has waited long enough for its routes. A pod
// that its user wants gone can't wait for Redis for ever, but the addresses of
// one that is gone may be given to another while edges still lead to them.
func (r *Reconciler) overdue(t task) bool {
	return t.failures > 0 && time.Since(t.since) >= r.Settings.WithdrawFor
}

// save writes what a step changes, and returns the pod as it is then.
func (r *Reconciler) save(ctx context.Context, p pods.Pod, s step) (pods.Pod, error) {
	events := eventsAt(r.now(), s.events)
	if s.requested != "" {
		err := r.Store.SetRequested(ctx, p.Key, p.UID, p.Requested, s.requested, events...)
		if err != nil {
			return p, saveError("setting what is requested", err)
		}
		p.Requested, events = s.requested, nil
	}
	if sameState(p.State, s.state) && len(events) == 0 {
		return p, nil
	}
	was := p.State
	p.State = s.state
	if err := r.Store.SaveState(ctx, p, s.clearInstance, events...); err != nil {
		return p, saveError("saving state", err)
	}
	if was.Status != p.State.Status {
		r.log(p.Key).Info("pod changed status", "from", was.Status, "to", p.State.Status)
	}
	return p, nil
}

func saveError(doing string, err error) error {
	if code := pods.ErrorCode(err); code == pods.Conflict || code == pods.NotFound {
		return errChanged
	}
	return fmt.Errorf("%s: %w", doing, err)
}

func eventsAt(now time.Time, texts []string) []pods.Event {
	var events []pods.Event
	for _, text := range texts {
		events = append(events, pods.Event{At: now, Text: text})
	}
	return events
}

// sameState reports whether two states are the same for a reader. The store
// may give a time back in another zone.
func sameState(a, b pods.State) bool {
	return reflect.DeepEqual(plainState(a), plainState(b))
}

func plainState(s pods.State) pods.State {
	s.Version = 0
	s.Since = *utc(&s.Since)
	for _, t := range []**time.Time{&s.StartedAt, &s.StopAt, &s.NextAttempt, &s.Container.StartTime} {
		*t = utc(*t)
	}
	return s
}

// resolve computes the effective definition of a pod.
func (r *Reconciler) resolve(ctx context.Context, p pods.Pod) definition {
	tenant, err := r.Tenants.Tenant(ctx, p.Tenant)
	if err != nil {
		return definition{err: fmt.Errorf("looking up tenant: %w", err)}
	}
	d := definition{domain: tenant.Domain()}
	if d.domain == "" {
		d.err = pods.Errorf(pods.Invalid, "the tenant's base URL %q names no host", tenant.BaseURL)
		return d
	}
	var chain []pods.Definition
	if r.Templates != nil {
		if chain, d.err = r.Templates(ctx, p); d.err != nil {
			return d
		}
	}
	d.Effective, d.err = pods.Resolve(p.ID, d.domain, r.Pods, p.Definition, chain...)
	return d
}

// publish makes the edges serve what follows from the state of a pod.
//
// A definition that can't be resolved for the moment leaves the routes as they
// are, unless they must lead nowhere from now on. One that can't be resolved at
// all, say because a bound was lowered or a template went away, leaves those of
// a running pod: nothing that is wrong with the next start may cut this one.
func (r *Reconciler) publish(ctx context.Context, p pods.Pod, d definition, o pods.Observation, e effect) error {
	steady := p.Requested == pods.On || p.State.Status == pods.StatusStopped
	var rs []routes.Route
	switch {
	case d.err == nil:
		rs = RoutesOf(p, d.Effective, o, d.domain)
	case !d.unusable() && steady && !e.removes():
		return fmt.Errorf("resolving pod: %w", d.err)
	case serving(p, o):
		return nil
	case d.domain != "":
		rs = plainRoutes(p, d.Effective, d.domain)
	}
	rs, err := r.withDomains(ctx, p, rs)
	if err != nil {
		return err
	}
	for i := range rs {
		rs[i] = r.publishable(p, rs[i])
	}
	sharesErr := r.publishShares(ctx, p.Key, rs)
	if sharesErr != nil && steady && !e.removes() {
		// Tokens of a pod that had this name before must not lead to this one.
		return sharesErr
	}
	if err := r.Routes.SetPod(ctx, p.Tenant, string(p.ID), rs); err != nil {
		return errors.Join(sharesErr, fmt.Errorf("publishing routes: %w", err))
	}
	return sharesErr
}

// publishShares tells the edges which access tokens lead to a pod.
func (r *Reconciler) publishShares(ctx context.Context, k pods.Key, rs []routes.Route) error {
	hosts := map[string]string{}
	for _, route := range rs {
		// Secrets are kept as hashes for the pod's own hosts, and count there only.
		if _, _, _, own := routes.ParsePodHost(route.Host); own && route.AccessGate != nil {
			hosts[route.Net] = route.Host
		}
	}
	if r.Shares == nil || len(hosts) == 0 {
		return nil
	}
	if err := r.Shares(ctx, k, hosts); err != nil {
		return fmt.Errorf("publishing access tokens: %w", err)
	}
	return nil
}

// publishable returns a route as it is, or, if a reader would refuse it, one for
// the same host that says there is an error.
func (r *Reconciler) publishable(p pods.Pod, route routes.Route) routes.Route {
	err := route.Validate()
	if err == nil {
		_, err = routes.Encode(route)
	}
	if err == nil {
		return route
	}
	r.log(p.Key).Warn("route can't be published", "host", route.Host, "error", err)
	return routes.Route{
		Schema: route.Schema, Host: route.Host, Tenant: route.Tenant, Pod: route.Pod, Net: route.Net,
		Protocol: route.Protocol, State: routes.Error,
	}
}

// apply asks the cluster to run a pod and notes its answer. It reports whether
// there is more to do at once.
func (r *Reconciler) apply(ctx context.Context, p pods.Pod, d definition) (again bool, err error) {
	w, applyErr := r.workload(ctx, p, d)
	if applyErr != nil && pods.ErrorCode(applyErr) != pods.Invalid {
		return false, applyErr
	}
	if applyErr == nil {
		applyErr = r.Cluster.Apply(ctx, w)
	}
	if ctx.Err() != nil {
		return false, ctx.Err() // no answer at all
	}
	s := r.Settings.applied(p, r.now())
	if applyErr != nil {
		applyErr = fmt.Errorf("applying pod: %w", applyErr)
		s = r.Settings.applyFailed(p, applyErr, r.now())
	}
	if _, err := r.save(ctx, p, s); err != nil {
		return false, err
	}
	if applyErr == nil || !s.again {
		return s.again, applyErr
	}
	r.log(p.Key).Warn("cluster refused pod", "attempt", s.state.Attempts, "error", applyErr)
	return true, nil
}

// workload returns what the cluster shall run. The error is Invalid if the pod
// refers to what it can't have.
func (r *Reconciler) workload(ctx context.Context, p pods.Pod, d definition) (pods.Workload, error) {
	creds, err := r.Store.Credentials(ctx, p.Key)
	if err != nil {
		return pods.Workload{}, fmt.Errorf("reading credentials: %w", err)
	}
	w := pods.BuildWorkload(p, d.Effective, creds)
	if r.Bind == nil {
		return w, nil
	}
	if err := r.Bind(ctx, p, d.Effective, &w); err != nil {
		return w, fmt.Errorf("binding pod: %w", err)
	}
	return w, nil
}

// remove calls the cluster for a removal.
func (r *Reconciler) remove(ctx context.Context, k pods.Key, e effect) error {
	switch e {
	case remove:
		if err := r.Cluster.Remove(ctx, k); err != nil {
			return fmt.Errorf("removing pod: %w", err)
		}
	case purge:
		if err := r.Cluster.Purge(ctx, k); err != nil {
			return fmt.Errorf("purging pod: %w", err)
		}
	default:
	}
	return nil
}

// logsTimeout bounds the reading of a container's output, which must not hold up
// the pod's removal for long.
const logsTimeout = 10 * time.Second

// keepLogs saves the container's output in the store. Nothing depends on it, so
// it does what it can.
func (r *Reconciler) keepLogs(ctx context.Context, p pods.Pod) {
	ctx, cancel := context.WithTimeout(ctx, logsTimeout)
	defer cancel()
	err := r.copyLogs(ctx, p)
	if err != nil && pods.ErrorCode(err) != pods.NotFound {
		r.log(p.Key).Warn("keeping logs failed", "error", err)
	}
}

func (r *Reconciler) copyLogs(ctx context.Context, p pods.Pod) error {
	logs, err := r.Cluster.Logs(ctx, p.Key, false)
	if err != nil {
		return fmt.Errorf("opening logs: %w", err)
	}
	defer logs.Close()
	text, err := io.ReadAll(io.LimitReader(logs, pods.MaxLogBytes))
	if err != nil {
		return fmt.Errorf("reading logs: %w", err)
	}
	if len(text) == 0 {
		return nil
	}
	if err := r.Store.SaveLogs(ctx, p.Key, p.UID, text); err != nil {
		return fmt.Errorf("saving logs: %w", err)
	}
	return nil
}
