#!/usr/bin/env bash
# A single real Apache Kafka broker (KRaft) on loopback, for development and tests. Needs Java 17+ and, the first time, Maven.
#
#   run.sh check                     say whether this machine can run it, starting nothing
#   run.sh jars                      fetch the jars into the cache folder, once
#   run.sh up    [--data D] [--port N] [--controller-port N] [--more F]     run in the foreground until ctrl-c;
#                F holds properties that are added to the broker's, as listeners with TLS
#   run.sh start [same]              run in the background, return when it listens
#   run.sh stop  [--data D]          stop what `start` (or `up`) runs on that data folder
#   run.sh status [--data D]         print the address of the running broker, or exit with 1
#
# Settings by environment, when the flags are not given:
#   OPSBRAIN_KAFKA_DATA (.kafka in the project), OPSBRAIN_KAFKA_PORT (9092), OPSBRAIN_KAFKA_CONTROLLER_PORT (port + 1),
#   OPSBRAIN_KAFKA_HEAP (512m), OPSBRAIN_CACHE ($XDG_CACHE_HOME/opsbrain or ~/.cache/opsbrain)
# Exit status: 0 done, 1 it did not work, 2 wrong usage.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
version="$(sed -n 's:.*<kafka.version>\(.*\)</kafka.version>.*:\1:p' "$here/pom.xml")"
cache="${OPSBRAIN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/opsbrain}"
jars="$cache/kafka-$version"
start_timeout_s=60

fail() { echo "kafka: $*" >&2; exit 1; }
usage() { echo "kafka: $*; usage: run.sh check|jars|up|start|stop|status [--data DIR] [--port N] [--controller-port N] [--more FILE]" >&2; exit 2; }

listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

find_java() {
  java_bin="${JAVA_HOME:+$JAVA_HOME/bin/}java"
  command -v "$java_bin" >/dev/null || fail "no 'java' found; install a Java 17 runtime (Debian: openjdk-17-jre-headless) or set JAVA_HOME"
  local major
  major="$("$java_bin" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1)"
  [ "${major:-0}" -ge 17 ] || fail "'$java_bin' is Java ${major:-of unknown version}; Kafka $version needs Java 17 or newer (set JAVA_HOME)"
}

check_machine() {
  find_java
  [ -d "$jars" ] || command -v mvn >/dev/null || fail "no 'mvn' found, needed once to fetch Kafka $version; install Maven (Debian: maven)"
}

# Copies into a fresh folder and renames it, so that a fetch that was cut short is never taken for a whole one.
fetch_jars() {
  [ -d "$jars" ] && return
  mkdir -p "$cache" 2>/dev/null || fail "cannot create the cache folder $cache; set OPSBRAIN_CACHE"
  local fresh="$cache/.kafka-$version.$$"
  rm -rf "$fresh"
  echo "kafka: fetching Kafka $version into $jars" >&2
  mvn -q -B -f "$here/pom.xml" -Dmaven.repo.local="$cache/m2" org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
      -DoutputDirectory="$fresh" -DincludeScope=runtime >"$cache/kafka-$version.mvn.log" 2>&1 </dev/null \
    || { rm -rf "$fresh"; fail "Maven could not fetch the jars: $(grep -m 1 ERROR "$cache/kafka-$version.mvn.log" | cut -c 1-300) (all of it: $cache/kafka-$version.mvn.log)"; }
  mv -T "$fresh" "$jars" 2>/dev/null || { rm -rf "$fresh"; [ -d "$jars" ] || fail "cannot write $jars"; }
}

java_run() { # what: main class and arguments
  exec "$java_bin" -cp "$jars/*" -Xms128m -Xmx"${OPSBRAIN_KAFKA_HEAP:-512m}" -XX:+UseG1GC -Djava.awt.headless=true \
    -Dlog4j2.configurationFile="$here/log4j2.properties" -Dopsbrain.kafka.log="$data/server.log" "$@"
}

