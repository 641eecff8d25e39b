#!/usr/bin/env bash
# Runs an instance of the edge's systemd unit where there is no systemd: the unit's own
# command line and environment, as a user of its own with the unit's one capability and
# none to gain, on a root file system that is read-only but for the unit's folders, in a
# network namespace. Takes root. What systemd would filter of system calls is not filtered.
#
#	unit.sh NETNS FOLDER INSTANCE
#
# FOLDER has the program podway-edge, the file hosts, what is in /etc/podway in etc, and
# state and run, the folders that all instances share. The process becomes the edge.
set -euo pipefail
netns=$1 folder=$2 instance=$3
unit=$(cd "$(dirname "$0")/../.." && pwd)/deploy/systemd/podway-edge@.service
uid=65532

# setting prints the values of a key of the unit, a line each.
setting() { sed -n "s/^$1=//p" "$unit" | sed "s/%i/$instance/g"; }

# This script does what these settings say; others would have to be done differently.
for want in AmbientCapabilities=CAP_NET_BIND_SERVICE CapabilityBoundingSet=CAP_NET_BIND_SERVICE NoNewPrivileges=yes \
	ProtectSystem=strict ProtectHome=yes PrivateTmp=yes PrivateDevices=yes ProtectProc=invisible UMask=0077 \
	StateDirectory=podway-edge RuntimeDirectory=podway-edge; do
	grep -qx "$want" "$unit" || { echo "the unit lacks $want" >&2; exit 1; }
done

read -ra command <<<"$(setting ExecStart)"
mapfile -t vars < <(
	setting Environment | tr ' ' '\n'
	setting EnvironmentFile | while read -r file; do
		file=$folder/etc/${file##*/}
		[ ! -e "$file" ] || cat "$file"
	done
)

# The machine's files below, what the edge needs above.
overlay() {
	mount -t tmpfs tmpfs "$folder/root"
	mkdir "$folder/root/"{upper,work,all}
	mount -t overlay overlay -o "lowerdir=/,upperdir=$folder/root/upper,workdir=$folder/root/work" "$folder/root/all"
	root=$folder/root/all
	mkdir -p "$root"/etc/podway "$root"/{var/lib,run}/podway-edge "$root"/usr/local/bin
	cp "$folder/podway-edge" "$root/usr/local/bin/"
	cp -a "$folder/etc/." "$root/etc/podway/"
	cp "$folder/hosts" "$root/etc/hosts"
	mount --bind "$folder/state" "$root/var/lib/podway-edge"
	mount --bind "$folder/run" "$root/run/podway-edge"
	mount -t proc -o hidepid=2 proc "$root/proc"
	mount -t tmpfs tmpfs "$root/tmp"
	mount -t tmpfs -o mode=000 tmpfs "$root/root"
	mount -t tmpfs -o mode=000 tmpfs "$root/home"
	mount -t tmpfs -o mode=755 tmpfs "$root/dev"
	mknod -m 666 "$root/dev/null" c 1 3
	mknod -m 666 "$root/dev/urandom" c 1 9
	mount -o remount,ro "$root"
}

if [ -z "${inside:-}" ]; then
	export inside=1
	exec nsenter "--net=/run/netns/$netns" unshare --mount --propagation private "$0" "$@"
fi
overlay
umask 0077
exec chroot "$root" /usr/bin/env -i "${vars[@]}" /usr/bin/setpriv --reuid $uid --regid $uid --clear-groups --no-new-privs \
	--bounding-set -all,+net_bind_service --inh-caps -all,+net_bind_service --ambient-caps -all,+net_bind_service \
	"${command[@]}"
