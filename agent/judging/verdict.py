"""The verdict on a run's passing candidates: solved, or in doubt. It is logged, so that a resumed run has the same.

In: the passing rulings of a run. Out: a `Verdict`. Idle changes are dropped first: where the checks still pass with a
part of a change undone, the smaller change is a candidate of its own, and the whole one is not taken.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from forklock.agent.contract import Ruling, Task
from forklock.agent.judging.evidence import Presented, Question, Weighed, suites_of, weigh
from forklock.agent.judging.hops import Gauntlet
from forklock.agent.judging.idle import without_idle_lines
from forklock.agent.judging.spend import Gathering
from forklock.agent.log import LoggedPassing, RunLog, VerdictGiven
from forklock.agent.log.recorded import Recorded
from forklock.sandbox import Sandbox
from forklock.tools.edits.hunks import added_files, split_off
from forklock.tools.index.files import is_test_path

_RUN_S = 60.0
"""Seconds for one run of the tests of one version, at most."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What a verdict is given with."""

    original: Sandbox
    """The tree as the run began with it; it is only forked."""
    task: Task
    gauntlet: Gauntlet
    log: RunLog
    recorded: Recorded
    test_timeout_s: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """The chosen candidate, and whether the evidence says that it is right."""

    ruling: Ruling
    """Its diff is the change that is taken."""
    sure: bool
    why: str
    final: bool
    """False: one more step may find further candidates."""


def give_verdict(bench: Bench, step: int, gathering: Gathering, *, final: bool) -> Verdict:
    """Choose among the passing candidates.

    Args:
        step: the step after which it is given.
        final: no more candidates can be gathered.

    Raises:
        SandboxFault: the sandbox failed.
    """
    rulings = {_name(ruling): ruling for ruling in gathering.passing}
    earlier = bench.recorded.verdicts.get(step)
    if earlier is not None and earlier.name in rulings:
        taken = replace(rulings[earlier.name], diff=bench.log.text(earlier.diff))
        return Verdict(taken, earlier.sure, earlier.why, earlier.final)
    began = time.monotonic()
    own = {name: own_part(bench.task, ruling.diff)[0] for name, ruling in rulings.items()}
    diffs = {name: _without_idle_lines(bench, ruling) for name, ruling in rulings.items()}
    weighed = _weighed(bench, rulings, diffs)
    choice = weighed.choice
    diff = own[choice.name] + diffs[choice.name]
    event = VerdictGiven(
        step=step, name=choice.name, sure=choice.sure, why=choice.why, question=bench.log.store(choice.question),
        diff=bench.log.store(diff), passing=_logged(weighed),
        final=final or choice.sure or gathering.over, seconds=time.monotonic() - began,
    )  # fmt: skip
    bench.log.append(event)
    taken = replace(rulings[choice.name], diff=diff)
    return Verdict(taken, choice.sure, choice.why, event.final)


def _weighed(bench: Bench, rulings: dict[str, Ruling], diffs: dict[str, str]) -> Weighed:
    task, gauntlet = bench.task, bench.gauntlet
    suites = suites_of(task.test_command, task.cwd, task.regression_command, task.regression_cwd)
    failing = frozenset(failure.test_id for failure in gauntlet.task.before.failures)
    question = Question(task.statement, suites, failing, min(_RUN_S, bench.test_timeout_s))
    presented: dict[str, Presented] = {}
    for name, ruling in rulings.items():
        samples = gauntlet.agreement.get((ruling.step, ruling.index), 1)
        known = presented.get(diffs[name])
        if known is None:
            presented[diffs[name]] = Presented(name, diffs[name], samples)
        else:  # the same change, once idle lines are gone
            presented[diffs[name]] = replace(known, samples=known.samples + samples)
    return weigh(bench.original, question, list(presented.values()), gauntlet.memory)


def _logged(weighed: Weighed) -> list[LoggedPassing]:
    return [
        {
            "name": one.name, "samples": one.samples, "asked": one.comparison.asked if one.comparison else 0,
            "changed": len(one.comparison.explained) + len(one.comparison.unexplained) if one.comparison else 0,
            "reasons": list(one.doubts),
        }
        for one in weighed.passing
    ]  # fmt: skip


def _without_idle_lines(bench: Bench, ruling: Ruling) -> str:
    """The ruling's diff, without lines whose undoing still passes; they are tested as the candidate was."""
    tests, diff = own_part(bench.task, ruling.diff)
    if set(added_files(tests)) - ({bench.task.own_tests.path} if bench.task.own_tests else set()):
        return diff  # the model's own tests may need lines that no check needs
    shorter = bench.gauntlet.memory.shorter
    if diff not in shorter:
        shorter[diff] = own_part(bench.task, without_idle_lines(bench.original, bench.gauntlet, diff))[1]
    return shorter[diff]


def own_part(task: Task, diff: str) -> tuple[str, str]:
    """The part of a diff that adds tests which the run or its model wrote, and the rest.

    Tests of the run's own stand in the trees that candidates are compared on, and a model's new tests judge nothing.
    """
    own = {task.own_tests.path} if task.own_tests is not None else set()
    own |= {path for path in added_files(diff) if is_test_path(path)}
    rest, tests = split_off(diff, own)
    return tests, rest


def _name(ruling: Ruling) -> str:
    return f"{ruling.step}.{ruling.index}"