running_pid() { # prints the pid of the broker on $data, fails when there is none
  local pid
  pid="$(cat "$data/pid" 2>/dev/null)" && [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null \
    && tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF "$data/server.properties" && echo "$pid"
}

prepare() {
  check_machine
  fetch_jars
  mkdir -p "$data" 2>/dev/null || fail "cannot create the data folder $data"
  [ -e "$data/.gitignore" ] || echo '*' >"$data/.gitignore"
  local pid
  if pid="$(running_pid)"; then fail "a broker already runs on $data (pid $pid); 'run.sh stop --data $data' stops it"; fi
  listening "$port" && fail "port $port is in use; stop what listens there or choose another (--port or OPSBRAIN_KAFKA_PORT)"
  listening "$controller_port" && fail "controller port $controller_port is in use; choose another (--controller-port or OPSBRAIN_KAFKA_CONTROLLER_PORT)"
  sed -e "s|@PORT@|$port|g" -e "s|@CONTROLLER_PORT@|$controller_port|g" -e "s|@DATA@|$data|g" \
    "$here/server.properties.in" >"$data/server.properties"
  [ -z "$more" ] || cat "$more" >>"$data/server.properties" || fail "cannot read $more"
  : >"$data/out.log"
  if [ ! -e "$data/log.dirs/meta.properties" ]; then
    local id # sixteen random bytes as Kafka writes them; the letter in front because an id may not begin with a dash
    id="A$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | cut -c 2-22)"
    (java_run kafka.tools.StorageTool format --cluster-id "$id" --config "$data/server.properties") >>"$data/out.log" 2>&1 </dev/null \
      || fail "formatting $data failed: $(tail -n 1 "$data/out.log")"
  fi
  rm -f "$data/server.log"
}

await_ready() { # pid of the broker
  local i
  for ((i = 0; i < start_timeout_s * 10; i++)); do
    kill -0 "$1" 2>/dev/null || fail "the broker ended at start: $(why_it_ended)"
    if grep -q 'Kafka Server started' "$data/server.log" 2>/dev/null; then return; fi
    sleep 0.1
  done
  kill "$1" 2>/dev/null || true
  fail "the broker did not start within $start_timeout_s s; see $data/server.log"
}

why_it_ended() {
  echo "$(grep -h -m 1 -E ' (ERROR|FATAL) |Exception' "$data/server.log" "$data/out.log" 2>/dev/null | cut -c 1-300) (see $data/server.log)"
}

launch() {
  # Its own session: a ctrl-c in the terminal reaches run.sh, which stops the broker in order.
  setsid bash -c "$(declare -f java_run); java_run kafka.Kafka \"\$data/server.properties\"" >>"$data/out.log" 2>&1 </dev/null &
  broker=$!
  echo "$broker" >"$data/pid"
}

command_up() {
  prepare
  launch
  trap 'kill -TERM "$broker" 2>/dev/null || true' INT TERM HUP
  await_ready "$broker"
  echo "kafka: $version listens on 127.0.0.1:$port (data: $data; ctrl-c stops it)"
  local status=0
  wait "$broker" || status=$?
  # A trapped signal ends the first wait early; the second one waits for the broker's own orderly end.
  if kill -0 "$broker" 2>/dev/null; then wait "$broker" || status=$?; fi
  rm -f "$data/pid"
  case "$status" in 0 | 130 | 143) exit 0 ;; *) fail "the broker ended with status $status: $(why_it_ended)" ;; esac
}

command_start() {
  prepare
  launch
  await_ready "$broker"
  echo "kafka: $version listens on 127.0.0.1:$port (data: $data; 'run.sh stop' stops it)"
}

command_stop() {
  local pid i
  pid="$(running_pid)" || { echo "kafka: no broker runs on $data"; return; }
  kill -TERM "$pid"
  for ((i = 0; i < 300; i++)); do
    if ! kill -0 "$pid" 2>/dev/null; then rm -f "$data/pid"; echo "kafka: stopped"; return; fi
    sleep 0.1
  done
  fail "the broker (pid $pid) did not stop within 30 s"
}

command_status() {
  running_pid >/dev/null || fail "no broker runs on $data"
  sed -n 's|^advertised.listeners=PLAINTEXT://||p' "$data/server.properties"
}

is_port() { [[ "$1" =~ ^[0-9]+$ ]] && [ "$1" -ge 1 ] && [ "$1" -le 65535 ]; }

[ $# -ge 1 ] || usage "no command"
command="$1"
shift
data="${OPSBRAIN_KAFKA_DATA:-$here/../../.kafka}"
port="${OPSBRAIN_KAFKA_PORT:-9092}"
controller_port="${OPSBRAIN_KAFKA_CONTROLLER_PORT:-}"
more=""
while [ $# -gt 0 ]; do
  [ $# -ge 2 ] || usage "'$1' needs a value or is unknown"
  case "$1" in
    --data) data="$2" ;;
    --port) port="$2" ;;
    --controller-port) controller_port="$2" ;;
    --more) more="$2" ;;
    *) usage "unknown option '$1'" ;;
  esac
  shift 2
done
is_port "$port" || usage "port '$port' is not a port number"
controller_port="${controller_port:-$((port + 1))}"
is_port "$controller_port" || usage "controller port '$controller_port' is not a port number"
data="$(realpath -m "$data")"
export here version jars data more java_bin=""

case "$command" in
  check) check_machine; echo "kafka: this machine can run Kafka $version" ;;
  jars) check_machine; fetch_jars; echo "kafka: jars of $version are in $jars" ;;
  up) command_up ;;
  start) command_start ;;
  stop) command_stop ;;
  status) command_status ;;
  *) usage "unknown command '$command'" ;;
esac
