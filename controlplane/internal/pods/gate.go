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
// tenant pass, given the pod's permissions. An empty list of allowed users admits
// everyone, as "*" does; names are compared whatever their case.
func (n Networking) Admits(user string, perms Permissions) bool {
	return len(n.TapisAuthAllowedUsers) == 0 || slices.ContainsFunc(n.TapisAuthAllowedUsers, func(name string) bool {
		if level, ok := gateGroups[name]; ok {
			return perms.Level(user).Includes(level)
		}
		return name == everyone || strings.EqualFold(name, user)
	})
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
