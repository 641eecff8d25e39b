package storetest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// checkModel runs random sequences of calls on the store and on a model of it,
// and compares what both answer. Each sequence has a tenant of its own.
func checkModel(t *testing.T, store pods.Store) {
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		m := &model{ctx: t.Context(), store: store, tenant: fmt.Sprint("tenant", n), pods: map[pods.ID]*modelPod{}}
		rt.Repeat(map[string]func(*rapid.T){
			"create":  m.create,
			"update":  m.update,
			"request": m.request,
			"state":   m.state,
			"delete":  m.delete,
			"check":   m.check,
		})
		m.check(rt)
	})
}

// model is what a store with the pods of one tenant must answer.
type model struct {
	ctx    context.Context
	store  pods.Store
	tenant string
	pods   map[pods.ID]*modelPod
	uids   int
}

type modelPod struct {
	pods.Pod
	events []string
}

var (
	genID        = rapid.SampledFrom([]pods.ID{"web", "db"})
	genRequested = rapid.SampledFrom([]pods.Requested{pods.On, pods.Off, pods.Restart})
	genText      = rapid.SampledFrom([]string{"a", "b", "c"})
	genTime      = rapid.Map(rapid.Int64Range(0, 1<<50), func(us int64) time.Time { return time.UnixMicro(us).UTC() })
	genOptTime   = rapid.Ptr(genTime, true)
)

func genOpt[T any](g *rapid.Generator[T]) *rapid.Generator[pods.Opt[T]] {
	return rapid.OneOf(rapid.Just(pods.Opt[T]{}), rapid.Just(pods.Null[T]()), rapid.Map(g, pods.Set[T]))
}

func genStrings() *rapid.Generator[[]string] { return rapid.SliceOfN(rapid.String(), 0, 3) }

// genDefinition draws a definition that may set any of its fields.
func genDefinition(t *rapid.T) pods.Definition {
	text, number, list := genOpt(rapid.String()), genOpt(rapid.Int()), genOpt(genStrings())
	texts := genOpt(rapid.MapOfN(rapid.String(), rapid.String(), 0, 3))
	return pods.Definition{
		Image:                text.Draw(t, "image"),
		Template:             text.Draw(t, "template"),
		Description:          text.Draw(t, "description"),
		Command:              list.Draw(t, "command"),
		Arguments:            list.Draw(t, "arguments"),
		EnvironmentVariables: texts.Draw(t, "env"),
		SecretMap:            texts.Draw(t, "secrets"),
		VolumeMounts:         genOpt(rapid.MapOfN(rapid.String(), rapid.Custom(genMount), 0, 2)).Draw(t, "mounts"),
		TemplateOverrides:    genOpt(rapid.Custom(genOverrides)).Draw(t, "overrides"),
		TimeToStopDefault:    number.Draw(t, "stop"),
		TimeToStopInstance:   number.Draw(t, "instance"),
		Networking:           genOpt(rapid.MapOfN(rapid.StringMatching("[a-z]+"), rapid.Custom(genNet), 0, 2)).Draw(t, "networking"),
		Resources: genOpt(rapid.Custom(func(t *rapid.T) pods.ResourcesDef {
			return pods.ResourcesDef{
				CPURequest: number.Draw(t, "cpu request"), CPULimit: number.Draw(t, "cpu limit"),
				MemRequest: number.Draw(t, "mem request"), MemLimit: number.Draw(t, "mem limit"), GPUs: number.Draw(t, "gpus"),
			}
		})).Draw(t, "resources"),
		ComputeQueue: text.Draw(t, "queue"),
		Healthchecks: genOpt(rapid.Custom(func(t *rapid.T) pods.HealthchecksDef {
			probe := genOpt(rapid.Custom(genProbe))
			return pods.HealthchecksDef{
				Liveness: probe.Draw(t, "liveness"), Readiness: probe.Draw(t, "readiness"), Startup: probe.Draw(t, "startup"),
				NetworkingRequiresReady: genOpt(rapid.Bool()).Draw(t, "requires ready"),
			}
		})).Draw(t, "healthchecks"),
	}
}

