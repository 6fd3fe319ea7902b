"""Weigh the evidence for candidates that pass: run original and candidates on further inputs, and choose.

In: the original in a sandbox, the commands that test it, and the diffs of the candidates. Out: a `Weighed`. All
versions answer the inputs that the repository's tests use, and variants of them, in the sandbox
(`forklock.tools.behaviour`). Where behaviour cannot be compared (other languages and runners), the text and the
model's samples decide.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from forklock.agent.contract import AgentFault
from forklock.agent.judging.choice import Choice, Passing, choose, groups_of
from forklock.agent.judging.pins import Doubt, Memory, doubt_of, rivals
from forklock.agent.judging.signs import special_value, tricks
from forklock.agent.log import RunEnded, RunLog, RunStarted
from forklock.agent.repo import apply_diff, copy_workspace
from forklock.models.paths import cache_dir
from forklock.sandbox import BackendName, Sandbox, open_sandbox, workspace_policy
from forklock.tools.behaviour.ask import Behaviour, Plan, Target, ask, plan, target_at
from forklock.tools.behaviour.compare import compare_behaviour
from forklock.tools.contract import ToolFault
from forklock.tools.edits.hunks import all_hunks_of
from forklock.tools.languages.known import symbols

_AGREE = 2
"""Different programs that agree against a mutant settle it, unless the mutant changes less than they do."""
_SUITE_S = 300.0
"""Seconds for one run of the suite in `agent compare`, at most."""


@dataclass(frozen=True, slots=True)
class Presented:
    """A passing candidate as it is presented for the verdict."""

    name: str
    diff: str
    """Against the original."""
    samples: int = 1
    """Samples that wrote this program."""


@dataclass(frozen=True, slots=True)
class Suite:
    """A command that runs tests, and the folder below the workspace that it runs in."""

    command: str
    cwd: str = "."


@dataclass(frozen=True, slots=True)
class Question:
    """What the candidates are to solve, and how much time there is."""

    statement: str
    suites: tuple[Suite, ...]
    """Commands that run the failing tests and further ones."""
    failing: frozenset[str]
    """Ids of the failing tests, as far as their runner reports them."""
    seconds: float
    """For one run of the tests of one version."""


@dataclass(frozen=True, slots=True)
class Weighed:
    """The choice, and what it rests on."""

    choice: Choice
    passing: tuple[Passing, ...]


def weigh(
    original: Sandbox, question: Question, candidates: Sequence[Presented], memory: Memory | None = None
) -> Weighed:
    """Compare candidates with the original and with each other. The smaller change comes first where all else is equal.

    Args:
        memory: what earlier verdicts of the run have found out; it is added to.

    Raises:
        SandboxFault: the sandbox failed.
    """
    ordered = sorted(candidates, key=lambda one: (-one.samples, len(one.diff)))
    memory = memory or Memory()
    plans = plans_of(original, question, [one.diff for one in ordered], memory)
    before, asked = _behaviours(original, question, ordered, plans, memory)
    failing = question.failing | (before.failed if before else frozenset())
    tests = _test_sources(original.root, failing)
    passing = []
    for one in ordered:
        after = asked.get(one.name)
        compared = (
            compare_behaviour(before, after, failing) if before is not None and after is not None else None
        )
        texts = list(_texts(original.root, one.diff))
        passing.append(
            Passing(
                one.name, after, compared if compared and compared.asked else None, tricks(one.diff, texts),
                special_value(one.diff, texts, tests, question.statement), one.samples,
            )
        )  # fmt: skip
    if before is not None:
        diffs = {one.name: one.diff for one in ordered}
        passing = _with_rivals(original, question, plans, before, passing, diffs, memory)
    return Weighed(choose(passing), tuple(passing))


def _with_rivals(
    original: Sandbox, question: Question, plans: tuple[Plan, ...], before: Behaviour, passing: list[Passing],
    diffs: Mapping[str, str], memory: Memory,
) -> list[Passing]:  # fmt: skip
    """The candidates, each with the mutant that speaks against it. Candidates that agree share one: what is told of
    the answers of one holds for all."""
    failing = question.failing | before.failed
    found: dict[str, Doubt] = {}
    for group in groups_of([one for one in passing if not one.suspect and one.comparison]):
        best = group[0]
        assert best.behaviour is not None
        key = (plans, diffs[best.name])
        if key not in memory.rivals:
            memory.rivals[key] = rivals(original, key[1], plans, best.behaviour, failing)
        doubt = doubt_of(before, memory.rivals[key])
        if doubt is not None and (doubt.smaller or len(group) < _AGREE):
            found |= {one.name: doubt for one in group}
    return [replace(one, unpinned=found.get(one.name)) for one in passing]


def _behaviours(
    original: Sandbox,
    question: Question,
    candidates: Sequence[Presented],
    plans: tuple[Plan, ...],
    memory: Memory,
) -> tuple[Behaviour | None, dict[str, Behaviour]]:
    """How the original and each candidate behave; None where that cannot be told."""
    if not plans:
        return None, {}
    versions: list[tuple[str, str]] = [("", ""), *((one.name, one.diff) for one in candidates)]

    def asked(version: tuple[str, str]) -> Behaviour | None:
        key = (plans, version[1])
        if key not in memory.behaviours:
            memory.behaviours[key] = _asked(original, plans, version[1], question.seconds)
        return memory.behaviours[key]

    with ThreadPoolExecutor(max_workers=min(len(versions), os.cpu_count() or 1)) as pool:
        found = dict(zip([name for name, _ in versions], pool.map(asked, versions), strict=True))
    return found.pop(""), {name: one for name, one in found.items() if one is not None}


def plans_of(original: Sandbox, question: Question, diffs: Sequence[str], memory: Memory) -> tuple[Plan, ...]:
    """What to ask of the functions that diffs change: one plan for each suite whose tests reach them."""
    changed: dict[Target, None] = {}
    for diff in diffs:
        for path, line in _changed_lines(diff):
            target = target_at(original.root, path, line)
            if target is not None:
                changed[target] = None
    targets = tuple(sorted(changed, key=lambda one: one.label))
    found: list[Plan] = []
    for suite in reversed(question.suites if targets else ()):
        key = (suite.command, suite.cwd, targets)
        if key not in memory.plans:
            memory.plans[key] = _plan(original, suite, targets, question.seconds)
        made = memory.plans[key]
        # The whole suite comes first, and mostly holds the check: nothing is asked twice.
        if made is not None and not any(set(made.tests) <= set(one.tests) for one in found):
            found.append(made)
    return tuple(reversed(found))


def _plan(original: Sandbox, suite: Suite, changed: tuple[Target, ...], seconds: float) -> Plan | None:
    with original.fork() as fork:
        try:
            return plan(fork, suite.command, changed, timeout_s=seconds, cwd=suite.cwd)
        except ToolFault:
            return None


def _asked(original: Sandbox, plans: Sequence[Plan], diff: str, seconds: float) -> Behaviour | None:
    whole: Behaviour | None = None
    for one in plans:
        with original.fork() as fork:
            if diff:
                apply_diff(fork.root, diff)
            found = ask(fork, one, timeout_s=seconds)
        if found is not None:
            whole = found if whole is None else whole.joined(found)
    return whole


def _texts(root: Path, diff: str) -> Iterator[str]:
    """The changed files as they were."""
    for path in dict.fromkeys(path for path, _ in _changed_lines(diff)):
        try:
            yield (root / path).read_text("utf-8", errors="replace")
        except OSError:
            continue


def _test_sources(root: Path, failing: frozenset[str]) -> list[str]:
    """The source of the failing tests, as far as their ids name files and functions."""
    found = []
    for test in sorted(failing):
        path, _, name = test.partition("::")
        if not name:  # unittest: module.Class.test
            words = test.split(".")
            path, name = "/".join(words[:-2]) + ".py", words[-1]
        name = name.rpartition("::")[2].partition("[")[0]
        try:
            text = (root / path).read_text("utf-8", errors="replace")
            own = [s for s in symbols(path, text) if s.name_path.rpartition(".")[2] == name]
        except (OSError, ValueError):
            continue
        lines = text.splitlines()
        found += ["\n".join(lines[s.start_line - 1 : s.end_line]) for s in own]
    return found


def compare_run(log: RunLog, root: Path, backend: BackendName) -> Choice:
    """How sure a run's change is, by what else it changes.

    Raises:
        AgentFault: the run has no change, or the repository is not as the run began with.
        SandboxFault: no sandbox.
    """
    events = log.read().events
    first = next((event for event in events if isinstance(event, RunStarted)), None)
    end = next((event for event in events if isinstance(event, RunEnded)), None)
    diff = log.text(end.diff) if end else ""
    if first is None or not diff:
        raise AgentFault(f"run {log.folder.name} has no change to compare")
    suites = suites_of(first.test_command, first.cwd, first.regression_command, first.regression_cwd)
    question = Question(log.text(first.task), suites, frozenset(), _SUITE_S)
    cache_dir().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_dir(), prefix="compare-") as folder:
        base = Path(folder) / "base"
        copy_workspace(root, base)
        apply_diff(base, diff, check_only=True)
        policy = workspace_policy(root, cwd=first.cwd)
        with open_sandbox(base, policy, backend=backend, shown_at=root) as original:
            return weigh(original, question, [Presented(log.folder.name, diff)]).choice


def suites_of(command: str, cwd: str, regression: str | None, regression_cwd: str) -> tuple[Suite, ...]:
    """The commands whose tests are watched: the check, and the whole suite where there is one."""
    own = Suite(command, cwd)
    whole = [Suite(regression, regression_cwd)] if regression else []
    return tuple(dict.fromkeys([own, *whole]))


def _changed_lines(diff: str) -> Iterator[tuple[str, int]]:
    """Path and number of each line of the original that a diff takes away, or puts lines after."""
    for hunk in all_hunks_of(diff):
        if hunk.old_path:
            yield from ((hunk.old_path, line) for line in hunk.touched())
