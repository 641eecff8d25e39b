package pods

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/tapis-project/podway/routes/routestest"
)

// fullNetworking is an entry of which nothing is set, with a URL.
func fullNetworking(url string) Networking {
	return Networking{
		Protocol: NetHTTP, Port: 5000, URL: url, IPAllowList: []string{},
		TapisAuthResponseHeaders: map[string]string{}, TapisAuthAllowedUsers: []string{"*"}, TapisAuthReturnPath: "/", AccessGateReturnPath: "/",
		TapisAuthExcludedPaths: []string{}, TapisAuthExcludedPathRegex: []string{},
		CORSAllowOrigins: []string{}, CORSAllowMethods: []string{}, CORSAllowHeaders: []string{}, CORSMaxAge: 100,
		ProxyCompression: true, ProxyCompressionEncodings: []string{"zstd", "br", "gzip"},
		ProxyCompressionExcludedContent: []string{}, ProxyCompressionMinResponseBodySize: 1024,
	}
}

func TestResolveFillsDefaults(t *testing.T) {
	got, err := Resolve("mypod", "dev.localhost", DefaultSettings(), Definition{Image: Set("nginx")})
	if err != nil {
		t.Fatal(err)
	}
	want := Effective{
		Image: "nginx", EnvironmentVariables: map[string]string{}, VolumeMounts: map[string]VolumeMount{},
		TimeToStopDefault: 43200,
		Networking:        map[string]Networking{"default": fullNetworking("mypod.pods.dev.localhost")},
		Resources:         Resources{CPURequest: 250, CPULimit: 2000, MemRequest: 256, MemLimit: 3072},
		ComputeQueue:      "default",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestResolveUsesTheFirstQueueWithoutADefaultOne(t *testing.T) {
	s := DefaultSettings()
	s.ComputeQueues = []string{"cpu", "gpu"}
	got, err := Resolve("mypod", "dev.localhost", s, Definition{Image: Set("nginx")})
	if err != nil || got.ComputeQueue != "cpu" {
		t.Errorf("got queue %q and %v, want %q", got.ComputeQueue, err, "cpu")
	}
}

// The chain lists the closest template first; own values come over all of them.
func TestResolveMerges(t *testing.T) {
	deep := Definition{
		Image: Set("neo4j"), Description: Set("deep"), Command: Set([]string{"deep"}), TimeToStopDefault: Set(600),
		EnvironmentVariables: Set(map[string]string{"A": "deep", "B": "deep", "C": "deep"}),
		VolumeMounts:         Set(map[string]VolumeMount{"data": {Type: "pvc", MountPath: "/deep"}, "logs": {Type: "pvc", MountPath: "/logs"}}),
		Networking:           Set(map[string]NetDef{"default": {Protocol: Set("tcp"), Port: Set(7687), IPAllowList: Set([]string{"::1"})}}),
		Resources:            Set(ResourcesDef{CPULimit: Set(4000), MemLimit: Set(8192)}),
	}
	near := Definition{
		Template: Set("deep:latest"), Description: Set("near"), TimeToStopInstance: Set(900),
		EnvironmentVariables: Set(map[string]string{"B": "near"}),
		VolumeMounts:         Set(map[string]VolumeMount{"data": {Type: "pvc", MountPath: "/near"}}),
		Networking:           Set(map[string]NetDef{"browser": {Port: Set(7474)}}),
		Resources:            Set(ResourcesDef{CPULimit: Set(5000)}),
	}
	resolve := func(own Definition) Effective {
		t.Helper()
		own.Template = Set("near:latest")
		e, err := Resolve("mypod", "dev.localhost", DefaultSettings(), own, near, deep)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	// inherited is the pod that sets nothing itself.
	inherited := func(change func(*Effective)) Effective {
		tcp := fullNetworking("mypod.pods.dev.localhost")
		tcp.Protocol, tcp.Port, tcp.IPAllowList = NetTCP, 7687, []string{"::1"}
		browser := fullNetworking("mypod-browser.pods.dev.localhost")
		browser.Port = 7474
		e := Effective{
			Image: "neo4j", Template: "near:latest", Description: "near", Command: []string{"deep"},
			EnvironmentVariables: map[string]string{"A": "deep", "B": "near", "C": "deep"},
			VolumeMounts:         map[string]VolumeMount{"data": {Type: "pvc", MountPath: "/near"}, "logs": {Type: "pvc", MountPath: "/logs"}},
			TimeToStopDefault:    600, TimeToStopInstance: new(900),
			Networking:   map[string]Networking{"default": tcp, "browser": browser},
			Resources:    Resources{CPURequest: 250, CPULimit: 5000, MemRequest: 256, MemLimit: 8192},
			ComputeQueue: "default",
		}
		change(&e)
		return e
	}
	for _, c := range []struct {
		name   string
		own    Definition
		change func(*Effective)
	}{
		{"nothing of its own", Definition{}, func(*Effective) {}},
		{"an image", Definition{Image: Set("nginx")}, func(e *Effective) { e.Image = "nginx" }},
		{"an empty image inherits", Definition{Image: Set("")}, func(*Effective) {}},
		{"an empty description does not", Definition{Description: Set("")}, func(e *Effective) { e.Description = "" }},
		{"null clears down to the default", Definition{
			Description: Null[string](), Command: Null[[]string](), TimeToStopDefault: Null[int](), TimeToStopInstance: Null[int](),
			EnvironmentVariables: Null[map[string]string](), VolumeMounts: Null[map[string]VolumeMount](),
			Networking: Null[map[string]NetDef](), Resources: Null[ResourcesDef](),
		}, func(e *Effective) {
			e.Description, e.Command, e.TimeToStopDefault, e.TimeToStopInstance = "", nil, 43200, nil
			e.EnvironmentVariables, e.VolumeMounts = map[string]string{}, map[string]VolumeMount{}
			e.Networking = map[string]Networking{"default": fullNetworking("mypod.pods.dev.localhost")}
			e.Resources = DefaultSettings().Default
		}},
		{"null clears one part", Definition{
			Networking: Set(map[string]NetDef{"default": {IPAllowList: Null[[]string]()}}),
			Resources:  Set(ResourcesDef{CPULimit: Null[int]()}),
		}, func(e *Effective) {
			n := e.Networking["default"]
			n.IPAllowList = []string{}
			e.Networking["default"] = n
			e.Resources.CPULimit = 2000
		}},
		{"parts are united", Definition{
			EnvironmentVariables: Set(map[string]string{"C": "own", "D": "own"}),
			VolumeMounts:         Set(map[string]VolumeMount{"more": {Type: "pvc", MountPath: "/more"}}),
			Networking:           Set(map[string]NetDef{"default": {Port: Set(9999)}, "metrics": {Protocol: Set("local_only")}}),
			Resources:            Set(ResourcesDef{GPUs: Set(1)}),
		}, func(e *Effective) {
			e.EnvironmentVariables["C"], e.EnvironmentVariables["D"] = "own", "own"
			e.VolumeMounts["more"] = VolumeMount{Type: "pvc", MountPath: "/more"}
			n := e.Networking["default"]
			n.Port = 9999
			e.Networking["default"] = n
			m := fullNetworking("mypod-metrics.pods.dev.localhost")
			m.Protocol = NetLocalOnly
			e.Networking["metrics"] = m
			e.Resources.GPUs = 1
		}},
		{"variables of templates are refused", Definition{
			EnvironmentVariables: Set(map[string]string{useTemplateEnvs: "no", "D": "own"}),
		}, func(e *Effective) {
			e.EnvironmentVariables = map[string]string{useTemplateEnvs: "no", "D": "own"}
		}},
		{"mounts of templates are refused", Definition{
			EnvironmentVariables: Set(map[string]string{useTemplateVolumes: "False"}),
		}, func(e *Effective) {
			e.EnvironmentVariables[useTemplateVolumes] = "False"
			e.VolumeMounts = map[string]VolumeMount{}
		}},
		{"variables and mounts of templates are wanted", Definition{
			EnvironmentVariables: Set(map[string]string{useTemplateEnvs: "TRUE", useTemplateVolumes: "true"}),
		}, func(e *Effective) {
			e.EnvironmentVariables[useTemplateEnvs], e.EnvironmentVariables[useTemplateVolumes] = "TRUE", "true"
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, want := resolve(c.own), inherited(c.change); !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}

func TestResolveValidatesTheWhole(t *testing.T) {
	tcp := Definition{Image: Set("neo4j"), Networking: Set(map[string]NetDef{"default": {Protocol: Set("tcp")}, "aaa": {}, "bbb": {}})}
	for _, c := range []struct {
		name     string
		own      Definition
		chain    []Definition
		problems []string
	}{
		{"no image", Definition{}, nil, []string{"__root__: image is required if template is not provided."}},
		{"no image on the template either", Definition{Template: Set("abc")}, []Definition{{}}, []string{
			"template: Could not find image or template on template that the user specified.",
		}},
		{"shares in front of a template's tcp", Definition{Networking: Set(map[string]NetDef{"default": {AccessGate: Set(true)}})}, []Definition{tcp}, []string{
			"networking, default, access_gate: networking.access_gate can only be used with protocol 'http'. Got protocol tcp.",
		}},
		{"five entries in sum", Definition{Networking: Set(map[string]NetDef{"ccc": {}, "ddd": {}})}, []Definition{tcp}, []string{
			"networking: networking dictionary may only contain up to 4 stanzas",
		}},
		{"a request above a template's limit", Definition{Resources: Set(ResourcesDef{CPURequest: Set(2000)})}, []Definition{
			{Image: Set("neo4j"), Resources: Set(ResourcesDef{CPULimit: Set(1000)})},
		}, []string{
			"resources, cpu_request: resources.cpu_x found cpu_request(2000) > cpu_limit(1000). Request must be less than or equal to limit.",
		}},
		{"a mount on a template's path", Definition{VolumeMounts: Set(map[string]VolumeMount{"own": {Type: "pvc", MountPath: "/data"}})}, []Definition{
			{Image: Set("neo4j"), VolumeMounts: Set(map[string]VolumeMount{"data": {Type: "pvc", MountPath: "/data"}})},
		}, []string{
			"volume_mounts, own, mount_path: volumemount.mount_path /data is taken by 'data' already. Give each mount a path of its own.",
		}},
		{"values that have become invalid", Definition{Image: Set("nginx"), ComputeQueue: Set("gone"), Resources: Set(ResourcesDef{GPUs: Set(9)})}, nil, []string{
			"compute_queue: compute_queue must be in compute_queues list in cluster configuration. Choose one of ['default'].",
			"resources, gpus: resources.gpus out of bounds. Received: 9. Maximum: 1. Minimum: 0. User requires extra role to break bounds. Contact admin.",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, err := Resolve("mypod", "dev.localhost", DefaultSettings(), c.own, c.chain...)
			wantProblems(t, err, c.problems...)
			if e.Networking["default"].URL != "mypod.pods.dev.localhost" {
				t.Errorf("got %+v beside the error, want all of the pod", e)
			}
		})
	}
}

// The rest of this file are properties of definitions as they are drawn by
// anyDefinition: sparse, and each field absent, null or one of few values, so
// that several definitions meet in the same fields.

func anyOpt[T any](t *rapid.T, label string, value *rapid.Generator[T]) Opt[T] {
	switch rapid.IntRange(0, 3).Draw(t, label) {
	case 0:
		return Null[T]()
	case 1:
		return Set(value.Draw(t, label))
	default:
		return Opt[T]{}
	}
}

func oneOf[T any](values ...T) *rapid.Generator[T] { return rapid.SampledFrom(values) }

var anyNetDef = rapid.Custom(func(t *rapid.T) NetDef {
	lists := oneOf([]string{}, []string{"::1"}, []string{"10.0.0.0/8", "::1"})
	return NetDef{
		Protocol:                 anyOpt(t, "protocol", oneOf("http", "tcp", "local_only")),
		Port:                     anyOpt(t, "port", rapid.IntRange(minPort, maxPort)),
		IPAllowList:              anyOpt(t, "ip_allow_list", lists),
		ClientCA:                 anyOpt(t, "client_ca", oneOf("", routestest.Authority)),
		TapisAuth:                anyOpt(t, "tapis_auth", rapid.Bool()),
		TapisAuthResponseHeaders: anyOpt(t, "headers", oneOf(map[string]string{}, map[string]string{"X-User": "<<tapisusername>>"})),
		CORSAllowOrigins:         anyOpt(t, "origins", oneOf([]string{"https://a.example"}, []string{"*"})),
		CORSAllowCredentials:     anyOpt(t, "credentials", rapid.Bool()),
		TapisUIURIDescription:    anyOpt(t, "ui", oneOf("", "lab")),
	}
})

// anyMounts never give one path to a key that is a path and to one that is not:
// see TestMountsByPathAndByName.
var anyMounts = rapid.Custom(func(t *rapid.T) map[string]VolumeMount {
	mounts := rapid.MapOfN(oneOf("data", "logs"), oneOf(
		VolumeMount{}, VolumeMount{Type: "pvc", MountPath: "/a"}, VolumeMount{Type: "pvc", MountPath: "/b", SubPath: "c"}), 0, 2).Draw(t, "by name")
	byPath := rapid.MapOfN(oneOf("/c", "/d"), oneOf(
		VolumeMount{}, VolumeMount{Type: "pvc", SourceID: "data"}, VolumeMount{Type: "tapisvolume", SourceID: "vol", ReadOnly: true}), 0, 2).Draw(t, "by path")
	out := map[string]VolumeMount{}
	maps.Copy(out, mounts)
	for key, m := range byPath {
		if !m.removes() {
			m.MountPath = key
		}
		out[key] = m
	}
	return out
})

var anyOverrides = rapid.Custom(func(t *rapid.T) TemplateOverrides {
	var o TemplateOverrides
	if rapid.Bool().Draw(t, "with mounts") {
		o.VolumeMounts = map[string]MountOverride{"/c": {
			SourceID: anyOpt(t, "source", oneOf("mine", "other")), ReadOnly: anyOpt(t, "read-only", rapid.Bool()),
		}}
	}
	if rapid.Bool().Draw(t, "with secrets") {
		o.SecretMap = map[string]string{"KEY": "${pods:url}"}
	}
	return o
})

var anyDefinition = rapid.Custom(func(t *rapid.T) Definition {
	word := rapid.StringMatching(`[a-z ]{0,5}`)
	return Definition{
		Image:       anyOpt(t, "image", oneOf("nginx", "podway/hello:1")),
		Template:    anyOpt(t, "template", oneOf("abc", "abc:latest")),
		Description: anyOpt(t, "description", word),
		Command:     anyOpt(t, "command", rapid.SliceOfN(word, 0, 2).Filter(func(s []string) bool { return s != nil })),
		Arguments:   anyOpt(t, "arguments", oneOf([]string{}, []string{"a", "b"})),
		EnvironmentVariables: anyOpt(t, "env", rapid.MapOfN(oneOf("A", "B", "C"), rapid.String(), 0, 3).
			Filter(func(m map[string]string) bool { return m != nil })),
		VolumeMounts:       anyOpt(t, "mounts", anyMounts),
		TimeToStopDefault:  anyOpt(t, "stop", oneOf(-1, 300, 9000)),
		TimeToStopInstance: anyOpt(t, "stop now", oneOf(-1, 300, 9000)),
		Networking:         anyOpt(t, "networking", rapid.MapOfN(oneOf("default", "browser", "metrics"), anyNetDef, 1, 3)),
		Resources: anyOpt(t, "resources", rapid.Custom(func(t *rapid.T) ResourcesDef {
			return ResourcesDef{
				CPURequest: anyOpt(t, "cpu_request", oneOf(250, 3000)), CPULimit: anyOpt(t, "cpu_limit", oneOf(250, 4000)),
				MemRequest: anyOpt(t, "mem_request", oneOf(256, 4096)), MemLimit: anyOpt(t, "mem_limit", oneOf(256, 8192)),
				GPUs: anyOpt(t, "gpus", oneOf(0, 1)),
			}
		})),
		ComputeQueue: anyOpt(t, "queue", oneOf("default", "gone")),
	}
})

// anyPodDefinition also has what only pods have.
var anyPodDefinition = rapid.Custom(func(t *rapid.T) Definition {
	d := anyDefinition.Draw(t, "definition")
	d.TemplateOverrides = anyOpt(t, "overrides", anyOverrides)
	d.SecretMap = anyOpt(t, "secrets", oneOf(map[string]string{}, map[string]string{"A": "${pods:url}", "B": "sealed:x"}))
	return d
})

func TestDefinitionSurvivesItsJSONForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := anyPodDefinition.Draw(t, "definition")
		b, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got Definition
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got  %+v\nwant %+v\nfrom %s", got, want, b)
		}
	})
}

// fields returns the JSON form of a definition by path; a field with parts is
// named by its parts.
func fieldsOf(t *rapid.T, d Definition) map[string]any {
	b, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestEachLayerCoversThoseBelow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lower, upper := anyDefinition.Draw(t, "lower"), anyDefinition.Draw(t, "upper")
		got := fieldsOf(t, overlay(lower, upper))
		checkCovers(t, nil, got, fieldsOf(t, lower), fieldsOf(t, upper))
	})
}

