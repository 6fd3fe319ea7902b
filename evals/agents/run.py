"""evals: whole agents on repo tasks.

In: tasks, repositories, an agent. Out: a `TaskResult` each. The agent works on a repository of one commit, so
that neither the fix nor the hidden tests are in reach; these go onto a clean copy with the agent's diff when it
has finished. Resumable: a task that has a result is not run again.
"""

from __future__ import annotations

import hashlib
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from agent.contract import AgentFault
from agent.repo import apply_diff, diff_between, file_at
from agent.trial import (
    Baseline,
    RunnerRules,
    RunnerState,
    TrialReport,
    changes_of_the_runner,
    check_out,
    try_command,
)
from evals.agents.ids import stands_for
from evals.agents.process import AGENT_FAILED, run_agent, words_of
from evals.agents.results import Outcome, RepoStore, TaskResult
from evals.agents.tasks import RepoTask, find_repository
from models.adapters import AdapterRegistry
from sandbox import BackendName, SandboxFault, scratch

Role = Literal["none", "reference"]

ROLES: tuple[Role, ...] = ("none", "reference")
"""Agents that control the tasks: one that does nothing (nothing may be resolved), one that knows the fix."""

TEST_TIMEOUT_S = 300.0
"""Seconds (wall clock) for the hidden tests of a task."""
_OWN = [str(Path(sys.executable).with_name("agent")), "solve"]
_PLACES = ("{repo}", "{statement}", "{statement_file}", "{test_command}")


@dataclass(frozen=True, slots=True)
class AgentUnderTest:
    """`none`, `reference`, or a command line with places to fill in; it runs on this machine as you do."""

    command: str
    timeout_s: float = 1800.0

    def asked(self, task: RepoTask, test_timeout_s: float) -> str:
        """Digest of all that a result depends on, beside the command."""
        words = (task.model_dump_json(), repr(self.timeout_s), repr(test_timeout_s))
        return hashlib.sha256("\x1f".join(words).encode()).hexdigest()[:16]

    def words(self, repo: Path, task: RepoTask, statement_file: Path) -> list[str]:
        """The command for one task; no shell is involved.

        Raises:
            EvalFault: it cannot be split into words.
        """
        values = (str(repo), task.problem_statement, str(statement_file), task.command)
        return [_filled(word, dict(zip(_PLACES, values, strict=True))) for word in words_of(self.command)]


def _filled(word: str, values: dict[str, str]) -> str:
    for place, value in values.items():
        if place in word:  # one place a word: what is filled in is not looked at again
            return word.replace(place, value)
    return word


def run_tasks(
    tasks: Sequence[RepoTask],
    agent: AgentUnderTest,
    store: RepoStore,
    *,
    repos: Path | None,
    backend: BackendName = "auto",
    test_timeout_s: float = TEST_TIMEOUT_S,
    on_result: Callable[[TaskResult], None] | None = None,
) -> list[TaskResult]:
    """Run every task that has no result yet; an infrastructure error is none and is tried again (the agent only if
    it had not answered), and so is a task that has changed.

    Raises:
        EvalFault: a repository is missing (before any task is run), or the agent's command cannot be started.
    """
    left = [task for task in tasks if not store.holds(task, agent.asked(task, test_timeout_s))]
    sources = {task.task_id: find_repository(task, repos) for task in left}
    for task in tasks:
        held = store.results.get(task.task_id)
        if held is None or task.task_id in sources:
            with scratch() as folder:
                asked = agent.asked(task, test_timeout_s)
                place = _Place(sources[task.task_id], folder, store.log(task), backend, test_timeout_s)
                earlier = _Answer.again(held) if held is not None and held.asked == asked else None
                held = _one(task, agent, place, earlier).model_copy(update={"asked": asked})
            store.add(held)
        if on_result is not None:
            on_result(held)
    return [store.results[task.task_id] for task in tasks]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a task is worked on."""

    source: Path
    folder: Path
    log: Path
    backend: BackendName
    test_timeout_s: float

    def judged(self, task: RepoTask, diff: str, name: str, *, guarded: bool = False) -> TrialReport:
        return judge_diff(
            task,
            self.source,
            diff,
            self.folder / name,
            backend=self.backend,
            timeout_s=self.test_timeout_s,
            guarded=guarded,
        )


@dataclass(frozen=True, slots=True)
class _Answer:
    """What came of an agent's work; the fields are those of `TaskResult`."""

    diff: str
    left_out: tuple[str, ...] = ()
    agent_exit: int | None = None
    agent_s: float = 0.0

    @classmethod
    def again(cls, held: TaskResult) -> _Answer | None:
        """The answer of a result that is no verdict, if it is there to the letter."""
        if not held.diff or "\ufffd" in held.diff:
            return None
        return cls(held.diff, held.left_out, held.agent_exit, held.agent_s)


