package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

var createTests = []test{
	{"a created pod has version 1 twice and everything that was given", func(s *suite) {
		p := newPod("web")
		p.Version, p.State.Version = 7, 9
		if err := s.CreatePod(s.Context(), p, newCredentials("web"), event("created")); err != nil {
			s.Fatal(err)
		}
		p.Version, p.State.Version = 1, 1
		wantEqual(s, "pod", s.read(p.Key), p)
		s.wantTexts(p.Key, "created")
	}},
	{"a taken id is Exists and nothing is written", func(s *suite) {
		s.create("web")
		other := newPod("web")
		other.UID, other.Owner = "other", "bob"
		other.Permissions = pods.Permissions{"bob": pods.LevelAdmin}
		s.unchanged(other.Key, func() {
			err := s.CreatePod(s.Context(), other, newCredentials("other"), event("created again"))
			s.wantCode(err, pods.Exists)
		})
	}},
	{"two tenants can have a pod of one id", func(s *suite) {
		s.create("web")
		s.create("web", func(p *pods.Pod) { p.Tenant, p.Owner = "other", "bob" })
		wantEqual(s, "owner", s.read(key("web")).Owner, "ann")
		wantEqual(s, "owner", s.read(pods.Key{Tenant: "other", ID: "web"}).Owner, "bob")
	}},
	{"the id of a deleted pod can be used again, with nothing left of the old pod", func(s *suite) {
		old := s.create("web", func(p *pods.Pod) { p.Permissions["bob"] = pods.LevelRead })
		if err := s.SaveLogs(s.Context(), old.Key, old.UID, []byte("old logs")); err != nil {
			s.Fatal(err)
		}
		s.update(old, event("old event"))
		s.delete(old.Key)

		p := newPod("web")
		p.UID = "new"
		if err := s.CreatePod(s.Context(), p, newCredentials("new"), event("created again")); err != nil {
			s.Fatal(err)
		}
		p.Version, p.State.Version = 1, 1
		wantEqual(s, "everything", s.everything(p.Key),
			[]any{p, []pods.Event{event("created again")}, "", newCredentials("new")})
	}},
	{"a user name that is no text is Invalid", func(s *suite) {
		p := newPod("web")
		p.Permissions["a\x00b"] = pods.LevelRead
		s.wantCode(s.CreatePod(s.Context(), p, newCredentials("web"), event("created")), pods.Invalid)
		_, err := s.Pod(s.Context(), p.Key)
		s.wantCode(err, pods.NotFound)
	}},
}

var podTests = []test{
	{"an unknown pod is NotFound", func(s *suite) {
		s.create("web")
		for _, k := range []pods.Key{key("we"), key("webb"), key("WEB"), key("w%"), key(""), {Tenant: "other", ID: "web"}} {
			_, err := s.Pod(s.Context(), k)
			s.wantCode(err, pods.NotFound)
		}
	}},
	{"times come back in UTC, to the microsecond", func(s *suite) {
		zone := time.FixedZone("east", 5*3600)
		local := t0.Add(789 * time.Nanosecond).In(zone)
		p := s.create("web", func(p *pods.Pod) {
			p.CreatedAt, p.UpdatedAt, p.State.Since = local, local, local
			p.State.StartedAt, p.State.StopAt, p.State.NextAttempt = &local, &local, &local
			p.State.Container.StartTime = &local
		})
		for _, got := range []time.Time{
			p.CreatedAt, p.UpdatedAt, p.State.Since, *p.State.StartedAt, *p.State.StopAt,
			*p.State.NextAttempt, *p.State.Container.StartTime,
		} {
			wantEqual(s, "time", got, t0)
		}
	}},
	{"times that are not set stay so", func(s *suite) {
		p := s.create("web")
		wantEqual(s, "state", p.State, pods.State{Status: pods.StatusRequested, Since: t0, Version: 1})
	}},
	{"a pod without permissions has an empty map", func(s *suite) {
		p := s.create("web", func(p *pods.Pod) { p.Permissions = nil })
		wantEqual(s, "permissions", p.Permissions, pods.Permissions{})
	}},
	{"a field of the definition is absent, null or set, as it was given", func(s *suite) {
		d := pods.Definition{
			Image:                pods.Set(""),
			Template:             pods.Null[string](),
			Command:              pods.Set([]string{}),
			Arguments:            pods.Null[[]string](),
			EnvironmentVariables: pods.Set(map[string]string{"A": "<<TAPIS_user_password>>\x00\n\"é日本'"}),
			VolumeMounts:         pods.Set(map[string]pods.VolumeMount{"v": {Type: "tapisvolume", MountPath: "/m"}}),
			TimeToStopInstance:   pods.Set(0),
			Networking: pods.Set(map[string]pods.NetDef{"default": {
				Protocol: pods.Set("http"), Port: pods.Null[int](), IPAllowList: pods.Set([]string{}),
			}}),
			Resources: pods.Set(pods.ResourcesDef{GPUs: pods.Set(0), CPULimit: pods.Null[int]()}),
		}
		p := s.create("web", func(p *pods.Pod) { p.Definition = d })
		wantEqual(s, "definition after create", p.Definition, d)
		p.Definition = pods.Definition{}
		p = s.update(p)
		wantEqual(s, "definition after update", p.Definition, pods.Definition{})
	}},
}

