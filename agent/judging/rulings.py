"""Rulings in the log, and back out of it for a resumed run."""

from __future__ import annotations

from forklock.agent.contract import Hop, Ruling
from forklock.agent.log import CandidateRuled, RunLog


def logged(ruling: Ruling, log: RunLog) -> CandidateRuled:
    """The event that holds a ruling; its long texts are stored beside the log."""
    return CandidateRuled(
        step=ruling.step,
        index=ruling.index,
        place=ruling.place,
        hop=ruling.hop.value,
        reason=log.store(ruling.reason),
        diff=log.store(ruling.diff),
        new_diagnostics=ruling.new_diagnostics,
        tests_passed=ruling.tests_passed,
        tests_failed=ruling.tests_failed,
        broken=ruling.broken,
        seconds=ruling.seconds,
        program=ruling.program,
    )


def from_log(event: CandidateRuled, log: RunLog) -> Ruling:
    """The ruling that an event holds."""
    return Ruling(
        step=event.step,
        index=event.index,
        place=event.place,
        hop=Hop(event.hop),
        reason=log.text(event.reason),
        diff=log.text(event.diff),
        new_diagnostics=event.new_diagnostics,
        tests_passed=event.tests_passed,
        tests_failed=event.tests_failed,
        broken=event.broken,
        seconds=event.seconds,
        program=event.program,
    )
