package pods

import "testing"

func TestCheckApproval(t *testing.T) {
	cors := Definition{Image: Set("nginx"), Networking: Set(map[string]NetDef{
		"default": {CORSAllowOrigins: Set([]string{"https://a.example", "https://b.example"})}, "browser": {},
	})}
	private := Definition{Image: Set("nginx"), EnvironmentVariables: Set(map[string]string{pullSecretVariable: "carol"})}
	const corsText = "networking, default, cors_allow_origins: No user has APPROVEDADMIN permission to configure CORS settings for networking object 'default', " +
		"cors_allow_origins: ['https://a.example', 'https://b.example']. Contact admin for approval."
	const pullText = "environment_variables, TAPIS_PODS_IMAGEPULLSECRET: must name a user who has APPROVEDADMIN permission on the pod. Contact admin for approval."
	for _, c := range []struct {
		name  string
		d     Definition
		perms Permissions
		want  []string
	}{
		{"nothing to approve", Definition{Image: Set("nginx")}, Permissions{"alice": LevelAdmin}, nil},
		{"CORS without approval", cors, Permissions{"alice": LevelAdmin}, []string{corsText}},
		{"CORS with anyone's approval", cors, Permissions{"alice": LevelAdmin, "carol": LevelApprovedAdmin}, nil},
		{"a private image of a stranger", private, Permissions{"alice": LevelApprovedAdmin}, []string{pullText}},
		{"a private image of an admin", private, Permissions{"carol": LevelAdmin}, []string{pullText}},
		{"a private image of who is approved", private, Permissions{"carol": LevelApprovedAdmin}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			wantProblems(t, CheckApproval(mustResolve(t, c.d), c.perms), c.want...)
		})
	}
}
