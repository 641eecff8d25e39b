package config

import (
	"net/netip"
	"strconv"
	"strings"
)

// Kube is what the control plane is told about Kubernetes, for
// PODWAY_CLUSTER=kubernetes. docs/kubernetes.md explains it. Zero values mean the
// defaults of the cluster's own options.
type Kube struct {
	Kubeconfig    string   // PODWAY_KUBECONFIG; "": as a pod of the cluster
	Namespace     string   // PODWAY_KUBE_NAMESPACE
	Unmanaged     bool     // PODWAY_KUBE_UNMANAGED
	AddressMode   string   // PODWAY_KUBE_ADDRESS_MODE
	NodeAddresses []string // PODWAY_KUBE_NODE_ADDRESSES
	ClusterDomain string   // PODWAY_KUBE_CLUSTER_DOMAIN

	QueuesFile  string               // PODWAY_KUBE_QUEUES_FILE
	RootImages  []string             // PODWAY_KUBE_ROOT_IMAGES
	ImageUsers  map[string]ImageUser // PODWAY_KUBE_IMAGE_USERS, by image
	PullPolicy  string               // PODWAY_KUBE_PULL_POLICY
	PullSecrets []string             // PODWAY_KUBE_PULL_SECRETS

	RuntimeClass     string // PODWAY_KUBE_RUNTIME_CLASS
	GraceSeconds     int    // PODWAY_KUBE_GRACE
	EphemeralRequest int    // PODWAY_KUBE_EPHEMERAL_REQUEST, MiB
	EphemeralLimit   int    // PODWAY_KUBE_EPHEMERAL_LIMIT, MiB

	StorageClass string // PODWAY_KUBE_STORAGE_CLASS
	ClaimSize    string // PODWAY_KUBE_CLAIM_SIZE
	FilesClaim   string // PODWAY_KUBE_FILES_CLAIM
	FilesClass   string // PODWAY_KUBE_FILES_CLASS
	NFSServer    string // PODWAY_KUBE_NFS_SERVER
	NFSPath      string // PODWAY_KUBE_NFS_PATH

	EdgeNamespace map[string]string // PODWAY_KUBE_EDGE_NAMESPACE, labels
	EdgePods      map[string]string // PODWAY_KUBE_EDGE_PODS, labels
	EdgeCIDRs     []netip.Prefix    // PODWAY_KUBE_EDGE_CIDRS
	DNSCIDRs      []netip.Prefix    // PODWAY_KUBE_DNS_CIDRS
	AllowCIDRs    []netip.Prefix    // PODWAY_KUBE_ALLOW_CIDRS
	DenyCIDRs     []netip.Prefix    // PODWAY_KUBE_DENY_CIDRS

	Quota map[string]string // PODWAY_KUBE_QUOTA; empty and not nil for "none"

	LeaseNamespace string // PODWAY_KUBE_LEASE_NAMESPACE
}

// ImageUser is who an image is run as.
type ImageUser struct{ User, Group int64 }

