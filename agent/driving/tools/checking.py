"""Runs the task's check on a rollout, and says in words what it found.

A rollout may add tests. They are part of its change, and judge nothing: while the check runs they are put aside.
Whatever else judges has to be as the base has it, or the check is not run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from forklock.agent.asking.prompts import failure_text
from forklock.agent.driving.tools.context import Context
from forklock.agent.driving.tools.excerpts import cut_line
from forklock.agent.judging.guard import Cheated, Check, Guard
from forklock.agent.log.shown.words import fell
from forklock.sandbox.linux.nofollow import folder_of, remove_inside
from forklock.tools.contract import TestReport, TestStatus
from forklock.tools.frozen import broken_seals
from forklock.tools.frozen.runner_files import is_runner_file
from forklock.tools.index.files import is_test_path, text_inside
from forklock.tools.languages.text import line_at, to_lf
from forklock.tools.testing.run import compare, is_solved

QUICK_S = 10.0
"""A check that took less than this on the untouched workspace is run after each edit (seconds)."""
_NAMED = 5


def is_quick(check: Check) -> bool:
    """Tell whether the check is run after each edit."""
    return check.before.wall_s < QUICK_S and check.before.status is not TestStatus.TIMED_OUT


def judge(context: Context, check: Check | None = None) -> TestReport | str:
    """Run a check (default: the task's) on the rollout as it is; or return what was tampered with.

    Raises:
        SandboxFault: the sandbox failed.
    """
    if check is None and context.judged is not None and context.judged[0] == context.version:
        return context.judged[1]
    found = _judged(context, check or context.check)
    if check is None:
        context.judged = (context.version, found)
    return found


def _judged(context: Context, check: Check) -> TestReport | str:
    with context.forked() as fork:
        if context.guard is None:
            return check.run(fork)
        for path in context.aside:
            with contextlib.suppress(OSError, ValueError), folder_of(fork.root, path) as (folder, name):
                remove_inside(folder, name)
        try:
            return context.guard.run(fork, check)
        except Cheated as cheated:
            return str(cheated)


def _built(path: str) -> bool:
    return PurePosixPath(path).parent.name == "__pycache__"


def is_new_test(guard: Guard, path: str) -> bool:
    """Tell whether a file that the base does not have may be made as a test of the rollout's own."""
    return (
        path not in guard.seal
        and is_test_path(path)
        and not is_runner_file(path)
        and guard.frozen.displaced(path) is None
    )


def tampered(context: Context) -> dict[str, str]:
    """Look at the workspace after a command: return what is not as it was among all that judges, new tests aside.

    Returns:
        What became of it, by path.
    """
    guard = context.guard
    if guard is None:
        return {}
    broken = broken_seals(guard.seal, guard.sealer.take(context.root))
    made = {
        path
        for path, what in broken.items()
        if what == "was made" and (is_new_test(guard, path) or _built(path))
    }
    found = {path: what for path, what in broken.items() if path not in made}
    if not found:
        context.aside = made
    return found


def note_tests(context: Context, wrote: Iterable[str]) -> None:
    """Take note of tests that an edit made."""
    if context.guard is not None:
        context.aside.update(path for path in wrote if is_new_test(context.guard, path))


def own_tests(context: Context) -> tuple[str, ...]:
    """Return the test files that the rollout made, sorted."""
    there = (path for path in context.aside if not _built(path) and (context.root / path).is_file())
    return tuple(sorted(there))


# --- words -----------------------------------------------------------------------------------------


def passes(check: Check, report: TestReport | str) -> bool:
    """Tell whether the check says that the task is solved."""
    return isinstance(report, TestReport) and is_solved(check.before, report)


def explain(check: Check, report: TestReport | str, root: Path, *, whole: bool = False) -> str:
    """Say what a check found: which tests pass now, what broke, and the first failure in plain words.

    Args:
        root: the workspace that was checked.
        whole: with the first failures as the runner prints them.
    """
    name = f"check `{check.command}`"
    if isinstance(report, str):
        return f"{name}: not run: {report}"
    if is_solved(check.before, report):
        return f"{name}: passes ({_tests(len(report.passed))})"
    change = compare(check.before, report)
    rows = [f"{name}: {_counted(check.before, report)}"]
    rows += _names("pass now", change.fixed) + _names("passed before, fail now", change.broken)
    if report.status is TestStatus.PASSED and change.still_failing:
        rows += _names("were to pass, and did not run", change.still_failing)
    elif whole:
        rows.append(failure_text(report))
    else:
        rows.append(f"first failure: {_first(root, report)}")
    return "\n".join(rows)


def _first(root: Path, report: TestReport) -> str:
    """Say which assertion failed first, and where it stands."""
    words = fell("tests", failure_text(report))
    frames = report.failures[0].frames if report.failures else ()
    if not frames:
        return words
    text = text_inside(root, frames[-1].path) or ""
    line = line_at(to_lf(text), frames[-1].line).strip()
    place = f"{frames[-1].path}:{frames[-1].line}"
    return f"{words}, at {place}" + (f": {cut_line(line, 160)}" if line and line not in words else "")


def _counted(before: TestReport, report: TestReport) -> str:
    if not report.total:
        return report.status.value
    was = f" ({len(before.passed)} before)" if before.total else ""
    ended = "" if report.status in (TestStatus.PASSED, TestStatus.FAILED) else f"{report.status.value}, "
    return f"{ended}{len(report.passed)} of {report.total} tests pass{was}"


def _tests(count: int) -> str:
    return "1 test" if count == 1 else f"{count} tests"


def _names(what: str, tests: tuple[str, ...]) -> list[str]:
    if not tests:
        return []
    more = f" and {len(tests) - _NAMED} more" if len(tests) > _NAMED else ""
    return [f"{what}: {', '.join(tests[:_NAMED])}{more}"]
