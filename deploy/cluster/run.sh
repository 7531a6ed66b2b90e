#!/usr/bin/env bash
# A real Kubernetes control plane on loopback, for development and tests: etcd, the API server (TLS, token file, RBAC),
# the controllers, the scheduler, and kwok, which plays the kubelets of a few nodes that do not exist. Needs the parts
# etcd, kubernetes and kwok (deploy/parts/build.sh), curl and openssl.
#
#   run.sh check                     say whether this machine can run it, starting nothing
#   run.sh up    [--data D] [--port N] [--nodes N] [--short-history]     run in the foreground until ctrl-c
#   run.sh start [same]              run in the background, return when it answers and its nodes are ready
#   run.sh stop  [--data D]          stop what `start` (or `up`) runs on that data folder
#   run.sh status [--data D]         print the path of its kubeconfig, or exit with 1
#   run.sh stop-api | start-api [--data D]     take the API server alone away from its clients, and bring it back
#   run.sh compact [--data D]        make etcd forget: every resourceVersion so far expires (410 Gone) for watches that
#                                    are not answered from the API server's cache, which --short-history switches off
#
# Writes into the data folder: admin.kubeconfig, and opsbrain.kubeconfig (may read what OpsBrain watches; no secrets).
# Settings by environment, when the flags are not given:
#   OPSBRAIN_CLUSTER_DATA (.cluster in the project), OPSBRAIN_CLUSTER_PORT (6443; etcd takes the two ports above it),
#   OPSBRAIN_CACHE, and KUBEBUILDER_ASSETS: a folder with etcd and kube-apiserver to use in place of ours
# Exit status: 0 done, 1 it did not work, 2 wrong usage.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
parts="$here/../parts/build.sh"
start_timeout_s=60
in_order=(etcd kube-apiserver kube-controller-manager kube-scheduler kwok)

fail() { echo "cluster: $*" >&2; exit 1; }
usage() { echo "cluster: $*; usage: run.sh check|up|start|stop|status|stop-api|start-api|compact [--data DIR] [--port N] [--nodes N] [--short-history]" >&2; exit 2; }

listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

check_machine() {
  local tool why
  for tool in curl openssl setsid; do command -v "$tool" >/dev/null || fail "no '$tool' found; install it"; done
  why="$("$parts" check etcd kubernetes kwok 2>&1 >/dev/null)" || fail "$(sed 's/^parts: //' <<<"$why" | paste -sd ';' | sed 's:;:; :g')"
}

program() { # prints the path of a program
  case "$1" in
    etcd) echo "$("$parts" path etcd)/etcd" ;;
    kwok) echo "$("$parts" path kwok)/kwok" ;;
    *) if [ -x "${KUBEBUILDER_ASSETS:-}/$1" ]; then echo "$KUBEBUILDER_ASSETS/$1"; else echo "$("$parts" path kubernetes)/$1"; fi ;;
  esac
}

# --- what the programs are started with ----------------------------------------------------------------------------

write_keys() { # one key and certificate serve the API server's TLS and sign the service accounts' tokens
  [ -e "$data/server.crt" ] && return
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj /CN=opsbrain-cluster \
    -addext 'subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:kubernetes.default.svc' \
    -keyout "$data/server.key" -out "$data/server.crt.new" >>"$data/openssl.log" 2>&1 || fail "no certificate: $(tail -n 1 "$data/openssl.log")"
  mv "$data/server.crt.new" "$data/server.crt"
}

