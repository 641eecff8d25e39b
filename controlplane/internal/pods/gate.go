package pods

import (
	"slices"
	"strings"
)

// gateGroups are the words of a list of allowed users that stand for those who
// hold a level on the pod.
var gateGroups = map[string]Level{
	"AUTHORIZED_READS":  LevelRead,
	"AUTHORIZED_USERS":  LevelUser,
	"AUTHORIZED_ADMINS": LevelAdmin,
}

// Admits reports whether the login in front of the entry lets a user of the pod's
// tenant pass, given the pod's permissions.
func (n Networking) Admits(user string, perms Permissions) bool {
	users := n.AllowedUsers(perms)
	return slices.Contains(users, everyone) || slices.Contains(users, strings.ToLower(user))
}

// AllowedUsers returns the users whom the login in front of the entry lets pass,
// in lower case and ordered, with its groups expanded by the pod's permissions.
// "*" stands for everyone of the tenant: an empty list admits everyone, one whose
// groups are empty nobody.
func (n Networking) AllowedUsers(perms Permissions) []string {
	if len(n.TapisAuthAllowedUsers) == 0 {
		return []string{everyone}
	}
	users := []string{}
	for _, name := range n.TapisAuthAllowedUsers {
		if level, ok := gateGroups[name]; ok {
			users = append(users, perms.holders(level)...)
		} else {
			users = append(users, strings.ToLower(name))
		}
	}
	slices.Sort(users)
	return slices.Compact(users)
}

// holders returns the users of the pod's own tenant who hold a level or a higher
// one.
func (p Permissions) holders(level Level) []string {
	var users []string
	for user, has := range p {
		switch {
		case !has.Includes(level) || strings.HasPrefix(user, tenantGrant):
		case user == tenantWide:
			users = append(users, everyone)
		default:
			users = append(users, strings.ToLower(user))
		}
	}
	return users
}

// GuestTenants returns the other tenants whose users may pass the login in front
// of a pod, ordered.
func (p Permissions) GuestTenants() []string {
	var tenants []string
	for user, level := range p {
		if tenant, ok := strings.CutPrefix(user, tenantGrant); ok && level.Includes(LevelRead) {
			tenants = append(tenants, tenant)
		}
	}
	slices.Sort(tenants)
	return tenants
}

// IdentityHeaders returns the headers that tell the pod behind the entry who
// visits it.
func (n Networking) IdentityHeaders(who Principal) map[string]string {
	fill := strings.NewReplacer(
		"<<tapisusername>>", who.User, "<<tapistenantid>>", who.Tenant.ID, "<<tapissiteid>>", who.Tenant.Site,
	)
	headers := make(map[string]string, len(n.TapisAuthResponseHeaders))
	for name, value := range n.TapisAuthResponseHeaders {
		headers[name] = fill.Replace(value)
	}
	return headers
}
