#!/usr/bin/env bash
# Installs Podway with its chart and images on the cluster of `make cluster`, makes
# pods through it, and reaches them by https and psql: through the edges in the
# cluster, and through one outside that was enrolled and has the rights of the
# systemd unit. Takes root, curl, openssl and psql; ends what it started.
set -euo pipefail
cd "$(dirname "$0")/../.."

export KUBECONFIG=$PWD/.cache/k8s/kubeconfig
kubectl=$PWD/.cache/k8s/bin/kubectl
helm=$PWD/.cache/bin/helm
work=$(mktemp -d /tmp/podway-deploy.XXXXXX)
chmod 711 "$work"
pids=()
was_up=1

finish() {
	local code=$?
	if [ "$code" != 0 ]; then
		"$kubectl" -n podway get pods || true
		"$kubectl" -n podway logs deploy/podway --tail 5 || true
		tail -n 5 "$work"/*.log || true
	fi
	for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
	wait
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
secret ca.crt >"$work/redis-ca.crt"
chmod 644 "$work/redis-ca.crt"
{ cat /etc/hosts; echo "$redis podway-redis.podway.svc"; } >"$work/hosts"
chmod 644 "$work/hosts"
admin=$(secret admin-url | sed "s#/etc/podway/redis/ca.crt#$work/redis-ca.crt#")
export work admin
unshare --mount bash -ec 'mount --bind "$work/hosts" /etc/hosts
	PODWAY_REDIS_ADMIN_URL=$admin "$work/podway" edge enrol outside --upstreams 10.203.0.0/16 \
		--redis "rediss://podway-redis.podway.svc?ca=$work/redis-ca.crt" --out "$work/edge"'
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test -addext 'subjectAltName=DNS:*.pods.dev.localhost' \
	-keyout "$work/edge/tls.key" -out "$work/edge/tls.crt" 2>/dev/null
mkdir "$work/run" "$work/state"
chown -R 65532:65532 "$work/edge" "$work/run" "$work/state"
# As the unit has it: no root, one capability, none to gain.
set -a
. <(sed 's/=\(.*\)/="\1"/' "$work/edge/edge.env")
set +a
PODWAY_EDGE_ADMIN="unix/$work/run/admin.sock|0600" PODWAY_EDGE_SNAPSHOT=$work/state/routes.snap PODWAY_EDGE_BIND=127.0.0.77 \
	PODWAY_EDGE_CERT=$work/edge/tls.crt PODWAY_EDGE_CERT_KEY=$work/edge/tls.key XDG_DATA_HOME=$work/state XDG_CONFIG_HOME=$work/state \
	unshare --mount bash -ec 'mount --bind "$work/hosts" /etc/hosts
	exec setpriv --reuid 65532 --regid 65532 --clear-groups --no-new-privs --bounding-set -all,+net_bind_service \
		--inh-caps -all,+net_bind_service --ambient-caps -all,+net_bind_service \
		"$work/podway-edge" run --config "$work/edge/Caddyfile" --adapter caddyfile' >"$work/edge.log" 2>&1 &
pids+=($!)
reach 127.0.0.77 443
grep -E '^(CapEff|NoNewPrivs|Uid)' "/proc/${pids[-1]}/status"
echo "== all done"
