"""Fixtures for every room's tests."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Tiny models gain nothing from threads, and lose fortyfold to spinning ones on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# How long an example takes says how busy the machine is.
settings.register_profile("forklock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("forklock")
HERE = Path(__file__).parent
sys.path[:0] = sorted({str(file.parent) for file in HERE.rglob("*.py") if "edit_cases" not in file.parts})
"""What tests of several folders share is imported by its plain name; no two files of the tests have the same."""


@pytest.fixture(scope="session", autouse=True)
def active_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The environment that repos of tests run in unless they have their own: pytest, and nothing of ours. It is active,
    as a user's may be, so that tests with a home of their own need not make a managed one each."""
    from forklock.sandbox.interpreters.managed import managed_environment

    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FORKLOCK_HOME", str(shared / "active"))
        made = managed_environment()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIRTUAL_ENV", str(made))
        yield made


@pytest.fixture(scope="session")
def tiny_model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random two-layer Qwen2 with a byte tokenizer and a chat template (see tests/models/tiny.py)."""
    pytest.importorskip("transformers", reason="the `local` extra is not installed")
    from tiny import make_tiny_model

    return make_tiny_model(tmp_path_factory.mktemp("tiny") / "tiny-qwen2")


@pytest.fixture(scope="session")
def tiny_adapter_dir(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random LoRA for `tiny_model_dir`."""
    pytest.importorskip("peft", reason="the `local` extra is not installed")
    from tiny import make_tiny_adapter

    return make_tiny_adapter(tiny_model_dir, tmp_path_factory.mktemp("adapter") / "v1")


# -- the hostile suite: `make hostile` runs what is marked so, and counts by kind what was tried and what held ---------

HOSTILE_KINDS = {
    "git": "git under a configuration that a repository or a program wrote",
    "state": "logs, settings and runs found in a repository",
    "judge": "candidates that touch what judges them",
    "setup": "environments, grants and set-ups that users have",
    "answers": "answers that are not so",
    "weights": "weights, adapters and model servers",
    "terminal": "foreign text on the terminal",
    "damage": "damaged files, floods and hangs",
    "sandbox": "programs that want out of the sandbox",
    "servers": "language servers that mean harm",
}
"""The kinds of `@pytest.mark.hostile(kind)`; docs/security.md names the promise that each of them tests."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        mark = item.get_closest_marker("hostile")
        if mark is not None:
            if mark.args[0] not in HOSTILE_KINDS:
                raise pytest.UsageError(f"{item.nodeid}: no kind of hostility is called {mark.args[0]!r}")
            item.user_properties.append(("hostile", mark.args[0]))


@pytest.fixture
def tried(request: pytest.FixtureRequest) -> Callable[[int], None]:
    """Call with the number of cases that a hostile test with a generator has tried; without a call it counts as one."""

    def note(count: int) -> None:
        request.node.user_properties.append(("tried", count))

    return note


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    counts = {kind: [0, 0, 0] for kind in HOSTILE_KINDS}
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.stats.get(outcome, []):
            properties = getattr(report, "user_properties", [])
            kind = dict(properties).get("hostile")
            if kind is None or (report.when != "call" and report.passed):
                continue
            cases = sum(value for name, value in properties if name == "tried") or 1
            row = counts[kind]
            row[0] += cases
            row[1] += cases if outcome == "passed" else 0
            row[2] += cases if outcome == "skipped" else 0
    if not any(row[0] for row in counts.values()):
        return
    terminalreporter.section("hostile suite")
    terminalreporter.write_line(f"{'kind':<10}{'tried':>8}{'held':>8}{'skipped':>9}")
    for kind, (attempts, held, skipped) in counts.items():
        if attempts:
            terminalreporter.write_line(
                f"{kind:<10}{attempts:>8}{held:>8}{skipped:>9}  {HOSTILE_KINDS[kind]}"
            )
