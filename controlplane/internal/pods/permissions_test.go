package pods

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

const (
	noAdminText = "Operation would result in pod with no users in ADMIN role. Rolling back."
	userText    = "body, user: user must match [a-zA-Z_][a-zA-Z0-9_.@-]* with at most 128 characters, or be '*' for every user of the tenant"
	levelsText  = "body, level: level must be in ('NONE', 'READ', 'USER', 'ADMIN', 'APPROVEDADMIN')"
)

func TestSetLevelOnATemplate(t *testing.T) {
	owned := Permissions{"alice": LevelAdmin}
	for _, c := range []struct {
		name    string
		grant   Grant
		service bool
		want    Permissions
		code    Code
		text    string
	}{
		{name: "everyone at READ", grant: Grant{"*", LevelRead}, want: Permissions{"alice": LevelAdmin, "*": LevelRead}},
		{name: "everyone no more", grant: Grant{"*", LevelNone}, want: Permissions{"alice": LevelAdmin, "*": LevelNone}},
		{name: "every tenant by an operator", grant: Grant{"**", LevelRead}, service: true, want: Permissions{"alice": LevelAdmin, "**": LevelRead}},
		{name: "one tenant by an operator", grant: Grant{"tenant.icicle", LevelRead}, service: true, want: Permissions{"alice": LevelAdmin, "tenant.icicle": LevelRead}},

		{name: "everyone above READ", grant: Grant{"*", LevelUser}, code: Invalid, text: "body, level: a permission of every user ('*') on a template can only be READ or NONE"},
		{name: "every tenant by the owner", grant: Grant{"**", LevelRead}, code: Forbidden, text: "Only admins of the service may share with another tenant. Contact admin for approval."},
		{name: "every tenant above READ", grant: Grant{"**", LevelUser}, service: true, code: Invalid, text: "body, level: a permission of a whole tenant (tenant.<tenant_id>) can only be READ or NONE"},
		{name: "three stars", grant: Grant{"***", LevelRead}, service: true, code: Invalid, text: userText},
		{
			name: "the last admin", grant: Grant{"alice", LevelUser}, code: Invalid,
			text: "Operation would result in template with no users in ADMIN role. Rolling back.",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := owned.SetLevel(KindTemplate, c.grant, c.service)
			checkPermissions(t, got, err, c.want, c.code, c.text)
		})
	}
}

func TestSetLevel(t *testing.T) {
	owned := Permissions{"alice": LevelAdmin}
	for _, c := range []struct {
		name    string
		before  Permissions
		grant   Grant
		service bool
		want    Permissions
		code    Code
		text    string
	}{
		{name: "a new user", before: owned, grant: Grant{"bob", LevelRead}, want: Permissions{"alice": LevelAdmin, "bob": LevelRead}},
		{name: "a user who had another level", before: Permissions{"alice": LevelAdmin, "bob": LevelRead}, grant: Grant{"bob", LevelAdmin}, want: Permissions{"alice": LevelAdmin, "bob": LevelAdmin}},
		{name: "nothing for a user", before: owned, grant: Grant{"bob", LevelNone}, want: Permissions{"alice": LevelAdmin, "bob": LevelNone}},
		{name: "everyone", before: owned, grant: Grant{"*", LevelUser}, want: Permissions{"alice": LevelAdmin, "*": LevelUser}},
		{name: "the first entry", grant: Grant{"alice", LevelAdmin}, want: owned},
		{name: "a name with signs", before: owned, grant: Grant{"_b.c-d@tacc.utexas.edu", LevelRead}, want: Permissions{"alice": LevelAdmin, "_b.c-d@tacc.utexas.edu": LevelRead}},
		{name: "an approval by an operator", before: owned, grant: Grant{"alice", LevelApprovedAdmin}, service: true, want: Permissions{"alice": LevelApprovedAdmin}},
		{name: "another tenant by an operator", before: owned, grant: Grant{"tenant.icicle", LevelRead}, service: true, want: Permissions{"alice": LevelAdmin, "tenant.icicle": LevelRead}},

		{name: "the last admin", before: owned, grant: Grant{"alice", LevelUser}, code: Invalid, text: noAdminText},
		{name: "an unknown level", before: owned, grant: Grant{"bob", "OWNER"}, code: Invalid, text: levelsText},
		{name: "a level in lower case", before: owned, grant: Grant{"bob", "read"}, code: Invalid, text: levelsText},
		{name: "no level", before: owned, grant: Grant{"bob", ""}, code: Invalid, text: levelsText},
		{name: "no user", before: owned, grant: Grant{"", LevelRead}, code: Invalid, text: userText},
		{name: "a user with a colon", before: owned, grant: Grant{"bob:ADMIN", LevelRead}, code: Invalid, text: userText},
		{name: "a user with a line break", before: owned, grant: Grant{"bob\n", LevelRead}, code: Invalid, text: userText},
		{name: "a user that starts with a digit", before: owned, grant: Grant{"1bob", LevelRead}, code: Invalid, text: userText},
		{name: "every tenant", before: owned, grant: Grant{"**", LevelRead}, service: true, code: Invalid, text: userText},
		{name: "a name that is too long", before: owned, grant: Grant{strings.Repeat("b", 129), LevelRead}, code: Invalid, text: userText},
		{name: "an approval by the owner", before: owned, grant: Grant{"alice", LevelApprovedAdmin}, code: Forbidden, text: "Only admins of the service may set APPROVEDADMIN. Contact admin for approval."},
		{name: "another tenant by the owner", before: owned, grant: Grant{"tenant.icicle", LevelRead}, code: Forbidden, text: "Only admins of the service may share with another tenant. Contact admin for approval."},
		{name: "another tenant above READ", before: owned, grant: Grant{"tenant.icicle", LevelUser}, service: true, code: Invalid, text: "body, level: a permission of a whole tenant (tenant.<tenant_id>) can only be READ or NONE"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := c.before.Clone()
			got, err := c.before.SetLevel(KindPod, c.grant, c.service)
			checkPermissions(t, got, err, c.want, c.code, c.text)
			if !reflect.DeepEqual(c.before, before) {
				t.Errorf("got %v, want the receiver as it was: %v", c.before, before)
			}
		})
	}
}

