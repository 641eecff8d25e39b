package pods

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Permissions maps a user name to a level. "*" stands for any user of the
// tenant.
type Permissions map[string]Level

// maxPermissions bounds the entries of one object: the gate's allow list is
// made from them and has to fit into a route record.
const maxPermissions = 500

// maxUsername bounds a user name. Tapis knows none longer.
const maxUsername = 128

// tenantGrant is the prefix of an entry that stands for a whole tenant.
const tenantGrant = "tenant."

// The entries that stand for many users: all of the object's tenant, and all of
// every tenant.
const (
	everyone    = "*"
	everyTenant = "**"
	tenantWide  = "TENANT" // the same as everyone
)

// Kind is a kind of object that has permissions of its own, as messages name it.
type Kind string

// The kinds of objects.
const (
	KindPod      Kind = "pod"
	KindTemplate Kind = "template"
	KindVolume   Kind = "volume"
	KindSnapshot Kind = "snapshot"
	KindSecret   Kind = "secret"
)

// userPattern is the grammar of a user name, and of "tenant.<id>".
var userPattern = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_.@-]*$`)

// ParsePermissions reads the wire form, ["user:LEVEL"]. The error is internal:
// the list comes from our own store.
func ParsePermissions(entries []string) (Permissions, error) {
	p := make(Permissions, len(entries))
	for _, e := range entries {
		i := strings.LastIndexByte(e, ':')
		if i <= 0 {
			return nil, fmt.Errorf("parsing permission %q: not user:LEVEL", e)
		}
		user, level := e[:i], Level(e[i+1:])
		if !slices.Contains(Levels(), level) {
			return nil, fmt.Errorf("parsing permission %q: level is not one of %v", e, Levels())
		}
		if _, ok := p[user]; ok {
			return nil, fmt.Errorf("parsing permissions: user %q stands there twice", user)
		}
		p[user] = level
	}
	return p, nil
}

// Level returns what a user of the object's tenant may do: the higher of the
// user's own entry and the entry for everyone.
func (p Permissions) Level(user string) Level {
	if strings.HasPrefix(user, tenantGrant) {
		user = everyone // a user of such a name must not get what a tenant was given
	}
	return p.highest(user, everyone, tenantWide)
}

// sharedLevel returns what a user of any tenant may do through entries for whole
// tenants: READ, or nothing.
func (p Permissions) sharedLevel(tenant string) Level {
	if p.highest(everyTenant, tenantGrant+tenant).Includes(LevelRead) {
		return LevelRead
	}
	return LevelNone
}

// highest returns the highest level of some entries.
func (p Permissions) highest(names ...string) Level {
	best := LevelNone
	for _, name := range names {
		if l, ok := p[name]; ok && l.Includes(best) {
			best = l
		}
	}
	return best
}

// Clone returns a copy.
func (p Permissions) Clone() Permissions { return maps.Clone(p) }

// List returns the wire form, ["user:LEVEL"], sorted by user. It is never nil.
func (p Permissions) List() []string {
	list := make([]string, 0, len(p))
	for _, user := range slices.Sorted(maps.Keys(p)) {
		list = append(list, user+":"+string(p[user]))
	}
	return list
}

// Grant is the decoded body of a request that sets a permission.
type Grant struct {
	User  string
	Level Level
}

// SetLevel returns a copy of p, the permissions of an object of a kind, in which
// the grant's user holds the grant's level. serviceAdmin says whether the one who
// asks is an administrator of the service: only those may approve
// (APPROVEDADMIN) and let in other tenants ("tenant.<id>", and for templates
// "**", at READ). Templates are given to everyone ("*") at READ only. p is not
// changed.
//
// Errors: Invalid for a user or level that is not allowed, or if nobody would
// be left in ADMIN; Forbidden if only an administrator of the service may do it.
func (p Permissions) SetLevel(k Kind, g Grant, serviceAdmin bool) (Permissions, error) {
	if err := g.check(k, serviceAdmin); err != nil {
		return nil, err
	}
	now := p.Clone()
	if now == nil {
		now = make(Permissions, 1)
	}
	now[g.User] = g.Level
	if len(now) > maxPermissions {
		return nil, Errorf(Invalid, "user: %d permissions, at most %d are allowed. Use '*' for every user of the tenant.",
			len(now), maxPermissions)
	}
	return now, now.checkAdminStays(k)
}

// Remove returns a copy of p, the permissions of an object of a kind, without the
// user's entry. NotFound if there is none, Invalid if nobody would be left in
// ADMIN. p is not changed.
func (p Permissions) Remove(k Kind, user string) (Permissions, error) {
	if _, ok := p[user]; !ok {
		return nil, Errorf(NotFound, "Could not find permission for %s with username %s when deleting permission", k, user)
	}
	now := p.Clone()
	delete(now, user)
	return now, now.checkAdminStays(k)
}

func (g Grant) check(k Kind, serviceAdmin bool) error {
	if !slices.Contains(Levels(), g.Level) {
		return Errorf(Invalid, "body, level: %s", levelText())
	}
	if err := g.checkUser(k); err != nil {
		return err
	}
	if g.User == everyTenant || strings.HasPrefix(g.User, tenantGrant) {
		if !g.readOnly() {
			return Errorf(Invalid, "body, level: a permission of a whole tenant (%s<tenant_id>) can only be READ or NONE", tenantGrant)
		}
		if !serviceAdmin {
			return Errorf(Forbidden, "Only admins of the service may share with another tenant. Contact admin for approval.")
		}
	}
	if g.User == everyone && k == KindTemplate && !g.readOnly() {
		return Errorf(Invalid, "body, level: a permission of every user ('*') on a template can only be READ or NONE")
	}
	if g.Level == LevelApprovedAdmin && !serviceAdmin {
		return Errorf(Forbidden, "Only admins of the service may set APPROVEDADMIN. Contact admin for approval.")
	}
	return nil
}

func (g Grant) readOnly() bool { return g.Level == LevelRead || g.Level == LevelNone }

func (g Grant) checkUser(k Kind) error {
	if g.User == everyone || (g.User == everyTenant && k == KindTemplate) {
		return nil
	}
	if len(g.User) > maxUsername || !userPattern.MatchString(g.User) {
		return Errorf(Invalid, "body, user: user must match [a-zA-Z_][a-zA-Z0-9_.@-]* with at most %d characters, or be '*' for every user of the tenant",
			maxUsername)
	}
	return nil
}

func (p Permissions) checkAdminStays(k Kind) error {
	for _, l := range p {
		if l.Includes(LevelAdmin) {
			return nil
		}
	}
	return Errorf(Invalid, "Operation would result in %s with no users in ADMIN role. Rolling back.", k)
}

func levelText() string {
	names := make([]string, 0, len(Levels()))
	for _, l := range Levels() {
		names = append(names, "'"+string(l)+"'")
	}
	return "level must be in (" + strings.Join(names, ", ") + ")"
}

// approved reports whether someone's entry marks an operator's approval.
func (p Permissions) approved() bool {
	for _, l := range p {
		if l == LevelApprovedAdmin {
			return true
		}
	}
	return false
}
