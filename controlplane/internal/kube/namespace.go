package kube

import (
	"maps"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// guardName names what bounds a namespace.
const guardName = "podway"

// The Pod Security level of a namespace, and its values.
const (
	labelEnforce    = "pod-security.kubernetes.io/enforce"
	levelRestricted = "restricted"
	levelBaseline   = "baseline"
)

// level returns the Pod Security level of a place. "baseline" is what a container
// that runs as root needs, and no more than that.
func (p place) level() string {
	if p.root {
		return levelBaseline
	}
	return levelRestricted
}

// labels returns the labels of objects that belong to a place.
func (p place) labels(site string) map[string]string {
	if p.tenant == "" {
		return siteLabels(site)
	}
	return tenantLabels(site, p.tenant)
}

func (o Options) namespace(p place) *corev1.Namespace {
	labels := p.labels(o.Site)
	labels[labelEnforce] = p.level()
	return &corev1.Namespace{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"},
		ObjectMeta: metav1.ObjectMeta{Name: p.name, Labels: labels},
	}
}

// guards returns what bounds the pods of a tenant in a place.
func (o Options) guards(p place, tenant string) guards {
	g := guards{policy: o.policy(p, tenant), limits: o.limits(p), quota: o.quota(p)}
	if o.Files.Claim != "" && o.Files.Class != "" {
		g.files = o.filesClaim(p)
	}
	return g
}

// guards are applied to a namespace before the first pod is made there.
type guards struct {
	policy *networkingv1.NetworkPolicy
	limits *corev1.LimitRange
	quota  *corev1.ResourceQuota         // nil: none
	files  *corev1.PersistentVolumeClaim // nil: made by somebody else
}

func (o Options) guardMeta(p place, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Namespace: p.name, Labels: p.labels(o.Site)}
}

// policy lets in the edges and the tenant's own pods, and out to those, to the
// DNS and to public addresses.
func (o Options) policy(p place, tenant string) *networkingv1.NetworkPolicy {
	own := o.ownPods(tenant)
	return &networkingv1.NetworkPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy"},
		ObjectMeta: o.guardMeta(p, guardName+"-"+tenant),
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: *own[0].PodSelector,
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress},
			Ingress:     []networkingv1.NetworkPolicyIngressRule{{From: append(own, o.edges()...)}},
			Egress:      []networkingv1.NetworkPolicyEgressRule{{To: own}, o.dns(), {To: o.outside()}},
		},
	}
}

// ownPods selects a tenant's pods, wherever they live: those with root images
// have a namespace of their own.
func (o Options) ownPods(tenant string) []networkingv1.NetworkPolicyPeer {
	pods := &metav1.LabelSelector{MatchLabels: map[string]string{labelSite: o.Site, labelTenant: tenant}}
	peers := []networkingv1.NetworkPolicyPeer{{PodSelector: pods}}
	if !o.Unmanaged {
		peers = append(peers, networkingv1.NetworkPolicyPeer{
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: siteLabels(o.Site)}, PodSelector: pods,
		})
	}
	return peers
}

func (o Options) edges() []networkingv1.NetworkPolicyPeer {
	var peers []networkingv1.NetworkPolicyPeer
	if n := o.Network; len(n.EdgeNamespace) > 0 || len(n.EdgePods) > 0 {
		peers = append(peers, networkingv1.NetworkPolicyPeer{
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: n.EdgeNamespace},
			PodSelector:       &metav1.LabelSelector{MatchLabels: n.EdgePods},
		})
	}
	return append(peers, blocks(o.Network.EdgeCIDRs)...)
}

// dnsPort of resolvers.
const dnsPort = 53

func (o Options) dns() networkingv1.NetworkPolicyEgressRule {
	rule := networkingv1.NetworkPolicyEgressRule{To: append([]networkingv1.NetworkPolicyPeer{{
		NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: metav1.NamespaceSystem}},
		PodSelector:       &metav1.LabelSelector{MatchLabels: map[string]string{"k8s-app": "kube-dns"}},
	}}, blocks(o.Network.DNSCIDRs)...)}
	for _, protocol := range []corev1.Protocol{corev1.ProtocolUDP, corev1.ProtocolTCP} {
		rule.Ports = append(rule.Ports, networkingv1.NetworkPolicyPort{Protocol: new(protocol), Port: new(intstr.FromInt32(dnsPort))})
	}
	return rule
}

