package pods

import (
	"maps"
	"reflect"
	"slices"
	"testing"
)

var (
	testPod = Pod{
		Key: Key{Tenant: "dev", ID: "mypod"}, UID: "uid1", Site: "devsite",
	}
	testCredentials = Credentials{
		AdminUsername: "podsservice", AdminPassword: "adminpass", UserUsername: "mypod", UserPassword: "userpass",
	}
)

func TestPlaceholders(t *testing.T) {
	fill := NewPlaceholders(testPod, testCredentials)
	for _, c := range []struct{ name, in, want string }{
		{"none", "plain $text <b>", "plain $text <b>"},
		{"every name", "<<TAPIS_user_username>> <<TAPIS_user_password>> <<TAPIS_admin_username>> <<TAPIS_admin_password>> " +
			"<<TAPIS_pod_id>> <<TAPIS_tenant_id>> <<TAPIS_site_id>>", "mypod userpass podsservice adminpass mypod dev devsite"},
		{"the synonym", "<<tapissecret_user_password>>", "userpass"},
		{"single brackets", "<TAPIS_user_username>:<TAPIS_user_password>", "mypod:userpass"},
		{"several in one string", "postgres://<<TAPIS_user_username>>:<<TAPIS_user_password>>@x", "postgres://mypod:userpass@x"},
		{"side by side", "<<TAPIS_pod_id>><<TAPIS_pod_id>>", "mypodmypod"},
		{"unknown names", "[<<TAPIS_nothing>>][<<tapissecret_nothing>>][<TAPIS_nothing>]", "[][][]"},
		{"a name in another case", "<<TAPIS_POD_ID>>", ""},
		{"what only looks like one", "<<TAPIS_>> <<TAPIS_a b>> <<tapis_pod_id>> TAPIS_pod_id", "<<TAPIS_>> <<TAPIS_a b>> <<tapis_pod_id>> TAPIS_pod_id"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := fill.Replace(c.in); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestPlaceholderValuesAreNotSearchedAgain(t *testing.T) {
	c := testCredentials
	c.UserUsername = "<<TAPIS_admin_password>>"
	got := NewPlaceholders(testPod, c).Replace("<<TAPIS_user_username>>")
	if want := "<<TAPIS_admin_password>>"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestBuildWorkload(t *testing.T) {
	e, err := Resolve("mypod", "dev.localhost", DefaultSettings(), Definition{
		Image:                Set("postgres"),
		Command:              Set([]string{"run", "--user=<<TAPIS_user_username>>"}),
		Arguments:            Set([]string{"<<TAPIS_user_password>>"}),
		EnvironmentVariables: Set(map[string]string{"PW": "<<TAPIS_user_password>>", "PLAIN": "x"}),
		VolumeMounts:         Set(map[string]VolumeMount{"data": {Type: "pvc", MountPath: "/data"}}),
		Networking:           Set(map[string]NetDef{"default": {Protocol: Set("postgres"), Port: Set(5432)}, "metrics": {Protocol: Set("local_only")}}),
	})
	if err != nil {
		t.Fatal(err)
	}
	before := e.clone()
	got := BuildWorkload(testPod, e, testCredentials)
	want := Workload{
		Key: testPod.Key, UID: "uid1", Site: "devsite", Image: "postgres",
		Command: []string{"run", "--user=mypod"}, Arguments: []string{"userpass"},
		Env:       map[string]string{"PW": "userpass", "PLAIN": "x"},
		Ports:     map[string]Port{"default": {Protocol: NetPostgres, Number: 5432}, "metrics": {Protocol: NetLocalOnly, Number: 5000}},
		Resources: DefaultSettings().Default, ComputeQueue: "default",
		VolumeMounts: map[string]VolumeMount{"data": {Type: "pvc", MountPath: "/data"}},
		Credentials:  testCredentials,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}

	got.Command[0], got.Env["PLAIN"] = "scribble", "scribble"
	maps.DeleteFunc(got.VolumeMounts, func(string, VolumeMount) bool { return true })
	if !reflect.DeepEqual(e, before) {
		t.Errorf("got  %+v after the workload was changed\nwant %+v", e, before)
	}
}

func TestBuildWorkloadLeavesTheImagesOwnCommand(t *testing.T) {
	for _, empty := range [][]string{nil, {}} {
		w := BuildWorkload(testPod, Effective{Command: empty, Arguments: slices.Clone(empty)}, testCredentials)
		if w.Command != nil || w.Arguments != nil {
			t.Errorf("got %#v and %#v, want nil", w.Command, w.Arguments)
		}
	}
}
