"""evals: whole agents on repo tasks.

Input: tasks, repositories, an agent. Output: a `TaskResult` each. The agent works on a repository of one commit, so
that it can reach neither the fix nor the hidden tests. When it has finished, its diff and the hidden tests are put onto
a clean copy. Resumable: a task that has a result is not run again.
"""

from __future__ import annotations

import hashlib
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from forklock.agent.contract import AgentFault
from forklock.agent.contract import Outcome as Claim
from forklock.agent.repo import diff_between
from forklock.agent.repo.checkout import Baseline, check_out
from forklock.agent.repo.guard import RunnerRules, changes_of_the_runner
from forklock.evals.agents.process import AGENT_FAILED, filled, run_agent, said_outcome, words_of
from forklock.evals.agents.results import Outcome, RepoStore, TaskResult
from forklock.evals.agents.tasks import RepoTask, find_repository
from forklock.evals.agents.verdicts import Place, judge_diff, result_of, verdict_of
from forklock.models.adapters import AdapterRegistry
from forklock.sandbox import BackendName, SandboxFault, scratch

Role = Literal["none", "reference"]

ROLES: tuple[Role, ...] = ("none", "reference")
"""Agents that control the tasks: one does nothing (it may resolve nothing), one applies the known fix."""

TEST_TIMEOUT_S = 300.0
"""Seconds (wall clock) for the hidden tests of a task."""
_OWN = [str(Path(sys.executable).with_name("agent")), "solve"]
_PLACEHOLDERS = ("{repo}", "{statement}", "{statement_file}", "{test_command}")


@dataclass(frozen=True, slots=True)
class AgentUnderTest:
    """`none`, `reference`, or a command line with placeholders; it runs on this machine with the user's rights."""

    command: str
    timeout_s: float = 1800.0

    def asked(self, task: RepoTask, test_timeout_s: float) -> str:
        """Return the digest of everything that a result depends on, besides the command."""
        words = (task.model_dump_json(), repr(self.timeout_s), repr(test_timeout_s))
        return hashlib.sha256("\x1f".join(words).encode()).hexdigest()[:16]

    def words(self, repo: Path, task: RepoTask, statement_file: Path) -> list[str]:
        """Return the command for one task; no shell is involved.

        Raises:
            EvalFault: it cannot be split into words.
        """
        values = (str(repo), task.problem_statement, str(statement_file), task.command)
        return [
            filled(word, dict(zip(_PLACEHOLDERS, values, strict=True))) for word in words_of(self.command)
        ]


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
    """Run every task that has no result yet.

    A task that has changed is run again, and so is one whose result is an infrastructure error; there the agent runs
    again only if it had not answered.

    Raises:
        EvalFault: a repository is missing (no task is run then), or the agent's command cannot be started.
    """
    left = [task for task in tasks if not store.holds(task, agent.asked(task, test_timeout_s))]
    sources = {task.task_id: find_repository(task, repos) for task in left}
    for task in tasks:
        held = store.results.get(task.task_id)
        if held is None or task.task_id in sources:
            with scratch() as folder:
                asked = agent.asked(task, test_timeout_s)
                place = Place(sources[task.task_id], folder, store.log(task), backend, test_timeout_s)
                earlier = _Answer.again(held) if held is not None and held.asked == asked else None
                held = _one(task, agent, place, earlier).model_copy(update={"asked": asked})
            store.add(held)
        if on_result is not None:
            on_result(held)
    return [store.results[task.task_id] for task in tasks]


@dataclass(frozen=True, slots=True)
class _Answer:
    """What an agent's work produced; the fields are those of `TaskResult`."""

    diff: str
    left_out: tuple[str, ...] = ()
    agent_exit: int | None = None
    agent_s: float = 0.0

    @classmethod
    def again(cls, held: TaskResult) -> _Answer | None:
        """Return the answer in a stored result that is no verdict; None if it is not there to the letter."""
        if not held.diff or "\ufffd" in held.diff:
            return None
        return cls(held.diff, held.left_out, held.agent_exit, held.agent_s)


