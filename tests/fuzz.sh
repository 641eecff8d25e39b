#!/usr/bin/env bash
# Runs every fuzz target of the module, one after the other, each for FUZZTIME
# (default 10s). FUZZ narrows it to packages whose path contains that text. A
# finding is written into testdata/fuzz of its package: mend the code and keep
# the file, so that it stays a test.
set -uo pipefail
cd "$(dirname "$0")/.."

time=${FUZZTIME:-10s}
status=0
count=0
while IFS=: read -r file target; do
	package=./$(dirname "$file")
	[[ $package == *"${FUZZ:-}"* ]] || continue
	echo "== $package $target for $time"
	# -run matches no test: they have had their turn in make test.
	go test -run='^$' -fuzz="^$target\$" -fuzztime="$time" "$package" </dev/null || status=1
	count=$((count + 1))
done < <(git ls-files --cached --others --exclude-standard '*_test.go' | sort |
	xargs grep -Ho '^func Fuzz[A-Za-z0-9_]*' | sed 's/:func /:/')

if [ "$count" = 0 ]; then
	echo "no fuzz target in ${FUZZ:-the module}" >&2
	exit 1
fi
[ "$status" = 0 ] && echo "$count fuzz targets, nothing found"
exit $status
