package kube

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// maxSecretBytes is what a Secret may hold.
const maxSecretBytes = 1 << 20

// variablePattern is what can name both a variable and a key of a Secret.
var variablePattern = regexp.MustCompile(`^[-._a-zA-Z][-._a-zA-Z0-9]{0,252}$`)

// admit checks a workload against what the API server would refuse, or never
// run, without asking it. Invalid with one message per problem.
func (o Options) admit(w pods.Workload) error {
	a := admission{Options: o, w: w}
	a.names()
	a.environment()
	a.gpus()
	for _, key := range slices.Sorted(maps.Keys(w.VolumeMounts)) {
		a.mount(key, w.VolumeMounts[key])
	}
	if len(a.problems) > 0 {
		return &pods.Error{Code: pods.Invalid, Messages: a.problems}
	}
	return nil
}

// admission collects what is wrong with a workload.
type admission struct {
	Options

	w        pods.Workload
	problems []string
}

func (a *admission) refuse(format string, args ...any) {
	a.problems = append(a.problems, fmt.Sprintf(format, args...))
}

func (a *admission) names() {
	name, place := pods.ObjectName(a.Site, a.w.Key), a.placeOf(a.w)
	if len(validation.IsDNS1035Label(name)) > 0 {
		a.refuse("pod_id: the cluster can't have objects of the name '%s': at most 63 lowercase letters, digits and '-'", name)
	}
	for label, value := range podLabels(a.Site, a.w.Key, a.w.UID) {
		if label != labelApp && len(validation.IsValidLabelValue(value)) > 0 {
			a.refuse("pod_id: %s '%s' can't be a label in the cluster", label, value)
		}
	}
	if len(validation.IsDNS1123Label(place.name)) > 0 {
		a.refuse("tenant: the cluster can't have a namespace of the name '%s'", place.name)
	}
}

func (a *admission) environment() {
	size := 0
	for _, name := range slices.Sorted(maps.Keys(a.w.Env)) {
		size += len(name) + len(a.w.Env[name])
		if !variablePattern.MatchString(name) || strings.HasPrefix(name, "..") || name == "." {
			a.refuse("environment_variables.%.64s: the cluster can't have a variable of this name", name)
		}
	}
	for key, m := range a.w.VolumeMounts {
		size += len(configKey(key)) + len(m.ConfigContent)
	}
	if size > maxSecretBytes {
		a.refuse("environment_variables: %d bytes with the configuration files, at most %d are possible", size, maxSecretBytes)
	}
	user := a.w.Env[pullSecretVariable]
	if user != "" && len(validation.IsDNS1123Subdomain(pullSecretName(user))) > 0 {
		a.refuse("environment_variables.%s: there can't be a pull secret for '%.64s'", pullSecretVariable, user)
	}
}

func (a *admission) gpus() {
	most := 0
	for _, gpu := range a.queue(a.w).GPUs {
		most += gpu.Max
	}
	switch wanted := a.w.Resources.GPUs; {
	case wanted > 0 && most == 0:
		a.refuse("resources.gpus: compute_queue '%s' has no GPUs. Use 0, or another queue", a.w.ComputeQueue)
	case wanted > most:
		a.refuse("resources.gpus: compute_queue '%s' gives a pod at most %d. Got %d", a.w.ComputeQueue, most, wanted)
	}
}

func (a *admission) mount(key string, m pods.VolumeMount) {
	switch m.Type {
	case typePVC:
		name := builder{name: pods.ObjectName(a.Site, a.w.Key)}.claimName(m.Source(key))
		if len(validation.IsDNS1123Subdomain(name)) > 0 {
			a.refuse("volume_mounts.%.64s: the cluster can't have a claim of the name '%s'", key, name)
		}
	case pods.MountEphemeral:
	case typeVolume, typeSnapshot:
		if !a.Files.set() {
			a.refuse("volume_mounts.%.64s.type: this installation has no volumes and snapshots. Use 'pvc'", key)
		}
	default:
		a.refuse("volume_mounts.%.64s.type: the cluster has no volumes of type '%s'", key, m.Type)
	}
}
