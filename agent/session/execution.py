"""Runs what was prepared: opens sandbox and language servers, and hands over to the loop."""

from __future__ import annotations

import contextlib
import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from forklock.agent.log import Event, ModelAnswered, ModelAsked, RunResumed, StepEnded, report_to_json
from forklock.agent.log.recorded import Recorded
from forklock.agent.loop import Report, Run
from forklock.agent.session.copies import work_in
from forklock.agent.session.prepared import Prepared
from forklock.models.contract import Engine

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
    if prepared.before is not None:
        recorded.baselines[("task", prepared.task.test_command)] = report_to_json(prepared.before)
    with (
        work_in(prepared.task, prepared.sandbox, prepared.scratch) as base,
        open_servers(prepared.task.repo, base.root, wanted=prepared.diagnostics) as intel,
    ):
        run = Run(
            prepared.task,
            prepared.options,
            engine,
            base,
            intel,
            prepared.log,
            recorded,
            seconds_before=elapsed(prepared.events),
            spent_before=spent(prepared.events),
            on_tokens=on_tokens,
        )
        report = run.solve()
    shutil.rmtree(prepared.scratch, ignore_errors=True)
    return report


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
    completion = sum(event.completion_tokens for event in events if isinstance(event, ModelAnswered))
    return prompt, completion + sum(e.discarded_tokens for e in events if isinstance(e, StepEnded))
