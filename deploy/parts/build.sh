#!/usr/bin/env bash
# The real programs that our tests run against and that no package manager has in the version we want: built once from
# their Go modules into the cache folder, and found again there. Needs Go 1.24+, the first time only.
#
#   build.sh NAME ... | all      build what is not there yet
#   build.sh check NAME ... | all     say whether the parts are at hand, building nothing
#   build.sh path NAME           print the folder that holds the part's programs
#   build.sh list                print the names
#
# Built: collector, prometheus3, kwok, kubernetes. Only looked for (Debian packages): etcd, prometheus2, alertmanager,
# rsyslog, kcat.
# Setting by environment: OPSBRAIN_CACHE ($XDG_CACHE_HOME/opsbrain or ~/.cache/opsbrain)
# Exit status: 0 done, 1 it did not work, 2 wrong usage.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
cache="${OPSBRAIN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/opsbrain}"
built=(collector prometheus3 kwok kubernetes)
debian=(etcd prometheus2 alertmanager rsyslog kcat)
PATH="$PATH:/usr/sbin:/sbin" # where Debian keeps rsyslogd, and where a plain user's PATH does not look

fail() { echo "parts: $*" >&2; exit 1; }
usage() { echo "parts: $*; usage: build.sh NAME ...|all | check NAME ...|all | path NAME | list" >&2; exit 2; }

# --- what each part is ---------------------------------------------------------------------------------------------

version_of() { # name of a built part; the version is written in one place, its go.mod or manifest
  case "$1" in
    collector) sed -n 's/^  version: *//p' "$here/collector/manifest.yaml" ;;
    prometheus3) required_version prometheus3 github.com/prometheus/prometheus ;;
    kwok) required_version kwok sigs.k8s.io/kwok ;;
    kubernetes) required_version kubernetes k8s.io/kubernetes ;;
  esac
}

required_version() { sed -n "s|^require $2 v||p" "$here/$1/go.mod"; }

programs_of() {
  case "$1" in
    collector) echo otelcol ;;
    prometheus3) echo prometheus ;;
    kwok) echo kwok ;;
    kubernetes) echo kube-apiserver kube-controller-manager kube-scheduler ;;
  esac
}

folder_of() { echo "$cache/$1-$(version_of "$1")"; }

# --- building ------------------------------------------------------------------------------------------------------

compile() { # folder of the go.mod, folder for the programs, linker flags, packages: with exactly the modules of go.sum
  (cd "$1" && go build -mod=readonly -trimpath -buildvcs=false -ldflags "-s -w $3" -o "$2/" "${@:4}")
}

build_prometheus3() { # Prometheus 3.N is published to Go as v0.30N
  local minor
  minor="$(version_of prometheus3 | sed 's/^0\.3\([0-9]*\)\.\([0-9]*\)$/\1.\2/; s/^0\([0-9]\)/\1/')"
  compile "$here/prometheus3" "$1" "-X github.com/prometheus/common/version.Version=3.$minor" github.com/prometheus/prometheus/cmd/prometheus
}

build_kwok() { compile "$here/kwok" "$1" "" sigs.k8s.io/kwok/cmd/kwok; }

build_kubernetes() {
  local version flags=k8s.io/component-base/version
  version="$(version_of kubernetes)"
  flags="-X $flags.gitVersion=v$version -X $flags.gitMajor=${version%%.*} -X $flags.gitMinor=$(cut -d. -f2 <<<"$version")"
  compile "$here/kubernetes" "$1" "$flags" k8s.io/kubernetes/cmd/kube-{apiserver,controller-manager,scheduler}
}

# The builder writes a main package from the manifest; our go.mod and go.sum, not a look at the network, say with what
# it is compiled. A changed manifest needs them anew: run the builder on it without --skip-get-modules and keep both.
build_collector() {
  local source="$1/source"
  compile "$here/collector/builder" "$1/tools" "" go.opentelemetry.io/collector/cmd/builder
  sed "s|^dist:|dist:\n  output_path: $source|" "$here/collector/manifest.yaml" >"$1/manifest.yaml"
  "$1/tools/builder" --config "$1/manifest.yaml" --skip-compilation --skip-get-modules
  cp "$here/collector/go.mod" "$here/collector/go.sum" "$source/"
  compile "$source" "$1/made" "" .
  mv "$1/made/"* "$1/otelcol"
  rm -rf "$source" "$1/tools" "$1/made" "$1/manifest.yaml"
}

