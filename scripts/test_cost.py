"""Run tests in one process and print the processor seconds they take: `test_cost.py tests/agent [words for pytest]`.

Processor time (our own and that of the child processes that we waited for) is comparable on a busy machine, where the
wall clock is not. Tests that run side by side pay the line "import and collect" once per worker. Processes that outlive
their test, and those of a Docker engine, are not counted.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Generator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHOWN = 40
"""Lines of the tables of files and of tests."""


def processor_seconds() -> float:
    """Processor time of this process, of all children that it has waited for, and of the tests' warm Python's."""
    warm = sys.modules.get("warm")
    return sum(os.times()[:4]) + (
        warm.warm_python().cpu_s if warm and warm.warm_python.cache_info().currsize else 0.0
    )


class Cost:
    """Pytest plug-in that adds up processor seconds by test and phase."""

    def __init__(self) -> None:
        self.collected: float | None = None
        self.spent: Counter[str] = Counter()
        self.phases: Counter[str] = Counter()

    def pytest_collection_finish(self) -> None:
        self.collected = processor_seconds()

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None]:
        yield from self._timed(item, "setup")

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None]:
        yield from self._timed(item, "call")

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None]:
        yield from self._timed(item, "teardown")

    def _timed(self, item: pytest.Item, phase: str) -> Generator[None]:
        began = processor_seconds()
        yield
        seconds = processor_seconds() - began
        self.spent[item.nodeid] += seconds
        self.phases[phase] += seconds

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        files: Counter[str] = Counter()
        for name, seconds in self.spent.items():
            files[name.split("::", 1)[0]] += seconds
        terminalreporter.section("processor seconds")
        rows = [
            ("import and collect", self.collected or 0.0),
            *self.phases.items(),
            ("all", processor_seconds()),
        ]
        for name, seconds in [*rows, *files.most_common(SHOWN), *self.spent.most_common(SHOWN)]:
            terminalreporter.write_line(f"{seconds:8.2f}  {name}")


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(pytest.main(["-q", "-p", "no:randomly", *sys.argv[1:]], plugins=[Cost()]))