var updateTests = []test{
	{"an update writes the user's columns and returns the pod as stored", func(s *suite) {
		p := s.create("web", func(p *pods.Pod) { p.Permissions["bob"] = pods.LevelRead })
		want := p
		want.Definition = pods.Definition{Description: pods.Set("second")}
		want.Requested = pods.Off
		want.Permissions = pods.Permissions{"ann": pods.LevelUser, "*": pods.LevelRead}
		want.UpdatedAt = t0.Add(time.Hour)
		got := s.update(want, event("updated"))
		want.Version = 2
		wantEqual(s, "returned pod", got, want)
		wantEqual(s, "stored pod", s.read(p.Key), want)
		s.wantTexts(p.Key, "created", "updated")
	}},
	{"an update writes no other column", func(s *suite) {
		p := s.create("web")
		changed := p
		changed.Site, changed.Owner, changed.CreatedAt = "other", "other", t0.Add(time.Hour)
		changed.State = pods.State{Status: pods.StatusError, Attempts: 3, Version: 9}
		got := s.update(changed)
		p.Version = 2
		wantEqual(s, "pod", got, p)
	}},
	{"an update of a pod that was written meanwhile is a Conflict and writes nothing", func(s *suite) {
		p := s.create("web")
		s.update(p)
		p.Definition.Description = pods.Set("late")
		p.Permissions = pods.Permissions{"late": pods.LevelAdmin}
		s.unchanged(p.Key, func() {
			_, err := s.UpdatePod(s.Context(), p, event("late"))
			s.wantCode(err, pods.Conflict)
		})
	}},
	{"an update is a Conflict after SetRequested, which it would undo", func(s *suite) {
		p := s.create("web", func(p *pods.Pod) { p.Requested = pods.Restart })
		if err := s.SetRequested(s.Context(), p.Key, p.UID, pods.Restart, pods.On); err != nil {
			s.Fatal(err)
		}
		_, err := s.UpdatePod(s.Context(), p)
		s.wantCode(err, pods.Conflict)
		wantEqual(s, "requested", s.read(p.Key).Requested, pods.On)
	}},
	{"an update succeeds after SaveState and keeps the state", func(s *suite) {
		p := s.create("web")
		p.State.Status = pods.StatusAvailable
		want := s.saveState(p, false)
		p.Definition.Description = pods.Set("second")
		got := s.update(p)
		want.Definition, want.Version = p.Definition, 2
		wantEqual(s, "pod", got, want)
	}},
	{"a user name that is no text is Invalid", func(s *suite) {
		p := s.create("web")
		s.unchanged(p.Key, func() {
			changed := p
			changed.Permissions = pods.Permissions{"ann": pods.LevelAdmin, "\xff": pods.LevelRead}
			_, err := s.UpdatePod(s.Context(), changed)
			s.wantCode(err, pods.Invalid)
		})
	}},
}

