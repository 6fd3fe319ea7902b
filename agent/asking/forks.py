"""Where a model would leave the present code: beginnings of it that end in another word than the code's.

A small model that is shown a function writes it down again: at almost every token the code's own is nearly
certain (a lock), and sampling repeats it. One pass over the code tells what else the model holds possible at each
token, however unlikely. Each such word, forced, is an answer that cannot repeat the code, and what the model then
thinks likeliest to the end of the statement is often what the changed beginning needs. The likeliest go first.

In: an engine, a request that the code would answer, the code. Out: `Fork`s. What comes back is read as any answer
that began with a part of the code, and by `agent.asking.splice`.

Source: locks and forks of code, Simple Self-Distillation (arXiv 2604.01193); as a search, one discrepancy from what
the model prefers, limited discrepancy search (Harvey and Ginsberg, IJCAI 1995).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from models.contract import Alternative, Engine, Request

TOP_K = 8
"""Likeliest tokens looked at in each place."""
PER_PLACE = 3
MOST = 64
"""Forks of one definition."""


@dataclass(frozen=True, slots=True)
class Fork:
    """A beginning of the code, with its last word replaced."""

    opening: str
    """The beginning of the code up to its first statement, and from there on `written`."""
    written: str
    logprob: float
    """Of the forced word."""


def forks(engine: Engine, request: Request, code: str, opening: str) -> list[Fork]:
    """At most `MOST` forks of `code` behind `opening`, likeliest word first.

    Args:
        request: one that the rest of `code` would answer, its prefill ending with `opening`.
        code: a definition, dedented; `opening` a beginning of it.

    Raises:
        ModelFault: from the engine.
    """
    rest = code[len(opening) :].rstrip()
    taken = _worthwhile(engine.alternatives(request, rest, top_k=TOP_K))
    return [Fork(opening, rest[: a.start] + a.text, a.logprob) for a in taken[:MOST]]


def _worthwhile(found: Sequence[Alternative]) -> list[Alternative]:
    """Without words that say the same, comments and the end of the answer; a few of each place, likeliest first."""
    counts: dict[int, int] = {}
    kept: list[Alternative] = []
    for one in sorted(found, key=lambda a: (-a.logprob, a.start)):
        word = one.text.strip()
        if not word or word == one.replaced.strip() or word.startswith(("#", "//", "```", "<|")):
            continue
        counts[one.start] = counts.get(one.start, 0) + 1
        if counts[one.start] <= PER_PLACE:
            kept.append(one)
    return kept
