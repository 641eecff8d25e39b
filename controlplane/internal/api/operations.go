package api

import (
	"net/http"
	"slices"
	"strings"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// kind is the kind of object an operation works on: the one that its path names,
// whose permissions decide.
type kind string

const (
	kindNone     kind = "" // no object: the whole collection, or the service itself
	kindPod      kind = "pod"
	kindTemplate kind = "template"
	kindVolume   kind = "volume"
	kindSnapshot kind = "snapshot"
	kindSecret   kind = "secret"
)

// operation is one row of the API: what clients may call, and what it takes.
type operation struct {
	id      string   // name in the specification; SDK clients call it
	method  string   // GET, POST, PUT or DELETE
	pattern string   // as in the specification, without the /v3 prefix
	aliases []string // other patterns that lead here

	// rest says that the last parameter takes the rest of the path, slashes
	// included.
	rest bool

	open  bool       // needs no token
	admin bool       // needs the admin role, of the site
	kind  kind       // what the path names
	level pods.Level // least level on that object

	body       bool  // takes a JSON body
	upload     bool  // takes a form with a file
	uploadMax  int64 // most bytes of that form; default: maxUpload
	changes    bool  // counts against the caller's limit
	ownTimeout bool  // the handler bounds its own time: it streams or waits for a program

	handle func(*server, *request) (answer, error)

	about about // what the specification says beyond all this
}

// routes returns the patterns of the operation as the router reads them.
func (op *operation) routes() []string {
	patterns := append([]string{op.pattern}, op.aliases...)
	if op.rest {
		for i, p := range patterns {
			if strings.HasSuffix(p, "}") {
				patterns[i] = p[:strings.LastIndexByte(p, '{')] + "*"
			}
		}
	}
	return patterns
}

// operations returns the table of all operations. Literal patterns may stand
// beside parameters: the router prefers them.
func operations() []operation {
	return slices.Concat(
		podOperations(), proxyOperations(), provenanceOperations(), templateOperations(), imageOperations(), jupyterOperations(),
		volumeOperations(), snapshotOperations(), podFileOperations(), secretOperations(), domainOperations(), loginOperations(),
	)
}

// podOperations are the rows of the table that are about the service and pods.
func podOperations() []operation {
	return []operation{
		// The service.
		{
			id: "healthcheck", method: http.MethodGet, pattern: "/healthcheck",
			aliases: []string{"/pods/healthcheck"}, open: true, handle: (*server).healthcheck,
			about: about{
				tag: tagService, summary: "Say that the API answers", returns: envelopeOf("HealthcheckResponse", ""),
			},
		},
		{
			id: "error_handler", method: http.MethodGet, pattern: "/error-handler/{status}",
			open: true, handle: (*server).errorHandler,
			about: about{
				tag: tagService, summary: "Answer with a status, for proxies that show an envelope instead of a page of their own",
				returns: envelopeOf("ErrorHandlerResponse", ""),
			},
		},

		// The specification of all this.
		{
			id: "get_openapi_json", method: http.MethodGet, pattern: "/pods/openapi.json",
			open: true, handle: (*server).openAPIJSON,
			about: about{
				tag: tagService, summary: "Show the specification of the API as JSON",
				streams: []string{"application/json"},
			},
		},
		{
			id: "get_openapi_yaml", method: http.MethodGet, pattern: "/pods/openapi.yaml",
			open: true, handle: (*server).openAPIYAML,
			about: about{
				tag: tagService, summary: "Show the specification of the API as YAML",
				streams: []string{yamlType},
			},
		},
		{
			id: "get_docs", method: http.MethodGet, pattern: "/pods/docs",
			open: true, handle: (*server).docs,
			about: about{
				tag: tagService, summary: "Show the specification of the API as a page for people",
				streams: []string{"text/html"},
			},
		},

		// Pods.
		{
			id: "list_pods", method: http.MethodGet, pattern: "/pods",
			handle: (*server).listPods,
			about: about{
				tag: tagPods, summary: "List the pods you may read", query: append(pagingParams("id, description, image and template"), layerParams...),
				returns: envelopeOf("PodsResponse", []pods.View{}),
			},
		},
		{
			id: "create_pod", method: http.MethodPost, pattern: "/pods",
			body: true, changes: true, handle: (*server).createPod,
			about: about{
				tag: tagPods, summary: "Create a pod", details: "You become its ADMIN. It starts at once unless `status_requested` is `OFF`.",
				body: newPod{}, example: `{"pod_id":"web","image":"podway/hello"}`, returns: envelopeOf("PodResponse", pods.View{}),
			},
		},
		{
			id: "get_pod", method: http.MethodGet, pattern: "/pods/{pod_id}",
			kind: kindPod, level: pods.LevelRead, handle: (*server).getPod,
			about: about{
				tag: tagPods, summary: "Show a pod", query: layerParams, returns: envelopeOf("PodResponse", pods.View{}),
			},
		},
		{
			id: "update_pod", method: http.MethodPut, pattern: "/pods/{pod_id}",
			kind: kindPod, level: pods.LevelUser, body: true, changes: true, handle: (*server).updatePod,
			about: about{
				tag: tagPods, summary: "Change a pod",
				details: "Each field in the body replaces the whole stored value. A running pod goes on as it is until it is restarted. A body that changes nothing is answered with `status` `error` and HTTP status 200.",
				body:    updatePod{}, example: `{"description":"my first pod"}`, returns: envelopeOf("PodResponse", pods.View{}),
			},
		},
		{
			id: "delete_pod", method: http.MethodDelete, pattern: "/pods/{pod_id}",
			kind: kindPod, level: pods.LevelAdmin, changes: true, handle: (*server).deletePod,
			about: about{
				tag: tagPods, summary: "Delete a pod with everything that is its own", returns: envelopeOf("PodDeleteResponse", ""),
			},
		},
		{
			id: "get_derived_pod", method: http.MethodGet, pattern: "/pods/{pod_id}/derived",
			kind: kindPod, level: pods.LevelRead, handle: (*server).getDerivedPod,
			about: about{
				tag: tagPods, summary: "Show a pod as it is started",
				details: "Templates are applied and placeholders in the environment filled in. Passwords are masked below the level USER. " +
					"The metadata tells what the templates ask for, and which changes wait for a restart.",
				query: derivedParams, returns: envelopeOf("PodResponse", pods.View{}),
			},
		},
		{
			id: "get_pod_credentials", method: http.MethodGet, pattern: "/pods/{pod_id}/credentials",
			kind: kindPod, level: pods.LevelUser, handle: (*server).getPodCredentials,
			about: about{
				tag: tagPods, summary: "Show the user and the password made for a pod", returns: envelopeOf("PodCredentialsResponse", credentials{}),
			},
		},
		{
			id: "get_pod_logs", method: http.MethodGet, pattern: "/pods/{pod_id}/logs",
			kind: kindPod, level: pods.LevelRead, ownTimeout: true, handle: (*server).getPodLogs,
			about: about{
				tag: tagPods, summary: "Show what a pod wrote and what happened to it",
				details: "With `follow=true` the output is streamed as plain text until the container ends.",
				query:   []param{boolParam("follow", false, "Stream the output as it is written.")},
				returns: envelopeOf("PodLogsResponse", podLogs{}), streams: []string{"text/plain"},
			},
		},
		{
			id: "get_pod_events", method: http.MethodGet, pattern: "/pods/{pod_id}/events",
			kind: kindPod, level: pods.LevelRead, handle: (*server).getPodEvents,
			about: about{
				tag: tagPods, summary: "Show what the cluster noted about a pod",
				details: "Pulls, scheduling, probes: oldest first. The cluster forgets after a while.",
				query:   []param{intParam("limit", 1, maxEvents, "Only the newest so many.")},
				returns: envelopeOf("PodEventsResponse", podEvents{}),
			},
		},
		{
			id: "exec_pod_commands", method: http.MethodPost, pattern: "/pods/{pod_id}/exec",
			kind: kindPod, level: pods.LevelAdmin, body: true, changes: true, ownTimeout: true, handle: (*server).execPodCommands,
			about: about{
				tag: tagPods, summary: "Run commands in a pod",
				details: "One after another, without a shell. Commands that fail are part of the answer, not an error of the request.",
				body:    execCommands{}, example: `{"commands":[["ls","-l"],["env"]],"command_timeout":10}`,
				returns: envelopeOf("ExecResponse", execReport{}),
			},
		},

		// Pods, their power switch. GET is what the specification asks for; a page
		// elsewhere can't trigger it, because the token is read from a header only.
		{
			id: "stop_pod", method: http.MethodGet, pattern: "/pods/{pod_id}/stop",
			kind: kindPod, level: pods.LevelAdmin, changes: true, handle: (*server).stopPod,
			about: about{
				tag: tagPods, summary: "Stop a pod, whatever it does", returns: envelopeOf("PodResponse", pods.View{}),
			},
		},
		{
			id: "start_pod", method: http.MethodGet, pattern: "/pods/{pod_id}/start",
			kind: kindPod, level: pods.LevelAdmin, changes: true, handle: (*server).startPod,
			about: about{
				tag: tagPods, summary: "Start a pod that is STOPPED", returns: envelopeOf("PodResponse", pods.View{}),
			},
		},
		{
			id: "restart_pod", method: http.MethodGet, pattern: "/pods/{pod_id}/restart",
			kind: kindPod, level: pods.LevelAdmin, changes: true, handle: (*server).restartPod,
			about: about{
				tag: tagPods, summary: "Stop a pod if need be, and start it",
				query:   []param{boolParam("grab_latest_template_tag", false, "Take the newest version of the tag that the pod's template names.")},
				returns: envelopeOf("PodResponse", pods.View{}),
			},
		},

		// Pods, their permissions.
		{
			id: "get_pod_permissions", method: http.MethodGet, pattern: "/pods/{pod_id}/permissions",
			kind: kindPod, level: pods.LevelUser, handle: (*server).getPodPermissions,
			about: about{
				tag: tagPods, summary: "List who may do what on a pod", returns: envelopeOf("PodPermissionsResponse", permissions{}),
			},
		},
		{
			id: "set_pod_permission", method: http.MethodPost, pattern: "/pods/{pod_id}/permissions",
			kind: kindPod, level: pods.LevelAdmin, body: true, changes: true, handle: (*server).setPodPermission,
			about: about{
				tag: tagPods, summary: "Give a user a level on a pod", body: setPermission{}, example: grantExample,
				returns: envelopeOf("PodPermissionsResponse", permissions{}),
			},
		},
		{
			id: "delete_pod_permission", method: http.MethodDelete, pattern: "/pods/{pod_id}/permissions/{user}",
			kind: kindPod, level: pods.LevelAdmin, changes: true, handle: (*server).deletePodPermission,
			about: about{
				tag: tagPods, summary: "Take a user's level on a pod away", details: "One ADMIN has to stay.",
				returns: envelopeOf("PodPermissionsResponse", permissions{}),
			},
		},
	}
}