def _one(task: RepoTask, agent: AgentUnderTest, place: Place, earlier: _Answer | None) -> TaskResult:
    began = time.monotonic()
    try:
        answer = earlier or _answered(task, agent, place)
    except AgentFault as fault:
        return result_of(task, "infrastructure error", fault.message, agent_s=time.monotonic() - began)
    common = asdict(answer)
    if not answer.diff.strip() and agent.command not in ROLES:
        outcome: Outcome = "agent failed" if answer.agent_exit not in (0, 1) else "no change"
        code = answer.agent_exit
        if code == AGENT_FAILED and _is_own(agent):  # the agent's model or sandbox failed
            outcome = "infrastructure error"
        why = "out of time" if code is None else f"exit code {code}, no change; see {place.log}"
        return result_of(task, outcome, why, **common)
    try:
        try:
            result = verdict_of(
                task,
                judge_diff(task, place, answer.diff, "clean", guarded=agent.command not in ROLES),
                common,
                doubted=_is_own(agent) and said_outcome(place.log) == Claim.IN_DOUBT,
            )
        except AgentFault as fault:
            result = result_of(task, "infrastructure error", fault.message, **common)
        if result.right or agent.command in ROLES:
            return result
        return _controlled(task, place, result)
    except (SandboxFault, AgentFault) as fault:
        return result_of(task, "infrastructure error", fault.message, **common)


def _controlled(task: RepoTask, place: Place, result: TaskResult) -> TaskResult:
    """Test the known fix (without one, the unchanged code) to find whose fault a failure is; return the final result.

    If the known fix fails as well, this machine or the record is at fault. If only the answer fails, the answer is at
    fault, even where no test could be started: an answer must not be able to take itself out of the score.
    """
    known = bool(task.patch or task.fix_commit)
    failed = result.outcome == "infrastructure error"
    if not (known or failed):
        return result
    control = judge_diff(task, place, _reference(task, place.source) if known else "", "known")
    found = verdict_of(task, control, {})
    if found.outcome == "infrastructure error" or (known and found.outcome != "resolved"):
        with_what = "with the known fix" if known else "without a change"
        reason = f"not resolved here {with_what} either: {found.reason}"
        return result.model_copy(update={"outcome": "infrastructure error", "reason": reason})
    return result.model_copy(update={"outcome": "not resolved", "right": False}) if failed else result


def _is_own(agent: AgentUnderTest) -> bool:
    return words_of(agent.command)[:2] == _OWN


def _answered(task: RepoTask, agent: AgentUnderTest, place: Place) -> _Answer:
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
    """Return the agent's diff without the hidden tests, and the paths that were left out of it for other reasons."""

    def now(path: str) -> bytes | None:
        return first.now(path)

    changed = [path for path in first.changed() if path not in task.hidden_files]
    rules = RunnerRules.of(task.command, task.hidden_files)
    left_out = changes_of_the_runner(changed, first.as_at_first, now, rules)
    return first.diff(without=(*task.hidden_files, *left_out)), left_out


def _run_agent(agent: AgentUnderTest, work: Path, task: RepoTask, statement: Path, log: Path) -> int | None:
    """Run the agent; return its exit code, None if it ran out of time. Its whole process group ends with it."""
    statement.write_text(task.problem_statement, encoding="utf-8")
    words = agent.words(work, task, statement)
    fix = "give --agent a command line, `none` or `reference`"
    return run_agent(words, work, log, agent.timeout_s, stderr=subprocess.STDOUT, fix=fix)


def _reference(task: RepoTask, source: Path) -> str:
    """Return the known fix without its tests."""
    if task.patch:
        return task.patch
    if task.fix_commit is None:
        raise AgentFault(f"{task.task_id} has no reference solution")
    return diff_between(source, task.base_commit, task.fix_commit, without=task.hidden_files)


def forklock_command(
    model: str, adapter: str = "current", flags: str = "", *, statements: bool = False
) -> str:
    """Return our own agent as a command: in place, with the statement as its task and no failing check.

    The command names the adapter that serves now, so that results of different adapters are never mixed.

    Args:
        flags: further flags of `agent solve`, as on a command line.
        statements: the agent gets the statement alone, and writes its own tests; they are not part of its change.

    Raises:
        EvalFault: the flags cannot be split into words.
    """
    version = AdapterRegistry().current_version(model) if adapter == "current" else adapter
    check = (
        ["--write-test", "always", "--no-keep-test"]
        if statements
        else ["--test", "{test_command}", "--unverified"]
    )
    own = [*_OWN, "{statement}", "--repo", "{repo}", *check]
    chosen = [] if version is None else ["--adapter", version]
    taken = ["--in-place", "--accept-doubt", "--json"]  # a change in doubt is judged, and counted by itself
    return shlex.join([*own, "--model", model, *chosen, *taken, *words_of(flags)])
