package pods

import (
	"maps"
	"slices"
)

// pullSecretVariable names the user whose image pull secret a pod uses.
const pullSecretVariable = "TAPIS_PODS_IMAGEPULLSECRET" //nolint:gosec // the name of a variable

// CheckApproval checks that an operator has approved what needs an approval,
// which an APPROVEDADMIN entry in the pod's permissions shows: CORS, and the pull
// secret of a private image. A new pod has no such entry yet, so these are set
// by an update. The error has code Invalid and one message per problem.
func CheckApproval(e Effective, perms Permissions) error {
	var p problems
	if !perms.approved() {
		for _, key := range slices.Sorted(maps.Keys(e.Networking)) {
			if origins := e.Networking[key].CORSAllowOrigins; len(origins) > 0 {
				p.add(at("networking", key, "cors_allow_origins"),
					"No user has APPROVEDADMIN permission to configure CORS settings for networking object '%s', cors_allow_origins: %s. "+
						"Contact admin for approval.", key, quoteList(origins))
			}
		}
	}
	if user, ok := e.EnvironmentVariables[pullSecretVariable]; ok && perms[user] != LevelApprovedAdmin {
		p.add(at("environment_variables", pullSecretVariable),
			"must name a user who has APPROVEDADMIN permission on the pod. Contact admin for approval.")
	}
	return p.err()
}
