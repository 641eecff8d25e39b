package podproxy

import (
	"net/http"

	"github.com/tapis-project/podway/caddymodules/pages"
	"github.com/tapis-project/podway/routes"
)

// What the edge itself answers says no more of a pod than its coarse state, and
// nothing that a request said.

// The pages that do not depend on the state of a pod.
var (
	pageNotFound = pages.Page{
		Status: http.StatusNotFound, Kind: pages.Stop, Title: "No pod at this address",
		Text: "Nothing is served here. The address may be mistyped, or the pod was deleted.",
	}
	pageNotReady = pages.Page{
		Status: http.StatusServiceUnavailable, Kind: pages.Wait, Title: "One moment",
		Text: "This service is starting.", Refresh: pages.RefreshSeconds,
	}
	pageBusy = pages.Page{
		Status: http.StatusServiceUnavailable, Kind: pages.Wait, Title: "Too many visitors",
		Text: "This pod has as many connections as it may have. Try again in a moment.", Refresh: pages.RefreshSeconds,
	}
	pageMisdirected = pages.Page{
		Status: http.StatusMisdirectedRequest, Kind: pages.Stop, Title: "Not a website",
		Text: "The pod at this address does not speak HTTP. Connect with a client of its own protocol.",
	}
	pageDenied = pages.Page{
		Status: http.StatusForbidden, Kind: pages.Fail, Title: "Not from your address",
		Text: "This pod accepts connections from certain addresses only.",
	}
	pageNoLogin = pages.Page{
		Status: http.StatusForbidden, Kind: pages.Fail, Title: "Login required",
		Text: "This pod requires a login that is not available here.",
	}
	pageUnclear = pages.Page{
		Status: http.StatusBadRequest, Kind: pages.Fail, Title: "Unclear request",
		Text: "The request is not valid HTTP, or could be read in more than one way.",
	}
	pageNoTunnel = pages.Page{
		Status: http.StatusMethodNotAllowed, Kind: pages.Fail, Title: "Method not allowed",
		Text: "Pods are no proxies: CONNECT is not possible.",
	}
	pageNotListening = pages.Page{
		Status: http.StatusServiceUnavailable, Kind: pages.Wait, Title: "Almost there",
		Text: "The pod is running and finishing its startup.", Refresh: pages.RefreshSeconds,
	}
	pageBadGateway = pages.Page{
		Status: http.StatusBadGateway, Kind: pages.Fail, Title: "No answer from the pod",
		Text: "The pod did not give a valid answer. It may be busy or overloaded.",
	}
)

// statePages are the pages of pods that are not live.
var statePages = map[routes.State]pages.Page{
	routes.Starting: {
		Status: http.StatusServiceUnavailable, Kind: pages.Wait, Title: "This pod is starting",
		Text: "It is being set up and will be here soon.", Refresh: pages.RefreshSeconds,
	},
	routes.Deleting: {
		Status: http.StatusServiceUnavailable, Kind: pages.Wait, Title: "This pod is shutting down",
		Text: "It will be gone soon.", Refresh: pages.RefreshSeconds,
	},
	routes.Stopped: {
		Status: http.StatusServiceUnavailable, Kind: pages.Stop, Title: "This pod is stopped",
		Text: "Its owner can start it from the dashboard.",
	},
	routes.Error: {
		Status: http.StatusServiceUnavailable, Kind: pages.Fail, Title: "This pod failed to start",
		Text: "Its owner finds the reason in its logs.",
	},
	routes.Finished: {
		Status: http.StatusServiceUnavailable, Kind: pages.Stop, Title: "This pod has finished",
		Text: "Its work is done. Its owner can restart it from the dashboard.",
	},
}

// pageOf returns the page of a state; of one that is unknown here, it is as if
// the pod started.
func pageOf(s routes.State) *pages.Page {
	p, ok := statePages[s]
	if !ok {
		p = statePages[routes.Starting]
	}
	return &p
}
