"""Returns what a run would ask in its first step, without asking it.

In: an assignment and an engine. Out: the requests of the first wide step, byte for byte as `agent solve` would send
them, since they come from the same code: rehearsal, preparation, places, ways of asking. The engine is listened to: it
counts tokens and names alternatives, and the first request for samples ends the run. The run leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Sequence

from forklock.agent.log.runs import forget
from forklock.agent.session.assignment import Assignment
from forklock.agent.session.borrowed import BorrowedEngine
from forklock.agent.session.execution import execute
from forklock.agent.session.options import wished_decoding
from forklock.agent.session.prepared import prepare
from forklock.agent.session.rehearsal import rehearse
from forklock.models.contract import (
    Completion,
    Decoding,
    Engine,
    OnCompletion,
    OnTokens,
    Request,
)


class _Asked(Exception):
    """The run asks for samples."""

    def __init__(self, requests: Sequence[Request]) -> None:
        super().__init__()
        self.requests = list(requests)


class _Listener(BorrowedEngine):
    """Ends the run at its first request for samples."""

    def complete(
        self,
        requests: Sequence[Request],
        decoding: Decoding,  # noqa: ARG002
        *,
        on_tokens: OnTokens | None = None,  # noqa: ARG002
        on_completion: OnCompletion | None = None,  # noqa: ARG002
    ) -> list[list[Completion]]:
        raise _Asked(requests)


def first_requests(assignment: Assignment, engine: Engine, *, preset: str) -> list[Request]:
    """Return the distinct requests of a run's first step, in the order of its lanes; none where the run ends before it
    asks anything. What belongs to sampling (seed, length, greedy) is left out.

    Args:
        assignment: on a folder that was made for this, since its runs are forgotten.
        preset: `weak` or `strong`.

    Raises:
        AgentFault: the check passes already, does not start, or can never pass.
        ModelFault, SandboxFault, ToolFault: from below.
    """
    listener = _Listener(engine)
    rehearsal = rehearse(assignment)
    asked: list[Request] = []
    try:
        decoding = engine.fit(wished_decoding(assignment.settings)).decoding
        prepared = prepare(assignment, engine.identity, preset=preset, rehearsal=rehearsal, decoding=decoding)
        try:
            execute(prepared, listener)
        except _Asked as ended:
            asked = ended.requests
        finally:
            prepared.log.close()
    finally:
        rehearsal.begun = False
        rehearsal.discard_unless_begun()
        forget(assignment.state.root)
    plain = [one.model_copy(update={"seed": None, "max_tokens": None, "greedy": False}) for one in asked]
    return list({one.model_dump_json(): one for one in plain}.values())
