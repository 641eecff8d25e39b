package pods_test

import (
	"maps"
	"testing"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

func TestNetworkingAdmits(t *testing.T) {
	perms := pods.Permissions{"owner": pods.LevelAdmin, "user": pods.LevelUser, "reader": pods.LevelRead, "none": pods.LevelNone}
	for _, c := range []struct {
		name    string
		allowed []string
		perms   pods.Permissions
		user    string
		want    bool
	}{
		{"an empty list admits everyone", nil, perms, "stranger", true},
		{"a star admits everyone", []string{"someone", "*"}, perms, "stranger", true},
		{"a name admits its bearer", []string{"Jane"}, perms, "jane", true},
		{"a name admits nobody else", []string{"jane"}, perms, "janet", false},
		{"a name does not admit the owner", []string{"jane"}, perms, "owner", false},
		{"readers hold READ", []string{"AUTHORIZED_READS"}, perms, "reader", true},
		{"users hold READ too", []string{"AUTHORIZED_READS"}, perms, "user", true},
		{"a level of NONE is none", []string{"AUTHORIZED_READS"}, perms, "none", false},
		{"readers are no users", []string{"AUTHORIZED_USERS"}, perms, "reader", false},
		{"users are no admins", []string{"AUTHORIZED_ADMINS"}, perms, "user", false},
		{"admins are", []string{"AUTHORIZED_ADMINS"}, perms, "owner", true},
		{"strangers hold nothing", []string{"AUTHORIZED_READS"}, perms, "stranger", false},
		{"everyone may hold a level", []string{"AUTHORIZED_READS"}, pods.Permissions{"*": pods.LevelRead}, "stranger", true},
		{"one of several is enough", []string{"AUTHORIZED_ADMINS", "reader"}, perms, "reader", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := pods.Networking{TapisAuthAllowedUsers: c.allowed}
			if got := n.Admits(c.user, c.perms); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestIdentityHeaders(t *testing.T) {
	n := pods.Networking{TapisAuthResponseHeaders: map[string]string{
		"X-Who": "<<tapisusername>>@<<tapistenantid>>.<<tapissiteid>>", "X-Plain": "text", "X-Twice": "<<tapisusername>><<tapisusername>>",
	}}
	got := n.IdentityHeaders(pods.Principal{User: "jane", Tenant: pods.Tenant{ID: "tacc", Site: "main"}})
	want := map[string]string{"X-Who": "jane@tacc.main", "X-Plain": "text", "X-Twice": "janejane"}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
