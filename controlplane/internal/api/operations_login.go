package api

import (
	"net/http"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// createAccess is the body of create_access_token.
type createAccess struct {
	Label            string               `json:"label"`
	Kind             pods.AccessTokenKind `json:"kind"`
	Password         string               `json:"password"`
	ExpiresInSeconds int                  `json:"expires_in_seconds"`
	MaxUses          int                  `json:"max_uses"`
}

// loginOperations are the rows of the table that are about visitors of pods.
func loginOperations() []operation {
	return []operation{
		{
			id: "start_login", method: http.MethodGet, pattern: "/pods/login", open: true, ownTimeout: true, handle: (*server).loginStart,
			about: about{
				tag: tagLogin, summary: "Begin the login of a visitor of a pod",
				details: "Edges send browsers here. The answer sends them on to Tapis. What goes wrong is told by a page to those who accept `text/html`.",
				query:   []param{textParam("host", "Host of the pod."), textParam("attempt", "What the edge knows the browser by."), textParam("port", "Port of the edge, if it is not 443.")},
				sendsOn: true, errors: []int{http.StatusForbidden, http.StatusNotFound, http.StatusTooManyRequests},
			},
		},
		{
			id: "login_callback", method: http.MethodGet, pattern: "/pods/auth/callback", open: true, ownTimeout: true, handle: (*server).loginCallback,
			about: about{
				tag: tagLogin, summary: "End the login of a visitor of a pod",
				details: "Tapis sends browsers here. The answer sends them back to the pod. What goes wrong is told by a page to those who accept `text/html`.",
				query:   []param{textParam("code", "What the login gave."), textParam("state", "What the login was begun with."), textParam("error", "Why there was no login.")},
				sendsOn: true, errors: []int{http.StatusForbidden, http.StatusNotFound, http.StatusTooManyRequests},
			},
		},
		{
			id: "logout_everywhere", method: http.MethodPost, pattern: "/pods/auth/logout", changes: true, handle: (*server).logoutEverywhere,
			about: about{
				tag: tagLogin, summary: "End your sessions at all pods", details: "Every browser in which you logged in to a pod has to log in again. Tokens stay good.",
				returns: envelopeOf("LogoutResponse", ""),
			},
		},
		{
			id: "list_access_tokens", method: http.MethodGet, pattern: "/pods/{pod_id}/access-tokens",
			kind: kindPod, level: pods.LevelUser, handle: (*server).listAccessTokens,
			about: about{
				tag: tagLogin, summary: "List the links and passwords that lead to a pod", details: "Secrets are never shown again.",
				returns: envelopeOf("AccessTokensResponse", []accessToken{}),
			},
		},
		{
			id: "create_access_token", method: http.MethodPost, pattern: "/pods/{pod_id}/access-tokens",
			kind: kindPod, level: pods.LevelUser, body: true, changes: true, handle: (*server).createAccessToken,
			about: about{
				tag: tagLogin, summary: "Make a link or a password that leads to a pod",
				details: "For people without an account. It counts at the http entries that the pod has now, while they have `access_gate` set. " +
					"The answer is the only one with the secret. `max_uses` counts redemptions at each entry, not requests.",
				body: createAccess{}, example: `{"label":"reviewers","kind":"link","expires_in_seconds":604800,"max_uses":20}`,
				returns: envelopeOf("AccessTokenResponse", newAccessToken{}),
			},
		},
		{
			id: "delete_access_token", method: http.MethodDelete, pattern: "/pods/{pod_id}/access-tokens/{token_id}",
			kind: kindPod, level: pods.LevelUser, changes: true, handle: (*server).deleteAccessToken,
			about: about{
				tag: tagLogin, summary: "Revoke a link or a password", details: "Visitors who have used it are out at once.",
				returns: envelopeOf("AccessTokensResponse", []accessToken{}),
			},
		},
	}
}
