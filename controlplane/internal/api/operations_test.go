package api

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// probe is how the tests call an operation on an object, and what they expect of
// it. The level is written here a second time, on purpose.
type probe struct {
	level string // "open", "any", "READ", "USER", "ADMIN" or "SITE", the admins' role; "own" has a matrix of its own
	body  string // %s stands for the object's id
	path  string // beyond the object's own; for operations on none, the whole path

	folder string // where the object is; default: that of its kind
	ok     int    // status for those who may; default 200
}

// probes has an entry for every operation; a new operation needs one.
var probes = map[string]probe{
	"healthcheck":              {level: "open", path: "/healthcheck"},
	"error_handler":            {level: "open", path: "/error-handler/502", ok: http.StatusBadGateway},
	"get_openapi_json":         {level: "open", path: "/pods/openapi.json"},
	"get_openapi_yaml":         {level: "open", path: "/pods/openapi.yaml"},
	"get_docs":                 {level: "open", path: "/pods/docs"},
	"traefik_config":           {level: "SITE", path: "/traefik-config"},
	"pod_auth":                 {level: "own"}, // TestPodAuth
	"pod_gate":                 {level: "open", path: "/pods/web/gate?access=x", ok: http.StatusFound},
	"pod_gate_redeem":          {level: "open", path: "/pods/web/gate/redeem?access=x", ok: http.StatusFound},
	"pod_gate_redeem_password": {level: "open", path: "/pods/web/gate/redeem?access=x", ok: http.StatusFound},
	"pod_auth_callback":        {level: "open", path: "/pods/web/auth/callback?code=x", ok: http.StatusBadRequest},
	"list_pods":                {level: "any", path: "/pods"},
	"create_pod":               {level: "any", path: "/pods", body: `{"pod_id":"%s","image":"podway/hello"}`},
	"get_pod":                  {level: "READ"},
	"update_pod":               {level: "USER", body: `{"description":"new"}`},
	"delete_pod":               {level: "ADMIN"},
	"get_derived_pod":          {level: "READ", path: "/derived"},
	"get_pod_credentials":      {level: "USER", path: "/credentials"},
	"get_pod_logs":             {level: "READ", path: "/logs"},
	"get_pod_events":           {level: "READ", path: "/events"},
	"get_pod_domains":          {level: "READ", path: "/domains"},
	"check_pod_domains":        {level: "USER", path: "/domains/check", ok: http.StatusBadRequest}, // it has none
	"exec_pod_commands":        {level: "ADMIN", path: "/exec", body: `{"commands":["ls"]}`},
	"stop_pod":                 {level: "ADMIN", path: "/stop"},
	"start_pod":                {level: "ADMIN", path: "/start"},
	"restart_pod":              {level: "ADMIN", path: "/restart"},
	"get_pod_permissions":      {level: "USER", path: "/permissions"},
	"set_pod_permission":       {level: "ADMIN", path: "/permissions", body: `{"user":"friend","level":"READ"}`},
	"delete_pod_permission":    {level: "ADMIN", path: "/permissions/reader"},

	"get_pod_overrides":  {level: "READ", path: "/overrides"},
	"get_pod_provenance": {level: "READ", path: "/provenance"},
	"reset_pod_field":    {level: "ADMIN", path: "/reset_field", body: `{"fields":["image"]}`, ok: http.StatusBadRequest}, // it has no template

	"list_templates":             {level: "any", path: "/pods/templates"},
	"add_template":               {level: "any", path: "/pods/templates", body: `{"template_id":"%s"}`},
	"list_templates_and_tags":    {level: "any", path: "/pods/templates/tags"},
	"get_template":               {level: "READ"},
	"update_template":            {level: "USER", body: `{"description":"new"}`},
	"delete_template":            {level: "ADMIN"},
	"list_template_tags":         {level: "READ", path: "/tags"},
	"add_template_tag":           {level: "USER", path: "/tags", body: `{"pod_definition":{"image":"podway/hello"},"commit_message":"x"}`},
	"get_template_tag":           {level: "READ", path: "/tags/latest"},
	"delete_template_tag":        {level: "ADMIN", path: "/tags/latest"},
	"save_pod_as_template_tag":   {level: "ADMIN", path: "/save_pod_as_template_tag", body: `{"template_id":"%s","commit_message":"x"}`},
	"get_template_permissions":   {level: "USER", path: "/permissions"},
	"set_template_permission":    {level: "ADMIN", path: "/permissions", body: `{"user":"friend","level":"READ"}`},
	"delete_template_permission": {level: "ADMIN", path: "/permissions/reader"},

	"get_images":   {level: "any", path: "/pods/images"},
	"add_image":    {level: "SITE", path: "/pods/images", body: `{"image":"one/%s"}`},
	"add_images":   {level: "SITE", path: "/pods/images/bulk", body: `[{"image":"many/%s"}]`},
	"get_image":    {level: "any", path: "/pods/images/podway/hello"},
	"update_image": {level: "SITE", path: "/pods/images/x/y", body: `{"description":"new"}`},
	"delete_image": {level: "SITE", path: "/pods/images/a/b"},

	"ensure_jupyter_pod": {level: "any", path: "/pods/jupyter/ensure"},
	"upload_to_jupyter":  {level: "USER", folder: "/pods/jupyter/", path: "/upload", ok: http.StatusBadRequest}, // it is none

	"list_volumes":             {level: "any", path: "/pods/volumes"},
	"create_volume":            {level: "any", path: "/pods/volumes", body: `{"volume_id":"%s"}`},
	"list_volumes_usage":       {level: "any", path: "/pods/volumes/usage"},
	"get_volume":               {level: "READ"},
	"update_volume":            {level: "USER", body: `{"description":"new"}`},
	"delete_volume":            {level: "ADMIN"},
	"list_volume_files":        {level: "READ", path: "/list"},
	"get_volume_contents":      {level: "USER", path: "/contents/", ok: http.StatusBadRequest},   // without a path
	"upload_to_volume":         {level: "USER", path: "/upload/file", ok: http.StatusBadRequest}, // without a file
	"get_volume_usage":         {level: "READ", path: "/usage"},
	"get_volume_permissions":   {level: "USER", path: "/permissions"},
	"set_volume_permission":    {level: "ADMIN", path: "/permissions", body: `{"user":"friend","level":"READ"}`},
	"delete_volume_permission": {level: "ADMIN", path: "/permissions/reader"},

	"list_snapshots": {level: "any", path: "/pods/snapshots"},
	"create_snapshot": { // of a volume that is not there
		level: "any", path: "/pods/snapshots", ok: http.StatusBadRequest,
		body: `{"snapshot_id":"%s","source_volume_id":"none","source_volume_path":"/"}`,
	},
	"list_snapshots_usage":       {level: "any", path: "/pods/snapshots/usage"},
	"get_snapshot":               {level: "READ"},
	"update_snapshot":            {level: "USER", body: `{"description":"new"}`},
	"delete_snapshot":            {level: "ADMIN"},
	"list_snapshot_files":        {level: "READ", path: "/list", ok: http.StatusConflict}, // nobody copies it
	"get_snapshot_contents":      {level: "USER", path: "/contents/", ok: http.StatusBadRequest},
	"get_snapshot_usage":         {level: "READ", path: "/usage"},
	"get_snapshot_permissions":   {level: "USER", path: "/permissions"},
	"set_snapshot_permission":    {level: "ADMIN", path: "/permissions", body: `{"user":"friend","level":"READ"}`},
	"delete_snapshot_permission": {level: "ADMIN", path: "/permissions/reader"},

	// The fake cluster can't copy files.
	"upload_to_pod":     {level: "ADMIN", path: "/upload_to_pod", ok: http.StatusBadRequest},
	"list_pod_files":    {level: "ADMIN", path: "/list_files/etc", ok: http.StatusBadRequest},
	"download_from_pod": {level: "ADMIN", path: "/download_from_pod/etc/hosts", ok: http.StatusBadRequest},

	"start_login":         {level: "open", path: "/pods/login", ok: http.StatusFound},
	"login_callback":      {level: "open", path: "/pods/auth/callback", ok: http.StatusFound},
	"logout_everywhere":   {level: "any", path: "/pods/auth/logout"},
	"list_access_tokens":  {level: "USER", path: "/access-tokens"},
	"create_access_token": {level: "USER", path: "/access-tokens", body: `{"label":"x"}`},
	"delete_access_token": {level: "USER", path: "/access-tokens/one"},

	"list_secrets":             {level: "any", path: "/pods/secrets"},
	"create_secret":            {level: "any", path: "/pods/secrets", body: `{"secret_id":"%s","secret_value":"x"}`},
	"get_secret":               {level: "READ"},
	"update_secret":            {level: "USER", body: `{"secret_value":"new"}`},
	"delete_secret":            {level: "ADMIN"},
	"get_secret_value":         {level: "USER", path: "/value"},
	"get_secret_permissions":   {level: "USER", path: "/permissions"},
	"set_secret_permission":    {level: "ADMIN", path: "/permissions", body: `{"user":"friend","level":"READ"}`},
	"delete_secret_permission": {level: "ADMIN", path: "/permissions/reader"},
}

