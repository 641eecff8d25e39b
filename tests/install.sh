#!/usr/bin/env bash
# Installs the real servers and clients that the tests run against, from
# Debian's packages, if they are missing. Needs root or sudo only when something
# has to be installed.
#
#	tests/install.sh            what `make test` needs
#	tests/install.sh clients    what `make clients` needs besides
set -euo pipefail

packages=()
command -v redis-server >/dev/null || packages+=(redis-server)
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || packages+=(postgresql)
command -v psql >/dev/null || packages+=(postgresql-client)
command -v curl >/dev/null || packages+=(curl)
# A DNS server that takes updates. Its program is not in everyone's path.
[ -x /usr/sbin/knotd ] || packages+=(knot)
command -v openssl >/dev/null || packages+=(openssl)
# It checks the unit of the edge; nothing of it is started.
command -v systemd-analyze >/dev/null || packages+=(systemd)
# The SDK of Tapis is a Python package.
python3 -c 'import venv, ensurepip' 2>/dev/null || packages+=(python3 python3-venv)
# Programs that users connect with, in JavaScript and in a browser.
command -v npm >/dev/null || packages+=(nodejs npm)
command -v chromium >/dev/null || packages+=(chromium)
# The race detector links with C.
command -v gcc >/dev/null || packages+=(gcc libc6-dev)
if [ "${1:-}" = clients ]; then
	# Maven fetches the servers that Debian does not have.
	command -v javac >/dev/null || packages+=(default-jdk-headless)
	command -v mvn >/dev/null || packages+=(maven)
	ls /usr/sbin/mariadbd >/dev/null 2>&1 || packages+=(mariadb-server-core)
	command -v mariadb >/dev/null || packages+=(mariadb-client-core)
	command -v stunnel >/dev/null || packages+=(stunnel4)
fi

[ ${#packages[@]} -gt 0 ] || exit 0

if ! command -v apt-get >/dev/null; then
	echo "The tests need: ${packages[*]}. This machine has no apt-get; install them and run 'make test' again." >&2
	exit 1
fi
sudo=()
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null || { echo "Installing ${packages[*]} needs root or sudo." >&2; exit 1; }
	sudo=(sudo)
fi
echo "Installing ${packages[*]} …"
export DEBIAN_FRONTEND=noninteractive
"${sudo[@]}" apt-get update -qq
"${sudo[@]}" apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
