#!/usr/bin/env bash
# Prints the chart as kustomize's base; HELM is the program, default .cache/bin/helm.
set -euo pipefail
cd "$(dirname "$0")/../.."
echo "# Rendered from deploy/chart by make chart. Do not edit."
"${HELM:-.cache/bin/helm}" template podway deploy/chart --namespace podway --kube-version 1.33.0 \
	--values deploy/kustomize/values.yaml 2> >(grep -v 'found symbolic link' >&2)