// actor is a kind of caller.
type actor struct {
	name   string
	token  string
	header []string
	level  string // what the actor may do on the pod of the matrix
}

var actors = []actor{
	{name: "anonymous"},
	{name: "a stranger", token: "stranger", level: "any"},
	{name: "someone with the level NONE", token: "none", level: "any"},
	{name: "a reader", token: "reader", level: "READ"},
	{name: "a user", token: "user", level: "USER"},
	{name: "the owner", token: "owner", level: "ADMIN"},
	{name: "a holder of APPROVEDADMIN", token: "approved", level: "ADMIN"},
	{name: "an admin of the service", token: "admin", level: "ADMIN"},
	{name: "an admin in admin mode", token: "admin", header: []string{"X-Pods-Admin", "true"}, level: "ADMIN"},
	{name: "the owner's name in another tenant", token: "owner@other", level: "any"},
	{
		name: "a service on behalf of a reader", token: "service:files", level: "READ",
		header: []string{"X-Tapis-Tenant", "dev", "X-Tapis-User", "reader"},
	},
	{
		name: "a service on behalf of the owner's name in another tenant", token: "service:files", level: "any",
		header: []string{"X-Tapis-Tenant", "other", "X-Tapis-User", "owner"},
	},
	{name: "the owner in admin mode", token: "owner", header: []string{"X-Pods-Admin", "True"}, level: "refused"},
}