var requestedTests = []test{
	{"it changes Requested and its version, not UpdatedAt, and appends events", func(s *suite) {
		want := s.create("web")
		if err := s.SetRequested(s.Context(), want.Key, want.UID, pods.On, pods.Off, event("off")); err != nil {
			s.Fatal(err)
		}
		want.Requested, want.Version = pods.Off, 2
		wantEqual(s, "pod", s.read(want.Key), want)
		s.wantTexts(want.Key, "created", "off")
	}},
	{"it is a Conflict if Requested has another value, and nothing is written", func(s *suite) {
		p := s.create("web")
		s.unchanged(p.Key, func() {
			s.wantCode(s.SetRequested(s.Context(), p.Key, p.UID, pods.Restart, pods.On, event("late")), pods.Conflict)
		})
	}},
	{"it does not need the version, and succeeds after an update", func(s *suite) {
		p := s.create("web")
		s.update(p)
		if err := s.SetRequested(s.Context(), p.Key, p.UID, pods.On, pods.Off); err != nil {
			s.Fatal(err)
		}
	}},
}

var stateTests = []test{
	{"it writes every column of the state and leaves the rest", func(s *suite) {
		want := s.create("web")
		at := func(d time.Duration) *time.Time { t := t0.Add(d); return &t }
		want.State = pods.State{
			Status:    pods.StatusAvailable,
			Container: pods.ContainerStatus{Phase: "Running", StartTime: at(1), Message: "Pod is running.", RestartCount: 2},
			Ready:     true, Instance: "abc",
			StartedAt: at(time.Second), StopAt: at(2 * time.Second),
			Since: t0.Add(time.Minute), Attempts: 3, NextAttempt: at(3 * time.Second),
			Version: 1,
		}
		want.State.Container.StartTime = at(time.Microsecond)
		given := want
		given.Definition, given.Requested, given.Permissions = pods.Definition{}, pods.Off, pods.Permissions{}
		given.UpdatedAt, given.Owner, given.Version = t0.Add(time.Hour), "other", 9
		got := s.saveState(given, false, event("available"))
		want.State.Version = 2
		wantEqual(s, "pod", got, want)
		s.wantTexts(want.Key, "created", "available")

		got.State = pods.State{Status: pods.StatusStopped, Since: t0, Version: 2}
		want.State = pods.State{Status: pods.StatusStopped, Since: t0, Version: 3}
		wantEqual(s, "pod with an empty state", s.saveState(got, false), want)
	}},
	{"it is a Conflict if the state was written meanwhile, and nothing is written", func(s *suite) {
		p := s.create("web", func(p *pods.Pod) { p.Definition.TimeToStopInstance = pods.Set(60) })
		s.saveState(p, false)
		s.unchanged(p.Key, func() {
			p.State.Status = pods.StatusError
			s.wantCode(s.SaveState(s.Context(), p, true, event("late")), pods.Conflict)
		})
	}},
	{"it succeeds after an update and keeps it", func(s *suite) {
		p := s.create("web")
		changed := p
		changed.Definition.Description = pods.Set("second")
		want := s.update(changed)
		p.State.Status = pods.StatusAvailable
		got := s.saveState(p, false)
		want.State.Status, want.State.Version = pods.StatusAvailable, 2
		wantEqual(s, "pod", got, want)
	}},
	{"clearing the instance's time to stop removes that field only", func(s *suite) {
		for name, value := range map[string]pods.Opt[int]{"a": pods.Set(60), "b": pods.Null[int]()} {
			want := s.create(pods.ID("set" + name))
			want.Definition.TimeToStopDefault = pods.Set(5)
			want = s.update(want)
			changed := want
			changed.Definition.TimeToStopInstance = value
			changed = s.update(changed)
			got := s.saveState(changed, true)
			want.Version, want.State.Version = got.Version, 2
			wantEqual(s, "pod", got, want)
		}
	}},
	{"clearing the instance's time to stop makes an older update a Conflict, which would bring it back", func(s *suite) {
		p := s.create("web", func(p *pods.Pod) { p.Definition.TimeToStopInstance = pods.Set(60) })
		s.saveState(p, true)
		_, err := s.UpdatePod(s.Context(), p)
		s.wantCode(err, pods.Conflict)
	}},
	{"clearing a time to stop that is not set leaves the user's version", func(s *suite) {
		p := s.create("web")
		got := s.saveState(p, true)
		wantEqual(s, "version", got.Version, int64(1))
	}},
	{"without clearing, the instance's time to stop stays", func(s *suite) {
		p := s.create("web", func(p *pods.Pod) { p.Definition.TimeToStopInstance = pods.Set(60) })
		got := s.saveState(p, false)
		wantEqual(s, "time to stop", got.Definition.TimeToStopInstance, pods.Set(60))
	}},
	{"a message with any bytes can be saved", func(s *suite) {
		p := s.create("web")
		p.State.Container.Message = "a\x00b\xffc"
		got := s.saveState(p, false, event("x\x00y\xffz"))
		if m := got.State.Container.Message; !strings.HasPrefix(m, "a") || !strings.HasSuffix(m, "c") {
			s.Fatalf("got message %q, want a...b...c", m)
		}
		s.wantTexts(p.Key, "created", "x\uFFFDy\uFFFDz")
	}},
}

