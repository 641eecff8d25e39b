#!/bin/sh
# Starts MariaDB as the official image does, in what Podway uses of it: the
# variables MARIADB_ROOT_PASSWORD, MARIADB_USER, MARIADB_PASSWORD,
# MARIADB_DATABASE, MARIADB_ALLOW_EMPTY_ROOT_PASSWORD, each with MYSQL_ instead
# of MARIADB_ too, and arguments for the server.
set -eu

case "${1:-mariadbd}" in
-*) set -- mariadbd "$@" ;;
mariadbd | mysqld) ;;
*) exec "$@" ;;
esac

data=/var/lib/mysql
root="${MARIADB_ROOT_PASSWORD:-${MYSQL_ROOT_PASSWORD:-}}"
empty="${MARIADB_ALLOW_EMPTY_ROOT_PASSWORD:-${MYSQL_ALLOW_EMPTY_PASSWORD:-}}"
user="${MARIADB_USER:-${MYSQL_USER:-}}"
password="${MARIADB_PASSWORD:-${MYSQL_PASSWORD:-}}"
db="${MARIADB_DATABASE:-${MYSQL_DATABASE:-}}"

# quote prints a string literal of SQL, and name an identifier.
quote() { printf "'%s'" "$(printf '%s' "$1" | sed "s/\\\\/\\\\\\\\/g; s/'/''/g")"; }
# shellcheck disable=SC2016 # the back quotes are SQL's
name() { printf '`%s`' "$(printf '%s' "$1" | sed 's/`/``/g')"; }

# setup prints what makes an empty server ours. It is read a statement at a time,
# each ended by a ";" at the end of a line.
setup() {
	echo "create database if not exists mysql;"
	echo "use mysql;"
	echo "set @auth_root_socket = null;"
	for f in mariadb_system_tables mariadb_performance_tables mariadb_system_tables_data; do
		# Older servers call the files mysql_*.
		[ -e "/usr/share/mysql/$f.sql" ] || f=mysql_${f#mariadb_}
		cat "/usr/share/mysql/$f.sql"
	done
	# Those have no password.
	echo "delete from mysql.global_priv where user in ('', 'root');"
	echo "flush privileges;"
	for host in localhost %; do
		echo "create user root@'$host' identified by $(quote "$root");"
		echo "grant all on *.* to root@'$host' with grant option;"
	done
	[ -z "$db" ] || echo "create database $(name "$db");"
	[ -z "$user" ] || echo "create user $(quote "$user")@'%' identified by $(quote "$password");"
	[ -z "$user" ] || [ -z "$db" ] || echo "grant all on $(name "$db").* to $(quote "$user")@'%';"
	echo "flush privileges;"
}

if [ ! -d "$data/mysql" ]; then
	if [ -z "$root" ] && [ -z "$empty" ]; then
		echo "[ERROR] [Entrypoint]: Database is uninitialized and password option is not specified" >&2
		echo "	You need to specify MARIADB_ROOT_PASSWORD or MARIADB_ALLOW_EMPTY_ROOT_PASSWORD" >&2
		exit 1
	fi
	setup | mariadbd --no-defaults --bootstrap --datadir="$data" --skip-log-bin --innodb-flush-log-at-trx-commit=0
	echo "[Note] [Entrypoint]: MariaDB init process done. Ready for start up."
fi

server="$1"
shift
exec "$server" --no-defaults --datadir="$data" --socket=/run/mysqld/mysqld.sock --bind-address='*' "$@"
