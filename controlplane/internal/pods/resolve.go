package pods

import (
	"maps"
	"slices"
	"strings"

	"github.com/tapis-project/podway/routes"
)

// Defaults of a pod and its parts that are not an operator's choice.
const (
	defaultTimeToStop = 43200 // seconds: 12 hours
	defaultQueue      = "default"
	defaultMountPath  = "/tapis_volume_mount"
)

// Variables by which a pod refuses what its templates give: any value but
// "true" does so.
const (
	useTemplateEnvs    = "_TAPIS_INTERNAL_USE_TEMPLATE_ENVS"
	useTemplateVolumes = "_TAPIS_INTERNAL_USE_TEMPLATE_VOLUMES"
)

// Resolve computes the effective pod: defaults, then the template chain, then
// the pod's own definition. The chain lists templates in the order in which
// references lead to them: first the one that the pod names, last the deepest,
// which is applied first.
//
//   - A field that is set replaces what lies below; null clears it, so that the
//     default counts.
//   - environment_variables and volume_mounts are united by key, networking by
//     key and field, resources by field. A null entry of volume_mounts removes
//     what lies below.
//   - template_overrides of the pod change what the chain gives.
//   - template is never inherited.
//   - networking that nobody sets is one http entry on port 5000.
//
// URLs are filled in from the tenant's domain. The result is validated as a
// whole; the error has code Invalid and one message per problem. The Effective
// is complete even then, so that a pod which satisfies newer rules no longer can
// still be shown, stopped and deleted.
func Resolve(id ID, tenantDomain string, s Settings, own Definition, chain ...Definition) (Effective, error) {
	e := resolve(id, tenantDomain, s, own, chain)
	var p problems
	checkOverrides(&p, own, chain)
	validateEffective(&p, e, s)
	return e, p.err()
}

// Show returns a pod as it is by itself: what was set on it, over the defaults.
// For a pod without a template that is what [Resolve] returns. For one with a
// template only its own values are validated: what they lack or contradict may
// be in the template.
func Show(id ID, tenantDomain string, s Settings, own Definition) (Effective, error) {
	if own.Template.Or("") == "" {
		return Resolve(id, tenantDomain, s, own)
	}
	e := resolve(id, tenantDomain, s, own, nil)
	var p problems
	validator{problems: &p, settings: s}.values(e)
	return e, p.err()
}

func resolve(id ID, tenantDomain string, s Settings, own Definition, chain []Definition) Effective {
	e := complete(merge(own, chain), s)
	for key, n := range e.Networking {
		n.URL = routes.PodHost(tenantDomain, string(id), key)
		e.Networking[key] = n
	}
	return e
}

// merge returns what a definition and the templates it builds on set together.
func merge(own Definition, chain []Definition) Definition {
	var d Definition
	for _, template := range slices.Backward(chain) {
		d = overlay(d, template)
	}
	d.VolumeMounts = unclaimed(d.VolumeMounts)
	if refuses(own, useTemplateEnvs) {
		d.EnvironmentVariables = Opt[map[string]string]{}
	}
	if refuses(own, useTemplateVolumes) {
		d.VolumeMounts = Opt[map[string]VolumeMount]{}
	}
	if len(chain) > 0 {
		d = answered(d, own.TemplateOverrides.Or(TemplateOverrides{}))
	}
	d = overlay(d, own)
	d.Template, d.TemplateOverrides = own.Template, own.TemplateOverrides
	return d
}

// refuses reports whether the pod itself sets the variable to anything but true.
func refuses(own Definition, variable string) bool {
	value, ok := own.EnvironmentVariables.Or(nil)[variable]
	return ok && !strings.EqualFold(value, "true")
}

// overlay returns the definition that applies lower and then upper. It shares
// values with both; neither is changed.
func overlay(lower, upper Definition) Definition {
	// An empty image is what clients send that have none to give.
	if upper.Image.Or("") == "" && !upper.Image.IsNull() {
		upper.Image = Opt[string]{}
	}
	return Definition{
		Image:                over(lower.Image, upper.Image),
		Template:             over(lower.Template, upper.Template),
		Description:          over(lower.Description, upper.Description),
		Command:              over(lower.Command, upper.Command),
		Arguments:            over(lower.Arguments, upper.Arguments),
		EnvironmentVariables: overMap(lower.EnvironmentVariables, upper.EnvironmentVariables, replace),
		SecretMap:            overMap(lower.SecretMap, upper.SecretMap, replace),
		VolumeMounts:         overMounts(lower.VolumeMounts, upper.VolumeMounts),
		TemplateOverrides:    over(lower.TemplateOverrides, upper.TemplateOverrides),
		TimeToStopDefault:    over(lower.TimeToStopDefault, upper.TimeToStopDefault),
		TimeToStopInstance:   over(lower.TimeToStopInstance, upper.TimeToStopInstance),
		Networking:           overMap(lower.Networking, upper.Networking, overlayNet),
		Resources:            overResources(lower.Resources, upper.Resources),
		ComputeQueue:         over(lower.ComputeQueue, upper.ComputeQueue),
		Healthchecks:         overHealthchecks(lower.Healthchecks, upper.Healthchecks),
	}
}

