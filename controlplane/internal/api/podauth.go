package api

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// Proxies other than our edge ask here whether a visitor may pass to a pod, as
// they did with the service that this API is compatible with: a good answer lets
// the visitor pass, with the answer's headers.

// podAuth answers a proxy that asks about a request to a pod. The token in the
// header decides, or in the cookie of that name. People who open a page without
// one are sent to the pod's own host to log in, where an edge does that safely;
// programs get an error.
func (s *server) podAuth(r *request) (answer, error) {
	who, err := s.visitor(r.Request)
	if err != nil {
		return s.refusedVisitor(r, err)
	}
	traceOf(r.Request).who = who
	r.who = who
	p, n, err := s.gatedEntry(r)
	if err != nil {
		return answer{}, err
	}
	if !n.TapisAuth {
		return answer{}, pods.Errorf(pods.Forbidden, "The pod asks for no login: tapis_auth is not set.")
	}
	if !n.Admits(who.User, p.Permissions) {
		return answer{}, pods.Errorf(pods.Forbidden,
			"Pods: user '%s' is authenticated but not in the tapis_auth_allowed_users for %s.", who.User, r.param("pod_id_net"))
	}
	return answer{stream: func(w http.ResponseWriter) error {
		for name, value := range n.IdentityHeaders(who) {
			w.Header().Set(name, value)
		}
		return s.writeAnswer(w, answer{message: "The request was successful", result: "Already authenticated"})
	}}, nil
}

// visitor returns who visits a pod. Only here a token counts in a cookie: proxies
// pass on what the service that this API is compatible with had set.
func (s *server) visitor(r *http.Request) (pods.Principal, error) {
	c, err := r.Cookie(tokenHeader)
	if err != nil || r.Header.Get(tokenHeader) != "" {
		return s.authenticate(r)
	}
	return s.Identity.Authenticate(r.Context(), pods.Credential{Token: c.Value, Host: r.Host})
}

// refusedVisitor is what a proxy hears about a visitor without a good token:
// one that has none may log in, one that has a bad one in the header must not be
// sent to a page for people.
func (s *server) refusedVisitor(r *request, err error) (answer, error) {
	inHeader := r.Header.Get(tokenHeader) != ""
	_, noCookie := r.Cookie(tokenHeader)
	switch {
	case pods.ErrorCode(err) != pods.Unauthorized:
		return answer{}, err
	case !inHeader && s.Login != nil && navigates(r.Request):
		return s.toLogin(r)
	case inHeader || noCookie == nil:
		return answer{}, pods.Errorf(pods.Forbidden, "Not authenticated")
	default:
		return answer{}, err
	}
}

// toLogin sends a person to the login at the pod's own host.
func (s *server) toLogin(r *request) (answer, error) {
	pod, net := netOf(r.param("pod_id_net"))
	to, err := s.Login.LoginURL(r.Context(), r.Host, pod, net)
	if err != nil {
		return answer{}, err
	}
	return sendOn(to), nil
}

// sendOn sends a person to another page. That one is got, whatever the method here.
func sendOn(to string) answer {
	return answer{stream: func(w http.ResponseWriter) error {
		w.Header().Set("Location", to)
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Referrer-Policy", "no-referrer") // it may hold a secret
		w.WriteHeader(http.StatusFound)
		return nil
	}}
}

// netOf takes "<pod_id>-<key>" apart; without a key it is "default".
func netOf(idNet string) (pod, key string) {
	pod, key, named := strings.Cut(idNet, "-")
	if !named {
		key = defaultKey
	}
	return pod, key
}

// gatedEntry returns the pod that the path names with a networking entry of it.
// NotFound if there is no such pod or entry.
func (s *server) gatedEntry(r *request) (pods.Pod, pods.Networking, error) {
	id := r.podID()
	traceOf(r.Request).podID = id
	p, err := s.Store.Pod(r.Context(), r.key(id))
	if pods.ErrorCode(err) == pods.NotFound {
		return pods.Pod{}, pods.Networking{}, podNotFound(id)
	}
	if err != nil {
		return pods.Pod{}, pods.Networking{}, err
	}
	n, ok, err := s.entry(r.Context(), r.who.Tenant, p, r.param("pod_id_net"))
	if err == nil && !ok {
		err = podNotFound(pods.ID(r.param("pod_id_net")))
	}
	return p, n, err
}

// entry returns the networking entry that "<pod_id>-<key>" names; without a key
// it is "default".
func (s *server) entry(ctx context.Context, t pods.Tenant, p pods.Pod, idNet string) (pods.Networking, bool, error) {
	e, err := s.effective(ctx, s.Store, t, p)
	if err != nil {
		return pods.Networking{}, false, err
	}
	_, key := netOf(idNet)
	n, ok := e.Networking[key]
	return n, ok, nil
}

// defaultKey is the networking entry that is meant if none is named.
const defaultKey = "default"

// podAuthCallback is where logins ended that were begun for each pod. Now they end
// at the tenant's one callback, so none is under way here.
func (s *server) podAuthCallback(r *request) (answer, error) {
	if r.URL.Query().Get("code") == "" {
		return answer{}, invalidf("query, code: field required")
	}
	return answer{}, pods.Errorf(pods.Invalid, "No login is under way here. Please open the pod's own address and log in there.")
}

// podHost is a host name that leads to a pod.
type podHost struct {
	Host     string           `json:"host"`
	PodID    pods.ID          `json:"pod_id"`
	Network  string           `json:"network"`
	Protocol pods.NetProtocol `json:"protocol"`
	Port     int              `json:"port"`
	Status   pods.Status      `json:"status"`
}

// traefikConfig answers with what a proxy has to know of the caller's tenant.
// The name is that of the service this API is compatible with, which let anyone
// read its proxy's configuration; here it takes an admin.
func (s *server) traefikConfig(r *request) (answer, error) {
	list, err := s.Store.Pods(r.Context(), pods.PodQuery{Tenant: r.who.Tenant.ID})
	if err != nil {
		return answer{}, err
	}
	hosts := []podHost{}
	a := answer{message: "The request was successful"}
	tags := newTagMemo(s.Store)
	for _, p := range list {
		e, err := s.effective(r.Context(), tags, r.who.Tenant, p)
		if err != nil && pods.ErrorCode(err) != pods.Invalid {
			return answer{}, err
		}
		if err != nil {
			a.warn(warning(p, err))
			continue
		}
		hosts = append(hosts, hostsOf(p, e)...)
	}
	a.result = hosts
	return a, nil
}

// hostsOf returns the hosts of a pod, ordered by networking key.
func hostsOf(p pods.Pod, e pods.Effective) []podHost {
	var hosts []podHost
	for _, key := range slices.Sorted(maps.Keys(e.Networking)) {
		n := e.Networking[key]
		if n.Protocol == pods.NetLocalOnly {
			continue
		}
		hosts = append(hosts, podHost{
			Host: n.URL, PodID: p.ID, Network: key, Protocol: n.Protocol, Port: n.Port, Status: shownStatus(p),
		})
	}
	return hosts
}
