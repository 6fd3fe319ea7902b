#!/usr/bin/env bash
# Make the virtual environment and install Forklock with an extra: `setup-python.sh VENV EXTRA [PACKAGE …]`.
# A stamp per extra, keyed on pyproject.toml, makes the second call instant.
set -euo pipefail
venv=$1 extra=$2
shift 2
root=$(cd "$(dirname "$0")/.." && pwd)
stamp="$venv/.forklock-$extra-$(cksum <"$root/pyproject.toml" | cut -d' ' -f1)"
[ -f "$stamp" ] && exit 0

python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
  echo "Forklock needs Python 3.11 or newer; name one with PYTHON=/path/to/python3" >&2
  exit 2
}
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv" || {
  echo "the virtual environment could not be made (Debian and Ubuntu: apt-get install python3-venv)" >&2
  exit 3
}
echo "installing Python packages into $venv (a minute or two; several gigabytes where torch comes with CUDA)"
"$venv/bin/python" -m pip install -q --disable-pip-version-check -e "$root[$extra]" "$@" 2> >(grep -v '^WARNING: Location' >&2)
if [ -x "$venv/bin/pytest" ]; then
  # pytest compiles its plug-ins at their first start, and wherever it may not write, at every start: two seconds.
  empty=$(mktemp -d)
  env -u PYTHONDONTWRITEBYTECODE "$venv/bin/python" -m pytest -q -p no:cacheprovider "$empty" >/dev/null || true
  rmdir "$empty"
fi
touch "$stamp"
