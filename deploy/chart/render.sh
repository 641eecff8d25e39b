#!/usr/bin/env bash
# Prints the chart as kustomize's base.
set -euo pipefail
cd "$(dirname "$0")/../.."
echo "# Rendered from deploy/chart by make chart. Do not edit."
go run -C deploy/chart/helm . template -namespace podway -values "$PWD/deploy/kustomize/values.yaml" podway "$PWD/deploy/chart"