random_token() { head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n'; }

write_tokens() {
  [ -e "$data/tokens.csv" ] || { echo "$(random_token),admin,admin,system:masters"; echo "$(random_token),opsbrain,opsbrain"; } >"$data/tokens.csv"
  admin_token="$(sed -n 's/,admin,.*//p' "$data/tokens.csv")"
  write_kubeconfig admin "$admin_token"
  write_kubeconfig opsbrain "$(sed -n 's/,opsbrain,.*//p' "$data/tokens.csv")"
}

write_kubeconfig() { # user, token
  cat >"$data/$1.kubeconfig" <<EOF
apiVersion: v1
kind: Config
clusters: [{name: opsbrain, cluster: {server: "https://127.0.0.1:$port", certificate-authority: "$data/server.crt"}}]
users: [{name: $1, user: {token: "$2"}}]
contexts: [{name: opsbrain, context: {cluster: opsbrain, user: $1}}]
current-context: opsbrain
EOF
}

arguments_of() { # prints the arguments of a program, one a line
  case "$1" in
    etcd)
      printf '%s\n' "--data-dir=$data/etcd" --log-level=warn --logger=zap \
        "--listen-client-urls=http://127.0.0.1:$((port + 1))" "--advertise-client-urls=http://127.0.0.1:$((port + 1))" \
        "--listen-peer-urls=http://127.0.0.1:$((port + 2))" "--initial-advertise-peer-urls=http://127.0.0.1:$((port + 2))" \
        "--initial-cluster=default=http://127.0.0.1:$((port + 2))"
      ;;
    kube-apiserver)
      printf '%s\n' "--etcd-servers=http://127.0.0.1:$((port + 1))" --etcd-compaction-interval=0 \
        --bind-address=127.0.0.1 --advertise-address=127.0.0.1 --endpoint-reconciler-type=none "--secure-port=$port" \
        "--tls-cert-file=$data/server.crt" "--tls-private-key-file=$data/server.key" \
        "--token-auth-file=$data/tokens.csv" --authorization-mode=RBAC --anonymous-auth=false \
        --service-account-issuer=https://kubernetes.default.svc "--service-account-key-file=$data/server.crt" \
        "--service-account-signing-key-file=$data/server.key" --service-cluster-ip-range=10.96.0.0/16 \
        --profiling=false --shutdown-send-retry-after=false "--watch-cache=$watch_cache"
      ;;
    kube-controller-manager)
      printf '%s\n' "--kubeconfig=$data/admin.kubeconfig" --leader-elect=false --secure-port=0 --profiling=false \
        "--service-account-private-key-file=$data/server.key" "--root-ca-file=$data/server.crt"
      ;;
    kube-scheduler) printf '%s\n' "--kubeconfig=$data/admin.kubeconfig" --leader-elect=false --secure-port=0 --profiling=false ;;
    kwok) printf '%s\n' "--kubeconfig=$data/admin.kubeconfig" --manage-all-nodes=true --node-lease-duration-seconds=40 ;;
  esac
}

# --- processes -----------------------------------------------------------------------------------------------------

