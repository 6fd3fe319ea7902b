"""Runs what was prepared: opens sandbox and language servers, and hands over to the loop."""

from __future__ import annotations

import contextlib
import itertools
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from forklock.agent.contract import Task
from forklock.agent.driving import open_lane
from forklock.agent.log import (
    Event,
    ModelAnswered,
    ModelAsked,
    RunResumed,
    StepEnded,
    TurnAnswered,
    TurnAsked,
    report_to_json,
)
from forklock.agent.log.recorded import Recorded
from forklock.agent.loop import Options, Report, Run
from forklock.agent.reproduction import put_test
from forklock.agent.session.copies import work_in
from forklock.agent.session.options import Surroundings
from forklock.agent.session.own_tests import end_with_tests, task_with, write_tests
from forklock.agent.session.prepared import Prepared
from forklock.models.contract import Engine
from forklock.sandbox import Sandbox

if TYPE_CHECKING:
    from forklock.tools.lsp import Intel


def execute(
    prepared: Prepared,
    engine: Engine,
    *,
    on_tokens: Callable[[int], None] = lambda _n: None,
) -> Report:
    """Runs to the end. The copy of the repository is removed then; a fault keeps it, so that the run can be resumed.

    Raises:
        AgentFault, ModelFault, SandboxFault, ToolFault, LogFault: from below.
    """
    recorded = Recorded.of(prepared.events, prepared.log, engine.identity)
    task, options, events = prepared.task, prepared.options, prepared.events
    if prepared.before is not None:
        key = (
            ("regression", task.regression_command or "")
            if prepared.tests.written
            else ("task", task.test_command)
        )
        recorded.baselines[key] = report_to_json(prepared.before)
    if prepared.tests.written:
        with work_in(task, prepared.sandbox, prepared.scratch) as base:
            chosen = write_tests(prepared, engine, base, recorded, elapsed(events), spent(events), on_tokens)
        events = prepared.log.read().events
        if chosen.path:
            task, options = task_with(task, chosen, prepared.log), replace(options, verified=True)
        driven = None if chosen.path or prepared.tests.only else _driven_without_test(task, options)
        if driven is not None:
            task, options = driven
        elif prepared.tests.only or (not chosen.path and options.verified):
            report = end_with_tests(prepared.log, chosen, elapsed(events), spent(events))
            shutil.rmtree(prepared.scratch, ignore_errors=True)
            return report
    with workspace_of(task, prepared, prepared.scratch) as (base, intel):
        run = Run(
            task,
            options,
            engine,
            base,
            intel,
            prepared.log,
            recorded,
            seconds_before=elapsed(events),
            spent_before=spent(events),
            on_tokens=on_tokens,
            open_lane=open_lane,
        )
        report = run.solve()
    shutil.rmtree(prepared.scratch, ignore_errors=True)
    return report


def _driven_without_test(task: Task, options: Options) -> tuple[Task, Options] | None:
    """Task and options of a run that shall drive and found no test to write: the suite has to go on passing.

    Returns None where there is no suite, or nobody asked for driving.
    """
    suite = task.test_command or task.regression_command
    if options.strategy != "drive" or not suite:
        return None
    cwd = task.cwd if task.test_command else task.regression_cwd
    return (
        replace(task, test_command=suite, cwd=cwd, regression_command=None),
        replace(options, verified=False),
    )


@contextlib.contextmanager
def workspace_of(
    task: Task, around: Prepared | Surroundings, scratch: Path
) -> Iterator[tuple[Sandbox, Intel | None]]:
    """Opens the sandbox on a run's copy, with the test that the run wrote, and the language servers.

    A test that is no part of the change is put there before the sandbox takes its first state.
    """
    own = task.own_tests
    if own is not None and not around.tests.kept:
        put_test(scratch / "base", own.path, own.source)
    with (
        work_in(task, around.sandbox, scratch) as base,
        open_servers(task.repo, base.root, wanted=around.diagnostics) as intel,
    ):
        if own is not None and around.tests.kept:
            put_test(base.root, own.path, own.source)
        yield base, intel


@contextlib.contextmanager
def open_servers(repo: Path, root: Path, *, wanted: bool) -> Iterator[Intel | None]:
    """Opens the language servers of a workspace; yields None where they are not wanted.

    Args:
        repo: the user's repository, whose interpreter they take.
    """
    if not wanted:
        yield None
        return
    from forklock.tools.lsp import DEFAULT, find_python, open_intel, servers_for

    python = find_python(repo)
    with open_intel(root, servers=servers_for(root), warm=DEFAULT, python=python) as intel:
        yield intel


def elapsed(events: tuple[Event, ...]) -> float:
    """Seconds that earlier sittings worked: the gaps before a resume do not count."""
    total = 0.0
    for before, after in itertools.pairwise(events):
        if not isinstance(after, RunResumed):
            total += max(0.0, after.at - before.at)
    return total


def spent(events: tuple[Event, ...]) -> tuple[int, int]:
    """Prompt and completion tokens that the log holds."""
    prompt = sum(event.prompt_tokens for event in events if isinstance(event, ModelAsked))
    prompt += sum(event.new_tokens for event in events if isinstance(event, TurnAsked))
    completion = sum(e.completion_tokens for e in events if isinstance(e, ModelAnswered | TurnAnswered))
    return prompt, completion + sum(e.discarded_tokens for e in events if isinstance(e, StepEnded))
