#!/usr/bin/env bash
# Builds and runs a single-node Kubernetes; docs/cluster.md is its page.
#
#   deploy/cluster/cluster.sh kube      build the programs of Kubernetes, once
#   deploy/cluster/cluster.sh up        build what is missing and start the cluster
#   deploy/cluster/cluster.sh down      end it
#   deploy/cluster/cluster.sh status    is it up? Ends with 3 if not
#   deploy/cluster/cluster.sh check     could this machine run it? Says why not, and ends with 3
#
# Everything is kept in .cache/k8s. PODWAY_CLUSTER_NET gives the cluster other
# addresses than 10.203.0.0/16.
set -euo pipefail
cd "$(dirname "$0")/../.."

dir=$PWD/.cache/k8s
version=$(sed -n 's/^\tk8s.io\/kubernetes //p' deploy/cluster/kube/go.mod)
export CGO_ENABLED=0

# build_kube builds .cache/k8s/bin/kube from the module in kube/, unless that was
# done already from the same files with the same Go.
build_kube() {
	local key
	key=$(cd deploy/cluster/kube && { cat go.mod go.sum ./*.go; go version; } | sha256sum)
	[ -x "$dir/bin/kube" ] && [ "$(cat "$dir/bin/kube.key" 2>/dev/null)" = "$key" ] && return

	echo "building Kubernetes $version, which takes 5 to 20 minutes and 2.5 GB of memory, once …"
	local package=k8s.io/component-base/version minor start=$SECONDS
	minor=${version#v1.}
	minor=${minor%%.*}
	mkdir -p "$dir/bin"
	(
		cd deploy/cluster/kube
		nice -n 10 go build -trimpath -buildvcs=false -o "$dir/bin/kube.part" -ldflags "-s -w \
			-X $package.gitVersion=$version -X $package.gitMajor=1 -X $package.gitMinor=$minor \
			-X $package.gitTreeState=clean -X $package.gitCommit=module -X $package.buildDate=2026-01-01T00:00:00Z" .
	)
	mv "$dir/bin/kube.part" "$dir/bin/kube"
	ln -sf kube "$dir/bin/kubectl"
	echo "$key" >"$dir/bin/kube.key"
	echo "built Kubernetes in $((SECONDS - start)) s: $dir/bin/kube"
}

# build_cluster builds the program that runs the cluster.
build_cluster() {
	mkdir -p "$dir/bin"
	go build -trimpath -buildvcs=false -ldflags '-s -w' -o "$dir/bin/cluster" ./deploy/cluster
}

# cluster runs it, as root for the commands that need that.
cluster() {
	local command=("$dir/bin/cluster" "$1" -dir "$dir" -net "${PODWAY_CLUSTER_NET:-10.203}")
	if [ "$(id -u)" != 0 ] && [ "$1" != images ] && [ "$1" != status ]; then
		command -v sudo >/dev/null || { echo "cluster $1 needs root or sudo" >&2; exit 1; }
		command=(sudo "${command[@]}")
	fi
	"${command[@]}"
}

# What the cluster needs of the machine.
programs=(apt-get dpkg-deb tar ip)

# check says why this machine can't run the cluster, as far as that can be seen
# before it is tried, and ends with 3 then.
check() {
	local why=() sudo=()
	[ "$(uname -s)" = Linux ] || why+=("it is not Linux")
	case $(uname -m) in x86_64 | aarch64) ;; *) why+=("its processor is a $(uname -m)") ;; esac
	for program in "${programs[@]}" unshare; do
		command -v "$program" >/dev/null || why+=("it has no $program")
	done
	if [ "$(id -u)" != 0 ]; then
		sudo=(sudo -n)
		sudo -n true 2>/dev/null || why+=("it takes root, or sudo without a password")
	fi
	if [ ${#why[@]} -eq 0 ]; then
		"${sudo[@]}" unshare --mount --net --pid --fork true 2>/dev/null || why+=("namespaces are not allowed")
		"${sudo[@]}" test -w /sys/fs/cgroup || why+=("control groups can't be made")
		grep -qw overlay /proc/filesystems || "${sudo[@]}" modprobe --quiet overlay 2>/dev/null || why+=("the kernel has no overlayfs")
		[ "$(awk '/^MemAvailable:/ {print int($2 / 1024)}' /proc/meminfo)" -ge 1500 ] || why+=("less than 1500 MiB of memory are free")
	fi
	[ ${#why[@]} -eq 0 ] && return
	printf '%s\n' "${why[@]}"
	exit 3
}

need() {
	local missing=()
	for program in "$@"; do
		command -v "$program" >/dev/null || missing+=("$program")
	done
	[ ${#missing[@]} -eq 0 ] && return
	echo "This needs ${missing[*]}: Debian and Ubuntu have them; on another Linux use a cluster of your own." >&2
	exit 1
}

case "${1:-}" in
kube)
	build_kube
	;;
up)
	need "${programs[@]}"
	build_kube
	build_cluster
	# What the images of podway/hello and of pods' sandboxes are made of.
	go build -trimpath -buildvcs=false -ldflags '-s -w' -o "$dir/bin/podway" ./controlplane
	go build -trimpath -buildvcs=false -ldflags '-s -w' -o "$dir/bin/pause" ./deploy/cluster/pause
	cluster images
	cluster up
	;;
check)
	check
	;;
down | status)
	[ -x "$dir/bin/cluster" ] || build_cluster
	cluster "$1"
	;;
*)
	sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"
	exit 2
	;;
esac