// notPublic are the ranges that are not the public internet: this network and
// host, private and shared ones, link-local with the cloud's metadata, protocol
// assignments, benchmarks, multicast, reserved; and those of IPv6 that lead to any
// of these.
var notPublic = []string{
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
	"192.0.0.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4",
	"::/127", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "fc00::/7", "fe80::/10", "ff00::/8",
}

// outside selects public addresses, and the private ones that the administrator
// allows.
func (o Options) outside() []networkingv1.NetworkPolicyPeer {
	all := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	peers := make([]networkingv1.NetworkPolicyPeer, 0, len(all)+len(o.Network.AllowCIDRs))
	for _, p := range all {
		block := &networkingv1.IPBlock{CIDR: p.String()}
		for _, text := range notPublic {
			if except := netip.MustParsePrefix(text); except.Addr().Is4() == p.Addr().Is4() {
				block.Except = append(block.Except, text)
			}
		}
		for _, except := range o.Network.DenyCIDRs {
			if except.Addr().Is4() == p.Addr().Is4() {
				block.Except = append(block.Except, except.Masked().String())
			}
		}
		peers = append(peers, networkingv1.NetworkPolicyPeer{IPBlock: block})
	}
	return append(peers, blocks(o.Network.AllowCIDRs)...)
}

func blocks(prefixes []netip.Prefix) []networkingv1.NetworkPolicyPeer {
	var peers []networkingv1.NetworkPolicyPeer
	for _, p := range prefixes {
		peers = append(peers, networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{CIDR: p.Masked().String()}})
	}
	return peers
}

// limits gives a container what it does not set, and bounds what it may.
func (o Options) limits(p place) *corev1.LimitRange {
	item := corev1.LimitRangeItem{
		Type:           corev1.LimitTypeContainer,
		Default:        bounds(o.Default.CPULimit, o.Default.MemLimit, o.EphemeralLimit),
		DefaultRequest: bounds(o.Default.CPURequest, o.Default.MemRequest, o.EphemeralRequest),
		Max:            bounds(o.Max.CPULimit, o.Max.MemLimit, o.EphemeralLimit),
	}
	return &corev1.LimitRange{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "LimitRange"},
		ObjectMeta: o.guardMeta(p, guardName),
		Spec:       corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{item}},
	}
}

// bounds takes millicores and MiB; zero sets nothing.
func bounds(cpu, memory, ephemeral int) corev1.ResourceList {
	list := corev1.ResourceList{}
	if cpu > 0 {
		list[corev1.ResourceCPU] = *resource.NewMilliQuantity(int64(cpu), resource.DecimalSI)
	}
	if memory > 0 {
		list[corev1.ResourceMemory] = mebibytes(memory)
	}
	if ephemeral > 0 {
		list[corev1.ResourceEphemeralStorage] = mebibytes(ephemeral)
	}
	return list
}

// quota bounds a namespace as a whole. Nothing of ours needs a load balancer.
func (o Options) quota(p place) *corev1.ResourceQuota {
	if len(o.Quota) == 0 {
		return nil
	}
	hard := corev1.ResourceList{corev1.ResourceServicesLoadBalancers: resource.MustParse("0")}
	if o.AddressMode != NodePort {
		hard[corev1.ResourceServicesNodePorts] = resource.MustParse("0")
	}
	for _, name := range slices.Sorted(maps.Keys(o.Quota)) {
		if q, err := quantity(o.Quota[name]); err == nil { // the options were checked
			hard[corev1.ResourceName(name)] = q
		}
	}
	return &corev1.ResourceQuota{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ResourceQuota"},
		ObjectMeta: o.guardMeta(p, guardName),
		Spec:       corev1.ResourceQuotaSpec{Hard: hard},
	}
}

// filesSize is what the claim for the shared files asks for. What is behind it has
// a size of its own, but a claim can't do without one.
const filesSize = "1Gi"

func (o Options) filesClaim(p place) *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolumeClaim"},
		ObjectMeta: o.guardMeta(p, o.Files.Claim),
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany},
			StorageClassName: &o.Files.Class,
			Resources: corev1.VolumeResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(filesSize)},
			},
		},
	}
}
