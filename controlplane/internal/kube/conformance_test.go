package kube

import (
	"testing"

	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/controlplane/internal/pods/clustertest"
	"github.com/tapis-project/podway/tests/kubetest"
)

func TestConformance(t *testing.T) {
	srv := kubetest.Start(t)
	clustertest.Run(t, func(t *testing.T) clustertest.Setup {
		namespace := srv.Namespace(t, restricted)
		startKubelet(t, srv, kubetest.FakeNodes(t, srv, kubetest.NodeOptions{Namespace: namespace}))
		return clustertest.Setup{
			Cluster: openIn(t, srv, namespace),
			Reopen:  func(t *testing.T) pods.Cluster { return openIn(t, srv, namespace) },
			Serving: func() pods.Workload {
				w := workload("", "podway/hello")
				w.VolumeMounts = map[string]pods.VolumeMount{"keep": {Type: typePVC, MountPath: "/keep"}}
				return w
			},
			Greeting: greeting,
			Ending:   func(code int) pods.Workload { return workload("", image(kubetest.Exits(code))) },
			Shell:    []string{"sh", "-c"},
			KeepDir:  "$" + keepVariable,
			Limit:    limit,
		}
	})
}