// over returns upper if it is present, null included, else lower.
func over[T any](lower, upper Opt[T]) Opt[T] {
	if upper.IsSet() {
		return upper
	}
	return lower
}

// overMap unites two maps; both decides about keys that are in both. An upper
// null clears, as does the first map over a lower null.
func overMap[T any](lower, upper Opt[map[string]T], both func(lower, upper T) T) Opt[map[string]T] {
	below, ok := lower.Get()
	above, set := upper.Get()
	if !ok || !set {
		return over(lower, upper)
	}
	m := maps.Clone(below)
	for key, value := range above {
		if old, ok := m[key]; ok {
			value = both(old, value)
		}
		if m == nil {
			m = make(map[string]T, len(above))
		}
		m[key] = value
	}
	return Set(m)
}

func replace[T any](_, upper T) T { return upper }

func overResources(lower, upper Opt[ResourcesDef]) Opt[ResourcesDef] {
	below, ok := lower.Get()
	above, set := upper.Get()
	if !ok || !set {
		return over(lower, upper)
	}
	return Set(ResourcesDef{
		CPURequest: over(below.CPURequest, above.CPURequest),
		CPULimit:   over(below.CPULimit, above.CPULimit),
		MemRequest: over(below.MemRequest, above.MemRequest),
		MemLimit:   over(below.MemLimit, above.MemLimit),
		GPUs:       over(below.GPUs, above.GPUs),
	})
}

func overlayNet(lower, upper NetDef) NetDef {
	return NetDef{
		Protocol:                            over(lower.Protocol, upper.Protocol),
		Port:                                over(lower.Port, upper.Port),
		IPAllowList:                         over(lower.IPAllowList, upper.IPAllowList),
		ClientCA:                            over(lower.ClientCA, upper.ClientCA),
		TapisAuth:                           over(lower.TapisAuth, upper.TapisAuth),
		TapisAuthResponseHeaders:            over(lower.TapisAuthResponseHeaders, upper.TapisAuthResponseHeaders),
		TapisAuthAllowedUsers:               over(lower.TapisAuthAllowedUsers, upper.TapisAuthAllowedUsers),
		TapisAuthReturnPath:                 over(lower.TapisAuthReturnPath, upper.TapisAuthReturnPath),
		TapisAuthExcludedPaths:              over(lower.TapisAuthExcludedPaths, upper.TapisAuthExcludedPaths),
		TapisAuthExcludedPathRegex:          over(lower.TapisAuthExcludedPathRegex, upper.TapisAuthExcludedPathRegex),
		AccessGate:                          over(lower.AccessGate, upper.AccessGate),
		AccessGateReturnPath:                over(lower.AccessGateReturnPath, upper.AccessGateReturnPath),
		CORSAllowOrigins:                    over(lower.CORSAllowOrigins, upper.CORSAllowOrigins),
		CORSAllowMethods:                    over(lower.CORSAllowMethods, upper.CORSAllowMethods),
		CORSAllowHeaders:                    over(lower.CORSAllowHeaders, upper.CORSAllowHeaders),
		CORSAllowCredentials:                over(lower.CORSAllowCredentials, upper.CORSAllowCredentials),
		CORSMaxAge:                          over(lower.CORSMaxAge, upper.CORSMaxAge),
		ProxyCompression:                    over(lower.ProxyCompression, upper.ProxyCompression),
		ProxyCompressionEncodings:           over(lower.ProxyCompressionEncodings, upper.ProxyCompressionEncodings),
		ProxyCompressionExcludedContent:     over(lower.ProxyCompressionExcludedContent, upper.ProxyCompressionExcludedContent),
		ProxyCompressionMinResponseBodySize: over(lower.ProxyCompressionMinResponseBodySize, upper.ProxyCompressionMinResponseBodySize),
		CustomDomain:                        over(lower.CustomDomain, upper.CustomDomain),
		TapisUIURI:                          over(lower.TapisUIURI, upper.TapisUIURI),
		TapisUIURIRedirect:                  over(lower.TapisUIURIRedirect, upper.TapisUIURIRedirect),
		TapisUIURIDescription:               over(lower.TapisUIURIDescription, upper.TapisUIURIDescription),
	}
}

