# `make demo` and `make test` set up everything that they need.
VENV ?= .venv
export VENV

.PHONY: help demo test test-fast lint types contracts check clean

help:
	@echo "make demo        from nothing to a solved bug (BUG=name, MODEL=name, WIDTH=n)"
	@echo "make test        set up and run all tests, real weights and servers included"
	@echo "make test-fast   the tests that need no weights and few seconds each"
	@echo "make check       lint, types and import contracts"
	@echo "make clean       remove the environment and the demo's repositories"

demo:
	@scripts/demo.sh

test:
	@scripts/test.sh all

test-fast:
	@scripts/test.sh fast

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

clean:
	rm -rf $(VENV) .demo
