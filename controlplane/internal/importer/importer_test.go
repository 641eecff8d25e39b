package importer

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/controlplane/internal/store"
	"github.com/tapis-project/podway/controlplane/internal/store/tempstore"
	"github.com/tapis-project/podway/tests/parts"
)

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// startSource starts a Postgres with the made-up database and returns its address.
func startSource(t *testing.T) string {
	t.Helper()
	server := parts.StartPostgres(t)
	dump, err := os.ReadFile(filepath.Join("..", "..", "..", "tests", "import", "pods.sql"))
	if err != nil {
		t.Fatal(err)
	}
	execute(t, server.DSN, string(dump))
	return server.DSN
}

func execute(t *testing.T, url, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

func options(from string) Options {
	settings := pods.DefaultSettings()
	settings.Site = "tacc"
	return Options{From: from, Settings: settings, Now: func() time.Time { return noon }}
}

func mustImport(t *testing.T, s Store, o Options) Report {
	t.Helper()
	r, err := Import(t.Context(), s, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// summary is the report as one line for each item.
func summary(r Report) []string {
	var lines []string
	for _, i := range r.Items {
		line := i.name() + " " + string(i.Outcome)
		if i.Reason != "" {
			line += ": " + i.Reason
		}
		lines = append(lines, line)
	}
	return lines
}

// wantSummary is what becomes of the made-up database.
var wantSummary = []string{
	"image no image:a:b skipped: image: image cannot have more than one ':' in the string. Got 'no image:a:b'",
	"image podway/hello imported",
	"image tiangolo/uvicorn-gunicorn-fastapi imported",
	"template dev/webbase imported",
	"template tag dev/webbase:latest@2025-01-30-17:14:14 imported",
	"template tag dev/webbase:latest@2025-01-31-08:00:00 imported",
	"template tag dev/webbase:many@2025-02-01-08:00:00 skipped: it is of the kind stack, and there are none of that kind here",
	"template tacc/graph imported",
	"template tag tacc/graph:5.0@2025-03-02-01:00:00 imported",
	"template tacc/webbase skipped: another template has this id",
	"volume dev/broken skipped: its status is CREATING: it may have no files",
	"volume dev/mydata imported",
	"volume tacc/mydata imported",
	"snapshot dev/monday imported",
	"pod dev/badport skipped: body, networking, default, port: networking.port must be at most 65535. Got port: 99999",
	"pod dev/orphan imported",
	"pod dev/templated imported",
	"pod dev/web imported",
	"pod tacc/graphdb imported",
	"secret dev/dbpass skipped: its value is in the Security Kernel; 'testuser' has to make it again",
	"table dev/podaccesstoken skipped: its 2 rows have no place here",
}

func TestImport(t *testing.T) {
	from, s := startSource(t), tempstore.New(t)

	o := options(from)
	o.DryRun = true
	dry := mustImport(t, s, o)
	wantLines(t, "dry run", summary(dry), wantSummary)
	if got, err := s.Pods(t.Context(), pods.PodQuery{}); err != nil || len(got) > 0 || !dry.DryRun {
		t.Fatalf("got %v and %v after a dry run, want nothing", got, err)
	}

	o.DryRun = false
	var adopted []string
	o.Adopt = func(k pods.VolumeKey, _ string) (bool, error) {
		adopted = append(adopted, k.String())
		return k.Tenant == "dev", nil
	}
	first := mustImport(t, s, o)
	wantLines(t, "first import", summary(first), wantSummary)
	wantLines(t, "adopted folders", adopted, []string{"dev/volumes/mydata", "tacc/volumes/mydata", "dev/snapshots/monday"})
	again := mustImport(t, s, o)
	var wantAgain []string
	for _, line := range wantSummary {
		wantAgain = append(wantAgain, strings.Replace(line, " imported", " exists", 1))
	}
	wantLines(t, "second import", summary(again), wantAgain)

	t.Run("a pod", func(t *testing.T) { checkWeb(t, s) })
	t.Run("a pod on a template", func(t *testing.T) { checkTemplated(t, s) })
	t.Run("a pod of an older release", func(t *testing.T) { checkGraph(t, s) })
	t.Run("a template", func(t *testing.T) { checkTemplate(t, s) })
	t.Run("volumes", func(t *testing.T) { checkVolumes(t, s) })
	t.Run("images", func(t *testing.T) { checkImages(t, s) })
	t.Run("notes", func(t *testing.T) { checkNotes(t, first) })
	t.Run("nothing secret is told", func(t *testing.T) { checkSecrets(t, first) })
}

func wantLines(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got\n  %s\nwant\n  %s", what, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func pod(t *testing.T, s *store.Store, tenant string, id pods.ID) pods.Pod {
	t.Helper()
	p, err := s.Pod(t.Context(), pods.Key{Tenant: tenant, ID: id})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func checkWeb(t *testing.T, s *store.Store) {
	p := pod(t, s, "dev", "web")
	if p.Owner != "testuser" || p.Requested != pods.On || p.State.Status != pods.StatusRequested || p.Site != "tacc" ||
		!p.CreatedAt.Equal(time.Date(2024, 6, 10, 17, 20, 27, 654321000, time.UTC)) {
		t.Errorf("got %+v, want it as it was, to be started", p)
	}
	if want := (pods.Permissions{"testuser": pods.LevelAdmin, "otheruser": pods.LevelUser}); !reflect.DeepEqual(p.Permissions, want) {
		t.Errorf("got %v, want %v", p.Permissions, want)
	}
	d := p.Definition
	sealed := d.SecretMap.Or(nil)["API_TOKEN"]
	if sealed == "" || strings.Contains(sealed, "a-secret-of-the-source") {
		t.Errorf("got %q, want it sealed", sealed)
	}
	d.SecretMap = pods.Opt[map[string]string]{}
	want := pods.Definition{
		Image: pods.Set("podway/hello"), Description: pods.Set("My first pod"),
		EnvironmentVariables: pods.Set(map[string]string{"PASSWORD": "<<TAPIS_user_password>>", "TOKEN": "${pods:secrets:API_TOKEN}", "WORKERS": "4"}),
		VolumeMounts:         pods.Set(map[string]pods.VolumeMount{"/data": {Type: pods.MountVolume, MountPath: "/data", SourceID: "mydata"}}),
		TimeToStopDefault:    pods.Set(-1),
		Networking: pods.Set(map[string]pods.NetDef{"default": {
			Protocol: pods.Set("http"), Port: pods.Set(5000), IPAllowList: pods.Set([]string{"192.0.2.0/24", "127.0.0.1"}), TapisAuth: pods.Set(true),
			TapisAuthResponseHeaders: pods.Set(map[string]string{"X-User": "<<tapisusername>>"}), TapisAuthAllowedUsers: pods.Set([]string{"*"}),
			TapisAuthReturnPath: pods.Set("/"), CORSAllowOrigins: pods.Set([]string{}), CORSAllowMethods: pods.Set([]string{}),
			CORSAllowHeaders: pods.Set([]string{}), CORSAllowCredentials: pods.Set(false), CORSMaxAge: pods.Set(100),
			CustomDomain: pods.Set(""), TapisUIURI: pods.Set(""),
		}}),
		Resources: pods.Set(pods.ResourcesDef{CPULimit: pods.Set(500)}),
		Healthchecks: pods.Set(pods.HealthchecksDef{
			Readiness: pods.Set(pods.Probe{TCPSocketPort: 5000}), NetworkingRequiresReady: pods.Set(true),
		}),
	}
	probe := d.Healthchecks.Or(pods.HealthchecksDef{}).Readiness.Or(pods.Probe{})
	if probe.TCPSocketPort != 5000 {
		t.Errorf("got %+v, want the port of the probe", probe)
	}
	d.Healthchecks, want.Healthchecks = pods.Opt[pods.HealthchecksDef]{}, pods.Opt[pods.HealthchecksDef]{}
	if !reflect.DeepEqual(d, want) {
		t.Errorf("got  %+v\nwant %+v", d, want)
	}
	c, err := s.Credentials(t.Context(), p.Key)
	wantCredentials := pods.Credentials{
		AdminUsername: "podsservice", AdminPassword: "admin-password-of-web", UserUsername: "web", UserPassword: "user-password-of-web",
	}
	if err != nil || c != wantCredentials {
		t.Errorf("got %+v and %v, want the credentials of the source", c, err)
	}
	logs, err := s.Logs(t.Context(), p.Key)
	if err != nil || string(logs) != "listening\nready\n" {
		t.Errorf("got %q and %v, want the output of the source", logs, err)
	}
	events, err := s.Events(t.Context(), p.Key)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, e := range events {
		lines = append(lines, e.Line())
	}
	wantLines(t, "action log", lines, []string{
		"24/06/10 17:20: Pod object created by 'testuser'", "24/06/10 17:21: health set status to AVAILABLE",
		"24/06/10 17:21: a line without a time", "24/06/12 08:00: 'testuser' ran restart_pod, set to RESTART",
		"26/03/04 12:00: imported from the earlier Pods service",
	})
}

func checkTemplated(t *testing.T, s *store.Store) {
	p := pod(t, s, "dev", "templated")
	want := pods.Definition{
		Template: pods.Set("webbase:latest@2025-01-30-17:14:14"), EnvironmentVariables: pods.Set(map[string]string{"LEVEL": "warn"}),
	}
	if !reflect.DeepEqual(p.Definition, want) || p.Requested != pods.Off || p.State.Status != pods.StatusStopped {
		t.Errorf("got  %+v\nwant %+v", p, want)
	}
	chain, err := pods.TemplateChain(t.Context(), s, p.Definition)
	if err != nil {
		t.Fatal(err)
	}
	e, err := pods.Resolve(p.ID, "dev.example.org", pods.DefaultSettings(), p.Definition, pods.Definitions(chain)...)
	if err != nil {
		t.Fatal(err)
	}
	if e.Image != "podway/hello" || e.EnvironmentVariables["LEVEL"] != "warn" || e.EnvironmentVariables["DEBUG"] != "1" || e.Resources.CPULimit != 1000 {
		t.Errorf("got %+v, want what the template gives under what the pod sets", e)
	}
}

func checkGraph(t *testing.T, s *store.Store) {
	p := pod(t, s, "tacc", "graphdb")
	mounts := map[string]pods.VolumeMount{
		"mydata": {Type: pods.MountVolume, MountPath: "/import", SubPath: "in"}, "store": {Type: pods.MountPVC, MountPath: "/data"},
	}
	want := pods.Definition{
		Image: pods.Set("neo4j"), Command: pods.Set([]string{"sleep", "5000"}), VolumeMounts: pods.Set(mounts),
		Networking: pods.Set(map[string]pods.NetDef{"default": {Protocol: pods.Set("tcp"), Port: pods.Set(7687)}}),
		Resources:  pods.Set(pods.ResourcesDef{MemLimit: pods.Set(4096)}),
	}
	if !reflect.DeepEqual(p.Definition, want) || p.Owner != "jdoe" || p.Requested != pods.On {
		t.Errorf("got  %+v\nwant %+v", p, want)
	}
	events, err := s.Events(t.Context(), p.Key)
	if err != nil || len(events) != 2 || events[0].Text != "Pod object created by 'jdoe'" {
		t.Errorf("got %v and %v, want who made it, and that it was imported", events, err)
	}
	if c, err := s.Credentials(t.Context(), p.Key); err != nil || c.UserUsername != "graphdb" || len(c.UserPassword) < 20 {
		t.Errorf("got %+v and %v, want new credentials", c, err)
	}
}

func checkTemplate(t *testing.T, s *store.Store) {
	got, err := s.Template(t.Context(), "webbase")
	if err != nil {
		t.Fatal(err)
	}
	want := pods.Template{
		ID: "webbase", UID: got.UID, Tenant: "dev", Owner: "testuser", Description: "A web server", Metatags: []string{"web", "base"},
		Permissions: pods.Permissions{"testuser": pods.LevelAdmin, "**": pods.LevelRead}, Version: 1,
		CreatedAt: time.Date(2025, 1, 30, 17, 0, 0, 0, time.UTC), UpdatedAt: time.Date(2025, 1, 30, 17, 0, 0, 500_000_000, time.UTC),
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	tags, err := s.TemplateTags(t.Context(), "webbase", "graph")
	if err != nil {
		t.Fatal(err)
	}
	var refs []string
	for _, tag := range tags {
		refs = append(refs, tag.Ref().String()+" "+tag.CommitMessage+" "+tag.AddedBy)
	}
	wantLines(t, "tags", refs, []string{
		"graph:5.0@2025-03-02-01:00:00 graphs jdoe", "webbase:latest@2025-01-31-08:00:00 imported testuser", "webbase:latest@2025-01-30-17:14:14 first testuser",
	})
}

func checkVolumes(t *testing.T, s *store.Store) {
	got, err := s.Volume(t.Context(), pods.VolumeKey{Kind: pods.KindVolume, Tenant: "dev", ID: "mydata"})
	if err != nil {
		t.Fatal(err)
	}
	if got.Owner != "testuser" || got.SizeLimit != 2048 || got.State.Status != pods.StatusAvailable || got.State.Size != 7<<20 ||
		got.Permissions["otheruser"] != pods.LevelRead || got.CreatedAt.Nanosecond() != 123456000 {
		t.Errorf("got %+v, want it as it was", got)
	}
	snapshot, err := s.Volume(t.Context(), pods.VolumeKey{Kind: pods.KindSnapshot, Tenant: "dev", ID: "monday"})
	want := pods.SnapshotSource{Volume: "mydata", Path: "/results", Cron: "0 0 * * 1", RetentionPolicy: "keep"}
	if err != nil || snapshot.Source == nil || *snapshot.Source != want || !snapshot.Mountable() {
		t.Errorf("got %+v and %v, want it as it was", snapshot, err)
	}
}

func checkImages(t *testing.T, s *store.Store) {
	got, err := s.Image(t.Context(), "podway/hello")
	want := pods.AllowedImage{
		Image: "podway/hello", Tenants: []string{"*", "-a2cps"}, Description: "Says hello", AddedBy: "jdoe", CreatedAt: time.Date(2024, 1, 2, 3, 4, 6, 0, time.UTC),
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v and %v, want %+v", got, err, want)
	}
}

func checkNotes(t *testing.T, r Report) {
	var b strings.Builder
	if err := r.Print(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"pod dev/web: environment_variables: WORKERS is no text in the source; it is now.",
		"pod dev/web: networking.new_thing is left out: there is no such field.",
		"pod dev/web: resources.ephemeral_storage_limit is left out: there is no such field.",
		`pod dev/web: permissions: "nonsense" is left out.`,
		"pod dev/web: secret_map: DB refers to ${secret:testuser:dbpass}, which has to be made again.",
		"pod dev/orphan: can't start as it is: template: Template tag not found: 'gone:latest@2025-01-30-17:14:14'. Verify template_id, tag, and timestamp all exist.",
		"pod dev/orphan: nobody is its ADMIN.",
		"pod dev/orphan: the source has no password for it, so it gets a new one.",
		"pod tacc/graphdb: volume_mounts: the files of store are in a claim of the earlier cluster; copy them after the first start.",
		"pod tacc/graphdb: can't start as it is: image: Custom pod.image images must be in allowlist.",
		"volume tacc/mydata: its files are not there: put them into tacc/volumes/mydata of the shared files, and import again.",
		"pod                    4         0         1",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("got\n%s\nwant %q in it", b.String(), want)
		}
	}
	for _, not := range []string{"cert_", "other_new_thing", "mounted_by", "'testuser', who made it, may not mount"} {
		if strings.Contains(b.String(), not) {
			t.Errorf("got\n%s\nwant no %q in it", b.String(), not)
		}
	}
}

func checkSecrets(t *testing.T, r Report) {
	text := fmt.Sprintf("%+v", r)
	for _, secret := range []string{"a-secret-of-the-source", "password-of-web"} {
		if strings.Contains(text, secret) {
			t.Errorf("the report holds %q", secret)
		}
	}
}

func TestImportOfOneTenant(t *testing.T) {
	from, s := startSource(t), tempstore.New(t)
	o := options(from)
	o.Tenants, o.Off = []string{"tacc"}, true
	r := mustImport(t, s, o)
	wantLines(t, "import", summary(r), []string{
		wantSummary[0], wantSummary[1], wantSummary[2], wantSummary[3], wantSummary[4], wantSummary[5], wantSummary[6],
		"template tacc/graph imported", "template tag tacc/graph:5.0@2025-03-02-01:00:00 imported", "template tacc/webbase skipped: another template has this id",
		"volume tacc/mydata imported", "pod tacc/graphdb imported",
	})
	if p := pod(t, s, "tacc", "graphdb"); p.Requested != pods.Off || p.State.Status != pods.StatusStopped {
		t.Errorf("got %s and %s, want it off", p.Requested, p.State.Status)
	}
	o.Tenants = []string{"tac"}
	if _, err := Import(t.Context(), s, o); err == nil || !strings.Contains(err.Error(), `no tenant "tac"; its schemas are dev, siteadmintable, tacc`) {
		t.Errorf("got %v, want that there is no such tenant", err)
	}
}

func TestWhatIsThereStays(t *testing.T) {
	from, s := startSource(t), tempstore.New(t)
	p := pods.Pod{
		Key: pods.Key{Tenant: "dev", ID: "web"}, UID: "own", Owner: "ann", Requested: pods.Off, CreatedAt: noon, UpdatedAt: noon,
		State: pods.State{Status: pods.StatusStopped, Since: noon},
	}
	if err := s.CreatePod(t.Context(), p, pods.Credentials{}, pods.Event{At: noon, Text: "created"}); err != nil {
		t.Fatal(err)
	}
	v := pods.Volume{
		VolumeKey: pods.VolumeKey{Kind: pods.KindVolume, Tenant: "dev", ID: "mydata"}, UID: "own", Owner: "ann", CreatedAt: noon, UpdatedAt: noon,
		Permissions: pods.Permissions{"ann": pods.LevelAdmin}, State: pods.VolumeState{Status: pods.StatusAvailable},
	}
	if err := s.CreateVolume(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	lines := summary(mustImport(t, s, options(from)))
	for _, want := range []string{"pod dev/web skipped: another pod has this id", "volume dev/mydata skipped: another volume has this id"} {
		if !slices.Contains(lines, want) {
			t.Errorf("got %q, want %q among them", lines, want)
		}
	}
	if got := pod(t, s, "dev", "web"); got.Owner != "ann" || got.Version != 1 {
		t.Errorf("got %+v, want it as it was", got)
	}
}

// breakingStore fails to write pods.
type breakingStore struct{ *store.Store }

func (breakingStore) ImportPod(context.Context, pods.ImportedPod) error {
	return context.DeadlineExceeded
}

func TestAnInterruptedImportGoesOn(t *testing.T) {
	from, s := startSource(t), tempstore.New(t)
	r, err := Import(t.Context(), breakingStore{s}, options(from))
	if err == nil || r.Count("template", Imported) != 2 || r.Count("pod", Imported) != 0 {
		t.Errorf("got %v and %q, want an error at the first pod", err, summary(r))
	}
	r = mustImport(t, s, options(from))
	if r.Count("template", Exists) != 2 || r.Count("pod", Imported) != 4 {
		t.Errorf("got %q, want the pods that were missing", summary(r))
	}
}

func TestTheSourceIsNotWritten(t *testing.T) {
	from := startSource(t)
	execute(t, from, "create user reader; grant usage on schema dev, tacc, siteadmintable to reader; "+
		"grant select on all tables in schema dev, tacc, siteadmintable to reader")
	o := options(strings.Replace(from, "postgres@", "reader@", 1))
	if r := mustImport(t, tempstore.New(t), o); r.Count("pod", Imported) != 4 {
		t.Errorf("got %q, want the pods, with a user who may only read", summary(r))
	}
}

func TestSourcesThatAreNone(t *testing.T) {
	server := parts.StartPostgres(t)
	for _, tt := range []struct{ name, from, want string }{
		{"another database", server.DSN, "is this the database of a Pods service?"},
		{"nobody there", fmt.Sprintf("postgres://u:canary-password@127.0.0.1:%d/x", parts.FreePort(t)), "connecting to the source"},
		{"no address", "mysql://u:canary-password@h/x", "connecting to the source"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Import(t.Context(), tempstore.New(t), options(tt.from))
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "canary") {
				t.Errorf("got %v, want %q and no password", err, tt.want)
			}
		})
	}
}
