"""Makes the drive lane of a run from the run's parts."""

from __future__ import annotations

from dataclasses import replace

from forklock.agent.asking import Material, Protocol
from forklock.agent.driving.lane import DriveLane
from forklock.agent.driving.prompt import Brief
from forklock.agent.driving.rollout import Ground
from forklock.agent.judging.lanes import LaneParts
from forklock.models.calls.known import format_named
from forklock.models.contract import Request

_SPARE_TOKENS = 64
"""Room for the marks that a chat template adds."""
_ANSWER_SHARE = 4
"""An answer takes at most one part in so many of the model's context."""


def open_lane(parts: LaneParts) -> DriveLane:
    """Make the lane.

    Raises:
        ModelFault: there is no call format of that name.
    """
    options, engine = parts.options, parts.engine
    form = format_named(options.calls)
    if form.raw and not engine.continues_text:
        form = format_named("text")  # a server that takes chats alone renders no format of ours
    answer = min(options.turn_tokens, max(256, engine.context_tokens // _ANSWER_SHARE))
    window = min(options.window, engine.context_tokens - _SPARE_TOKENS) - answer
    own = {"temperature": options.temperature, "top_k": options.top_k, "top_p": options.top_p}
    decoding = parts.decoding.model_copy(
        update={
            **{name: value for name, value in own.items() if value is not None},
            "n": 1, "max_tokens": answer,
        }
    )  # fmt: skip
    decoding = engine.fit(decoding).decoding

    def count(text: str) -> int:
        return engine.count_tokens(Request(text=text)) if text else 0

    gauntlet = replace(parts.gauntlet, base=parts.original)  # it shares what it has seen with the other lane
    ground = Ground(
        parts.task, parts.limits, options, form, decoding, gauntlet, parts.gathering, parts.log, parts.recorded, count,
    )  # fmt: skip
    report = gauntlet.task.before
    material = Material(
        engine, Protocol("file"), parts.original.root, None, parts.task.statement, parts.notes, window, answer
    )
    notes = material.notes_near(parts.places[0].place) if parts.places else parts.notes
    brief = Brief(
        parts.task, report, material.tests(report), parts.places, parts.original.root, notes,
        gauntlet.verified, window,
    )  # fmt: skip
    return DriveLane(
        ground,
        engine,
        parts.original,
        parts.intel,
        brief,
        parts.spend,
        parts.first,
        on_tokens=parts.on_tokens,
    )
