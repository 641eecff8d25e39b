#!/usr/bin/env bash
# Runs everything `make test` promises and ends with a plain summary: every Go
# test under the race detector, black-box tests included.
set -uo pipefail
cd "$(dirname "$0")/.."

export PODWAY_TEST_PARTS=required CGO_ENABLED=1
out=$(mktemp)
trap 'rm -f "$out"' EXIT

start=$SECONDS
go vet ./... || exit 1

# -json gives exact counts; people get a line per package and the output of what failed.
go test -race -timeout 20m -json ./... >"$out"
status=$?
go run ./tests/summary <"$out" || status=1
echo "took $((SECONDS - start)) s"
exit $status
