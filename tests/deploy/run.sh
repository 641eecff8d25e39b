#!/usr/bin/env bash
# Installs Podway with its chart and images on the cluster of `make cluster`, makes
# pods through it, and reaches them by https and psql: through the edges in the
# cluster, and through one outside that was enrolled, in a network namespace of its own,
# run as its systemd unit says (unit.sh), and replaced by another instance while it is
# used. Takes root, curl, openssl and psql; ends what it started.
set -euo pipefail
cd "$(dirname "$0")/../.."

export KUBECONFIG=$PWD/.cache/k8s/kubeconfig
kubectl=$PWD/.cache/k8s/bin/kubectl
helm=$PWD/.cache/bin/helm
work=$(mktemp -d /tmp/podway-deploy.XXXXXX)
chmod 711 "$work"
pids=()
was_up=1
# The machine of the edge outside: a network namespace, and the cable to it.
netns=podway-edge-$$
cable=pwedge$(($$ % 100000))
inside=10.204.0.2
forward=$(cat /proc/sys/net/ipv4/ip_forward)

finish() {
	local code=$?
	if [ "$code" != 0 ]; then
		"$kubectl" -n podway get pods || true
		"$kubectl" -n podway logs deploy/podway --tail 5 || true
		tail -n 5 "$work"/*.log || true
	fi
	for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
	wait
	ip link delete "$cable" 2>/dev/null || true
	ip netns delete "$netns" 2>/dev/null || true
	echo "$forward" >/proc/sys/net/ipv4/ip_forward
	"$helm" -n podway uninstall podway >/dev/null 2>&1 || true
	[ "$was_up" = 0 ] || "$kubectl" delete namespace podway --timeout 60s >/dev/null 2>&1 || true
	[ "$was_up" = 0 ] || "$kubectl" delete namespace -l podway.tapis.io/site=dev --timeout 60s >/dev/null 2>&1 || true
	[ "$was_up" = 1 ] || deploy/cluster/cluster.sh down
	rm -rf "$work"
	exit "$code"
}
trap finish EXIT

# eventually runs a command until it succeeds, for three minutes at most.
eventually() {
	local end=$((SECONDS + 180))
	until "$@"; do
		[ $SECONDS -lt $end ] || { echo "never: $*" >&2; return 1; }
		sleep 1
	done
}

# field prints the first value of a key in JSON.
field() { sed -n "s/.*\"$1\": *\"\([^\"]*\)\".*/\1/p" | head -n 1; }

secret() { "$kubectl" -n podway get secret podway-trial -o "jsonpath={.data.${1//./\\.}}" | base64 -d; }

echo "== the images"
# DIST is a folder with archives of the version "test", which are used then.
dist=${DIST:-$work/dist}
[ -n "${DIST:-}" ] || go run ./deploy/images -out "$dist" -version test
for name in podway podway-edge; do
	rm -rf ".cache/k8s/images/$name"
	mkdir -p ".cache/k8s/images/$name"
	tar -C ".cache/k8s/images/$name" -xf "$dist/$name.tar"
	# The program of the image, for what runs on this machine.
	for blob in ".cache/k8s/images/$name/blobs/sha256"/*; do
		tar -C "$work" --strip-components 2 -xf "$blob" "usr/bin/$name" 2>/dev/null || true
	done
done
if ! deploy/cluster/cluster.sh status >/dev/null 2>&1; then
	was_up=0
	deploy/cluster/cluster.sh up
fi

echo "== a Tapis for development, on this machine"
PODWAY_STATE_DIR=$work/tapis PODWAY_API_PORT=18000 PODWAY_REDIS_PORT=18679 PODWAY_EDGE_PORT=18443 "$work/podway" dev >"$work/tapis.log" 2>&1 &
pids+=($!)
go build -o "$work/forward" ./tests/deploy/forward
"$work/forward" 10.203.0.1:18001 127.0.0.1:18000 &
pids+=($!)
eventually curl -sfo "$work/health.json" http://127.0.0.1:18000/v3/healthcheck
token=$(curl -sf -H "Host: dev.localhost" -H "Content-Type: application/json" http://127.0.0.1:18000/v3/oauth2/tokens -d '{"username":"testuser","password":"testuser","grant_type":"password"}' | field access_token)

echo "== the chart"
"$helm" install podway deploy/chart --namespace podway --create-namespace --wait --timeout 4m \
	--set image.tag=test --set trial.enabled=true --set edge.service.type=ClusterIP \
	--set controlPlane.site=dev --set controlPlane.tapisUrl=http://10.203.0.1:18001 \
	--set controlPlane.env.PODWAY_KUBE_ADDRESS_MODE=node-port \
	--set controlPlane.env.PODWAY_IMAGES='podway/hello\,postgres' \
	--set controlPlane.env.PODWAY_KUBE_PULL_POLICY=IfNotPresent
"$kubectl" -n podway get pods

api=$("$kubectl" -n podway get service podway -o 'jsonpath={.spec.clusterIP}')
edge=$("$kubectl" -n podway get service podway-edge -o 'jsonpath={.spec.clusterIP}')
redis=$("$kubectl" -n podway get service podway-redis -o 'jsonpath={.spec.clusterIP}')
call() { curl -sS --fail-with-body -H "Host: dev.localhost" -H "X-Tapis-Token: $token" -H 'Content-Type: application/json' "http://$api:8000/v3/pods$1" "${@:2}"; }

echo "== pods"
call "" -d '{"pod_id":"web","image":"podway/hello"}' >"$work/web.json"
call "" -d '{"pod_id":"pgdb","image":"postgres","networking":{"default":{"protocol":"postgres","port":5432}},
	"environment_variables":{"POSTGRES_USER":"<<TAPIS_user_username>>","POSTGRES_PASSWORD":"<<TAPIS_user_password>>","POSTGRES_DB":"postgres",
		"PGDATA":"/var/lib/postgresql/data/pgdata"},
	"volume_mounts":{"data":{"type":"pvc","mount_path":"/var/lib/postgresql/data"}}}' >"$work/pgdb.json"
# reach uses both pods through the edge at an address.
reach() {
	local name password
	eventually curl -sfko "$work/page" --resolve "web.pods.dev.localhost:$2:$1" "https://web.pods.dev.localhost:$2/"
	echo "https through $1: ok"
	name=$(call /pgdb/credentials | field user_username)
	password=$(call /pgdb/credentials | field user_password)
	export PGPASSWORD=$password
	eventually psql "host=pgdb.pods.dev.localhost hostaddr=$1 port=$2 user=$name dbname=postgres sslmode=require" -Atc 'select 42' 2>"$work/psql.log"
	echo "psql through $1: ok"
}
reach "$edge" 443

echo "== an edge outside"
ip netns add "$netns"
ip link add "$cable" type veth peer name eth0 netns "$netns"
ip addr add 10.204.0.1/30 dev "$cable"
ip link set "$cable" up
ip -n "$netns" addr add "$inside/30" dev eth0
ip -n "$netns" link set lo up
ip -n "$netns" link set eth0 up
ip -n "$netns" route add default via 10.204.0.1
echo 1 >/proc/sys/net/ipv4/ip_forward

machine=$work/machine
mkdir -p "$machine/"{root,state,run}
cp "$work/podway-edge" "$machine/"
secret ca.crt >"$work/redis-ca.crt"
{ cat /etc/hosts; echo "$redis podway-redis.podway.svc"; } >"$machine/hosts"
chmod 644 "$work/redis-ca.crt" "$machine/hosts"
admin=$(secret admin-url | sed "s#/etc/podway/redis/ca.crt#$work/redis-ca.crt#")
export work machine admin
unshare --mount bash -ec 'mount --bind "$machine/hosts" /etc/hosts
	PODWAY_REDIS_ADMIN_URL=$admin "$work/podway" edge enrol outside --upstreams 10.203.0.0/16 \
		--redis "rediss://podway-redis.podway.svc?ca=/etc/podway/redis-ca.crt" --out "$machine/etc"'
cp "$work/redis-ca.crt" "$machine/etc/"
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test -addext 'subjectAltName=DNS:*.pods.dev.localhost' \
	-keyout "$machine/etc/tls.key" -out "$machine/etc/tls.crt" 2>/dev/null
echo PODWAY_EDGE_METRICS_PORT=9180 >"$machine/etc/edge-a.env"
echo PODWAY_EDGE_METRICS_PORT=9181 >"$machine/etc/edge-b.env"
chmod 700 "$machine/state" "$machine/run"
chown -R 65532:65532 "$machine/"{etc,state,run}

tests/deploy/unit.sh "$netns" "$machine" a >"$work/edge-a.log" 2>&1 &
a=$!
pids+=("$a")
reach "$inside" 443

echo "== what it may do"
# has expects a line in the kernel's description of the edge.
has() { grep -qP "^$1:\t$2\$" "/proc/$a/status" || { echo "got $(grep "^$1:" "/proc/$a/status"), want $2" >&2; exit 1; }; }
for set in CapPrm CapEff CapBnd CapAmb; do has $set 0000000000000400; done # CAP_NET_BIND_SERVICE
has Uid '65532\t65532\t65532\t65532'
has Gid '65532\t65532\t65532\t65532'
has Groups ' ?'
has NoNewPrivs 1
has Umask 0077
mounts=/proc/$a/mountinfo
grep -q ' / / ro,' "$mounts" || { echo "its root file system can be written" >&2; exit 1; }
# What can be written: its own folders, and what is empty and its own.
writable=$(awk '$6 ~ /^rw/ {print $5}' "$mounts" | sort | tr '\n' ' ')
[ "$writable" = "/dev /home /proc /root /run/podway-edge /tmp /var/lib/podway-edge " ] || { echo "it can write $writable" >&2; exit 1; }
eventually test -e "$machine/state/routes.snap" # it is written in a quiet second
for file in run/admin-a.sock run/handover.sock state/routes.snap; do
	[ "$(stat -c %a "$machine/$file")" = 600 ] || { echo "$file has mode $(stat -c %a "$machine/$file")" >&2; exit 1; }
done
echo "one capability, a read-only system, files of its own: ok"

echo "== the next instance takes over"
visit() { curl -sfk -m 20 -o /dev/null --resolve "web.pods.dev.localhost:443:$inside" https://web.pods.dev.localhost/; }
(while :; do visit && echo ok || echo failed; done >"$work/visits" 2>/dev/null) &
visitor=$!
pids+=("$visitor")
tests/deploy/unit.sh "$netns" "$machine" b >"$work/edge-b.log" 2>&1 &
pids+=("$!")
code=0
timeout 120 tail --pid="$a" -f /dev/null
wait "$a" || code=$?
[ "$code" = 0 ] || { echo "the first instance ended with $code" >&2; exit 1; }
reach "$inside" 443
kill "$visitor"
! grep -q failed "$work/visits" || { echo "$(grep -c failed "$work/visits") of $(wc -l <"$work/visits") connects failed" >&2; exit 1; }
echo "$(wc -l <"$work/visits") connects meanwhile, none failed"
echo "== all done"