func genMount(t *rapid.T) pods.VolumeMount {
	if rapid.IntRange(0, 4).Draw(t, "removes") == 0 {
		return pods.VolumeMount{}
	}
	return pods.VolumeMount{
		Type: rapid.SampledFrom([]string{pods.MountPVC, pods.MountVolume, pods.MountEphemeral}).Draw(t, "type"), MountPath: rapid.String().Draw(t, "path"),
		SourceID: rapid.String().Draw(t, "source"), SubPath: rapid.String().Draw(t, "sub path"),
		ReadOnly: rapid.Bool().Draw(t, "read-only"), MountedBy: rapid.String().Draw(t, "by"),
		ConfigContent: rapid.String().Draw(t, "content"), ConfigFilename: rapid.String().Draw(t, "file"),
		ConfigPermissions: rapid.String().Draw(t, "permissions"), ConfigUpdateMode: rapid.String().Draw(t, "update mode"),
	}
}

func genOverrides(t *rapid.T) pods.TemplateOverrides {
	text := genOpt(rapid.String())
	return pods.TemplateOverrides{
		VolumeMounts: rapid.MapOfN(rapid.String(), rapid.Custom(func(t *rapid.T) pods.MountOverride {
			return pods.MountOverride{
				Type: text.Draw(t, "type"), SourceID: text.Draw(t, "source"), SubPath: text.Draw(t, "sub path"),
				ReadOnly: genOpt(rapid.Bool()).Draw(t, "read-only"), MountedBy: rapid.String().Draw(t, "by"),
				ConfigContent: text.Draw(t, "content"), ConfigFilename: text.Draw(t, "file"), ConfigPermissions: text.Draw(t, "permissions"),
				ConfigUpdateMode: text.Draw(t, "update mode"),
			}
		}), 1, 2).Draw(t, "mounts"),
		SecretMap: rapid.MapOfN(rapid.String(), rapid.String(), 1, 2).Draw(t, "secrets"),
	}
}

func genNet(t *rapid.T) pods.NetDef {
	text, number, list, truth := genOpt(rapid.String()), genOpt(rapid.Int()), genOpt(genStrings()), genOpt(rapid.Bool())
	return pods.NetDef{
		Protocol: text.Draw(t, "protocol"), Port: number.Draw(t, "port"), IPAllowList: list.Draw(t, "ips"),
		ClientCA:                   text.Draw(t, "client ca"),
		TapisAuth:                  truth.Draw(t, "auth"),
		TapisAuthResponseHeaders:   genOpt(rapid.MapOfN(rapid.String(), rapid.String(), 0, 2)).Draw(t, "headers"),
		TapisAuthAllowedUsers:      list.Draw(t, "users"),
		TapisAuthReturnPath:        text.Draw(t, "return path"),
		TapisAuthExcludedPaths:     list.Draw(t, "paths"),
		TapisAuthExcludedPathRegex: list.Draw(t, "patterns"),
		AccessGate:                 truth.Draw(t, "access gate"), AccessGateReturnPath: text.Draw(t, "access path"),
		CORSAllowOrigins: list.Draw(t, "origins"), CORSAllowMethods: list.Draw(t, "methods"),
		CORSAllowHeaders: list.Draw(t, "cors headers"), CORSAllowCredentials: truth.Draw(t, "credentials"),
		CORSMaxAge: number.Draw(t, "age"), ProxyCompression: truth.Draw(t, "compression"),
		ProxyCompressionEncodings:           list.Draw(t, "encodings"),
		ProxyCompressionExcludedContent:     list.Draw(t, "content types"),
		ProxyCompressionMinResponseBodySize: number.Draw(t, "least body"),
		TapisUIURI:                          text.Draw(t, "ui"), TapisUIURIRedirect: truth.Draw(t, "redirect"),
		TapisUIURIDescription: text.Draw(t, "ui description"),
	}
}