// united are the fields that layers fill together, by depth.
func united(path []string) bool {
	switch path[0] {
	case "environment_variables", "volume_mounts", "resources":
		return len(path) == 1
	case "networking":
		return len(path) <= 2
	default:
		return false
	}
}

// checkCovers checks got, which is upper over lower: what upper has counts, also
// null; what it has not comes from lower; there is nothing else.
func checkCovers(t *rapid.T, path []string, got, lower, upper map[string]any) {
	keys := make(map[string]bool)
	for _, m := range []map[string]any{got, lower, upper} {
		for k := range m {
			keys[k] = true
		}
	}
	for key := range keys {
		at := append(slices.Clone(path), key)
		low, hasLow := lower[key]
		up, hasUp := upper[key]
		now, has := got[key]
		if has != (hasLow || hasUp) {
			t.Fatalf("%v: got %v in the result, want %v", at, has, !has)
		}
		want := low
		if hasUp {
			want = up
		}
		lowMap, lowIs := low.(map[string]any)
		upMap, upIs := up.(map[string]any)
		if lowIs && upIs && united(at) {
			checkCovers(t, at, now.(map[string]any), lowMap, upMap)
			continue
		}
		if !reflect.DeepEqual(now, want) {
			t.Fatalf("%v: got %v, want %v", at, now, want)
		}
	}
}