// may says whether an actor's level is enough, in the order of the levels.
func may(have, need string) bool {
	order := []string{"any", "READ", "USER", "ADMIN"}
	return slices.Index(order, have) >= slices.Index(order, need)
}

// wantStatus is the rule of the matrix.
func wantStatus(a actor, p probe) int {
	ok := max(p.ok, http.StatusOK)
	switch {
	case p.level == "open":
		return ok
	case a.token == "":
		return http.StatusUnauthorized
	case a.level == "refused":
		return http.StatusForbidden
	case p.level == "SITE" && a.token == "admin":
		return ok
	case p.level == "SITE":
		return http.StatusForbidden
	case may(a.level, p.level):
		return ok
	case may(a.level, "READ"):
		return http.StatusForbidden
	default:
		return http.StatusNotFound
	}
}

func TestPermissionMatrix(t *testing.T) {
	f := newFixture(t)
	f.settle()
	f.putTemplate("jupyterlab", builtIn)
	f.putTag("jupyterlab", "noauth", pods.Definition{Image: pods.Set("podway/hello")})
	for i, op := range operations() {
		p, ok := probes[op.id]
		if !ok {
			t.Errorf("operation %s has no entry in the matrix", op.id)
			continue
		}
		if p.level == "own" {
			continue
		}
		for j, a := range actors {
			t.Run(op.id+" by "+a.name, func(t *testing.T) {
				id := pods.ID(fmt.Sprintf("pod%dx%d", i, j))
				f.putObject(op, id)
				path, body := target(op, p, id)
				r := f.call(op.method, path, a.token, body, a.header...)
				if want := wantStatus(a, p); r.status != want {
					t.Fatalf("got status %d, want %d: %s", r.status, want, r.body)
				}
				checkRefusal(t, r, op, id)
			})
		}
	}
}

// shared gives each actor of the matrix its level.
func shared(p *pods.Pod) {
	p.Permissions = pods.Permissions{
		"none": pods.LevelNone, "reader": pods.LevelRead, "user": pods.LevelUser,
		"owner": pods.LevelAdmin, "approved": pods.LevelApprovedAdmin,
	}
}

// putObject stores what an operation works on, and gives each actor of the matrix
// its level on it.
func (f *fixture) putObject(op operation, id pods.ID) {
	f.t.Helper()
	if op.kind == kindPod {
		p := f.put(id, shared)
		if op.id == "delete_access_token" {
			if err := f.store.AddAccessToken(f.t.Context(), p.UID, pods.AccessToken{ID: "one", Pod: p.Key, Kind: pods.AccessLink, CreatedAt: noon}); err != nil {
				f.t.Fatal(err)
			}
		}
	}
	if op.kind == kindTemplate || op.id == "save_pod_as_template_tag" {
		f.putTemplate(string(id), func(t *pods.Template) {
			var p pods.Pod
			shared(&p)
			t.Permissions = p.Permissions
		})
		f.putTag(string(id), "latest", pods.Definition{Image: pods.Set("podway/hello")})
	}
	var p pods.Pod
	shared(&p)
	switch op.kind {
	case kindVolume:
		f.putVolume(string(id), func(v *pods.Volume) { v.Permissions = p.Permissions })
	case kindSnapshot:
		f.putSnapshotRow(string(id), func(v *pods.Volume) { v.Permissions = p.Permissions })
	case kindSecret:
		f.putSecret(string(id), func(x *pods.Secret) { x.Permissions = p.Permissions })
	default:
	}
}

