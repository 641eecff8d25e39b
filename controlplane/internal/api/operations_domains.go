package api

import (
	"net/http"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// domainOperations are the rows of the table that are about custom domains.
func domainOperations() []operation {
	return []operation{
		{
			id: "get_pod_domains", method: http.MethodGet, pattern: "/pods/{pod_id}/domains",
			kind: kindPod, level: pods.LevelRead, handle: (*server).getPodDomains,
			about: about{
				tag: tagPods, summary: "Show the custom domains of a pod",
				details: "Which records prove that they are yours, and what the last check came to. " +
					"A domain leads to the pod once it is `verified`. Domains are set in `networking`.",
				returns: envelopeOf("PodDomainsResponse", []podDomain{}),
			},
		},
		{
			id: "check_pod_domains", method: http.MethodPost, pattern: "/pods/{pod_id}/domains/check",
			kind: kindPod, level: pods.LevelUser, changes: true, handle: (*server).checkPodDomains,
			about: about{
				tag: tagPods, summary: "Check the custom domains of a pod now",
				details: "The answer does not wait for the check: look at the domains a few seconds later. " +
					"A domain that was checked a moment ago is not checked again.",
				returns: envelopeOf("PodDomainsResponse", []podDomain{}),
			},
		},
	}
}