var deleteTests = []test{
	{"a deleted pod is gone with its credentials, events and logs", func(s *suite) {
		p := s.create("web")
		if err := s.SaveLogs(s.Context(), p.Key, p.UID, []byte("logs")); err != nil {
			s.Fatal(err)
		}
		s.delete(p.Key)
		for _, c := range podCalls() {
			s.wantCode(c.do(s.Context(), s.Store, p), pods.NotFound)
		}
	}},
	{"other pods stay", func(s *suite) {
		for _, id := range []pods.ID{"web", "web2"} {
			s.create(id)
		}
		s.create("web", func(p *pods.Pod) { p.Tenant = "other" })
		s.unchanged(key("web2"), func() { s.delete(key("web")) })
		s.read(pods.Key{Tenant: "other", ID: "web"})
	}},
}

var credentialsTests = []test{
	{"they come back as given", func(s *suite) {
		s.create("web")
		s.create("db")
		for _, id := range []pods.ID{"web", "db"} {
			got, err := s.Credentials(s.Context(), key(id))
			if err != nil {
				s.Fatal(err)
			}
			wantEqual(s, "credentials", got, newCredentials(id))
		}
	}},
}

var eventTests = []test{
	{"they come oldest first, in the order they were written, whatever their times", func(s *suite) {
		p := s.create("web")
		es := []pods.Event{{At: t0.Add(-time.Hour), Text: "b"}, {At: t0.Add(time.Hour), Text: "a"}, {At: t0, Text: "c"}}
		p = s.update(p, es[0], es[1])
		s.saveState(p, false, es[2])
		got, err := s.Events(s.Context(), p.Key)
		if err != nil {
			s.Fatal(err)
		}
		wantEqual(s, "events", got, append([]pods.Event{event("created")}, es...))
	}},
	{"an event that says the same as the one before it is not stored again", func(s *suite) {
		p := s.create("web")
		p = s.update(p, event("created"), event("a"), event("a"))
		if err := s.SetRequested(s.Context(), p.Key, p.UID, pods.On, pods.Off, event("a")); err != nil {
			s.Fatal(err)
		}
		p = s.saveState(p, false, event("a"), event("b"), event("a"))
		s.saveState(p, false, event("a"))
		s.wantTexts(p.Key, "created", "a", "b", "a")
	}},
	{"the same text at two pods is stored at both", func(s *suite) {
		s.create("web")
		s.create("db")
		s.wantTexts(key("web"), "created")
		s.wantTexts(key("db"), "created")
	}},
	{"an empty text is an event", func(s *suite) {
		p := s.create("web")
		s.update(p, event(""), event(""))
		s.wantTexts(p.Key, "created", "")
	}},
	{"times are in UTC, to the microsecond", func(s *suite) {
		p := s.create("web")
		s.update(p, pods.Event{At: t0.Add(999).In(time.FixedZone("west", -3600)), Text: "a"})
		es, err := s.Events(s.Context(), p.Key)
		if err != nil {
			s.Fatal(err)
		}
		wantEqual(s, "event", es[1], event("a"))
	}},
	{"the newest MaxEvents are returned", func(s *suite) {
		p := s.create("web")
		var es []pods.Event
		var want []string
		for i := range pods.MaxEvents + 10 {
			es = append(es, event(fmt.Sprint(i)))
			want = append(want, fmt.Sprint(i))
		}
		s.update(p, es...)
		s.wantTexts(p.Key, want[10:]...)
	}},
}

