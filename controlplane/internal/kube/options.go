package kube

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/rest"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// Options of a [Cluster]. REST and Site are required; a zero field else means
// its default.
type Options struct {
	// REST says where the API server is and who we are; see [LoadConfig].
	REST *rest.Config

	// Site is the Tapis site. Objects carry it as a label, and those that carry
	// another one are never touched.
	Site string

	// Namespace is where the pods of a tenant live. "{tenant}" and "{site}" are
	// replaced; without "{tenant}" all tenants share one namespace, and rights in
	// that one are enough. Default: "podway-{tenant}".
	Namespace string

	// Unmanaged leaves namespaces, with their policies and quotas, to the
	// administrator: they must be there before the first pod of a tenant is.
	Unmanaged bool

	// AddressMode is what edges dial. Default: [ClusterIP].
	AddressMode AddressMode

	// NodeAddresses are dialled with [NodePort]. Default: the address of the node
	// that a pod runs on.
	NodeAddresses []string

	// ClusterDomain ends the names of services, with [ServiceDNS].
	// Default: "cluster.local".
	ClusterDomain string

	// Queues by name. Without an entry "default" that queue has no constraints.
	Queues map[string]Queue

	// Images are exceptions for images, by the name [pods.CanonicalImage] gives.
	Images map[string]ImageRule

	// PullPolicy of images. Default: Always.
	PullPolicy corev1.PullPolicy

	// PullSecrets are the names of secrets, in the namespaces of pods, that may be
	// used for every image.
	PullSecrets []string

	// RuntimeClass of every pod, for example "gvisor". Default: the cluster's own.
	RuntimeClass string

	// Grace is how long a program may take to stop before it is killed.
	// Default: 30s.
	Grace time.Duration

	// ForceAfter is how long after its grace a pod may refuse to go, as on a
	// machine that was lost, before it is removed without waiting for that
	// machine's word. Default: 5m. Negative: never.
	ForceAfter time.Duration

	// FSGroup owns the files of a pod's claims, unless an [ImageRule] says
	// otherwise. Default: 1000.
	FSGroup int64

	// EphemeralRequest and EphemeralLimit are what pods may write outside of
	// volumes, in MiB. Default: 256 and 10240.
	EphemeralRequest, EphemeralLimit int

	// StorageClass and ClaimSize of the claims that pods mount.
	// Default: the cluster's own class, "70Gi".
	StorageClass, ClaimSize string

	// Files is where volumes and snapshots are. The zero value: nowhere, and pods
	// that mount any are refused.
	Files Files

	// Network is what the policy of a namespace lets through.
	Network Network

	// Quota bounds what a namespace may hold, as the hard limits of a
	// ResourceQuota: "pods" or "limits.memory" to a quantity. Default:
	// [DefaultQuota]. Empty and not nil: no quota.
	Quota map[string]string

	// Default and Max are the resources of a container that sets none, and the
	// most it may set. The zero value: no bounds.
	Default, Max pods.Resources

	// NoStartupProbe leaves out the probe that keeps a pod without healthchecks of
	// its own from being ready before it accepts connections.
	NoStartupProbe bool

	// QPS and Burst bound the requests to the API server. Default: 100 and 200.
	QPS   float32
	Burst int

	// Timeout bounds one request. Default: 15s.
	Timeout time.Duration

	Now    func() time.Time // Default: time.Now.
	Logger *slog.Logger     // Default: slog.Default().
}

// AddressMode is what edges dial to reach a pod.
type AddressMode string

// The address modes.
const (
	// ClusterIP dials the pod's service: for edges on the cluster's network.
	ClusterIP AddressMode = "cluster-ip"
	// PodIP dials the pod itself: for edges on the pods' network.
	PodIP AddressMode = "pod-ip"
	// ServiceDNS dials the name of the service: for edges that resolve the
	// cluster's names.
	ServiceDNS AddressMode = "service-dns"
	// NodePort dials a port of a node: for edges outside of the cluster's network.
	NodePort AddressMode = "node-port"
)

// AddressModes lists the address modes.
func AddressModes() []AddressMode { return []AddressMode{ClusterIP, PodIP, ServiceDNS, NodePort} }

// Queue is a part of the cluster that pods may ask for.
type Queue struct {
	NodeSelector map[string]string
	Tolerations  []corev1.Toleration
	GPUs         []GPU

	// Namespace replaces that of the options, with the same placeholders. "": it
	// does not.
	Namespace string
}

// GPU is a kind of graphics processor that the nodes of a queue have.
type GPU struct {
	Resource string // for example "nvidia.com/gpu"
	Max      int    // that one pod may have
}

// ImageRule is what the administrator allows or sets for one image.
type ImageRule struct {
	// Root lets the image start as root, with the rights a container usually has
	// on its own files, and nothing more: it can't gain privileges. Its pods live
	// in a namespace of their own, "<namespace>-root".
	Root bool

	// User and Group run the image as these, whatever it asks for. 0: as the image
	// asks. Group also owns the files of the pod's claims.
	User, Group int64
}

// Files is where volumes and snapshots are. At most one of Claim and NFSServer is
// set.
type Files struct {
	// Claim is the name of a claim with the access mode ReadWriteMany, in each
	// namespace that pods live in. If Class is set the claim is made where it is
	// missing; every claim of that class has to lead to the same files.
	Claim, Class string

	// NFSServer and NFSPath are an export that is mounted by the NFS driver
	// "nfs.csi.k8s.io", whose inline volumes a restricted namespace allows.
	NFSServer, NFSPath string
}

