package api

import "net/http"

// proxyOperations are the rows of the table that proxies in front of pods ask.
func proxyOperations() []operation {
	return []operation{
		{
			id: "traefik_config", method: http.MethodGet, pattern: "/traefik-config",
			aliases: []string{"/pods/traefik-config"}, admin: true, handle: (*server).traefikConfig,
			about: about{
				tag: tagService, summary: "List the hosts of all pods of the tenant",
				returns: envelopeOf("HostsResponse", []podHost{}),
			},
		},
		{
			id: "pod_auth", method: http.MethodGet, pattern: "/pods/{pod_id_net}/auth",
			open: true, handle: (*server).podAuth,
			about: about{
				tag: tagPods, summary: "Tell a proxy whether a visitor may pass to a pod",
				details: "The answer is good if the token in the header, or in the cookie `X-Tapis-Token`, belongs to a user that `tapis_auth_allowed_users` admits; " +
					"its headers are those of `tapis_auth_response_headers`. Without one, people who open a page are sent to log in at the pod's own host (302), " +
					"and programs get 401; a token that can't be used is 403.",
				returns: envelopeOf("PodAuthResponse", ""), errors: []int{http.StatusUnauthorized, http.StatusForbidden}, sendsOn: true,
			},
		},
		{
			id: "pod_auth_callback", method: http.MethodGet, pattern: "/pods/{pod_id_net}/auth/callback",
			open: true, handle: (*server).podAuthCallback,
			about: about{
				tag: tagPods, summary: "End a login that was begun here", details: "Logins are made at the pod's own host, so there is none to end.",
				query:   []param{textParam("code", "What the login gave.")},
				returns: envelopeOf("PodAuthResponse", ""),
			},
		},
		{
			id: "pod_gate", method: http.MethodGet, pattern: "/pods/{pod_id_net}/gate",
			open: true, handle: (*server).podGate,
			about: gateAbout("Send a visitor to where links and passwords are used"),
		},
		{
			id: "pod_gate_redeem", method: http.MethodGet, pattern: "/pods/{pod_id_net}/gate/redeem",
			open: true, handle: (*server).podGate,
			about: gateAbout("Send a visitor with a link to where it is used"),
		},
		{
			id: "pod_gate_redeem_password", method: http.MethodPost, pattern: "/pods/{pod_id_net}/gate/redeem",
			open: true, changes: true, handle: (*server).podGate,
			about: gateAbout("Send a visitor with a password to where it is used"),
		},
	}
}

// gateAbout tells of the operations that send visitors to a pod's own host.
func gateAbout(summary string) about {
	return about{
		tag: tagLogin, summary: summary,
		details: "That is at the pod's own host: people are sent there (302), with the secret in `access`, and programs get 401. The pod has to have `access_gate` set.",
		query:   []param{textParam("access", "Secret of a link.")},
		returns: envelopeOf("PodAuthResponse", ""), errors: []int{http.StatusUnauthorized, http.StatusNotFound}, sendsOn: true,
	}
}
