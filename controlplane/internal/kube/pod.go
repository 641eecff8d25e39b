package kube

import (
	"cmp"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/routes"
)

func (b builder) pod(ports string) *corev1.Pod {
	meta := b.meta(b.name)
	meta.Annotations = map[string]string{annotationPorts: ports}
	if b.readyWhenRunning() {
		meta.Annotations[annotationReadyWhen] = readyWhenRunning
	}
	queue := b.queue(b.w)
	volumes, mounts := b.volumes()
	p := &corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: meta,
		Spec: corev1.PodSpec{
			Containers:                    []corev1.Container{b.container(queue, mounts)},
			Volumes:                       volumes,
			RestartPolicy:                 corev1.RestartPolicyNever,
			AutomountServiceAccountToken:  new(false),
			EnableServiceLinks:            new(false),
			SecurityContext:               b.podSecurity(),
			ImagePullSecrets:              b.pullSecrets(),
			NodeSelector:                  queue.NodeSelector,
			Tolerations:                   queue.Tolerations,
			TerminationGracePeriodSeconds: new(int64(b.Grace.Seconds())),
		},
	}
	if b.RuntimeClass != "" {
		p.Spec.RuntimeClassName = &b.RuntimeClass
	}
	return p
}

func (b builder) container(queue Queue, mounts []corev1.VolumeMount) corev1.Container {
	c := corev1.Container{
		Name:            b.name,
		Image:           b.w.Image,
		ImagePullPolicy: b.PullPolicy,
		Command:         b.environment.line(b.w.Command),
		Args:            b.environment.line(b.w.Arguments),
		Env:             b.environment.variables(b.secretName()),
		Resources:       b.resources(queue),
		VolumeMounts:    mounts,
		SecurityContext: b.containerSecurity(),
	}
	for i, n := range b.ports {
		c.Ports = append(c.Ports, corev1.ContainerPort{Name: portName(i), ContainerPort: int32(n), Protocol: corev1.ProtocolTCP})
	}
	b.probes(&c)
	return c
}

// unprivilegedPorts is the first port that needs no right to listen on.
const unprivilegedPorts = 1024

// podSecurity is what a restricted namespace asks for, except in one for images
// that run as root.
func (b builder) podSecurity() *corev1.PodSecurityContext {
	rule := b.rule(b.w)
	s := &corev1.PodSecurityContext{SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}}
	if !rule.Root {
		s.RunAsNonRoot = new(true)
	}
	if rule.User > 0 {
		s.RunAsUser = &rule.User
	}
	if rule.Group > 0 {
		s.RunAsGroup = &rule.Group
	}
	if slices.ContainsFunc(slices.Collect(maps.Values(b.w.VolumeMounts)), isOwned) {
		s.FSGroup = new(cmp.Or(rule.Group, b.FSGroup))
		s.FSGroupChangePolicy = new(corev1.FSGroupChangeOnRootMismatch)
	}
	if len(b.ports) > 0 && b.ports[0] < unprivilegedPorts {
		s.Sysctls = []corev1.Sysctl{{Name: "net.ipv4.ip_unprivileged_port_start", Value: "0"}}
	}
	return s
}

// isOwned reports whether a mount is of this pod alone.
func isOwned(m pods.VolumeMount) bool { return m.Type == typePVC || m.Type == pods.MountEphemeral }

// rootCapabilities let a container that starts as root take over its own files
// and become another user, as the entry points of many images do. None of them
// reaches beyond the container.
var rootCapabilities = []corev1.Capability{"CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID"}