// folders are where the objects of a kind are in the API.
var folders = map[kind]string{
	kindPod: "/pods/", kindTemplate: "/pods/templates/", kindVolume: "/pods/volumes/", kindSnapshot: "/pods/snapshots/", kindSecret: "/pods/secrets/",
}

// target is the path and body of a call on an object.
func target(op operation, p probe, id pods.ID) (path, body string) {
	path, body = p.path, p.body
	if folder, ok := folders[op.kind]; ok {
		path = cmp.Or(p.folder, folder) + string(id) + path
	}
	if strings.Contains(body, "%s") {
		body = fmt.Sprintf(body, id)
	}
	return "/v3" + path, body
}

// notFoundTexts begin what is said of an object that is not there.
var notFoundTexts = map[kind]string{
	kindPod: "Pod with identifier pod_id: ", kindTemplate: "Template with identifier template_id: ",
	kindVolume: "Volume with identifier volume_id: ", kindSnapshot: "Snapshot with identifier snapshot_id: ",
	kindSecret: "Secret with identifier secret_id: ",
}

// checkRefusal checks that a refusal tells what it should and nothing more.
func checkRefusal(t *testing.T, r response, op operation, id pods.ID) {
	t.Helper()
	if r.status < http.StatusBadRequest {
		return
	}
	e := r.envelope(t)
	var want string
	switch {
	case r.status == http.StatusNotFound:
		want = notFoundTexts[op.kind] + fmt.Sprintf("'%s' not found", id)
	case r.status == http.StatusForbidden && e.text() != "X-Pods-Admin header requires the PODS_ADMIN role.":
		want = "Not authorized -- you do not have access to this endpoint. " + op.method + " " + op.pattern
	case r.status == http.StatusUnauthorized:
		want = "No Tapis access token found in the request."
	default:
		return
	}
	if got := e.text(); got != want {
		t.Errorf("got message %q, want %q", got, want)
	}
	if string(e.Result) != "null" || e.Status != failure {
		t.Errorf("got result %s and status %q, want null and %q", e.Result, e.Status, failure)
	}
}

func TestEveryRouteIsAnOperation(t *testing.T) {
	s := &server{}
	known := map[string]bool{}
	for _, op := range operations() {
		for _, p := range op.routes() {
			known[op.method+" "+p] = false
			known[op.method+" /v3"+p] = false
		}
	}
	walk := func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		if seen, ok := known[method+" "+route]; !ok || seen {
			t.Errorf("route %s %s is not one operation", method, route)
		}
		known[method+" "+route] = true
		return nil
	}
	if err := chi.Walk(s.router(operations()).(chi.Routes), walk); err != nil {
		t.Fatal(err)
	}
	for route, seen := range known {
		if !seen {
			t.Errorf("operation %s has no route", route)
		}
	}
}

func TestOperationsAreDeclaredWhole(t *testing.T) {
	ids := map[string]bool{}
	for _, op := range operations() {
		if op.id == "" || ids[op.id] {
			t.Errorf("operation id %q is empty or stands there twice", op.id)
		}
		ids[op.id] = true
		if op.handle == nil {
			t.Errorf("%s has no handler", op.id)
		}
		if op.kind == kindPod && (op.open || op.level.Includes(pods.LevelApprovedAdmin) || !op.level.Includes(pods.LevelRead)) {
			t.Errorf("%s works on a pod and needs a level from READ to ADMIN, has %q", op.id, op.level)
		}
		if op.kind != kindPod && strings.Contains(op.pattern, "{pod_id") && !op.open {
			t.Errorf("%s: kind %q does not fit the pattern %s", op.id, op.kind, op.pattern)
		}
		if folder, ok := folders[op.kind]; ok && !strings.HasPrefix(op.pattern, cmp.Or(probes[op.id].folder, folder)+"{") {
			t.Errorf("%s: kind %q does not fit the pattern %s", op.id, op.kind, op.pattern)
		}
		writes := op.method != http.MethodGet || slices.Contains([]string{"start_pod", "restart_pod", "stop_pod", "ensure_jupyter_pod"}, op.id)
		if writes != op.changes {
			t.Errorf("%s: got changes %v, want %v", op.id, op.changes, writes)
		}
	}
	for id := range probes {
		if !ids[id] {
			t.Errorf("the matrix has an entry for %q, which is no operation", id)
		}
	}
}
