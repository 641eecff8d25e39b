#!/bin/sh
# Starts PostgreSQL as the official image does, in what Podway uses of it: the
# variables POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB, POSTGRES_INITDB_ARGS,
# POSTGRES_HOST_AUTH_METHOD and PGDATA, and arguments for the server.
set -eu

case "${1:-postgres}" in
-*) set -- postgres "$@" ;;
postgres) ;;
*) exec "$@" ;;
esac

export PGDATA="${PGDATA:-/var/lib/postgresql/data}"
user="${POSTGRES_USER:-postgres}"
db="${POSTGRES_DB:-$user}"
method="${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}"

# Each start, because a volume that is mounted again with a group has that
# group's rights again, and PostgreSQL refuses those.
mkdir -p "$PGDATA"
chmod 700 "$PGDATA" 2>/dev/null || true

if [ ! -s "$PGDATA/PG_VERSION" ]; then
	if [ -z "${POSTGRES_PASSWORD:-}" ] && [ "$method" != trust ]; then
		echo "Error: Database is uninitialized and superuser password is not specified." >&2
		echo "       You must specify POSTGRES_PASSWORD to a non-empty value for the superuser." >&2
		exit 1
	fi
	umask 077
	printf '%s\n' "${POSTGRES_PASSWORD:-}" >/tmp/pwfile
	pwfile=--pwfile=/tmp/pwfile
	[ -n "${POSTGRES_PASSWORD:-}" ] || pwfile=
	# Word splitting is meant: the variable holds arguments.
	# shellcheck disable=SC2086
	initdb --username="$user" $pwfile ${POSTGRES_INITDB_ARGS:-}
	rm /tmp/pwfile
	printf '\nhost all all all %s\n' "$method" >>"$PGDATA/pg_hba.conf"
	printf "\nlisten_addresses = '*'\n" >>"$PGDATA/postgresql.conf"
	if [ "$db" != postgres ]; then
		# One line of SQL in single-user mode; the name is quoted as an identifier.
		quoted=$(printf '%s' "$db" | sed 's/"/""/g')
		echo "CREATE DATABASE \"$quoted\";" | postgres --single -D "$PGDATA" postgres >/dev/null
	fi
	echo
	echo "PostgreSQL init process complete; ready for start up."
	echo
fi

exec "$@"
