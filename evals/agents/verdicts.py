"""evals: the verdict on an agent's diff: the hidden tests on a clean copy of the repository, in a sandbox.

Input: a task, its repository and a diff. Output: a `TrialReport` of the tests, and a `TaskResult` from it.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from forklock.agent.repo import apply_diff, file_at
from forklock.agent.repo.checkout import TrialReport, check_out, try_command
from forklock.agent.repo.guard import RunnerRules, RunnerState
from forklock.evals.agents.results import Outcome, TaskResult
from forklock.evals.agents.tasks import RepoTask
from forklock.sandbox import BackendName

_UNITTEST = re.compile(r"(?P<name>[^\s()]+) \((?P<owner>[^\s()]+)\)")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a task is worked on."""

    source: Path
    """The task's repository."""
    folder: Path
    """A temporary folder for copies of it."""
    log: Path
    backend: BackendName
    test_timeout_s: float


def judge_diff(task: RepoTask, place: Place, diff: str, name: str, *, guarded: bool = False) -> TrialReport:
    """Run the hidden tests on a clean copy with `diff`, in a sandbox.

    Args:
        name: of the copy, a folder in `place.folder`.
        guarded: whether everything that decides how tests run is restored after the diff, however it was changed.

    Raises:
        AgentFault: the commit is missing, or the diff does not apply.
        SandboxFault: there is no sandbox.
    """
    folder = place.folder / name
    check_out(place.source, task.base_commit, folder)
    state = RunnerState.of(folder, RunnerRules.of(task.command, task.hidden_files)) if guarded else None
    if diff.strip():
        apply_diff(folder, diff, may_lead_out=True)
    if state is not None:
        state.restore()
    for path in task.test_files if task.fix_commit else ():
        target = folder / path
        _unlink_links(folder, target)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file_at(place.source, task.fix_commit or "", path))
    if not task.test_files and task.test_patch:
        apply_diff(folder, task.test_patch, may_lead_out=True)
    own = state is None or state.own_plugins
    return try_command(
        folder, task.command, backend=place.backend, timeout_s=place.test_timeout_s, own_plugins=own
    )


def _unlink_links(root: Path, target: Path) -> None:
    """Make room for a hidden test: a diff may have put a link or a file on its path, or a folder in its place.

    This goes from the top down, so that no link is followed.
    """
    for step in reversed([target, *target.parents]):
        if not step.is_relative_to(root) or step == root:
            continue
        if step.is_symlink() or (step != target and step.is_file()):
            step.unlink()
        elif step == target and step.is_dir():
            shutil.rmtree(step)


def verdict_of(
    task: RepoTask, report: TrialReport, common: Mapping[str, object], *, doubted: bool = False
) -> TaskResult:
    """Return the result that a report of the hidden tests makes; `common` are further fields of it.

    Args:
        doubted: the agent says that its change may be wrong.
    """
    fixed = tuple(test for test in task.fail_to_pass if passes(test, report))
    broken = tuple(test for test in task.pass_to_pass if not passes(test, report))
    common = {**common, "test_s": report.wall_s}
    if not report.ran:
        return result_of(task, "infrastructure error", report.output[-300:], **common)
    done = len(fixed) == len(task.fail_to_pass) and not broken
    outcome: Outcome = "in doubt" if doubted else "resolved" if done else "not resolved"
    return result_of(
        task, outcome, "" if done else _reason(task, report, fixed, broken), right=done, fixed=fixed, broken=broken,
        **common,
    )  # fmt: skip


def passes(test: str, report: TrialReport) -> bool:
    """Return whether a record's test passed: all reported tests that its id stands for."""
    named = stands_for(test, (*report.passed, *report.reasons))
    return bool(named) and all(name in report.passed for name in named)


def _reason(task: RepoTask, report: TrialReport, fixed: Sequence[str], broken: Sequence[str]) -> str:
    if not report.passed:
        return f"{report.status}: {report.output.strip()[-300:]}"
    left = broken or [test for test in task.fail_to_pass if test not in fixed]
    failed = stands_for(left[0], report.reasons)
    reason = report.reasons[failed[0]] if failed else "the runner reported no test of this name"
    return f"{'broken: ' if broken else ''}{', '.join(left[:3])}: {reason}"


def result_of(
    task: RepoTask, outcome: Outcome, reason: str, *, diff: object = "", **more: object
) -> TaskResult:
    """Make a result of a task; `more` are its other fields."""
    # A diff may hold any bytes, a result holds text.
    more["diff"] = str(diff).encode(errors="surrogateescape").decode(errors="replace")
    return TaskResult.model_validate(
        {
            "task_id": task.task_id, "repo": task.repo, "difficulty": task.difficulty, "outcome": outcome,
            "reason": reason, "to_fix": len(task.fail_to_pass), "to_keep": len(task.pass_to_pass), **more,
        }
    )  # fmt: skip


def stands_for(test: str, reported: Iterable[str]) -> list[str]:
    """Return the reported tests that a record's id names: the test of that id, else all that the id may be cut from.

    Records were made from the output of a runner, so their ids are not always those that a runner reports. SWE-bench's
    parser kept the first word of a line, which cuts `test[a b]` to `test[a`; others cut at " - "; unittest prints
    `test (package.Class)`.
    """
    names = list(reported)
    for exact in _spellings(test):
        if exact in names:
            return [exact]
    cuts = [f"{test} - "]
    if "[" in test:  # only parameters have spaces
        cuts.append(f"{test} ")
    return [name for name in names if name.startswith(tuple(cuts))]


def _spellings(test: str) -> list[str]:
    """Return the id as it is, and as unittest reports it."""
    found = _UNITTEST.fullmatch(test)
    if found is None:
        return [test]
    name, owner = found["name"], found["owner"]
    return [test, f"{owner}.{name}", owner] if owner.endswith(f".{name}") else [test, f"{owner}.{name}"]
