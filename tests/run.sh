#!/usr/bin/env bash
# Runs everything `make test` promises and ends with a plain summary: every Go
# test under the race detector, black-box tests included. The API server of the
# tests is built first, if it was not yet, which takes minutes; where that fails the
# tests that need it are skipped, or, with PODWAY_TEST_KUBE=required, everything fails.
set -uo pipefail
cd "$(dirname "$0")/.."

export PODWAY_TEST_PARTS=required CGO_ENABLED=1

start=$SECONDS
if [ -n "${PODWAY_KUBE_BIN:-}" ] || CGO_ENABLED=0 deploy/cluster/cluster.sh kube; then
	export PODWAY_TEST_KUBE=required
elif [ "${PODWAY_TEST_KUBE:-}" = required ]; then
	echo "Kubernetes could not be built, and PODWAY_TEST_KUBE=required is set." >&2
	exit 1
else
	echo "Kubernetes could not be built: the tests that need it are skipped." >&2
fi
# With the tag it also looks at what only `make e2e` and `make cluster-test` run.
go vet -tags e2e ./... || exit 1

# -json gives exact counts; people get a line per package as it ends, and why it failed.
go test -race -timeout 20m -json ./... | go run ./tests/summary
status=$?
echo "took $((SECONDS - start)) s"
exit $status
