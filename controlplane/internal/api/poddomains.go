package api

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/routes"
)

// domainCheckPause is the least time between two checks of a domain that somebody
// asks for.
const domainCheckPause = 10 * time.Second

// podDomain is a custom domain as the API shows it.
type podDomain struct {
	Domain      string           `json:"custom_domain"`
	Net         string           `json:"network"`
	State       pods.DomainState `json:"state"`
	RecordName  string           `json:"record_name"`  // of the TXT record
	RecordValue string           `json:"record_value"` // of the TXT record
	Target      string           `json:"target"`       // what the domain has to be a CNAME of
	LastChecked pods.Timestamp   `json:"last_checked"`
	NextCheck   pods.Timestamp   `json:"next_check"`
	Reason      string           `json:"reason"`
	CertState   pods.CertState   `json:"cert_state"`
	CertReason  string           `json:"cert_reason"`
}

func newPodDomain(tenantDomain string, c pods.DomainClaim, cert pods.Certificate) podDomain {
	return podDomain{
		Domain: c.Domain, Net: c.Net, State: c.State, RecordName: c.RecordName(), RecordValue: c.Token,
		Target:      routes.PodHost(tenantDomain, string(c.Pod.ID), c.Net),
		LastChecked: pods.AtPtr(c.LastChecked), NextCheck: pods.AtPtr(c.NextCheck), Reason: c.Reason,
		CertState: cert.State, CertReason: cert.Reason,
	}
}

// getPodDomains answers with the custom domains of a pod, by name.
func (s *server) getPodDomains(r *request) (answer, error) {
	return s.domainsAnswer(r, "Custom domains retrieved successfully.")
}

func (s *server) domainsAnswer(r *request, message string) (answer, error) {
	claims, err := s.Store.Domains(r.Context(), pods.DomainQuery{Tenant: r.pod.Tenant, Pod: r.pod.ID})
	if err != nil {
		return answer{}, err
	}
	result := make([]podDomain, 0, len(claims))
	for _, c := range claims {
		result = append(result, newPodDomain(r.who.Tenant.Domain(), c, s.domainCertificate(c)))
	}
	return answer{message: message, result: result}, nil
}

// domainCertificate is the certificate of a custom domain. One that is not
// verified has none: what the edges still know of it is about an earlier owner.
func (s *server) domainCertificate(c pods.DomainClaim) pods.Certificate {
	if c.State != pods.DomainVerified {
		return pods.Certificate{}
	}
	return s.Certificate(c.Domain)
}

// checkPodDomains has the custom domains of a pod checked soon.
func (s *server) checkPodDomains(r *request) (answer, error) {
	if len(r.pod.Definition.Domains()) == 0 {
		return answer{}, pods.Errorf(pods.Invalid, "The pod has no custom domain. Set networking.<key>.custom_domain first.")
	}
	now := s.Now().UTC()
	n, err := s.Store.AskDomainChecks(r.Context(), r.pod.Key, now, now.Add(-domainCheckPause))
	if err != nil {
		return answer{}, err
	}
	if n == 0 {
		return answer{}, &httpError{
			status:  http.StatusTooManyRequests,
			message: "The custom domains were checked a moment ago. Please try again in some seconds.",
			header:  retryAfter(strconv.Itoa(int(domainCheckPause.Seconds()))),
		}
	}
	return s.domainsAnswer(r, "Custom domains will be checked now.")
}

// showVerified notes in an answer with pods which of their custom domains are
// verified. It asks the store only if there are any. What was done stays done if
// that fails, so the answer says so in a warning.
func (s *server) showVerified(r *request, a *answer) {
	views := podViews(a)
	views = slices.DeleteFunc(slices.Clone(views), func(v pods.View) bool { return !hasDomain(v) })
	if len(views) == 0 {
		return
	}
	q := pods.DomainQuery{Tenant: r.who.Tenant.ID, State: pods.DomainVerified}
	if len(views) == 1 {
		q.Pod = views[0].PodID
	}
	claims, err := s.Store.Domains(r.Context(), q)
	if err != nil {
		traceOf(r.Request).failed(err)
		a.warn("Which custom domains are verified is not known at the moment.")
		return
	}
	markVerified(views, claims)
}

// podViews returns the pods in an answer.
func podViews(a *answer) []pods.View {
	switch result := a.result.(type) {
	case pods.View:
		return []pods.View{result}
	case []pods.View:
		return result
	default:
		return nil
	}
}

// showCertificates notes in an answer with pods what is known of their
// certificates.
func (s *server) showCertificates(a *answer) {
	for _, v := range podViews(a) {
		for key, n := range v.Networking {
			if n.Protocol != pods.NetLocalOnly {
				v.Networking[key] = n.WithCertificate(s.Certificate(n.URL))
			}
		}
	}
}

// markVerified sets CustomDomainVerified in views of pods of one tenant.
func markVerified(views []pods.View, verified []pods.DomainClaim) {
	type place struct {
		pod         pods.ID
		net, domain string
	}
	places := map[place]bool{}
	for _, c := range verified {
		places[place{c.Pod.ID, c.Net, c.Domain}] = true
	}
	for _, v := range views {
		for key, n := range v.Networking {
			n.CustomDomainVerified = places[place{v.PodID, key, n.CustomDomain}]
			v.Networking[key] = n
		}
	}
}

func hasDomain(v pods.View) bool {
	for _, n := range v.Networking {
		if n.CustomDomain != "" {
			return true
		}
	}
	return false
}
