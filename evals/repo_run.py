"""evals: whole agents on repo tasks.

In: tasks, repositories, an agent. Out: a `TaskResult` each. The agent works on a repository of one commit, so
that neither the fix nor the hidden tests are in reach; these go onto a clean copy with the agent's diff when it
has finished. Resumable: a task that has a result is not run again.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from agent.contract import AgentFault
from agent.repo import apply_diff, git
from agent.trial import TrialReport, changes, check_out, file_at, try_command
from evals.agent_process import run_agent
from evals.contract import EvalFault
from evals.repo_tasks import RepoTask, find_repository
from evals.store import runs_dir, write_atomically
from sandbox import BackendName, SandboxFault

Outcome = Literal["resolved", "not resolved", "no change", "agent failed", "infrastructure error"]
Role = Literal["none", "reference"]

ROLES: tuple[Role, ...] = ("none", "reference")
"""Agents that control the tasks: one that does nothing (nothing may be resolved), one that knows the fix."""

_PLACES = ("{repo}", "{statement}", "{statement_file}", "{test_command}")


class TaskResult(BaseModel):
    """How one task went."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task_id: str
    repo: str
    difficulty: str
    outcome: Outcome
    reason: str = ""
    fixed: tuple[str, ...] = ()
    """Of FAIL_TO_PASS, those that pass now."""
    to_fix: int
    broken: tuple[str, ...] = ()
    """Of PASS_TO_PASS, those that do not pass now."""
    to_keep: int
    diff: str = ""
    agent_exit: int | None = None
    agent_s: float = 0.0
    test_s: float = 0.0


@dataclass(frozen=True, slots=True)
class AgentUnderTest:
    """`none`, `reference`, or a command line with places to fill in; it runs on this machine as you do."""

    command: str
    timeout_s: float = 1800.0

    def words(self, repo: Path, task: RepoTask, statement_file: Path) -> list[str]:
        """The command for one task; no shell is involved.

        Raises:
            EvalFault: it cannot be split into words.
        """
        values = (str(repo), task.problem_statement, str(statement_file), task.command)
        try:
            words = shlex.split(self.command)
        except ValueError as error:
            raise EvalFault(f"--agent {self.command!r}: {error}", fix="close the quotes") from error
        return [_filled(word, dict(zip(_PLACES, values, strict=True))) for word in words]


def _filled(word: str, values: dict[str, str]) -> str:
    for place, value in values.items():
        if place in word:  # one place a word: what is filled in is not looked at again
            return word.replace(place, value)
    return word


class RepoStore:
    """Results of one agent on disk, a line each, flushed; a torn last line is dropped."""

    def __init__(self, agent: AgentUnderTest, root: Path | None = None) -> None:
        digest = hashlib.sha256(agent.command.encode()).hexdigest()[:8]
        first = Path(agent.command.split()[0]).name if agent.command.split() else "agent"
        self.folder = (root or runs_dir().parent / "repo-evals") / f"{first}-{digest}"
        (self.folder / "logs").mkdir(parents=True, exist_ok=True)
        write_atomically(self.folder / "agent.json", json.dumps({"command": agent.command}))
        self.results = {result.task_id: result for result in self._read()}

    def add(self, result: TaskResult) -> None:
        self.results[result.task_id] = result
        with (self.folder / "results.jsonl").open("a", encoding="utf-8") as file:
            file.write(result.model_dump_json() + "\n")

    def log(self, task: RepoTask) -> Path:
        return self.folder / "logs" / f"{task.task_id}.txt"

    def _read(self) -> list[TaskResult]:
        path = self.folder / "results.jsonl"
        if not path.exists():
            return []
        data = path.read_bytes()
        whole, torn = data[: data.rfind(b"\n") + 1], data[data.rfind(b"\n") + 1 :]
        if torn:
            with path.open("r+b") as file:
                file.truncate(len(whole))
        try:
            return [TaskResult.model_validate_json(line) for line in whole.splitlines()]
        except ValidationError as error:
            raise EvalFault(f"{path} is damaged", fix="remove it: its tasks are run again") from error


def run_tasks(
    tasks: Sequence[RepoTask],
    agent: AgentUnderTest,
    store: RepoStore,
    *,
    repos: Path | None,
    backend: BackendName = "auto",
    test_timeout_s: float = 300.0,
    on_result: Callable[[TaskResult], None] | None = None,
) -> list[TaskResult]:
    """Run every task that has no result yet; an infrastructure error is none and is tried again.

    Raises:
        EvalFault: a repository is missing, or the agent's command cannot be started.
    """
    for task in tasks:
        held = store.results.get(task.task_id)
        if held is None or held.outcome == "infrastructure error":
            source = find_repository(task, repos)
            with tempfile.TemporaryDirectory(prefix="forklock-task-") as folder:
                held = _one(task, agent, source, Path(folder), store.log(task), backend, test_timeout_s)
            store.add(held)
        if on_result is not None:
            on_result(held)
    return [store.results[task.task_id] for task in tasks]


