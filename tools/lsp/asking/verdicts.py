"""Says what an answer is worth when a server, or one of several, gave none. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from forklock.tools.contract import DiagnosticsAnswer, Freshness
from forklock.tools.lsp.asking.answers import united
from forklock.tools.lsp.wire.faults import TimedOut, Unavailable


def worth(exc: Exception) -> Freshness:
    """The freshness of an answer that ended in this exception."""
    return Freshness.TIMED_OUT if isinstance(exc, TimedOut) else Freshness.UNAVAILABLE


def why(exc: Exception) -> str:
    """The reason and the fix, as text."""
    fix = exc.fix if isinstance(exc, Unavailable) else ""
    return f"{exc} (fix: {fix})" if fix else str(exc)


def unknown(answer: DiagnosticsAnswer) -> Freshness:
    """The freshness of an answer that rests on this one, which did not come."""
    return answer.freshness if answer.freshness is Freshness.UNAVAILABLE else Freshness.TIMED_OUT


def combine(parts: Sequence[DiagnosticsAnswer]) -> DiagnosticsAnswer:
    """Combine answers of several servers about one file. It is clean only if all are. What was found counts even if a
    server did not answer; `detail` then says which."""
    items = united(d for p in parts for d in p.items)
    detail = "; ".join(p.detail for p in parts if p.detail)
    versions = [p.version for p in parts if p.version is not None]
    states = {p.freshness for p in parts}
    if items:
        state = Freshness.FOUND
    elif Freshness.UNAVAILABLE in states:
        state = Freshness.UNAVAILABLE
    elif Freshness.TIMED_OUT in states:
        state = Freshness.TIMED_OUT
    else:
        state = Freshness.CLEAN
    return DiagnosticsAnswer(state, items, max(versions, default=None), detail)


def merge(parts: Sequence[DiagnosticsAnswer]) -> DiagnosticsAnswer:
    """Combine answers about several files, in the order of the files."""
    combined = combine(parts)
    return replace(combined, items=tuple(d for part in parts for d in part.items))