def _one(task: RepoTask, agent: AgentUnderTest, place: _Place, earlier: _Answer | None) -> TaskResult:
    began = time.monotonic()
    try:
        answer = earlier or _answered(task, agent, place)
    except AgentFault as fault:
        return _result(task, "infrastructure error", fault.message, agent_s=time.monotonic() - began)
    common = asdict(answer)
    if not answer.diff.strip() and agent.command not in ROLES:
        outcome: Outcome = "agent failed" if answer.agent_exit not in (0, 1) else "no change"
        code = answer.agent_exit
        if code == AGENT_FAILED and words_of(agent.command)[:2] == _OWN:  # its model or its sandbox failed
            outcome = "infrastructure error"
        why = "out of time" if code is None else f"exit code {code}, no change; see {place.log}"
        return _result(task, outcome, why, **common)
    try:
        try:
            result = _verdict(
                task, place.judged(task, answer.diff, "clean", guarded=agent.command not in ROLES), common
            )
        except AgentFault as fault:
            result = _result(task, "infrastructure error", fault.message, **common)
        if result.outcome == "resolved" or agent.command in ROLES:
            return result
        return _controlled(task, place, result)
    except (SandboxFault, AgentFault) as fault:
        return _result(task, "infrastructure error", fault.message, **common)


def _controlled(task: RepoTask, place: _Place, result: TaskResult) -> TaskResult:
    """The same result, once the known fix (without one: the unchanged code) shows whose fault it is.

    What fails with the known fix as well is this machine's or the record's fault. What fails with the answer alone is
    the answer's, also where no test could be started: an answer must not be able to take itself out of the score.
    """
    known = bool(task.patch or task.fix_commit)
    failed = result.outcome == "infrastructure error"
    if not (known or failed):
        return result
    control = place.judged(task, _reference(task, place.source) if known else "", "known")
    found = _verdict(task, control, {})
    if found.outcome == "infrastructure error" or (known and found.outcome != "resolved"):
        with_what = "with the known fix" if known else "without a change"
        reason = f"not resolved here {with_what} either: {found.reason}"
        return result.model_copy(update={"outcome": "infrastructure error", "reason": reason})
    return result.model_copy(update={"outcome": "not resolved"}) if failed else result


def _answered(task: RepoTask, agent: AgentUnderTest, place: _Place) -> _Answer:
    if agent.command == "none":
        return _Answer("")
    if agent.command == "reference":
        return _Answer(_reference(task, place.source))
    began, work = time.monotonic(), place.folder / "work"
    check_out(place.source, task.base_commit, work)
    with scratch() as kept:
        first = Baseline(work, kept / "first")
        code = _run_agent(agent, work, task, place.folder / "statement.md", place.log)
        diff, left_out = _changes(task, first)
    return _Answer(diff, tuple(left_out), code, time.monotonic() - began)


def _changes(task: RepoTask, first: Baseline) -> tuple[str, list[str]]:
    """The agent's diff, and what was left out of it, the hidden tests aside."""

    def now(path: str) -> bytes | None:
        return first.now(path)

    changed = [path for path in first.changed() if path not in task.hidden_files]
    rules = RunnerRules.of(task.command, task.hidden_files)
    left_out = changes_of_the_runner(changed, first.as_at_first, now, rules)
    return first.diff(without=(*task.hidden_files, *left_out)), left_out


def _run_agent(agent: AgentUnderTest, work: Path, task: RepoTask, statement: Path, log: Path) -> int | None:
    """Exit code of the agent, None if it ran out of time; its whole process group ends with it."""
    statement.write_text(task.problem_statement, encoding="utf-8")
    words = agent.words(work, task, statement)
    fix = "give --agent a command line, `none` or `reference`"
    return run_agent(words, work, log, agent.timeout_s, stderr=subprocess.STDOUT, fix=fix)


def _reference(task: RepoTask, source: Path) -> str:
    """The known fix without its tests."""
    if task.patch:
        return task.patch
    if task.fix_commit is None:
        raise AgentFault(f"{task.task_id} has no reference solution")
    return diff_between(source, task.base_commit, task.fix_commit, without=task.hidden_files)


