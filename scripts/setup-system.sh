#!/usr/bin/env bash
# Install what Forklock needs from the system: `setup-system.sh sandbox` (a working sandbox, for use and the
# demo) or `setup-system.sh test` (everything that the tests drive: bubblewrap, a Docker engine, debootstrap, Go, Ruby).
# Installs with apt-get where it may (root, or sudo without a password); elsewhere it says what to install.
set -euo pipefail
goal=${1:-sandbox}

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then as_root=(sudo); else as_root=(false); fi
fi

install() {
  local missing=()
  for package in "$@"; do dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package"); done
  [ ${#missing[@]} -eq 0 ] && return 0
  if ! command -v apt-get >/dev/null || [ "${as_root[*]}" = false ]; then
    echo "please install: ${missing[*]} (on Debian or Ubuntu: apt-get install ${missing[*]})" >&2
    return 1
  fi
  echo "installing system packages: ${missing[*]}"
  "${as_root[@]}" apt-get update -qq
  DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

bubblewrap_works() { bwrap --unshare-all --ro-bind / / --dev /dev --proc /proc true 2>/dev/null; }
docker_answers() { docker info >/dev/null 2>&1; }

start_docker() {
  docker_answers && return 0
  [ "$(id -u)" -eq 0 ] || { echo "no Docker engine answers; its tests will be skipped, loudly" >&2; return 0; }
  echo "starting a Docker engine"
  nohup dockerd >/var/log/forklock-dockerd.log 2>&1 </dev/null &
  for _ in $(seq 60); do docker_answers && return 0; sleep 0.5; done
  echo "the Docker engine did not start; see /var/log/forklock-dockerd.log" >&2
  return 1
}

case $goal in
  sandbox) bubblewrap_works || docker_answers || install bubblewrap ;;
  test)
    install git bubblewrap docker.io iptables debootstrap golang-go ruby ruby-minitest
    start_docker
    ;;
  *) echo "usage: $0 sandbox|test" >&2; exit 2 ;;
esac