var logTests = []test{
	{"a pod without logs has empty ones", func(s *suite) {
		s.create("web")
		s.wantLogs(key("web"), "")
	}},
	{"saved logs replace the ones before", func(s *suite) {
		p := s.create("web")
		for _, logs := range []string{"one\n", "two longer\n", "3", ""} {
			if err := s.SaveLogs(s.Context(), p.Key, p.UID, []byte(logs)); err != nil {
				s.Fatal(err)
			}
			s.wantLogs(p.Key, logs)
		}
		if err := s.SaveLogs(s.Context(), p.Key, p.UID, nil); err != nil {
			s.Fatal(err)
		}
		s.wantLogs(p.Key, "")
	}},
	{"logs are bytes, of any value", func(s *suite) {
		p := s.create("web")
		all := make([]byte, 256)
		for i := range all {
			all[i] = byte(i)
		}
		if err := s.SaveLogs(s.Context(), p.Key, p.UID, all); err != nil {
			s.Fatal(err)
		}
		s.wantLogs(p.Key, string(all))
	}},
	{"the newest MaxLogBytes are kept", func(s *suite) {
		p := s.create("web")
		newest := bytes.Repeat([]byte("0123456789abcdef"), pods.MaxLogBytes/16)
		if err := s.SaveLogs(s.Context(), p.Key, p.UID, append([]byte("old"), newest...)); err != nil {
			s.Fatal(err)
		}
		got, err := s.Logs(s.Context(), p.Key)
		if err != nil {
			s.Fatal(err)
		}
		if !bytes.Equal(got, newest) {
			s.Fatalf("got %d bytes that start with %q, want the newest %d", len(got), got[:min(8, len(got))], len(newest))
		}
	}},
	{"saving logs leaves the pod and its versions", func(s *suite) {
		p := s.create("web")
		if err := s.SaveLogs(s.Context(), p.Key, p.UID, []byte("logs")); err != nil {
			s.Fatal(err)
		}
		wantEqual(s, "pod", s.read(p.Key), p)
	}},
}

func (s *suite) wantLogs(k pods.Key, want string) {
	s.Helper()
	got, err := s.Logs(s.Context(), k)
	if err != nil {
		s.Fatal(err)
	}
	wantEqual(s, "logs", string(got), want)
}

var everyMethodTests = []test{
	{"on a pod that is not there is NotFound and writes nothing", func(s *suite) {
		for _, k := range []pods.Key{key("web"), {Tenant: "other", ID: "here"}, key("a\x00b"), key("\xff"), {Tenant: "\x00", ID: "here"}} {
			s.create("here")
			s.unchanged(key("here"), func() {
				p := newPod(k.ID)
				p.Key, p.Version, p.State.Version = k, 1, 1
				for _, c := range podCalls() {
					if err := c.do(s.Context(), s.Store, p); pods.ErrorCode(err) != pods.NotFound {
						s.Errorf("%s of %q: got %v, want not found", c.name, k, err)
					}
				}
			})
			s.delete(key("here"))
		}
	}},
	{"that writes a pod of another uid is NotFound and writes nothing", func(s *suite) {
		p := s.create("web")
		for _, c := range writeCalls() {
			s.unchanged(p.Key, func() {
				old := p
				old.UID = "uid of the pod before"
				if err := c.do(s.Context(), s.Store, old); pods.ErrorCode(err) != pods.NotFound {
					s.Errorf("%s: got %v, want not found", c.name, err)
				}
			})
		}
	}},
	{"with a context that has ended says so and writes nothing", func(s *suite) {
		p := s.create("web")
		ctx, cancel := context.WithCancel(s.Context())
		cancel()
		calls := append(podCalls(),
			call{"CreatePod", func(ctx context.Context, st pods.Store, _ pods.Pod) error {
				return st.CreatePod(ctx, newPod("new"), newCredentials("new"), event("created"))
			}},
			call{"Pods", func(ctx context.Context, st pods.Store, _ pods.Pod) error {
				_, err := st.Pods(ctx, pods.PodQuery{})
				return err
			}},
			call{"Ping", func(ctx context.Context, st pods.Store, _ pods.Pod) error { return st.Ping(ctx) }},
		)
		s.unchanged(p.Key, func() {
			for _, c := range calls {
				if err := c.do(ctx, s.Store, p); !errors.Is(err, context.Canceled) {
					s.Errorf("%s: got %v, want %v", c.name, err, context.Canceled)
				}
			}
		})
		_, err := s.Pod(s.Context(), key("new"))
		s.wantCode(err, pods.NotFound)
	}},
	{"Ping answers", func(s *suite) {
		if err := s.Ping(s.Context()); err != nil {
			s.Fatal(err)
		}
	}},
}