// Null of a field that is united with lower layers forgets them, and a later
// layer can't know that any more. Apart from these, only order counts.
func TestLayersCanBeGroupedUnlessOneForgets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := anyDefinition.Draw(t, "a"), anyDefinition.Draw(t, "b"), anyDefinition.Draw(t, "c")
		for _, d := range []*Definition{&a, &b, &c} {
			if d.EnvironmentVariables.IsNull() {
				d.EnvironmentVariables = Opt[map[string]string]{}
			}
			if d.VolumeMounts.IsNull() {
				d.VolumeMounts = Opt[map[string]VolumeMount]{}
			}
			if d.Networking.IsNull() {
				d.Networking = Opt[map[string]NetDef]{}
			}
			if d.Resources.IsNull() {
				d.Resources = Opt[ResourcesDef]{}
			}
		}
		left, right := overlay(overlay(a, b), c), overlay(a, overlay(b, c))
		if !reflect.DeepEqual(left, right) {
			t.Fatalf("got  %+v\nwant %+v", left, right)
		}
	})
}

func TestResolveIsDefaultsThenChainThenOwn(t *testing.T) {
	s := DefaultSettings()
	s.ComputeQueues = append(s.ComputeQueues, "gone")
	rapid.Check(t, func(t *rapid.T) {
		deep, near, own := anyDefinition.Draw(t, "deep"), anyDefinition.Draw(t, "near"), anyDefinition.Draw(t, "own")
		got, err := Resolve("mypod", "dev.localhost", s, own, near, deep)
		flat := overlay(overlay(deep, near), own)
		flat.Template = own.Template
		want, wantErr := Resolve("mypod", "dev.localhost", s, flat)
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got  %+v\nwant %+v", got, want)
		}
		if !reflect.DeepEqual(err, wantErr) {
			t.Fatalf("got error %v, want %v", err, wantErr)
		}
		if err == nil {
			checkRoutable(t, "mypod", got)
		}
	})
}

