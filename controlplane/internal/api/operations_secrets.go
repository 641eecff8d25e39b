package api

import (
	"net/http"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// secretOperations are the rows of the table that are about secrets.
func secretOperations() []operation {
	const named = "`secret_id` is the name of your own secret, or `owner:name`."
	return []operation{
		{
			id: "list_secrets", method: http.MethodGet, pattern: "/pods/secrets",
			handle: (*server).listSecrets,
			about: about{
				tag: tagSecrets, summary: "List the secrets you may see, without their values", query: pagingParams("id and description"),
				returns: envelopeOf("SecretsResponse", []pods.SecretView{}),
			},
		},
		{
			id: "create_secret", method: http.MethodPost, pattern: "/pods/secrets",
			body: true, changes: true, handle: (*server).createSecret,
			about: about{
				tag: tagSecrets, summary: "Store a secret",
				details: "You become its ADMIN. Names are your own: other users may have secrets of the same name.",
				body:    newSecret{}, example: `{"secret_id":"dbpass","secret_value":"correct horse battery staple"}`,
				returns: envelopeOf("SecretResponse", pods.SecretView{}),
			},
		},
		{
			id: "get_secret", method: http.MethodGet, pattern: "/pods/secrets/{secret_id}",
			kind: kindSecret, level: pods.LevelRead, handle: (*server).getSecret,
			about: about{
				tag: tagSecrets, summary: "Show a secret without its value",
				details: named + " From the level USER on, the metadata tell which pods use it and what happened to it.",
				returns: envelopeOf("SecretResponse", pods.SecretView{}), errors: []int{http.StatusConflict},
			},
		},
		{
			id: "update_secret", method: http.MethodPut, pattern: "/pods/secrets/{secret_id}",
			kind: kindSecret, level: pods.LevelUser, body: true, changes: true, handle: (*server).updateSecret,
			about: about{
				tag: tagSecrets, summary: "Change a secret", details: "Pods get another value at their next start. " + unchangedNote,
				body: updateSecretBody{}, example: `{"secret_value":"a better one"}`, returns: envelopeOf("SecretResponse", pods.SecretView{}),
			},
		},
		{
			id: "delete_secret", method: http.MethodDelete, pattern: "/pods/secrets/{secret_id}",
			kind: kindSecret, level: pods.LevelAdmin, changes: true, handle: (*server).deleteSecret,
			about: about{
				tag: tagSecrets, summary: "Delete a secret", details: "The metadata tell which pods use it.",
				returns: envelopeOf("DeleteSecretResponse", ""), errors: []int{http.StatusConflict},
			},
		},
		{
			id: "get_secret_value", method: http.MethodGet, pattern: "/pods/secrets/{secret_id}/value",
			kind: kindSecret, level: pods.LevelUser, handle: (*server).getSecretValue,
			about: about{
				tag: tagSecrets, summary: "Reveal the value of a secret", details: "Each time is noted. Refused if the secret is not readable.",
				returns: envelopeOf("SecretValueResponse", secretValue{}), errors: []int{http.StatusConflict},
			},
		},
		{
			id: "get_secret_permissions", method: http.MethodGet, pattern: "/pods/secrets/{secret_id}/permissions",
			kind: kindSecret, level: pods.LevelUser, handle: (*server).getSecretPermissions,
			about: about{
				tag: tagSecrets, summary: "List who may do what on a secret", returns: envelopeOf("SecretPermissionsResponse", permissions{}),
				errors: []int{http.StatusConflict},
			},
		},
		{
			id: "set_secret_permission", method: http.MethodPost, pattern: "/pods/secrets/{secret_id}/permissions",
			kind: kindSecret, level: pods.LevelAdmin, body: true, changes: true, handle: (*server).setSecretPermission,
			about: about{
				tag: tagSecrets, summary: "Give a user a level on a secret", body: setPermission{}, example: grantExample,
				returns: envelopeOf("SecretPermissionsResponse", permissions{}),
			},
		},
		{
			id: "delete_secret_permission", method: http.MethodDelete, pattern: "/pods/secrets/{secret_id}/permissions/{user}",
			kind: kindSecret, level: pods.LevelAdmin, changes: true, handle: (*server).deleteSecretPermission,
			about: about{
				tag: tagSecrets, summary: "Take a user's level on a secret away", details: "One ADMIN has to stay.",
				returns: envelopeOf("SecretPermissionsResponse", permissions{}), errors: []int{http.StatusConflict},
			},
		},
	}
}