func genProbe(t *rapid.T) pods.Probe {
	number := rapid.Int()
	return pods.Probe{
		HTTPGetPath: rapid.String().Draw(t, "path"), HTTPGetPort: number.Draw(t, "port"), HTTPGetScheme: rapid.String().Draw(t, "scheme"),
		ExecCommand: rapid.SliceOfN(rapid.String(), 1, 2).Draw(t, "command"), TCPSocketPort: number.Draw(t, "tcp port"),
		InitialDelaySeconds: number.Draw(t, "delay"), PeriodSeconds: number.Draw(t, "period"), TimeoutSeconds: number.Draw(t, "timeout"),
		FailureThreshold: number.Draw(t, "failures"), SuccessThreshold: number.Draw(t, "successes"),
	}
}

func genPermissions(t *rapid.T) pods.Permissions {
	users := rapid.SampledFrom([]string{"ann", "bob", "*", "o'neil", `q"uote\`})
	return rapid.MapOfN(users, rapid.SampledFrom(pods.Levels()), 0, 3).Draw(t, "permissions")
}

func genState(t *rapid.T) pods.State {
	return pods.State{
		Status: rapid.SampledFrom([]pods.Status{pods.StatusAvailable, pods.StatusSpawnerSetup}).Draw(t, "status"),
		Container: pods.ContainerStatus{
			Phase: rapid.String().Draw(t, "phase"), StartTime: genOptTime.Draw(t, "start"),
			Message: rapid.String().Draw(t, "message"), RestartCount: rapid.IntRange(0, 9).Draw(t, "restarts"),
		},
		Ready:       rapid.Bool().Draw(t, "ready"),
		Instance:    rapid.StringMatching("[a-z]*").Draw(t, "instance"),
		StartedAt:   genOptTime.Draw(t, "started"),
		StopAt:      genOptTime.Draw(t, "stop"),
		Since:       genTime.Draw(t, "since"),
		Attempts:    rapid.IntRange(0, 9).Draw(t, "attempts"),
		NextAttempt: genOptTime.Draw(t, "next"),
	}
}

func (m *model) key(id pods.ID) pods.Key { return pods.Key{Tenant: m.tenant, ID: id} }

func (m *model) create(t *rapid.T) {
	m.uids++
	p := pods.Pod{
		Key: m.key(genID.Draw(t, "id")), UID: fmt.Sprint("uid", m.uids), Site: "site", Owner: "ann",
		Definition: genDefinition(t), Requested: genRequested.Draw(t, "requested"), Permissions: genPermissions(t),
		CreatedAt: genTime.Draw(t, "created"), UpdatedAt: genTime.Draw(t, "updated"), State: genState(t),
	}
	text := genText.Draw(t, "event")
	err := m.store.CreatePod(m.ctx, p, pods.Credentials{UserPassword: p.UID}, event(text))
	if m.pods[p.ID] != nil {
		wantModelCode(t, err, pods.Exists)
		return
	}
	wantModelCode(t, err, "")
	p.Version, p.State.Version = 1, 1
	m.pods[p.ID] = &modelPod{Pod: p, events: []string{text}}
}

// pick returns a pod that may be there, as a caller has it: with the right or a
// wrong uid and versions; and the code that a write with it must get.
func (m *model) pick(t *rapid.T, version func(*pods.Pod) *int64) (p pods.Pod, want pods.Code) {
	id := genID.Draw(t, "id")
	have := m.pods[id]
	if have == nil {
		return pods.Pod{Key: m.key(id), UID: "uid1", Version: 1, State: pods.State{Version: 1}}, pods.NotFound
	}
	p = have.Pod
	p.Permissions = p.Permissions.Clone()
	if rapid.IntRange(0, 4).Draw(t, "stale") == 0 {
		*version(&p)--
		want = pods.Conflict
	}
	if rapid.IntRange(0, 9).Draw(t, "other uid") == 0 {
		p.UID = "another"
		want = pods.NotFound
	}
	return p, want
}

func (m *model) update(t *rapid.T) {
	p, want := m.pick(t, func(p *pods.Pod) *int64 { return &p.Version })
	p.Definition, p.Requested, p.Permissions = genDefinition(t), genRequested.Draw(t, "requested"), genPermissions(t)
	p.UpdatedAt = genTime.Draw(t, "updated")
	text := genText.Draw(t, "event")
	got, err := m.store.UpdatePod(m.ctx, p, event(text))
	wantModelCode(t, err, want)
	if err != nil {
		return
	}
	p.Version++
	m.write(p, text)
	wantEqual(t, "returned pod", got, p)
}

func (m *model) request(t *rapid.T) {
	p, want := m.pick(t, func(*pods.Pod) *int64 { return new(int64) })
	from := genRequested.Draw(t, "from")
	if want != pods.NotFound {
		want = ""
		if p.Requested != from {
			want = pods.Conflict
		}
	}
	to, text := genRequested.Draw(t, "to"), genText.Draw(t, "event")
	err := m.store.SetRequested(m.ctx, p.Key, p.UID, from, to, event(text))
	wantModelCode(t, err, want)
	if err == nil {
		p.Requested = to
		p.Version++
		m.write(p, text)
	}
}

func (m *model) state(t *rapid.T) {
	p, want := m.pick(t, func(p *pods.Pod) *int64 { return &p.State.Version })
	version := p.State.Version
	p.State = genState(t)
	p.State.Version = version
	clearInstance, text := rapid.Bool().Draw(t, "clear"), genText.Draw(t, "event")
	err := m.store.SaveState(m.ctx, p, clearInstance, event(text))
	wantModelCode(t, err, want)
	if err != nil {
		return
	}
	p.State.Version++
	if clearInstance && p.Definition.TimeToStopInstance.IsSet() {
		p.Definition.TimeToStopInstance = pods.Opt[int]{}
		p.Version++
	}
	m.write(p, text)
}

func (m *model) delete(t *rapid.T) {
	id := genID.Draw(t, "id")
	err := m.store.DeletePod(m.ctx, m.key(id))
	if m.pods[id] == nil {
		wantModelCode(t, err, pods.NotFound)
		return
	}
	wantModelCode(t, err, "")
	delete(m.pods, id)
}

func (m *model) write(p pods.Pod, text string) {
	have := m.pods[p.ID]
	have.Pod = p
	if have.events[len(have.events)-1] != text {
		have.events = append(have.events, text)
	}
}

// check compares the whole tenant.
func (m *model) check(t *rapid.T) {
	ps, err := m.store.Pods(m.ctx, pods.PodQuery{Tenant: m.tenant})
	wantModelCode(t, err, "")
	var want []pods.Pod
	for _, id := range slices.Sorted(maps.Keys(m.pods)) {
		want = append(want, m.pods[id].Pod)
	}
	if len(ps) != len(want) {
		t.Fatalf("got %d pods, want %d", len(ps), len(want))
	}
	for i, p := range ps {
		wantEqual(t, "pod", p, want[i])
		es, err := m.store.Events(m.ctx, p.Key)
		wantModelCode(t, err, "")
		var texts []string
		for _, e := range es {
			texts = append(texts, e.Text)
		}
		wantEqual(t, "events", texts, m.pods[p.ID].events)
	}
}

func wantModelCode(t *rapid.T, err error, want pods.Code) {
	t.Helper()
	if got := pods.ErrorCode(err); got != want {
		t.Fatalf("got code %q (%v), want %q", got, err, want)
	}
}