func checkPermissions(t *testing.T, got Permissions, err error, want Permissions, code Code, text string) {
	t.Helper()
	if ErrorCode(err) != code {
		t.Fatalf("got error %v, want code %q", err, code)
	}
	if err == nil {
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		return
	}
	if got := err.(*Error).Messages; !slices.Equal(got, []string{text}) { //nolint:errorlint // see problemsOf
		t.Errorf("got %q, want %q", got, text)
	}
}

func TestRemovePermission(t *testing.T) {
	for _, c := range []struct {
		name   string
		before Permissions
		user   string
		want   Permissions
		code   Code
		text   string
	}{
		{name: "a reader", before: Permissions{"alice": LevelAdmin, "bob": LevelRead}, user: "bob", want: Permissions{"alice": LevelAdmin}},
		{name: "one of two admins", before: Permissions{"alice": LevelAdmin, "bob": LevelApprovedAdmin}, user: "alice", want: Permissions{"bob": LevelApprovedAdmin}},
		{name: "the last admin", before: Permissions{"alice": LevelAdmin, "bob": LevelUser}, user: "alice", code: Invalid, text: noAdminText},
		{name: "a user without an entry", before: Permissions{"alice": LevelAdmin}, user: "bob", code: NotFound, text: "Could not find permission for pod with username bob when deleting permission"},
		{name: "a user in another case", before: Permissions{"alice": LevelAdmin}, user: "Alice", code: NotFound, text: "Could not find permission for pod with username Alice when deleting permission"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.before.Remove(KindPod, c.user)
			checkPermissions(t, got, err, c.want, c.code, c.text)
		})
	}
}

func TestPermissionsAreBounded(t *testing.T) {
	p := Permissions{"alice": LevelAdmin}
	for i := len(p); i < maxPermissions; i++ {
		p[fmt.Sprintf("user%d", i)] = LevelRead
	}
	_, err := p.SetLevel(KindPod, Grant{"onemore", LevelRead}, false)
	wantProblems(t, err, "user: 501 permissions, at most 500 are allowed. Use '*' for every user of the tenant.")
}

func TestPermissionsWireForm(t *testing.T) {
	p := Permissions{"bob": LevelRead, "alice": LevelAdmin, "*": LevelNone, "u@x.org": LevelUser}
	list := p.List()
	if want := []string{"*:NONE", "alice:ADMIN", "bob:READ", "u@x.org:USER"}; !slices.Equal(list, want) {
		t.Errorf("got %v, want %v", list, want)
	}
	back, err := ParsePermissions(list)
	if err != nil || !reflect.DeepEqual(back, p) {
		t.Errorf("got %v and %v, want %v", back, err, p)
	}
	if got := Permissions(nil).List(); got == nil || len(got) != 0 {
		t.Errorf("got %#v for nobody, want an empty list", got)
	}
	for _, bad := range []string{"alice", ":ADMIN", "alice:BOSS", "alice:"} {
		if _, err := ParsePermissions([]string{bad}); ErrorCode(err) != Internal {
			t.Errorf("got %v for %q, want an internal error", err, bad)
		}
	}
	if _, err := ParsePermissions([]string{"alice:READ", "alice:ADMIN"}); err == nil {
		t.Error("got no error for a user who stands there twice, want one")
	}
}

func TestLevelOfAUser(t *testing.T) {
	for _, c := range []struct {
		name string
		p    Permissions
		want Level
	}{
		{"no entry", Permissions{"bob": LevelAdmin}, LevelNone},
		{"an entry", Permissions{"alice": LevelUser}, LevelUser},
		{"an entry for everyone", Permissions{"*": LevelRead}, LevelRead},
		{"the higher of the two is the own", Permissions{"alice": LevelAdmin, "*": LevelRead}, LevelAdmin},
		{"the higher of the two is everyone's", Permissions{"alice": LevelRead, "*": LevelUser}, LevelUser},
		{"the tenant's", Permissions{"alice": LevelNone, "TENANT": LevelUser}, LevelUser},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.p.Level("alice"); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestLevelsInclude(t *testing.T) {
	levels := Levels()
	for i, have := range levels {
		for j, need := range levels {
			if got, want := have.Includes(need), i >= j; got != want {
				t.Errorf("%v includes %v: got %v, want %v", have, need, got, want)
			}
		}
	}
	if Level("BOSS").Includes(LevelNone) {
		t.Error("got an unknown level that includes NONE, want none")
	}
}
