"""Plans a run without a model: the check runs, places are ranked, and the first step's prompts are made, not sent.

In: an assignment. Out: a `Plan`. Tokens are estimates, since the tokenizer belongs to the model. Forks of the code and
gaps, which some ways of asking need the model for, are replaced by the ways that stand in for them.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from forklock.agent.asking import LaneMaker, Material, Protocol, ranked_places
from forklock.agent.asking.suspects import TRACE_S, find_suspects
from forklock.agent.contract import Lane
from forklock.agent.judging.baseline import check_timeout
from forklock.agent.judging.guard import Check, Guard
from forklock.agent.session.assignment import Assignment
from forklock.agent.session.copies import work_in
from forklock.agent.session.execution import open_servers
from forklock.agent.session.options import options_of
from forklock.agent.session.prepared import notes_of
from forklock.agent.session.rehearsal import Rehearsal, rehearse
from forklock.models.contract import (
    Completion,
    Decoding,
    Engine,
    ModelFault,
    ModelIdentity,
    OnCompletion,
    OnTokens,
    Request,
)
from forklock.sandbox import Sandbox
from forklock.tools.contract import TestReport

if TYPE_CHECKING:
    from forklock.tools.lsp import Intel


@dataclass(frozen=True, slots=True)
class PlannedPlace:
    """A place that the first step asks about."""

    label: str
    score: float
    reasons: tuple[str, ...]
    candidates: int
    """Candidates that the first step samples here."""
    refused: str = ""
    """Why it is not edited; "" where it is."""
    frame: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would do first."""

    before: TestReport
    test_command: str
    cwd: str
    regression: str | None
    places: tuple[PlannedPlace, ...]
    lanes: tuple[Lane, ...]
    samples: int
    """Samples of each lane."""
    prompt_tokens: int
    """Estimated, of the first step."""


def make_plan(assignment: Assignment, *, preset: str) -> Plan:
    """Makes the plan. Nothing is logged, and nothing is left behind.

    Raises:
        AgentFault: dirty tree, unreadable repo, or a check that cannot serve.
        SandboxFault: no sandbox, or it failed.
    """
    rehearsal = rehearse(assignment)
    try:
        with (
            work_in(rehearsal.task, assignment.settings.sandbox, rehearsal.scratch) as base,
            open_servers(rehearsal.task.repo, base.root, wanted=assignment.settings.diagnostics) as intel,
        ):
            return _plan(assignment, rehearsal, base, intel, preset)
    finally:
        shutil.rmtree(rehearsal.scratch, ignore_errors=True)


def _plan(
    assignment: Assignment, rehearsal: Rehearsal, base: Sandbox, intel: Intel | None, preset: str
) -> Plan:
    task, before = rehearsal.task, rehearsal.report
    bound = min(TRACE_S, check_timeout(before, TRACE_S))
    suspects = find_suspects(base, task, before, bound)
    check = Check(
        task.test_command, before, check_timeout(before, assignment.settings.test_timeout_s), task.cwd
    )
    frozen = Guard.of(base, [check]).frozen
    found = ranked_places(suspects)
    ranking = [one for one in found if frozen.holds(one.place.path) is None]
    options = options_of(assignment.settings, preset, notes_of(rehearsal.scratch / "base"), "")
    material = Material(
        Paper(), Protocol(options.protocol), base.root, intel, task.statement, options.notes, options.prompt_tokens,
        options.decoding.max_tokens,
    )  # fmt: skip
    lanes, samples = (
        LaneMaker(material, options.styles).step(options.width, ranking, (), before) if ranking else ([], 0)
    )
    counts = {
        label: sum(lane.place.label == label for lane in lanes) * samples
        for label in {x.place.label for x in lanes}
    }
    places = tuple(
        PlannedPlace(
            one.place.label, one.score, one.place.reasons, counts.get(one.place.label, 0),
            "" if one in ranking else "it judges the change",
            material.frame(one.place) if one.place.label in counts else "",
        )
        for one in found
    )  # fmt: skip
    tokens = sum(lane.prompt_tokens for lane in lanes)
    return Plan(
        before, task.test_command, task.cwd, task.regression_command, places, tuple(lanes), samples, tokens
    )


class Paper(Engine):
    """Counts tokens, four characters each, and answers nothing."""

    def __init__(self) -> None:
        self.identity = ModelIdentity(name="none", engine="none")
        self.context_tokens = 1 << 20

    def complete(
        self,
        requests: Sequence[Request],
        decoding: Decoding,
        *,
        on_tokens: OnTokens | None = None,
        on_completion: OnCompletion | None = None,
    ) -> list[list[Completion]]:
        """Raises ModelFault: a plan asks no model."""
        del requests, decoding, on_tokens, on_completion
        _refuse()

    def stream(self, request: Request, decoding: Decoding) -> Iterator[str]:
        """Raises ModelFault: a plan asks no model."""
        del request, decoding
        _refuse()

    def count_tokens(self, request: Request) -> int:
        """An estimate: the tokenizer belongs to the model."""
        text = request.text or "".join(message.content for message in request.messages)
        return len(text + request.prefill) // 4 + 1

    def close(self) -> None:
        """Nothing is open."""


def _refuse() -> NoReturn:
    raise ModelFault("a plan asks no model")