def _one(
    task: RepoTask,
    agent: AgentUnderTest,
    source: Path,
    folder: Path,
    log: Path,
    backend: BackendName,
    test_timeout_s: float,
) -> TaskResult:
    began = time.monotonic()
    exit_code: int | None = None
    try:
        work = folder / "work"
        check_out(source, task.base_commit, work)
        if agent.command == "reference":
            diff = _reference(task, source)
        else:
            if agent.command != "none":
                exit_code = _run_agent(agent, work, task, folder / "statement.md", log)
            diff = changes(work, without=task.hidden_files)
    except AgentFault as fault:
        return _result(task, "infrastructure error", fault.message, agent_s=time.monotonic() - began)
    agent_s = time.monotonic() - began
    if not diff.strip() and agent.command not in ROLES:
        outcome: Outcome = "agent failed" if exit_code not in (0, 1) else "no change"
        why = "out of time" if exit_code is None else f"exit code {exit_code}, no change; see {log}"
        return _result(task, outcome, why, agent_exit=exit_code, agent_s=agent_s)
    try:
        report = judge_diff(task, source, diff, folder / "clean", backend=backend, timeout_s=test_timeout_s)
    except (SandboxFault, AgentFault) as fault:
        return _result(
            task, "infrastructure error", fault.message, diff=diff, agent_exit=exit_code, agent_s=agent_s
        )
    return _verdict(task, report, diff, exit_code, agent_s)


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
    skip = [f":(exclude,literal){path}" for path in task.hidden_files]
    words = ("diff", "--no-ext-diff", "--no-textconv", "--binary", task.base_commit, task.fix_commit)
    return git(source, *words, "--", ".", *skip).decode(errors="surrogateescape")


def judge_diff(
    task: RepoTask, source: Path, diff: str, folder: Path, *, backend: BackendName, timeout_s: float
) -> TrialReport:
    """The hidden tests on a clean copy with `diff`, in a sandbox.

    Raises:
        AgentFault: the commit is missing, or the diff does not apply.
        SandboxFault: no sandbox.
    """
    check_out(source, task.base_commit, folder)
    if diff.strip():
        apply_diff(folder, diff)
    for path in task.test_files if task.fix_commit else ():
        target = folder / path
        _unlink_links(folder, target)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file_at(source, task.fix_commit or "", path))
    if not task.test_files and task.test_patch:
        apply_diff(folder, task.test_patch)
    return try_command(folder, task.command, backend=backend, timeout_s=timeout_s)


def _unlink_links(root: Path, target: Path) -> None:
    """A diff may have put symbolic links on the way to a hidden test: nothing is written through them."""
    for step in [target, *target.parents]:
        if step == root:
            return
        if step.is_symlink() or (step == target and step.is_dir()):
            shutil.rmtree(step) if step.is_dir() and not step.is_symlink() else step.unlink()


def _verdict(
    task: RepoTask, report: TrialReport, diff: str, exit_code: int | None, agent_s: float
) -> TaskResult:
    fixed = tuple(test for test in task.fail_to_pass if _passes(test, report))
    broken = tuple(test for test in task.pass_to_pass if not _passes(test, report))
    common = {"diff": diff, "agent_exit": exit_code, "agent_s": agent_s, "test_s": report.wall_s}
    if not report.ran:
        return _result(task, "infrastructure error", report.output[-300:], **common)
    done = len(fixed) == len(task.fail_to_pass) and not broken
    return _result(
        task, "resolved" if done else "not resolved", "" if done else _why(task, report, fixed, broken),
        fixed=fixed, broken=broken, **common,
    )  # fmt: skip


def _passes(test: str, report: TrialReport) -> bool:
    """Records made from pytest's summary lines (`PASSED id - reason`) have ids cut at " - ": such a one stands for
    all tests that begin so."""
    if test in report.passed:
        return True
    begun = [name for name in (*report.passed, *report.reasons) if name.startswith(f"{test} - ")]
    return bool(begun) and all(name in report.passed for name in begun)


def _why(task: RepoTask, report: TrialReport, fixed: Sequence[str], broken: Sequence[str]) -> str:
    if not report.passed:
        return f"{report.status}: {report.output.strip()[-300:]}"
    if broken:
        return f"broken: {', '.join(broken[:3])}"
    left = [test for test in task.fail_to_pass if test not in fixed]
    return f"{left[0]}: {report.reasons.get(left[0], 'did not run')}"


def _result(task: RepoTask, outcome: Outcome, reason: str, **more: object) -> TaskResult:
    return TaskResult.model_validate(
        {
            "task_id": task.task_id, "repo": task.repo, "difficulty": task.difficulty, "outcome": outcome,
            "reason": reason, "to_fix": len(task.fail_to_pass), "to_keep": len(task.pass_to_pass), **more,
        }
    )  # fmt: skip


def forklock_command(model: str) -> str:
    """Our own agent as a command: in place, the statement as its task, no failing check known."""
    agent = Path(sys.executable).with_name("agent")
    own = [str(agent), "solve", "{statement}", "--repo", "{repo}", "--test", "{test_command}", "--unverified"]
    return shlex.join([*own, "--model", model, "--in-place"])
