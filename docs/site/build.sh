#!/usr/bin/env bash
# Makes the site of docs/ in .cache/site. What that needs is fetched from PyPI once, into
# .cache/docs; from then on nothing is.
set -euo pipefail
cd "$(dirname "$0")/../.."

need=docs/site/requirements.txt
env=.cache/docs
if ! cmp -s "$need" "$env/complete"; then
	python3 -m venv --clear "$env"
	"$env/bin/python" -m pip install --quiet --disable-pip-version-check -r "$need"
	cp "$need" "$env/complete"
fi
NO_MKDOCS_2_WARNING=1 "$env/bin/python" -m mkdocs build --quiet
echo "Open .cache/site/index.html in a browser."