// set reports whether there are files at all.
func (f Files) set() bool { return f.Claim != "" || f.NFSServer != "" }

// Network is what the policy of a namespace lets through, beside connections
// between pods of the same tenant, to the cluster's DNS, and to public addresses.
type Network struct {
	// EdgeNamespace and EdgePods select the edges that run in the cluster by
	// labels. Both empty: none does.
	EdgeNamespace, EdgePods map[string]string

	// EdgeCIDRs are where edges outside of the cluster connect from.
	EdgeCIDRs []netip.Prefix

	// DNSCIDRs are resolvers beside the cluster's own, for example a node's cache.
	DNSCIDRs []netip.Prefix

	// AllowCIDRs are private ranges that pods may reach, DenyCIDRs public ones that
	// they may not, such as the API server's.
	AllowCIDRs, DenyCIDRs []netip.Prefix
}

// DefaultQuota is the quota of a namespace if the options set none.
func DefaultQuota() map[string]string {
	return map[string]string{"pods": "200", "services": "200", "persistentvolumeclaims": "200"}
}

func (o Options) withDefaults() (Options, error) {
	o.Namespace = cmp.Or(o.Namespace, "podway-{tenant}")
	o.AddressMode = cmp.Or(o.AddressMode, ClusterIP)
	o.ClusterDomain = cmp.Or(strings.Trim(o.ClusterDomain, "."), "cluster.local")
	o.PullPolicy = cmp.Or(o.PullPolicy, corev1.PullAlways)
	o.Grace = cmp.Or(o.Grace, 30*time.Second)
	o.ForceAfter = cmp.Or(o.ForceAfter, 5*time.Minute)
	o.FSGroup = cmp.Or(o.FSGroup, 1000)
	o.EphemeralRequest = cmp.Or(o.EphemeralRequest, 256)
	o.EphemeralLimit = cmp.Or(o.EphemeralLimit, 10240)
	o.ClaimSize = cmp.Or(o.ClaimSize, "70Gi")
	o.QPS = cmp.Or(o.QPS, 100)
	o.Burst = cmp.Or(o.Burst, 200)
	o.Timeout = cmp.Or(o.Timeout, 15*time.Second)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	if o.Quota == nil {
		o.Quota = DefaultQuota()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if err := o.check(); err != nil {
		return o, fmt.Errorf("opening the Kubernetes cluster: %w", err)
	}
	return o, nil
}

// check reports everything that is wrong with the options.
func (o Options) check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if o.REST == nil {
		bad("no API server is given")
	}
	if o.Site == "" || len(validation.IsValidLabelValue(o.Site)) > 0 {
		bad("the site %q can't be a label", o.Site)
	}
	if !slices.Contains(AddressModes(), o.AddressMode) {
		bad("the address mode %q is not one of %v", o.AddressMode, AddressModes())
	}
	if o.Files.Claim != "" && o.Files.NFSServer != "" {
		bad("files can be in a claim or on an NFS server, not both")
	}
	if _, err := quantity(o.ClaimSize); err != nil {
		bad("the size of claims: %w", err)
	}
	if o.EphemeralRequest > o.EphemeralLimit {
		bad("the request of ephemeral storage, %d MiB, is above its limit, %d MiB", o.EphemeralRequest, o.EphemeralLimit)
	}
	for _, name := range slices.Sorted(maps.Keys(o.Quota)) {
		if _, err := quantity(o.Quota[name]); err != nil {
			bad("the quota of %s: %w", name, err)
		}
	}
	for _, pattern := range o.patterns() {
		if name := expand(pattern, o.Site, "tenant"); len(validation.IsDNS1123Label(name)) > 0 {
			bad("the namespace %q would be %q, which is no name for one", pattern, name)
		}
	}
	return errors.Join(errs...)
}

// patterns lists the patterns of namespaces that pods may live in.
func (o Options) patterns() []string {
	list := []string{o.Namespace}
	for _, name := range slices.Sorted(maps.Keys(o.Queues)) {
		if p := o.Queues[name].Namespace; p != "" {
			list = append(list, p)
		}
	}
	for _, rule := range o.Images {
		if rule.Root {
			for _, p := range slices.Clone(list) {
				list = append(list, p+rootSuffix)
			}
			break
		}
	}
	return list
}

// scope returns the namespace to watch: the only one there can be, or all.
func (o Options) scope() string {
	patterns := slices.Compact(slices.Sorted(slices.Values(o.patterns())))
	if len(patterns) == 1 && !strings.Contains(patterns[0], tenantPlaceholder) {
		return expand(patterns[0], o.Site, "")
	}
	return corev1.NamespaceAll
}

// queue returns the queue of a workload.
func (o Options) queue(w pods.Workload) Queue {
	if q, ok := o.Queues[w.ComputeQueue]; ok {
		return q
	}
	return o.Queues["default"]
}

// rule returns what is special about the image of a workload.
func (o Options) rule(w pods.Workload) ImageRule {
	name, err := pods.CanonicalImage(w.Image)
	if err != nil {
		return ImageRule{}
	}
	return o.Images[name]
}
