package pods

import "github.com/tapis-project/podway/routes"

// OlderForms are fields of earlier versions of the API that need a look at
// templates before they mean something. The zero value asks for nothing.
type OlderForms struct {
	// PodTemplate is a template reference or, without a template of that name, an
	// image.
	PodTemplate string

	// PersistentVolume asks for storage that outlives a stop of the pod.
	PersistentVolume bool
}

// persistentMount is the storage of a pod that asks for a persistent volume.
const persistentMount = "persistent"

// AddPersistentVolume returns d with a mount of the pod's own storage at
// /tapis_volume_mount, unless d or its templates have one already. d is not
// changed.
func AddPersistentVolume(d Definition, chain ...Definition) Definition {
	for _, m := range merge(d, chain).VolumeMounts.Or(nil) {
		if m.Type == "pvc" {
			return d
		}
	}
	d.VolumeMounts = overMap(d.VolumeMounts, Set(map[string]VolumeMount{
		persistentMount: {Type: "pvc", MountPath: defaultMountPath},
	}), replace)
	return d
}

// takeOlderForms takes the fields of earlier versions of the API.
func takeOlderForms(o *object, d *Definition) OlderForms {
	var (
		name       Opt[string]
		persistent Opt[bool]
	)
	if o.given("pod_template") && o.given("template") {
		o.problems.add(o.where.in("pod_template"), "can't be combined with template, its newer name; leave it out")
	}
	if o.given("pod_template") && o.given("image") {
		o.problems.add(o.where.in("pod_template"), "can't be combined with image; use template")
	}
	take(o, "pod_template", &name, readString)
	if o.given("persistent_volume") && o.given("volume_mounts") {
		o.problems.add(o.where.in("persistent_volume"), "can't be combined with volume_mounts; use a mount of type 'pvc'")
	}
	take(o, "persistent_volume", &persistent, readBool)
	takeRoutingPort(o, d)
	return OlderForms{PodTemplate: name.Or(""), PersistentVolume: persistent.Or(false)}
}

func takeRoutingPort(o *object, d *Definition) {
	if o.given("routing_port") && o.given("networking") {
		o.problems.add(o.where.in("routing_port"), "can't be combined with networking; use networking.default.port")
	}
	var port Opt[int]
	take(o, "routing_port", &port, readInt)
	if port.IsSet() {
		d.Networking = Set(map[string]NetDef{routes.DefaultNet: {Port: port}})
	}
}