// complete fills in the defaults of what d does not set. The result shares no
// memory with d.
func complete(d Definition, s Settings) Effective {
	e := Effective{
		Image:                d.Image.Or(""),
		Template:             d.Template.Or(""),
		Description:          d.Description.Or(""),
		Command:              d.Command.Or(nil),
		Arguments:            d.Arguments.Or(nil),
		EnvironmentVariables: d.EnvironmentVariables.Or(nil),
		SecretMap:            d.SecretMap.Or(nil),
		VolumeMounts:         mounted(d.VolumeMounts.Or(nil)),
		TemplateOverrides:    d.TemplateOverrides.Or(TemplateOverrides{}),
		TimeToStopDefault:    d.TimeToStopDefault.Or(defaultTimeToStop),
		Networking:           completeNetworking(d.Networking),
		Resources:            completeResources(d.Resources.Or(ResourcesDef{}), s.Default),
		ComputeQueue:         d.ComputeQueue.Or(queueOf(s)),
	}
	e.Healthchecks = completeHealthchecks(d.Healthchecks, e.Networking)
	if seconds, ok := d.TimeToStopInstance.Get(); ok {
		e.TimeToStopInstance = &seconds
	}
	return e.clone()
}

// queueOf returns the queue of a pod that names none: "default", or the first
// one where the operator has no queue of that name.
func queueOf(s Settings) string {
	if len(s.ComputeQueues) == 0 || slices.Contains(s.ComputeQueues, defaultQueue) {
		return defaultQueue
	}
	return s.ComputeQueues[0]
}

func completeResources(d ResourcesDef, def Resources) Resources {
	return Resources{
		CPURequest: d.CPURequest.Or(def.CPURequest),
		CPULimit:   d.CPULimit.Or(def.CPULimit),
		MemRequest: d.MemRequest.Or(def.MemRequest),
		MemLimit:   d.MemLimit.Or(def.MemLimit),
		GPUs:       d.GPUs.Or(def.GPUs),
	}
}

func completeNetworking(o Opt[map[string]NetDef]) map[string]Networking {
	defs := o.Or(nil)
	if len(defs) == 0 {
		defs = map[string]NetDef{routes.DefaultNet: {}}
	}
	networking := make(map[string]Networking, len(defs))
	for key, d := range defs {
		networking[key] = completeNet(d)
	}
	return networking
}

func completeNet(d NetDef) Networking {
	return Networking{
		Protocol:                            NetProtocol(d.Protocol.Or(string(NetHTTP))),
		Port:                                d.Port.Or(defaultPort),
		IPAllowList:                         d.IPAllowList.Or(nil),
		ClientCA:                            d.ClientCA.Or(""),
		TapisAuth:                           d.TapisAuth.Or(false),
		TapisAuthResponseHeaders:            d.TapisAuthResponseHeaders.Or(nil),
		TapisAuthAllowedUsers:               d.TapisAuthAllowedUsers.Or([]string{"*"}),
		TapisAuthReturnPath:                 d.TapisAuthReturnPath.Or("/"),
		TapisAuthExcludedPaths:              d.TapisAuthExcludedPaths.Or(nil),
		TapisAuthExcludedPathRegex:          d.TapisAuthExcludedPathRegex.Or(nil),
		AccessGate:                          d.AccessGate.Or(false),
		AccessGateReturnPath:                d.AccessGateReturnPath.Or("/"),
		CORSAllowOrigins:                    d.CORSAllowOrigins.Or(nil),
		CORSAllowMethods:                    d.CORSAllowMethods.Or(nil),
		CORSAllowHeaders:                    d.CORSAllowHeaders.Or(nil),
		CORSAllowCredentials:                d.CORSAllowCredentials.Or(false),
		CORSMaxAge:                          d.CORSMaxAge.Or(100),
		ProxyCompression:                    d.ProxyCompression.Or(true),
		ProxyCompressionEncodings:           d.ProxyCompressionEncodings.Or([]string{"zstd", "br", "gzip"}),
		ProxyCompressionExcludedContent:     d.ProxyCompressionExcludedContent.Or(nil),
		ProxyCompressionMinResponseBodySize: d.ProxyCompressionMinResponseBodySize.Or(1024),
		CustomDomain:                        d.CustomDomain.Or(""),
		TapisUIURI:                          d.TapisUIURI.Or(""),
		TapisUIURIRedirect:                  d.TapisUIURIRedirect.Or(false),
		TapisUIURIDescription:               d.TapisUIURIDescription.Or(""),
	}
}
