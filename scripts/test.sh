#!/usr/bin/env bash
# Set everything up and run all tests: fast ones, real weights, real servers, real sandboxes.
# `test.sh fast` leaves out what needs real weights or the vLLM environment. More words go to pytest.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
venv=${VENV:-.venv}
which=${1:-all}
shift || true

scripts/setup-system.sh test
scripts/setup-python.sh "$venv" dev
export PATH="$root/$venv/bin:$PATH"
if docker info >/dev/null 2>&1; then agent sandbox build; fi
if [ "$which" = fast ]; then
  exec python -m pytest -q -m "not real and not vllm" "$@"
fi
agent models pull smollm2-135m
agent models pull qwen2.5-coder-0.5b
agent engines install vllm
exec python -m pytest -q "$@"
