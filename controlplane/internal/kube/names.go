package kube

import (
	"maps"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/tapis-project/podway/controlplane/internal/pods"
)

// fieldManager names us as the owner of fields that we apply.
const fieldManager = "podway"

// Labels of our objects. Site, tenant and pod id say whose they are; nothing is
// ever told from a name.
const (
	labelManagedBy = "app.kubernetes.io/managed-by"
	labelSite      = "podway.tapis.io/site"
	labelTenant    = "podway.tapis.io/tenant"
	labelPod       = "podway.tapis.io/pod-id"
	labelUID       = "podway.tapis.io/pod-uid" // of one among all pods that ever had the id
	labelApp       = "app"                     // the objects' name, as users know it
)

// Annotations of pods.
const (
	// annotationPorts holds the port numbers by networking key, as JSON.
	annotationPorts = "podway.tapis.io/ports"

	// annotationReadyWhen is "running" on a pod that shall get traffic as soon as
	// it runs, whatever its readiness probe says.
	annotationReadyWhen = "podway.tapis.io/ready-when"
	readyWhenRunning    = "running"
)

// Placeholders of a namespace pattern.
const (
	tenantPlaceholder = "{tenant}"
	sitePlaceholder   = "{site}"
)

// rootSuffix ends the name of the namespace for images that run as root.
const rootSuffix = "-root"

// expand fills in the placeholders of a namespace pattern.
func expand(pattern, site, tenant string) string {
	return strings.NewReplacer(tenantPlaceholder, tenant, sitePlaceholder, site).Replace(pattern)
}

// siteLabels are on everything of ours.
func siteLabels(site string) map[string]string {
	return map[string]string{labelManagedBy: fieldManager, labelSite: site}
}

// tenantLabels are on everything of one tenant.
func tenantLabels(site, tenant string) map[string]string {
	m := siteLabels(site)
	m[labelTenant] = tenant
	return m
}

// selectorLabels select the objects of one pod.
func selectorLabels(site string, k pods.Key) map[string]string {
	return map[string]string{labelSite: site, labelTenant: k.Tenant, labelPod: string(k.ID)}
}

// podLabels are on every object of a pod.
func podLabels(site string, k pods.Key, uid string) map[string]string {
	m := tenantLabels(site, k.Tenant)
	maps.Copy(m, selectorLabels(site, k))
	m[labelUID] = uid
	m[labelApp] = pods.ObjectName(site, k)
	return m
}

// keyOf returns whose object o is. ok is false if it is none of this site's pods'.
func keyOf(site string, o metav1.Object) (k pods.Key, ok bool) {
	l := o.GetLabels()
	k = pods.Key{Tenant: l[labelTenant], ID: pods.ID(l[labelPod])}
	return k, l[labelSite] == site && k.Tenant != "" && k.ID != ""
}

// selector returns the text of a label selector.
func selector(m map[string]string) string { return labels.SelectorFromSet(m).String() }