def judge_diff(
    task: RepoTask,
    source: Path,
    diff: str,
    folder: Path,
    *,
    backend: BackendName,
    timeout_s: float,
    guarded: bool = False,
) -> TrialReport:
    """The hidden tests on a clean copy with `diff`, in a sandbox.

    Args:
        guarded: whatever runs tests is put back as the repository had it, whichever way it was changed.

    Raises:
        AgentFault: the commit is missing, or the diff does not apply.
        SandboxFault: no sandbox.
    """
    check_out(source, task.base_commit, folder)
    state = RunnerState.of(folder, RunnerRules.of(task.command, task.hidden_files)) if guarded else None
    if diff.strip():
        apply_diff(folder, diff, may_lead_out=True)
    if state is not None:
        state.restore()
    for path in task.test_files if task.fix_commit else ():
        target = folder / path
        _unlink_links(folder, target)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file_at(source, task.fix_commit or "", path))
    if not task.test_files and task.test_patch:
        apply_diff(folder, task.test_patch, may_lead_out=True)
    own = state is None or state.own_plugins
    return try_command(folder, task.command, backend=backend, timeout_s=timeout_s, own_plugins=own)


def _unlink_links(root: Path, target: Path) -> None:
    """Make room for a hidden test: a diff may have put a link or a file on the way to it, or a folder in its place.

    From the top down, so that no link is followed.
    """
    for step in reversed([target, *target.parents]):
        if not step.is_relative_to(root) or step == root:
            continue
        if step.is_symlink() or (step != target and step.is_file()):
            step.unlink()
        elif step == target and step.is_dir():
            shutil.rmtree(step)


def _verdict(task: RepoTask, report: TrialReport, common: Mapping[str, object]) -> TaskResult:
    fixed = tuple(test for test in task.fail_to_pass if _passes(test, report))
    broken = tuple(test for test in task.pass_to_pass if not _passes(test, report))
    common = {**common, "test_s": report.wall_s}
    if not report.ran:
        return _result(task, "infrastructure error", report.output[-300:], **common)
    done = len(fixed) == len(task.fail_to_pass) and not broken
    return _result(
        task, "resolved" if done else "not resolved", "" if done else _why(task, report, fixed, broken),
        fixed=fixed, broken=broken, **common,
    )  # fmt: skip


def _passes(test: str, report: TrialReport) -> bool:
    """Whether a record's test passed: all reported tests that its id stands for."""
    named = stands_for(test, (*report.passed, *report.reasons))
    return bool(named) and all(name in report.passed for name in named)


def _why(task: RepoTask, report: TrialReport, fixed: Sequence[str], broken: Sequence[str]) -> str:
    if not report.passed:
        return f"{report.status}: {report.output.strip()[-300:]}"
    left = broken or [test for test in task.fail_to_pass if test not in fixed]
    failed = stands_for(left[0], report.reasons)
    said = report.reasons[failed[0]] if failed else "the runner reported no test of this name"
    return f"{'broken: ' if broken else ''}{', '.join(left[:3])}: {said}"


def _result(
    task: RepoTask, outcome: Outcome, reason: str, *, diff: object = "", **more: object
) -> TaskResult:
    # A diff may hold any bytes, a result holds text.
    more["diff"] = str(diff).encode(errors="surrogateescape").decode(errors="replace")
    return TaskResult.model_validate(
        {
            "task_id": task.task_id, "repo": task.repo, "difficulty": task.difficulty, "outcome": outcome,
            "reason": reason, "to_fix": len(task.fail_to_pass), "to_keep": len(task.pass_to_pass), **more,
        }
    )  # fmt: skip


def forklock_command(model: str, adapter: str = "current", flags: str = "") -> str:
    """Our own agent as a command: in place, the statement as its task, no failing check known. The adapter that
    serves now is named, so that results of another are never taken for its.

    Args:
        flags: more of `agent solve`, as on a command line.

    Raises:
        EvalFault: they cannot be split into words.
    """
    version = AdapterRegistry().current_version(model) if adapter == "current" else adapter
    own = [*_OWN, "{statement}", "--repo", "{repo}", "--test", "{test_command}", "--unverified"]
    chosen = [] if version is None else ["--adapter", version]
    return shlex.join([*own, "--model", model, *chosen, "--in-place", *words_of(flags)])