func (b builder) containerSecurity() *corev1.SecurityContext {
	s := &corev1.SecurityContext{
		AllowPrivilegeEscalation: new(false),
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
	if b.rule(b.w).Root {
		s.Capabilities.Add = rootCapabilities
	}
	return s
}

// pullSecretVariable names the user whose pull secret a pod uses. Who may set it
// is checked when a pod is created.
const pullSecretVariable = "TAPIS_PODS_IMAGEPULLSECRET" //nolint:gosec // the name of a variable

// pullSecretName returns the name of a user's pull secret.
func pullSecretName(user string) string {
	return "tapis-pods-imagepullsecret-" + strings.NewReplacer("@", "at", ".", "dot").Replace(user)
}

func (b builder) pullSecrets() []corev1.LocalObjectReference {
	var list []corev1.LocalObjectReference
	for _, name := range b.PullSecrets {
		list = append(list, corev1.LocalObjectReference{Name: name})
	}
	if user := b.w.Env[pullSecretVariable]; user != "" {
		list = append(list, corev1.LocalObjectReference{Name: pullSecretName(user)})
	}
	return list
}

func (b builder) resources(queue Queue) corev1.ResourceRequirements {
	r := b.w.Resources
	return corev1.ResourceRequirements{
		Requests: b.resourceList(r.CPURequest, r.MemRequest, b.EphemeralRequest, queue),
		Limits:   b.resourceList(r.CPULimit, r.MemLimit, b.EphemeralLimit, queue),
	}
}

// resourceList takes millicores and MiB. What is not set is left to the
// namespace's LimitRange.
func (b builder) resourceList(cpu, memory, ephemeral int, queue Queue) corev1.ResourceList {
	list := corev1.ResourceList{corev1.ResourceEphemeralStorage: mebibytes(ephemeral)}
	if cpu > 0 {
		list[corev1.ResourceCPU] = *resource.NewMilliQuantity(int64(cpu), resource.DecimalSI)
	}
	if memory > 0 {
		list[corev1.ResourceMemory] = mebibytes(memory)
	}
	left := b.w.Resources.GPUs
	for _, gpu := range queue.GPUs {
		if n := min(left, gpu.Max); n > 0 {
			list[corev1.ResourceName(gpu.Resource)] = *resource.NewQuantity(int64(n), resource.DecimalSI)
			left -= n
		}
	}
	return list
}

func mebibytes(n int) resource.Quantity {
	return *resource.NewQuantity(int64(n)<<20, resource.BinarySI)
}

// filesDriver mounts an NFS export as an inline volume.
const filesDriver = "nfs.csi.k8s.io"

// filesVolume names the volume that holds volumes and snapshots.
const filesVolume = "files"

// volumes returns what the container mounts. Volumes and snapshots lie in one
// place, of which each pod sees its own folders.
func (b builder) volumes() ([]corev1.Volume, []corev1.VolumeMount) {
	var volumes []corev1.Volume
	var mounts []corev1.VolumeMount
	files := false
	for i, key := range slices.Sorted(maps.Keys(b.w.VolumeMounts)) {
		m := b.w.VolumeMounts[key]
		mount := corev1.VolumeMount{Name: filesVolume, MountPath: m.MountPath, SubPath: b.subPath(m.Source(key), m), ReadOnly: m.ReadOnly}
		switch m.Type {
		case typePVC:
			mount.Name = "claim-" + strconv.Itoa(i)
			volumes = append(volumes, corev1.Volume{Name: mount.Name, VolumeSource: claimSource(b.claimName(m.Source(key)))})
		case pods.MountEphemeral:
			mount = ephemeralMount("ephemeral-"+strconv.Itoa(i), m)
			volumes = append(volumes, corev1.Volume{Name: mount.Name, VolumeSource: b.ephemeralSource(key, m)})
		case typeSnapshot:
			mount.ReadOnly = true
			files = true
		default:
			files = true
		}
		mounts = append(mounts, mount)
	}
	if files {
		volumes = append(volumes, corev1.Volume{Name: filesVolume, VolumeSource: b.filesSource()})
	}
	return volumes, mounts
}

// The volume types that lie in the shared files.
const (
	typeVolume   = "tapisvolume"
	typeSnapshot = "tapissnapshot"
)

// subPath returns the folder of a mount below the root of its volume. A claim has
// it too, so that a file system's own entries at the root are out of the way.
func (b builder) subPath(source string, m pods.VolumeMount) string {
	kind := "volumes"
	if m.Type == typeSnapshot {
		kind = "snapshots"
	}
	return path.Join(b.w.Tenant, kind, source, path.Clean("/"+m.SubPath))
}

func claimSource(name string) corev1.VolumeSource {
	return corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name}}
}

func (b builder) filesSource() corev1.VolumeSource {
	if b.Files.Claim != "" {
		return claimSource(b.Files.Claim)
	}
	return corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{
		Driver:           filesDriver,
		VolumeAttributes: map[string]string{"server": b.Files.NFSServer, "share": cmp.Or(b.Files.NFSPath, "/")},
	}}
}

// readyWhenRunning reports whether the pod gets traffic before it is ready.
func (b builder) readyWhenRunning() bool {
	return b.w.Healthchecks != nil && !b.w.Healthchecks.NetworkingRequiresReady
}

func (b builder) probes(c *corev1.Container) {
	checks := cmp.Or(b.w.Healthchecks, &pods.Healthchecks{})
	c.LivenessProbe, c.ReadinessProbe, c.StartupProbe = probe(checks.Liveness), probe(checks.Readiness), probe(checks.Startup)
	if c.ReadinessProbe == nil && c.StartupProbe == nil && !b.NoStartupProbe && !b.readyWhenRunning() {
		c.StartupProbe = b.acceptsProbe()
	}
}

func probe(p *pods.Probe) *corev1.Probe {
	if p == nil {
		return nil
	}
	out := &corev1.Probe{
		InitialDelaySeconds: int32(p.InitialDelaySeconds), PeriodSeconds: int32(p.PeriodSeconds),
		TimeoutSeconds: int32(p.TimeoutSeconds), FailureThreshold: int32(p.FailureThreshold), SuccessThreshold: int32(p.SuccessThreshold),
	}
	switch {
	case p.HTTPGetPath != "":
		out.HTTPGet = &corev1.HTTPGetAction{
			Path: p.HTTPGetPath, Port: intstr.FromInt32(int32(p.HTTPGetPort)), Scheme: corev1.URIScheme(p.HTTPGetScheme),
		}
	case len(p.ExecCommand) > 0:
		out.Exec = &corev1.ExecAction{Command: slices.Clone(p.ExecCommand)}
	default:
		out.TCPSocket = &corev1.TCPSocketAction{Port: intstr.FromInt32(int32(p.TCPSocketPort))}
	}
	return out
}

// patience is as many failures as a probe can be told to bear: at one a second,
// more than ten years.
const patience = 1 << 29

// acceptsProbe keeps a pod from being ready until the first port that edges dial
// accepts connections; from then on nothing dials it for no reason. It never
// fails the pod: some listen late, some not at all.
func (b builder) acceptsProbe() *corev1.Probe {
	port := 0
	for _, key := range slices.Sorted(maps.Keys(b.w.Ports)) {
		p := b.w.Ports[key]
		if p.Protocol != pods.NetLocalOnly && (port == 0 || key == routes.DefaultNet) {
			port = p.Number
		}
	}
	if port == 0 {
		return nil
	}
	return &corev1.Probe{
		ProbeHandler:  corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(int32(port))}},
		PeriodSeconds: 1, TimeoutSeconds: 1, FailureThreshold: patience, SuccessThreshold: 1,
	}
}
