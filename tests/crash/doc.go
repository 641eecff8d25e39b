// Package crash kills control planes, and the API server of Kubernetes, with SIGKILL
// while users create, restart, stop and delete pods, and expects that everything
// happens that users were promised: no pod is lost, none exists twice, and none that
// was deleted is left.
//
// The control plane is the built program with exactly the rights of
// deploy/rbac.yaml; Postgres, Redis and the Kubernetes API server are real. The
// nodes are fakes. PODWAY_TEST_LONG=1 makes the tests as long as those of real
// life, some minutes.
package crash
