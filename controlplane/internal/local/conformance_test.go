package local

import (
	"strconv"
	"testing"

	"github.com/tapis-project/podway/controlplane/internal/pods"
	"github.com/tapis-project/podway/controlplane/internal/pods/clustertest"
)

func TestConformance(t *testing.T) {
	clustertest.Run(t, func(t *testing.T) clustertest.Setup {
		dir := stateDir(t)
		return clustertest.Setup{
			Cluster: open(t, dir),
			Reopen:  func(t *testing.T) pods.Cluster { return open(t, dir) },
			Serving: func() pods.Workload {
				w := workload("", "podway/hello")
				w.VolumeMounts = map[string]pods.VolumeMount{"keep": {Type: "pvc", MountPath: "/keep"}}
				return w
			},
			Greeting: "hello: default listens on http://",
			Ending: func(code int) pods.Workload {
				w := workload("", "podway/hello")
				w.Arguments = []string{"-exit-after", "0s", "-exit-code", strconv.Itoa(code)}
				return w
			},
			Shell:     []string{"sh", "-c"},
			KeepDir:   "$PODWAY_VOLUME_KEEP",
			Reachable: true,
			Limit:     limit,
		}
	})
}