pid_of() { # prints the pid of a program of this data folder, fails when it does not run
  local pid
  pid="$(cat "$data/$1.pid" 2>/dev/null)" && [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null \
    && tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF "=$data/" && echo "$pid"
}

launch() { # program
  local -a arguments
  local path
  path="$(program "$1")"
  mapfile -t arguments < <(arguments_of "$1")
  # Its own session: a ctrl-c in the terminal reaches run.sh, which stops the programs in order.
  setsid "$path" "${arguments[@]}" >>"$data/$1.log" 2>&1 </dev/null &
  local pid=$! i
  disown "$pid"
  echo "$pid" >"$data/$1.pid"
  # Until it has become the program that it is to be, pid_of would take it for another one.
  for ((i = 0; i < 200; i++)); do
    if pid_of "$1" >/dev/null || ! kill -0 "$pid" 2>/dev/null; then return; fi
    sleep 0.01
  done
}

why_it_ended() { echo "$(tail -n 1 "$data/$1.log" 2>/dev/null | cut -c 1-300) (see $data/$1.log)"; }

await() { # what is awaited, program it depends on, command...
  local what="$1" on="$2" i
  shift 2
  for ((i = 0; i < start_timeout_s * 10; i++)); do
    if "$@" >/dev/null 2>&1; then return; fi
    pid_of "$on" >/dev/null || fail "$on ended at start: $(why_it_ended "$on")"
    sleep 0.1
  done
  fail "$what is not there after $start_timeout_s s; see $data/$on.log"
}

end() { # program, seconds it may take for an orderly end
  local pid i
  pid="$(pid_of "$1")" || { rm -f "$data/$1.pid"; return 0; }
  kill -TERM "$pid" 2>/dev/null || true
  for ((i = 0; i < $2 * 20; i++)); do
    kill -0 "$pid" 2>/dev/null || { rm -f "$data/$1.pid"; return 0; }
    sleep 0.05
  done
  kill -KILL "$pid" 2>/dev/null || true
  rm -f "$data/$1.pid"
}

# --- the API -------------------------------------------------------------------------------------------------------

# The token goes in by a file, so that it does not stand in the list of processes.
api() { # method, path [, body]
  local -a body=()
  [ $# -lt 3 ] || body=(--data-binary "$3" -H 'Content-Type: application/yaml')
  curl -sS --fail-with-body --noproxy '*' --max-time 10 --cacert "$data/server.crt" -K <(echo "header = \"Authorization: Bearer $admin_token\"") \
    -X "$1" "${body[@]}" "https://127.0.0.1:$port$2"
}

create() { # path, body; what is already there is left as it is
  local answer
  answer="$(api POST "$1" "$2" 2>&1)" || grep -q AlreadyExists <<<"$answer" || fail "the API server refused $1: $(head -c 300 <<<"$answer")"
}

etcd_call() { curl -sS --fail --noproxy '*' --max-time 10 -d "$2" "http://127.0.0.1:$((port + 1))/v3/kv/$1"; }

node() { # name
  cat <<EOF
apiVersion: v1
kind: Node
metadata: {name: $1, labels: {kubernetes.io/hostname: $1, kubernetes.io/os: linux, kubernetes.io/arch: amd64, type: kwok}}
status:
  capacity: {cpu: "4", memory: 16Gi, pods: "110", ephemeral-storage: 100Gi}
  allocatable: {cpu: "4", memory: 16Gi, pods: "110", ephemeral-storage: 100Gi}
EOF
}

ready_nodes() { [ "$(api GET /api/v1/nodes | tr -d ' \n' | grep -o '"type":"Ready","status":"True"\|"status":"True"[^{}]*"type":"Ready"' | wc -l)" -ge "$nodes" ]; }

# What a pod needs besides a node: made by the controllers, a moment after their start.
pods_can_start() { api GET /api/v1/namespaces/default/serviceaccounts/default; }

# --- commands ------------------------------------------------------------------------------------------------------

prepare() {
  check_machine
  mkdir -p "$data" 2>/dev/null || fail "cannot create the data folder $data"
  chmod 700 "$data"
  [ -e "$data/.gitignore" ] || echo '*' >"$data/.gitignore"
  local name try
  for name in "${in_order[@]}"; do
    if pid_of "$name" >/dev/null; then fail "a cluster already runs on $data; 'run.sh stop --data $data' stops it"; fi
    : >"$data/$name.log"
  done
  for try in "$port" $((port + 1)) $((port + 2)); do
    if listening "$try"; then fail "port $try is in use; stop what listens there or choose another (--port or OPSBRAIN_CLUSTER_PORT)"; fi
  done
  write_keys
  write_tokens
  printf 'port=%s\nnodes=%s\nwatch_cache=%s\n' "$port" "$nodes" "$watch_cache" >"$data/settings"
}

bring_up() {
  prepare
  trap 'end_all >/dev/null 2>&1' EXIT # unless all goes well
  launch etcd
  await "etcd" etcd etcd_call range '{"key":"AA=="}'
  launch kube-apiserver
  await "the API server" kube-apiserver api GET /readyz
  create /apis/rbac.authorization.k8s.io/v1/clusterroles "$(sed -n '1,/^---$/{/^---$/!p}' "$here/reader.yaml")"
  create /apis/rbac.authorization.k8s.io/v1/clusterrolebindings "$(sed '1,/^---$/d' "$here/reader.yaml")"
  launch kube-controller-manager
  launch kube-scheduler
  local i
  for ((i = 1; i <= nodes; i++)); do create /api/v1/nodes "$(node "node-$i")"; done
  launch kwok
  await "a ready node" kwok ready_nodes
  await "the default service account" kube-controller-manager pods_can_start
  trap - EXIT
}

end_all() {
  local -a names=(kwok kube-scheduler kube-controller-manager kube-apiserver etcd)
  local name pid
  for name in "${names[@]:0:4}"; do
    if pid="$(pid_of "$name")"; then kill -TERM "$pid" 2>/dev/null || true; fi
  done
  for name in "${names[@]}"; do end "$name" 5; done
}

running_settings() {
  [ -r "$data/settings" ] || fail "no cluster runs on $data"
  port="$(sed -n 's/^port=//p' "$data/settings")"
  nodes="$(sed -n 's/^nodes=//p' "$data/settings")"
  watch_cache="$(sed -n 's/^watch_cache=//p' "$data/settings")"
  admin_token="$(sed -n 's/,admin,.*//p' "$data/tokens.csv")"
  pid_of etcd >/dev/null || fail "no cluster runs on $data"
}

describe() { echo "cluster: Kubernetes answers at https://127.0.0.1:$port, $nodes nodes (export KUBECONFIG=$data/admin.kubeconfig; $1)"; }

command_up() {
  trap 'end_all; echo "cluster: stopped"; exit 0' INT TERM HUP
  bring_up
  describe "ctrl-c stops it"
  local name
  while sleep 1 & wait $!; do
    for name in "${in_order[@]}"; do
      [ "$name" = kube-apiserver ] || pid_of "$name" >/dev/null || { end_all; fail "$name ended: $(why_it_ended "$name")"; }
    done
  done
}

command_start_api() {
  running_settings
  if pid_of kube-apiserver >/dev/null; then fail "the API server already runs"; fi
  launch kube-apiserver
  await "the API server" kube-apiserver api GET /readyz
}

command_compact() {
  running_settings
  local revision
  revision="$(etcd_call range '{"key":"AA=="}' | sed -n 's/.*"revision":"\([0-9]*\)".*/\1/p')"
  [ -n "$revision" ] || fail "etcd did not say its revision"
  etcd_call compaction "{\"revision\":\"$revision\",\"physical\":true}" >/dev/null || fail "etcd did not compact to revision $revision"
  echo "$revision"
}

is_port() { [[ "$1" =~ ^[0-9]+$ ]] && [ "$1" -ge 1 ] && [ "$1" -le 65533 ]; }

[ $# -ge 1 ] || usage "no command"
command="$1"
shift
data="${OPSBRAIN_CLUSTER_DATA:-$here/../../.cluster}"
port="${OPSBRAIN_CLUSTER_PORT:-6443}"
nodes=3
watch_cache=true
admin_token=""
while [ $# -gt 0 ]; do
  if [ "$1" = --short-history ]; then watch_cache=false; shift; continue; fi
  [ $# -ge 2 ] || usage "'$1' needs a value or is unknown"
  case "$1" in
    --data) data="$2" ;;
    --port) port="$2" ;;
    --nodes) nodes="$2" ;;
    *) usage "unknown option '$1'" ;;
  esac
  shift 2
done
is_port "$port" || usage "port '$port' is not a port number below 65534 (etcd takes the two above it)"
[[ "$nodes" =~ ^[0-9]{1,3}$ ]] || usage "'$nodes' is no number of nodes"
data="$(realpath -m "$data")"
umask 077

case "$command" in
  check) check_machine; echo "cluster: this machine can run it" ;;
  up) command_up ;;
  start) bring_up; describe "'run.sh stop' stops it" ;;
  stop)
    if pid_of etcd >/dev/null || pid_of kube-apiserver >/dev/null || pid_of kwok >/dev/null; then end_all; echo "cluster: stopped"; else echo "cluster: no cluster runs on $data"; fi
    ;;
  status) running_settings; echo "$data/admin.kubeconfig" ;;
  stop-api) running_settings; end kube-apiserver 0 ;;
  start-api) command_start_api ;;
  compact) command_compact ;;
  *) usage "unknown command '$command'" ;;
esac