func (r *reader) kube() Kube {
	return Kube{
		Kubeconfig:    r.str("PODWAY_KUBECONFIG", ""),
		Namespace:     r.str("PODWAY_KUBE_NAMESPACE", ""),
		Unmanaged:     r.boolean("PODWAY_KUBE_UNMANAGED"),
		AddressMode:   r.oneOf("PODWAY_KUBE_ADDRESS_MODE", "cluster-ip", "pod-ip", "service-dns", "node-port"),
		NodeAddresses: r.list("PODWAY_KUBE_NODE_ADDRESSES"),
		ClusterDomain: r.str("PODWAY_KUBE_CLUSTER_DOMAIN", ""),

		QueuesFile:  r.str("PODWAY_KUBE_QUEUES_FILE", ""),
		RootImages:  r.list("PODWAY_KUBE_ROOT_IMAGES"),
		ImageUsers:  r.imageUsers("PODWAY_KUBE_IMAGE_USERS"),
		PullPolicy:  r.oneOf("PODWAY_KUBE_PULL_POLICY", "Always", "IfNotPresent", "Never"),
		PullSecrets: r.list("PODWAY_KUBE_PULL_SECRETS"),

		RuntimeClass:     r.str("PODWAY_KUBE_RUNTIME_CLASS", ""),
		GraceSeconds:     r.integer("PODWAY_KUBE_GRACE", 30, 1, 3600),
		EphemeralRequest: r.integer("PODWAY_KUBE_EPHEMERAL_REQUEST", 256, 1, 1<<20),
		EphemeralLimit:   r.integer("PODWAY_KUBE_EPHEMERAL_LIMIT", 10240, 1, 1<<20),

		StorageClass: r.str("PODWAY_KUBE_STORAGE_CLASS", ""),
		ClaimSize:    r.str("PODWAY_KUBE_CLAIM_SIZE", ""),
		FilesClaim:   r.str("PODWAY_KUBE_FILES_CLAIM", ""),
		FilesClass:   r.str("PODWAY_KUBE_FILES_CLASS", ""),
		NFSServer:    r.str("PODWAY_KUBE_NFS_SERVER", ""),
		NFSPath:      r.str("PODWAY_KUBE_NFS_PATH", ""),

		EdgeNamespace: r.pairs("PODWAY_KUBE_EDGE_NAMESPACE"),
		EdgePods:      r.pairs("PODWAY_KUBE_EDGE_PODS"),
		EdgeCIDRs:     r.prefixes("PODWAY_KUBE_EDGE_CIDRS"),
		DNSCIDRs:      r.prefixes("PODWAY_KUBE_DNS_CIDRS"),
		AllowCIDRs:    r.prefixes("PODWAY_KUBE_ALLOW_CIDRS"),
		DenyCIDRs:     r.prefixes("PODWAY_KUBE_DENY_CIDRS"),

		Quota: r.quota("PODWAY_KUBE_QUOTA"),

		LeaseNamespace: r.str("PODWAY_KUBE_LEASE_NAMESPACE", ""),
	}
}

func (r *reader) boolean(name string) bool {
	v := r.str(name, "false")
	b, err := strconv.ParseBool(v)
	if err != nil {
		r.bad(name, "%q is not true or false", v)
	}
	return b
}

// pairs reads a list of key=value; nil if there is none.
func (r *reader) pairs(name string) map[string]string {
	var m map[string]string
	for _, item := range r.list(name) {
		key, value, ok := strings.Cut(item, "=")
		if !ok || key == "" {
			r.bad(name, "%q is not key=value", item)
			continue
		}
		if m == nil {
			m = map[string]string{}
		}
		m[strings.TrimSpace(key)] = strings.TrimSpace(value)
	}
	return m
}

// quota reads resource=quantity, or "none".
func (r *reader) quota(name string) map[string]string {
	if r.str(name, "") == "none" {
		return map[string]string{}
	}
	return r.pairs(name)
}

// prefixes reads networks; a plain address is a network of its own.
func (r *reader) prefixes(name string) []netip.Prefix {
	var out []netip.Prefix
	for _, item := range r.list(name) {
		if addr, err := netip.ParseAddr(item); err == nil {
			out = append(out, netip.PrefixFrom(addr, addr.BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(item)
		if err != nil {
			r.bad(name, "%q is not a network such as 192.0.2.0/24", item)
			continue
		}
		out = append(out, p)
	}
	return out
}

// imageUsers reads image=uid or image=uid:gid.
func (r *reader) imageUsers(name string) map[string]ImageUser {
	var m map[string]ImageUser
	for image, text := range r.pairs(name) {
		user, group, both := strings.Cut(text, ":")
		u, err := strconv.ParseInt(user, 10, 32)
		g, gerr := u, err
		if both {
			g, gerr = strconv.ParseInt(group, 10, 32)
		}
		if err != nil || gerr != nil || u < 1 || g < 1 {
			r.bad(name, "%q is not image=uid or image=uid:gid with numbers above 0", image+"="+text)
			continue
		}
		if m == nil {
			m = map[string]ImageUser{}
		}
		m[image] = ImageUser{User: u, Group: g}
	}
	return m
}
