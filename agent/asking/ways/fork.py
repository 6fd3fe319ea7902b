"""`fork`: `correct`, with the answer begun by the present code up to a word that the model might have written instead.

A small model that is shown a function writes it down again: at almost every token the code's own word is nearly
certain (a lock), and sampling repeats it. One pass over the code gives the other words that the model holds possible
at each token, however unlikely. An answer that is forced to take such a word cannot repeat the code. The rest of the
statement, decoded greedily, is often what the changed beginning needs. The likeliest forks go first.

Source: locks and forks of code, Simple Self-Distillation (arXiv 2604.01193); as a search, one discrepancy from what
the model prefers, limited discrepancy search (Harvey and Ginsberg, IJCAI 1995).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from forklock.agent.asking.chat import chat, fenced, read_whole, rewrite_closing
from forklock.agent.asking.protocol import prefilled_code
from forklock.agent.asking.way import Asked, Question, Way
from forklock.agent.contract import Reading
from forklock.agent.log.recorded import text_digest
from forklock.models.contract import Alternative, Completion, Engine, Request

TOP_K = 8
"""Alternatives that the engine is asked for at each token."""
PER_PLACE = 3
"""Forks that are kept at one token."""
MOST = 64
"""Forks that are kept of one definition."""
_SPARE_TOKENS = 24
"""Tokens that an answer may take beyond one and a half times the rest of the code."""


def ask(question: Question) -> Asked | None:
    """Each turn takes the next fork. None where there are no more."""
    material, known = question.material, question.openings
    if not question.is_function or not known or not material.engine.supports_alternatives:
        return None
    closing = rewrite_closing(question, "Correct {name}", with_path=False)
    asked = chat(question, closing, fenced(question, known[0]), is_bare=True)
    found = _found(question, asked.request, known[0])
    if question.turn >= len(found):
        return None
    written = found[question.turn]
    begun = len(known[0]) + len(written.rstrip()) - 1  # index of the forced word's last letter
    request = asked.request.model_copy(
        update={
            "prefill": asked.request.prefill + written,
            "max_tokens": material.count(question.code[begun:]) * 3 // 2 + _SPARE_TOKENS,
            "greedy": True,
        }
    )
    opening = max((one for one in known if len(one) <= begun), key=len)
    return replace(asked, request=request, opening=opening)


def read(asked: Asked, completion: Completion) -> Reading:
    """Reads the whole answer, and as a second candidate the statement with the forced word alone."""
    begun = prefilled_code(asked.request.prefill)[len(asked.opening) :]
    text = begun + completion.text
    second = asked.protocol.filled(text, asked.place, asked.code, opening=asked.opening)
    return read_whole(asked, completion, second)


def _found(question: Question, request: Request, header: str) -> list[str]:
    """Forks of the question's code, searched once for each prompt."""
    material = question.material
    digest = text_digest(request.model_dump_json() + question.code)
    if digest not in material.forks:
        searched = forks(material.engine, request, question.code, header)
        material.forks[digest] = [fork.written for fork in searched]
        material.on_forks(question.place.label, digest, material.forks[digest])
    return material.forks[digest]


@dataclass(frozen=True, slots=True)
class Fork:
    """A beginning of the code, with its last word replaced."""

    opening: str
    """The beginning of the code up to its first statement, and from there on `written`."""
    written: str
    logprob: float
    """Log probability of the forced word."""


def forks(engine: Engine, request: Request, code: str, opening: str) -> list[Fork]:
    """Searches forks of `code` behind `opening`: at most `MOST`, likeliest word first.

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
    """Drops repetitions, comments and ends of the answer; keeps a few of each place, likeliest first."""
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


WAY = Way("fork", ask, read, instead="ending")