# Builds into a fresh folder and renames it, so that a build that was cut short is never taken for a whole one.
build() {
  local folder fresh log
  folder="$(folder_of "$1")"
  [ -d "$folder" ] && return
  command -v go >/dev/null || fail "$1: no 'go' found, needed once to build it; install Go 1.24 or newer (https://go.dev/dl)"
  mkdir -p "$cache" 2>/dev/null || fail "cannot create the cache folder $cache; set OPSBRAIN_CACHE"
  fresh="$cache/.$(basename "$folder").$$"
  log="$folder.build.log"
  rm -rf "$fresh"
  mkdir "$fresh"
  echo "parts: building $(basename "$folder"), which takes minutes (log: $log)" >&2
  (set -e; "build_$1" "$fresh") >"$log" 2>&1 </dev/null &
  wait $! || { rm -rf "$fresh"; fail "$1 could not be built: $(tail -n 1 "$log" | cut -c 1-300) (all of it: $log)"; }
  mv -T "$fresh" "$folder" 2>/dev/null || { rm -rf "$fresh"; [ -d "$folder" ] || fail "cannot write $folder"; }
}

# --- looking -------------------------------------------------------------------------------------------------------

why_missing() { # prints why the part cannot be used; nothing when it can
  case "$1" in
    etcd) lacks_program etcd etcd-server ;;
    prometheus2) lacks_program prometheus prometheus ;;
    alertmanager) lacks_program prometheus-alertmanager prometheus-alertmanager ;;
    kcat) lacks_program kcat kcat ;;
    rsyslog) lacks_program rsyslogd "rsyslog rsyslog-kafka" || lacks_module omkafka.so "rsyslog-kafka" ;;
    *) [ -d "$(folder_of "$1")" ] || echo "$1 $(version_of "$1") is not built (build it with: make parts ARGS=$1)" ;;
  esac
}

lacks_program() { # program, packages; fails when the program is there
  if [ "$1" = etcd ] && [ -x "${KUBEBUILDER_ASSETS:-}/etcd" ]; then return 1; fi
  command -v "$1" >/dev/null && return 1
  echo "no '$1' found; on Debian: apt-get install --no-install-recommends $2"
}

lacks_module() { compgen -G "/usr/lib/*/rsyslog/$1" >/dev/null || compgen -G "/usr/lib*/rsyslog/$1" >/dev/null || echo "rsyslog has no $1; on Debian: apt-get install $2"; }

check() {
  local name why status=0
  for name in "$@"; do
    why="$(why_missing "$name" || true)"
    if [ -n "$why" ]; then echo "parts: $why" >&2; status=1; else echo "parts: $name is here ($(where "$name"))"; fi
  done
  return "$status"
}

where() { # prints the folder of the part's programs
  case "$1" in
    etcd) [ -x "${KUBEBUILDER_ASSETS:-}/etcd" ] && echo "$KUBEBUILDER_ASSETS" || folder_of_program etcd ;;
    prometheus2) folder_of_program prometheus ;;
    alertmanager) folder_of_program prometheus-alertmanager ;;
    rsyslog) folder_of_program rsyslogd ;;
    kcat) folder_of_program kcat ;;
    *) folder_of "$1" ;;
  esac
}

folder_of_program() { dirname "$(command -v "$1")"; }

is_name() { [[ " ${built[*]} ${debian[*]} " == *" $1 "* ]]; }

require_names() {
  [ $# -ge 1 ] || usage "no name given"
  local name
  for name in "$@"; do is_name "$name" || usage "no part '$name'; there are ${built[*]} ${debian[*]}"; done
}

[ $# -ge 1 ] || usage "no command"
case "$1" in
  list) printf '%s\n' "${built[@]}" "${debian[@]}" ;;
  check)
    shift
    [ "${1:-}" != all ] || set -- "${built[@]}" "${debian[@]}"
    require_names "$@"
    check "$@"
    ;;
  path)
    [ $# -eq 2 ] || usage "path takes one name"
    require_names "$2"
    check "$2" >/dev/null || exit 1
    where "$2"
    ;;
  *)
    [ "$1" != all ] || set -- "${built[@]}"
    require_names "$@"
    for name in "$@"; do
      if [[ " ${built[*]} " == *" $name "* ]]; then
        build "$name"
      fi
    done
    check "$@"
    ;;
esac
