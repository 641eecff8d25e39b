package kube

import (
	"net"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// addresses returns what to dial by networking key, nil if nothing can be dialled
// yet. A service is counted on only when the cluster has found the pod behind it:
// before that it refuses connections.
func (v observer) addresses(p *corev1.Pod, s *corev1.Service) map[string][]string {
	found := v.endpoints(p, s)
	if len(found) == 0 {
		return nil
	}
	all := map[string][]string{}
	for key, number := range portsOf(p) {
		if list := v.dial(p, s, found, number); len(list) > 0 {
			all[key] = list
		}
	}
	return all
}

// dial returns the addresses of one port.
func (v observer) dial(p *corev1.Pod, s *corev1.Service, endpoints []string, number int) []string {
	port := strconv.Itoa(number)
	switch v.AddressMode {
	case PodIP:
		return join(endpoints, port)
	case ServiceDNS:
		return []string{net.JoinHostPort(s.Name+"."+s.Namespace+".svc."+v.ClusterDomain, port)}
	case NodePort:
		for _, sp := range s.Spec.Ports {
			if int(sp.Port) == number && sp.NodePort > 0 {
				return join(v.nodes(p), strconv.Itoa(int(sp.NodePort)))
			}
		}
		return nil
	default:
		return join(s.Spec.ClusterIPs, port)
	}
}

// nodes returns the addresses of nodes to dial.
func (v observer) nodes(p *corev1.Pod) []string {
	switch {
	case len(v.NodeAddresses) > 0:
		return v.NodeAddresses
	case p.Status.HostIP != "":
		return []string{p.Status.HostIP}
	default:
		return nil
	}
}

// join returns hosts with a port. A headless service has the address "None".
func join(hosts []string, port string) []string {
	var list []string
	for _, h := range hosts {
		if h != corev1.ClusterIPNone && h != "" {
			list = append(list, net.JoinHostPort(h, port))
		}
	}
	return list
}

// endpoints returns the addresses of the pod that its service has found ready.
func (v observer) endpoints(p *corev1.Pod, s *corev1.Service) []string {
	var list []string
	for _, slice := range v.view.slices {
		if slice.Namespace != s.Namespace || slice.Labels[discoveryv1.LabelServiceName] != s.Name {
			continue
		}
		for _, e := range slice.Endpoints {
			if readyEndpoint(e) && (e.TargetRef == nil || e.TargetRef.UID == p.UID) {
				list = append(list, e.Addresses...)
			}
		}
	}
	return list
}

// readyEndpoint reports whether an endpoint takes new connections. What is not
// said counts as yes.
func readyEndpoint(e discoveryv1.Endpoint) bool {
	return e.Conditions.Ready == nil || *e.Conditions.Ready
}
