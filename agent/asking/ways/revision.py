"""`revise`: raw text, the function before the fix, then its header after the fix, which the model goes on with.

Commit histories hold many such texts.
"""

from __future__ import annotations

from forklock.agent.asking.raw_text import revision_text
from forklock.agent.asking.way import Asked, Question, Way
from forklock.agent.asking.ways.continuation import read
from forklock.models.contract import Request


def ask(question: Question) -> Asked | None:
    """The code is shown dedented, so the answer comes dedented."""
    material, language = question.material, question.language
    if not question.is_function or not question.openings or not material.engine.continues_text:
        return None
    opening = question.openings[0]
    text = revision_text(question.code, opening, task=material.task, tests=question.tests, language=language)
    request = Request(text=text, stop=language.stops(""))
    return Asked(request, question.place, question.code, material.protocol, opening)


WAY = Way("revise", ask, read)
