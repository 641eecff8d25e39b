#!/usr/bin/env bash
# Installs what the edge is compared with, and what makes the load, from Debian's
# packages, if it is missing. Needs root or sudo only when something has to be
# installed. Services of the packages are not started.
set -euo pipefail

packages=()
[ -x /usr/sbin/haproxy ] || packages+=(haproxy)
[ -x /usr/sbin/nginx ] || packages+=(nginx)
[ -e /usr/lib/nginx/modules/ngx_stream_module.so ] || packages+=(libnginx-mod-stream)
command -v h2load >/dev/null || packages+=(nghttp2-client)
command -v redis-server >/dev/null || packages+=(redis-server)
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 && command -v pgbench >/dev/null || packages+=(postgresql)

[ ${#packages[@]} -gt 0 ] || exit 0

if ! command -v apt-get >/dev/null; then
	echo "The benchmark needs: ${packages[*]}. This machine has no apt-get; install them and try again." >&2
	exit 1
fi
sudo=()
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null || { echo "Installing ${packages[*]} needs root or sudo." >&2; exit 1; }
	sudo=(sudo)
fi

# Debian asks this program whether a package may start its service.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	trap '"${sudo[@]}" rm -f "$policy"' EXIT
	printf '#!/bin/sh\nexit 101\n' | "${sudo[@]}" tee "$policy" >/dev/null
	"${sudo[@]}" chmod 755 "$policy"
fi
echo "Installing ${packages[*]} …"
export DEBIAN_FRONTEND=noninteractive
"${sudo[@]}" apt-get update -qq
"${sudo[@]}" apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
