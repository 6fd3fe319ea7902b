"""Finds out what a repository's suite is worth, before any bug: stable tests, what they reach, and the splits.

In: a sandbox on a copy of the repository, and its test command. Out: a `Ground`. The suite runs three times, each in a
fork: a test that ever fails is excluded, by name. Then it runs once more, traced: which test enters which function.
Runners that cannot be traced (all but pytest) get no such map; each of their tests may reach everything.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from forklock.sandbox import Sandbox
from forklock.selfdistill.tasks.contract import Ground, TaskFault, digest_of
from forklock.tools.behaviour.ask import target_at
from forklock.tools.contract import TestReport, TestStatus
from forklock.tools.frozen.find import frozen_of
from forklock.tools.frozen.frozen import Judge
from forklock.tools.index.files import all_files, code_files, is_test_path
from forklock.tools.languages.known import LANGUAGES, symbols
from forklock.tools.testing.repeat import Repeated, run_repeatedly
from forklock.tools.testing.spectrum import Spectrum, trace_suite

SUITE_S = 900.0
"""Seconds for one run of the suite, at most."""
TEST_S = 20.0
"""Seconds for one test, at most."""
TIMES = 3
_NOT_RUN = (TestStatus.NOT_STARTED, TestStatus.NOT_COLLECTED, TestStatus.TIMED_OUT, TestStatus.OUT_OF_MEMORY)


@dataclass(frozen=True, slots=True)
class Suite:
    """The command that runs all tests, where, and the commit that the state is based on."""

    command: str
    cwd: str
    commit: str


def tree_digest(root: Path, suite: Suite) -> str:
    """Return the digest of a state: all files that count, and the command."""
    whole = hashlib.sha256()
    for path in sorted(all_files(root)):
        try:
            whole.update(
                f"{path}\0".encode("utf-8", "surrogateescape")
                + hashlib.sha256((root / path).read_bytes()).digest()
            )
        except OSError:
            continue
    return digest_of(whole.hexdigest(), suite.command, suite.cwd)


def survey(base: Sandbox, suite: Suite, digest: str, say: Callable[[str], None]) -> Ground:
    """Run the suite and make the ground; its splits are drawn elsewhere.

    Raises:
        TaskFault: the suite does not run, reports no single tests, or none passes.
        ToolFault: the command cannot be understood.
        SandboxFault: the sandbox failed.
    """
    say(f"suite: running `{suite.command}` {TIMES} times")
    found = run_repeatedly(
        base, suite.command, times=TIMES, timeout_s=SUITE_S, test_timeout_s=TEST_S, cwd=suite.cwd
    )
    first = found.reports[0]
    _require_tests(first, suite)
    stable = sorted(frozenset.intersection(*(report.passed for report in found.reports)))
    excluded = _excluded(found, set(stable))
    if not stable:
        raise TaskFault(
            f"no test of `{suite.command}` passes",
            fix="make the suite green, or name another one with --test",
        )
    say(
        f"suite: {len(stable)} tests pass each time, {len(excluded)} are excluded; {first.wall_s:.1f} s a run"
    )
    frozen = frozen_of(base.root, [Judge(suite.command, first, suite.cwd)])
    held = tuple(path for path in code_files(base.root, *LANGUAGES) if frozen.holds(path) is not None)
    say("suite: tracing which test enters which function")
    with base.fork() as fork:
        spectrum = trace_suite(fork, suite.command, timeout_s=SUITE_S, cwd=suite.cwd)
    traced = spectrum is not None and bool(spectrum.traces)
    reach = (
        _reach(base.root, spectrum, stable)
        if spectrum is not None and traced
        else _everything(base.root, held)
    )
    reach = {label: tests for label, tests in reach.items() if label.partition(":")[0] not in held}
    if not reach:
        raise TaskFault(
            "the tests enter no function of the repository's own", fix="name the suite with --test"
        )
    return Ground(
        digest=digest, commit=suite.commit, command=suite.command, cwd=suite.cwd, tests=tuple(stable),
        excluded=excluded, frozen=held, traced=traced, reach=reach, split={}, seconds=first.wall_s,
    )  # fmt: skip


def _require_tests(report: TestReport, suite: Suite) -> None:
    if report.status in _NOT_RUN:
        said = report.output.strip()[-400:]
        raise TaskFault(
            f"`{suite.command}` did not run: {report.status.value}. {said}",
            fix="try the command in the repository yourself, or name another one with --test",
        )
    if not report.total:
        raise TaskFault(
            f"`{suite.command}` reports no single tests, so tasks cannot be told apart",
            fix="give a command of a known runner with --test, such as 'python -m pytest -q'",
        )


def _excluded(found: Repeated, stable: set[str]) -> dict[str, str]:
    seen = {test for report in found.reports for test in report.passed} | set(found.failed)
    flaky = set(found.flaky)
    return {
        test: "passes only sometimes" if test in flaky or not found.failed[test] else "fails"
        for test in sorted(seen - stable)
    }


def _reach(root: Path, spectrum: Spectrum, stable: list[str]) -> dict[str, tuple[int, ...]]:
    """Return the tests that enter each function outside the tests' own files."""
    number = {test: index for index, test in enumerate(stable)}
    labels: dict[tuple[str, int], str | None] = {}
    reach: dict[str, set[int]] = defaultdict(set)
    for trace in spectrum.traces:
        index = number.get(trace.test_id)
        for path, lines in trace.entered.items() if index is not None else ():
            for line in lines:
                if (path, line) not in labels:
                    target = target_at(root, path, line)
                    labels[path, line] = target.label if target is not None else None
                label = labels[path, line]
                if label is not None and index is not None:
                    reach[label].add(index)
    return {label: tuple(sorted(tests)) for label, tests in sorted(reach.items())}


def _everything(root: Path, held: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    return {label: () for path in code_files(root, *LANGUAGES) if path not in held and not is_test_path(path)
            for label in _functions(root, path)}  # fmt: skip


def _functions(root: Path, path: str) -> Iterator[str]:
    try:
        text = (root / path).read_text("utf-8")
    except (OSError, ValueError):
        return
    yield from (f"{path}:{s.name_path}" for s in symbols(path, text) if s.kind in ("function", "method"))
