package reconcile

import (
	"reflect"
	"slices"
	"testing"

	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/routes"
	"github.com/tapis-project/podway/routes/routestest"
)

// oneNet is an effective definition with one networking entry.
func oneNet(n pods.Networking) pods.Effective {
	return pods.Effective{Networking: map[string]pods.Networking{"default": n}}
}

var plainHTTP = oneNet(pods.Networking{Protocol: pods.NetHTTP, Port: 5000})

func TestRoutesOfState(t *testing.T) {
	running := seen(pods.PhaseRunning)
	for _, tt := range []struct {
		name string
		pod  pods.Pod
		obs  pods.Observation
		want routes.State
	}{
		{"an available pod that is ready is live", podIn(pods.On, pods.StatusAvailable), running, routes.Live},
		{
			"an available pod that is not ready is starting", podIn(pods.On, pods.StatusAvailable),
			seen(pods.PhaseRunning, func(o *pods.Observation) { o.Ready = false }), routes.Starting,
		},
		{
			"an available pod without an address is starting", podIn(pods.On, pods.StatusAvailable),
			seen(pods.PhaseRunning, func(o *pods.Observation) { o.Addresses = nil }), routes.Starting,
		},
		{
			"an available pod that somebody ends is starting", podIn(pods.On, pods.StatusAvailable),
			seen(pods.PhaseRunning, terminating), routes.Starting,
		},
		{
			"a container of an earlier pod with this id is never live", podIn(pods.On, pods.StatusAvailable),
			seen(pods.PhaseRunning, func(o *pods.Observation) { o.UID = "uid0" }), routes.Starting,
		},
		{
			"a foreign object is never live", podIn(pods.On, pods.StatusAvailable),
			seen(pods.PhaseRunning, func(o *pods.Observation) { o.Foreign = "x" }), routes.Starting,
		},
		{"an available pod that can't be seen is starting", podIn(pods.On, pods.StatusAvailable), nothing, routes.Starting},
		{"requested is starting", podIn(pods.On, pods.StatusRequested), nothing, routes.Starting},
		{"spawner setup is starting", podIn(pods.On, pods.StatusSpawnerSetup), nothing, routes.Starting},
		{"creating is starting, ready or not", podIn(pods.On, pods.StatusCreating), running, routes.Starting},
		{"a stopped pod that shall be ON is starting", podIn(pods.On, pods.StatusStopped), nothing, routes.Starting},
		{"a failed start that is tried again is starting", podIn(pods.On, pods.StatusDeleting), nothing, routes.Starting},
		{"a pod that shall RESTART is starting", podIn(pods.Restart, pods.StatusAvailable), running, routes.Starting},
		{"a pod that restarts is starting while it is deleted", podIn(pods.Restart, pods.StatusDeleting), running, routes.Starting},
		{"a failed pod that shall RESTART is starting", podIn(pods.Restart, pods.StatusError), nothing, routes.Starting},
		{"a pod that shall be OFF is deleting at once", podIn(pods.Off, pods.StatusAvailable), running, routes.Deleting},
		{"a deleting pod is deleting", podIn(pods.Off, pods.StatusDeleting), running, routes.Deleting},
		{"a stopped pod is stopped", podIn(pods.Off, pods.StatusStopped), nothing, routes.Stopped},
		{"a failed pod is an error", podIn(pods.On, pods.StatusError), running, routes.Error},
		{"a completed pod is finished", podIn(pods.On, pods.StatusComplete), seen(pods.PhaseSucceeded), routes.Finished},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rs := RoutesOf(tt.pod, plainHTTP, tt.obs, testDomain)
			if len(rs) != 1 || rs[0].State != tt.want {
				t.Fatalf("got %+v, want state %s", rs, tt.want)
			}
			live := tt.want == routes.Live
			if (len(rs[0].Upstreams) > 0) != live || (rs[0].Instance != "") != live {
				t.Errorf("got upstreams %v and instance %q for state %s", rs[0].Upstreams, rs[0].Instance, rs[0].State)
			}
			if err := rs[0].Validate(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRoutesOf(t *testing.T) {
	e := pods.Effective{Networking: map[string]pods.Networking{
		"default": {
			Protocol: pods.NetHTTP, Port: 5000, IPAllowList: []string{"192.0.2.0/24"},
			TapisAuth: true, TapisAuthAllowedUsers: []string{"Alice"}, TapisAuthReturnPath: "/app",
			TapisAuthResponseHeaders: map[string]string{"X-User": "<<tapisusername>>"},
			AccessGate:               true, AccessGateReturnPath: "/shared",
			TapisAuthExcludedPaths: []string{"/health"}, TapisAuthExcludedPathRegex: []string{"^/a.*$"},
			CORSAllowOrigins: []string{"https://example.org"}, CORSAllowMethods: []string{"GET"},
			CORSAllowHeaders: []string{"X-A"}, CORSAllowCredentials: true, CORSMaxAge: 60,
			ProxyCompression: true, ProxyCompressionEncodings: []string{"zstd", "gzip"},
			ProxyCompressionExcludedContent: []string{"text/event-stream"}, ProxyCompressionMinResponseBodySize: 1024,
		},
		"bolt": {
			Protocol: pods.NetTCP, Port: 7687, IPAllowList: []string{"192.0.2.7"}, ClientCA: routestest.Authority,
			// What is for HTTP only has no effect elsewhere.
			CORSAllowOrigins: []string{"https://example.org"}, ProxyCompression: true, ProxyCompressionEncodings: []string{"gzip"},
		},
		"db": {
			Protocol: pods.NetPostgres, Port: 5432, TapisAuth: true, TapisAuthAllowedUsers: []string{"*"}, TapisAuthReturnPath: "/",
			TapisAuthResponseHeaders: map[string]string{"X-User": "a"}, TapisAuthExcludedPaths: []string{"/"}, TapisAuthExcludedPathRegex: []string{"."},
		},
		"inside": {Protocol: pods.NetLocalOnly, Port: 9000},
	}}
	o := seen(pods.PhaseRunning, func(o *pods.Observation) {
		o.Addresses = map[string][]string{
			"default": {"10.0.0.2:5000", "10.0.0.1:5000", "10.0.0.2:5000"},
			"db":      {"10.0.0.1:5432"},
			"inside":  {"10.0.0.1:9000"},
		}
	})
	want := []routes.Route{
		{
			Schema: 1, Host: "web-bolt.pods.dev.localhost", Tenant: "dev", Pod: "web", Net: "bolt",
			Protocol: routes.TCP, State: routes.Starting, IPAllow: []string{"192.0.2.7"}, ClientCA: routestest.Authority,
		},
		{
			Schema: 1, Host: "web-db.pods.dev.localhost", Tenant: "dev", Pod: "web", Net: "db",
			Protocol: routes.Postgres, State: routes.Live, Instance: "run-1", Upstreams: []string{"10.0.0.1:5432"},
			Gate: &routes.Gate{AllowedUsers: []string{"*"}},
		},
		{
			Schema: 1, Host: "web.pods.dev.localhost", Tenant: "dev", Pod: "web", Net: "default",
			Protocol: routes.HTTP, State: routes.Live, Instance: "run-1",
			Upstreams: []string{"10.0.0.1:5000", "10.0.0.2:5000"}, IPAllow: []string{"192.0.2.0/24"},
			Gate: &routes.Gate{
				AllowedUsers: []string{"alice"}, ResponseHeaders: map[string]string{"X-User": "<<tapisusername>>"},
				ExcludedPaths: []string{"/health"}, ExcludedPathRegex: []string{"^/a.*$"}, ReturnPath: "/app",
			},
			AccessGate: &routes.AccessGate{ReturnPath: "/shared"},
			CORS: &routes.CORS{
				AllowOrigins: []string{"https://example.org"}, AllowMethods: []string{"GET"},
				AllowHeaders: []string{"X-A"}, AllowCredentials: true, MaxAge: 60,
			},
			Compression: &routes.Compression{
				Encodings: []string{"zstd", "gzip"}, ExcludedContentTypes: []string{"text/event-stream"}, MinBodyBytes: 1024,
			},
		},
	}
	got := RoutesOf(podIn(pods.On, pods.StatusAvailable), e, o, testDomain)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v, want\n%+v", got, want)
	}
	for _, r := range got {
		if err := r.Validate(); err != nil {
			t.Error(err)
		}
	}
}

func TestRoutesOfBoundsUpstreams(t *testing.T) {
	var many []string
	for i := range routes.MaxUpstreams + 5 {
		many = append(many, "10.0.0.1:"+string(rune('1'+i%9))+"000", "10.0.1."+string(rune('1'+i%9))+":80")
		many = append(many, "10.1.0.1:"+string(rune('1'+i/10))+string(rune('0'+i%10))+"00")
	}
	o := seen(pods.PhaseRunning, func(o *pods.Observation) { o.Addresses = map[string][]string{"default": many} })
	r := RoutesOf(podIn(pods.On, pods.StatusAvailable), plainHTTP, o, testDomain)[0]
	if len(r.Upstreams) != routes.MaxUpstreams {
		t.Errorf("got %d upstreams, want %d", len(r.Upstreams), routes.MaxUpstreams)
	}
}

func TestGateOf(t *testing.T) {
	perms := pods.Permissions{
		"Ann": pods.LevelAdmin, "bob": pods.LevelUser, "cid": pods.LevelRead, "dot": pods.LevelNone,
		"eve": pods.LevelApprovedAdmin, "tenant.icicle": pods.LevelRead, "tenant.none": pods.LevelNone,
	}
	open := perms.Clone()
	open["*"] = pods.LevelRead
	tenantWide := perms.Clone()
	tenantWide["TENANT"] = pods.LevelUser

	for _, tt := range []struct {
		name  string
		perms pods.Permissions
		list  []string
		want  []string
	}{
		{"an empty list admits everyone", perms, nil, []string{"*"}},
		{"a star stays", perms, []string{"*", "Zoe"}, []string{"*", "zoe"}},
		{"names are lower-cased, ordered, and there once", perms, []string{"Zoe", "abe", "zoe"}, []string{"abe", "zoe"}},
		{"AUTHORIZED_ADMINS are those with ADMIN or more", perms, []string{"AUTHORIZED_ADMINS"}, []string{"ann", "eve"}},
		{"AUTHORIZED_USERS are those with USER or more", perms, []string{"AUTHORIZED_USERS"}, []string{"ann", "bob", "eve"}},
		{"AUTHORIZED_READS are those with READ or more", perms, []string{"AUTHORIZED_READS"}, []string{"ann", "bob", "cid", "eve"}},
		{"groups and names add up", perms, []string{"AUTHORIZED_ADMINS", "Guest"}, []string{"ann", "eve", "guest"}},
		{"a permission for everyone counts in a group", open, []string{"AUTHORIZED_READS"}, []string{"*", "ann", "bob", "cid", "eve"}},
		{"a permission for everyone counts at its level only", open, []string{"AUTHORIZED_USERS"}, []string{"ann", "bob", "eve"}},
		{"TENANT is everyone, too", tenantWide, []string{"AUTHORIZED_USERS"}, []string{"*", "ann", "bob", "eve"}},
		{"an empty group admits nobody", pods.Permissions{"bob": pods.LevelUser}, []string{"AUTHORIZED_ADMINS"}, []string{}},
		{"a group's word in small letters is a name", perms, []string{"authorized_users"}, []string{"authorized_users"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := gateOf(tt.perms, pods.Networking{TapisAuthAllowedUsers: tt.list})
			if !slices.Equal(g.AllowedUsers, tt.want) || g.AllowedUsers == nil {
				t.Errorf("got %#v, want %#v", g.AllowedUsers, tt.want)
			}
		})
	}
	if got, want := gateOf(perms, pods.Networking{}).Tenants, []string{"icicle"}; !slices.Equal(got, want) {
		t.Errorf("tenants: got %q, want %q", got, want)
	}
}

func TestPlainRoutes(t *testing.T) {
	own := func(nets map[string]pods.NetDef) pods.Pod {
		p := podIn(pods.On, pods.StatusError)
		p.Definition.Networking = pods.Set(nets)
		return p
	}
	for _, tt := range []struct {
		name  string
		pod   pods.Pod
		e     pods.Effective
		hosts []string
	}{
		{
			"a pod without networking has the default host",
			podIn(pods.On, pods.StatusError),
			pods.Effective{},
			[]string{"web.pods.dev.localhost"},
		},
		{
			"a pod has the hosts of its effective definition, as far as it goes",
			own(map[string]pods.NetDef{"default": {}}),
			pods.Effective{Networking: map[string]pods.Networking{"bolt": {Protocol: pods.NetTCP, Port: -1}}},
			[]string{"web-bolt.pods.dev.localhost"},
		},
		{
			"a pod has the hosts its own definition names",
			own(map[string]pods.NetDef{"default": {}, "db": {Protocol: pods.Set("postgres")}}),
			pods.Effective{},
			[]string{"web-db.pods.dev.localhost", "web.pods.dev.localhost"},
		},
		{
			"an entry that is not routed, or makes no sense, has no host",
			own(map[string]pods.NetDef{"a": {Protocol: pods.Set("local_only")}, "b": {Protocol: pods.Set("nonsense")}}),
			pods.Effective{},
			nil,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var hosts []string
			for _, r := range plainRoutes(tt.pod, tt.e, testDomain) {
				hosts = append(hosts, r.Host)
				if r.State != routes.Error {
					t.Errorf("%s: got state %s, want error", r.Host, r.State)
				}
				if err := r.Validate(); err != nil {
					t.Error(err)
				}
			}
			if !slices.Equal(hosts, tt.hosts) {
				t.Errorf("got %q, want %q", hosts, tt.hosts)
			}
		})
	}
}
