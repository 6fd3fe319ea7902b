#!/usr/bin/env bash
# Set everything up and run all tests: fast ones, real weights, real servers, real sandboxes.
# `test.sh fast` leaves out what needs real weights, the vLLM environment or many seconds, `test.sh real` the rest. More
# words go to pytest; `test.sh only WORDS` gives pytest nothing else; `test.sh prepare` sets up and runs none. WORKERS
# tests run side by side (most of them wait); weights, and tests that look at the whole machine, run alone.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
venv=${VENV:-.venv}
which=${1:-all}
shift || true
unset PYTHONDONTWRITEBYTECODE  # else each of thousands of processes compiles what it imports

scripts/setup-system.sh test
scripts/setup-python.sh "$venv" dev
export PATH="$root/$venv/bin:$PATH"
for server in typescript gopls rust-analyzer; do
  tools servers --install "$server" || echo "$server could not be installed; its tests will be skipped, loudly" >&2
done
if docker info >/dev/null 2>&1; then agent sandbox build; fi
if [ "$which" = prepare ]; then exit; fi
pytest=(python -m pytest -q --durations=15)
side_by_side=(-n "${WORKERS:-3}" --dist worksteal)
if [ "$which" = only ]; then exec "${pytest[@]}" "${side_by_side[@]}" "$@"; fi
alone="real or vllm or alone"
case $which in
  fast) chosen="not ($alone or slow)" ;;
  real) chosen="slow and not ($alone)" ;;
  *) chosen="not ($alone)" ;;
esac
weights() {
  agent models pull smollm2-135m && agent models pull qwen2.5-coder-0.5b && agent engines install vllm
}
status=0
if [ "$which" != fast ]; then
  weights >/dev/null 2>&1 &  # minutes, where they are not there yet
  fetching=$!
  renice -n 10 -p "$fetching" >/dev/null
  trap 'kill "$fetching" 2>/dev/null || true' EXIT
fi
"${pytest[@]}" "${side_by_side[@]}" -m "$chosen" "$@" || status=$?
if [ "$which" != fast ]; then
  wait "$fetching" || true
  trap - EXIT  # its number may be another's now
  weights  # what went wrong is said now
  "${pytest[@]}" -m "$alone" "$@" || status=$?
fi
exit $status
