#!/usr/bin/env bash
# From nothing to a repaired bug: environment, sandbox, model, a repository with a seeded bug, `agent solve`.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
bug=${BUG:-forgotten-names} model=${MODEL:-qwen2.5-coder-0.5b} width=${WIDTH:-16} venv=${VENV:-.venv}

scripts/setup-system.sh sandbox
scripts/setup-python.sh "$venv" local "pytest>=8.3"
export PATH="$root/$venv/bin:$PATH"
[ -d "$model" ] || agent models pull "$model"

repo=".demo/$bug"
rm -rf "$repo"
python examples/make_bug.py "$bug" "$repo"
echo
python examples/make_bug.py "$bug" --print-task
status=0
agent solve "$(python examples/make_bug.py "$bug" --print-task)" --repo "$repo" \
  --test "$(python examples/make_bug.py "$bug" --print-test)" --model "$model" --width "$width" || status=$?
case $status in
  0) echo; echo "Take it:  agent apply last --repo $repo   (agent is in $venv/bin)" ;;
  1) echo; echo "Not solved, or in doubt (see above). Other bugs: python examples/make_bug.py --list; then make demo BUG=name" ;;
esac
# An honest negative is a valid end of a demo; trouble is not.
[ "$status" -le 1 ]
