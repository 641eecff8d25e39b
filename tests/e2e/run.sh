#!/usr/bin/env bash
# Runs the end-to-end tests on the cluster of `make cluster`, which is started, and
# ended again, if it was not up.
set -euo pipefail
cd "$(dirname "$0")/../.."

if ! deploy/cluster/cluster.sh status >/dev/null 2>&1; then
	trap 'deploy/cluster/cluster.sh down' EXIT
	deploy/cluster/cluster.sh up
fi
export PODWAY_TEST_PARTS=required
kubeconfig=$PWD/.cache/k8s/kubeconfig
# Two at a time: one waits for five minutes until its pod's time is over.
PODWAY_KUBECONFIG=$kubeconfig go test -tags e2e -count=1 -timeout 20m -parallel 2 -v ./tests/e2e
# What package kube promises, with a real kubelet and real containers.
PODWAY_TEST_KUBECONFIG=$kubeconfig \
	go test -tags e2e -count=1 -timeout 20m -v -run 'TestConformanceOnRealNodes|TestRealContainers' ./controlplane/internal/kube