func TestClearingEverythingGivesTheDefaults(t *testing.T) {
	null := Definition{
		Image: Set("nginx"), Description: Null[string](), Command: Null[[]string](), Arguments: Null[[]string](),
		EnvironmentVariables: Null[map[string]string](), VolumeMounts: Null[map[string]VolumeMount](),
		TimeToStopDefault: Null[int](), TimeToStopInstance: Null[int](), Networking: Null[map[string]NetDef](),
		Resources: Null[ResourcesDef](), ComputeQueue: Null[string](),
	}
	want, err := Resolve("mypod", "dev.localhost", DefaultSettings(), Definition{Image: Set("nginx")})
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		got, err := Resolve("mypod", "dev.localhost", DefaultSettings(), null, anyDefinition.Draw(t, "near"), anyDefinition.Draw(t, "deep"))
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got  %+v\nwant %+v", got, want)
		}
	})
}

func TestResolveSharesNothingWithItsArguments(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		near, own := anyDefinition.Draw(t, "near"), anyPodDefinition.Draw(t, "own")
		before, err := json.Marshal([]Definition{near, own})
		if err != nil {
			t.Fatal(err)
		}
		e, _ := Resolve("mypod", "dev.localhost", DefaultSettings(), own, near)
		scribble(e)
		after, err := json.Marshal([]Definition{near, own})
		if err != nil {
			t.Fatal(err)
		}
		if string(before) != string(after) {
			t.Fatalf("got  %s\nwant %s", after, before)
		}
	})
}

// scribble changes everything that e refers to.
func scribble(e Effective) {
	for _, list := range [][]string{e.Command, e.Arguments} {
		for i := range list {
			list[i] = "scribble"
		}
	}
	e.EnvironmentVariables["A"] = "scribble"
	e.VolumeMounts["data"] = VolumeMount{}
	clear(e.TemplateOverrides.VolumeMounts)
	clear(e.TemplateOverrides.SecretMap)
	for key, n := range e.Networking {
		for i := range n.IPAllowList {
			n.IPAllowList[i] = "scribble"
		}
		n.TapisAuthResponseHeaders["X-User"] = "scribble"
		for i := range n.CORSAllowOrigins {
			n.CORSAllowOrigins[i] = "scribble"
		}
		delete(e.Networking, key)
	}
}
