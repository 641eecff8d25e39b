#!/usr/bin/env bash
# Runs the end-to-end tests on the cluster of `make cluster`, which is started, and
# ended again, if it was not up.
set -euo pipefail
cd "$(dirname "$0")/../.."

if ! deploy/cluster/cluster.sh status >/dev/null 2>&1; then
	trap 'deploy/cluster/cluster.sh down' EXIT
	deploy/cluster/cluster.sh up
fi
PODWAY_TEST_PARTS=required PODWAY_KUBECONFIG=$PWD/.cache/k8s/kubeconfig \
	go test -tags e2e -count=1 -timeout 15m -v ./tests/e2e
