package pods

import (
	"slices"
	"strings"
	"testing"
)

func TestEphemeralMounts(t *testing.T) {
	for _, c := range []struct {
		name, mounts string
		want         []string // problems
	}{
		{"a file where the image has one", `{"/etc/app.conf":{"type":"ephemeral","config_content":"a=1"}}`, nil},
		{"files of one folder", `{"/etc/a":{"type":"ephemeral","config_content":"a"},"/etc/b":{"type":"ephemeral","config_content":"b","config_update_mode":"always"}}`, nil},
		{"a file below a folder", `{"/etc":{"type":"ephemeral","config_content":"a","config_filename":"app.conf","config_permissions":"600"}}`, nil},
		{"an empty folder", `{"/cache":{"type":"ephemeral"}}`, nil},
		{"fields without a value", `{"/cache":{"type":"ephemeral","config_content":null,"config_filename":null,"config_permissions":null,"config_update_mode":null}}`, nil},
		{"a key that is a name", `{"conf":{"type":"ephemeral","mount_path":"/etc/app.conf","config_content":"a"}}`, nil},
		{"content in a volume", `{"data":{"type":"tapisvolume","config_content":"a"}}`, []string{
			"body, volume_mounts, data, config_content: volumemount.config_content and what belongs to it need the type 'ephemeral'.",
		}},
		{"a file written once", `{"/a":{"type":"ephemeral","config_content":"a","config_update_mode":"Once"}}`, nil},
		{"a file written sometimes", `{"/a":{"type":"ephemeral","config_content":"a","config_update_mode":"daily"}}`, []string{
			"body, volume_mounts, /a, config_update_mode: volumemount.config_update_mode must be 'always' or 'once'. Got daily.",
		}},
		{"a folder below nothing", `{"/a":{"type":"ephemeral","sub_path":"b"}}`, []string{
			"body, volume_mounts, /a, type: volumemount of type 'ephemeral' has no sub_path, and is not read-only without config_content.",
		}},
		{"a name that leads elsewhere", `{"/a":{"type":"ephemeral","config_content":"a","config_filename":"../b"}}`, []string{
			"body, volume_mounts, /a, config_filename: volumemount.config_filename must be the name of a file without '/', of at most 128 characters. Got ../b.",
		}},
		{"rights that are none", `{"/a":{"type":"ephemeral","config_content":"a","config_permissions":"4755"}}`, []string{
			"body, volume_mounts, /a, config_permissions: volumemount.config_permissions must be three octal digits, such as '0644'. Got 4755.",
		}},
		{"two files in one place", `{"/etc":{"type":"ephemeral","config_content":"a","config_filename":"b"},"/etc/b":{"type":"ephemeral","config_content":"a"}}`, []string{
			"body, volume_mounts, /etc/b, mount_path: volumemount.mount_path /etc/b is taken by '/etc' already. Give each mount a path of its own.",
		}},
		{"too much content", `{"/a":{"type":"ephemeral","config_content":"` + strings.Repeat("a", maxConfigContent) + `"},"/b":{"type":"ephemeral","config_content":"b"}}`, []string{
			"body, volume_mounts: the config_content of all mounts has 262145 bytes, at most 262144 are possible.",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := DecodeNewPod([]byte(`{"pod_id":"web","image":"podway/hello","volume_mounts":`+c.mounts+`}`), DefaultSettings())
			if got := messages(err); !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func messages(err error) []string {
	if e, ok := err.(*Error); ok { //nolint:errorlint // as it is returned
		return e.Messages
	}
	return nil
}

func TestConfigurationFilesAreFilledIn(t *testing.T) {
	e := Effective{
		SecretMap: map[string]string{"PASS": "p"},
		VolumeMounts: map[string]VolumeMount{
			"/etc/1.my.conf": {Type: MountEphemeral, MountPath: "/etc/1.my.conf", ConfigContent: "user <<TAPIS_pod_id>> ${pods:secrets:PASS} ${HOME}", ConfigPermissions: "0600"},
			"/var/1.my.conf": {Type: MountEphemeral, MountPath: "/var/1.my.conf"},
		},
	}
	w := BuildWorkload(testPod, e, testCredentials)
	FillConfigs(w.VolumeMounts, map[string]string{"PASS": "secret <<TAPIS_pod_id>>"})
	got := w.VolumeMounts["file1myconf"]
	if want := "user " + string(testPod.ID) + " secret <<TAPIS_pod_id>> ${HOME}"; got.ConfigContent != want || got.ConfigMode() != 0o600 || got.ConfigPath() != "/etc/1.my.conf" {
		t.Errorf("got %+v, want the content %q", got, want)
	}
	if folder, ok := w.VolumeMounts["file1myconf2"]; !ok || folder.IsConfig() {
		t.Errorf("got %v, want a folder as file1myconf2", w.VolumeMounts)
	}
	if !strings.Contains(e.VolumeMounts["/etc/1.my.conf"].ConfigContent, "<<TAPIS_") {
		t.Error("the definition was changed")
	}
	if got, want := Unresolved(e), []string{"${HOME}"}; !slices.Equal(got, want) {
		t.Errorf("got unresolved %v, want %v", got, want)
	}
	var p problems
	checkConfigRefs(&p, e.VolumeMounts, nil)
	if got := messages(p.err()); len(got) != 1 || !strings.Contains(got[0], "secret_map has no entry 'PASS'") {
		t.Errorf("got %q, want that the entry is missing", got)
	}
}

func TestTheContentOfConfigurationFilesIsNotLogged(t *testing.T) {
	e := func(text string) Effective {
		return Effective{
			VolumeMounts:      map[string]VolumeMount{"/a": {Type: MountEphemeral, MountPath: "/a", ConfigContent: text}},
			TemplateOverrides: TemplateOverrides{VolumeMounts: map[string]MountOverride{"/a": {ConfigContent: Set(text)}}},
		}
	}
	text := UpdateText("ann", Diff(e("old-secret"), e("new-secret"), On, On))
	if strings.Contains(text, "-secret") || !strings.Contains(text, "config_content: changed (hidden)") {
		t.Errorf("got %q, want that it changed and nothing of it", text)
	}
}

func TestAnOverrideChangesATemplatesFile(t *testing.T) {
	template := Definition{VolumeMounts: Set(map[string]VolumeMount{"/a": {Type: MountEphemeral, MountPath: "/a", ConfigContent: "old", ConfigPermissions: "0644"}})}
	own := Definition{Template: Set("t"), TemplateOverrides: Set(TemplateOverrides{
		VolumeMounts: map[string]MountOverride{"/a": {ConfigContent: Set("new"), ConfigPermissions: Set("0600")}},
	})}
	got := merge(own, []Definition{template}).VolumeMounts.Or(nil)["/a"]
	if want := (VolumeMount{Type: MountEphemeral, MountPath: "/a", ConfigContent: "new", ConfigPermissions: "0600"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
