"""The check of a run that was given none: the tests that it writes, and the task with them.

What was chosen is in the log, so a resumed run writes the same file again and asks nobody.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from forklock.agent.asking import Material, Protocol
from forklock.agent.contract import Outcome, OwnTests, Task
from forklock.agent.judging.spend import Spend
from forklock.agent.log import RunEnded, RunLog, TestsChosen
from forklock.agent.log.recorded import Recorded
from forklock.agent.loop import Report
from forklock.agent.reproduction import TestWriter, find_site, named_places
from forklock.agent.session.prepared import Prepared
from forklock.models.contract import Engine
from forklock.sandbox import Sandbox

_SHARE = 0.5
"""Share of a run's time and tokens that its tests may take."""
_TEST_S = 60.0
"""Seconds for one run of a written test, at most."""


def write_tests(
    prepared: Prepared,
    engine: Engine,
    base: Sandbox,
    recorded: Recorded,
    seconds_before: float,
    spent_before: tuple[int, int],
    on_tokens: Callable[[int], None],
) -> TestsChosen:
    """The tests of a run: those in its log, or newly written ones.

    Raises:
        AgentFault, ModelFault, SandboxFault, ToolFault, LogFault: from below.
    """
    if recorded.chosen is not None:
        return recorded.chosen
    options, task = prepared.options, prepared.task
    ranking = named_places(base.root, task.statement)
    site = find_site(base.root, ranking, task.test_command or task.regression_command or None, task.cwd)
    material = Material(
        engine, Protocol("file"), base.root, None, task.statement, options.notes, options.prompt_tokens,
        options.decoding.max_tokens,
    )  # fmt: skip
    limits, began = options.limits, time.monotonic()

    def reached(spend: Spend) -> Outcome | None:
        if (
            limits.tokens is not None
            and spend.prompt_tokens + spend.completion_tokens >= _SHARE * limits.tokens
        ):
            return Outcome.TOKENS
        if (
            limits.seconds is not None
            and seconds_before + time.monotonic() - began >= _SHARE * limits.seconds
        ):
            return Outcome.SECONDS
        return (
            Outcome.COST if limits.cost_usd is not None and (spend.cost_usd or 0) >= limits.cost_usd else None
        )

    left = None if limits.seconds is None else max(1.0, _SHARE * limits.seconds - seconds_before)
    writer = TestWriter(
        base, material, site, ranking, engine, prepared.log, recorded, Spend(reached, *spent_before),
        min(_TEST_S, options.test_timeout_s), left, on_tokens,
    )  # fmt: skip
    return writer.write(options.width, options.decoding)


def task_with(task: Task, chosen: TestsChosen, log: RunLog) -> Task:
    """The task, with the chosen tests as its check and the repository's own suite as what must not get worse."""
    samples = min((one["samples"] for one in chosen.tests), default=0)
    own = OwnTests(chosen.path, log.text(chosen.source), len(chosen.tests), samples, chosen.doubt)
    return replace(
        task,
        test_command=chosen.command,
        own_tests=own,
    )


def end_with_tests(log: RunLog, chosen: TestsChosen, seconds: float, spent: tuple[int, int]) -> Report:
    """Ends a run with the tests that it wrote, or because it found none."""
    outcome, detail = Outcome.NO_TEST, no_test_in_words(chosen)
    if chosen.path:
        outcome, detail = Outcome.TEST_WRITTEN, f"{chosen.path} fails now for the statement's reason"
    report = Report(outcome, detail, log.text(chosen.diff), None, 0, spent[0], spent[1], None, seconds)
    log.append(
        RunEnded(
            outcome=outcome.value, detail=detail, diff=chosen.diff, steps=0, prompt_tokens=spent[0],
            completion_tokens=spent[1], cost_usd=None, seconds=seconds,
        )
    )  # fmt: skip
    return report


def no_test_in_words(chosen: TestsChosen) -> str:
    """Why no test was kept, with the number of tests for each reason."""
    reasons = ", ".join(f"{number} {reason}" for reason, number in chosen.rejected.items())
    return f"no test fails now for the statement's reason ({reasons or 'nothing was answered in time'})"
