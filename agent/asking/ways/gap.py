"""`gap`: fill-in-the-middle. One statement is taken out, all around it is shown, for models that were trained for it.

The statement with the mistake is out of sight, so the model cannot copy it. What follows is in sight, so the model
need not write it again. The answer is spliced into the code (`forklock.agent.asking.splice`).

Source: Bavarian et al. 2022 (arXiv 2207.14255), order prefix, suffix, middle; as a repair method, cloze-style
program repair (Xia and Zhang 2022, AlphaRepair, arXiv 2207.08281).
"""

from __future__ import annotations

from collections.abc import Sequence

from forklock.agent.asking.openings import openings
from forklock.agent.asking.splice import remainders
from forklock.agent.asking.way import Asked, Question, Way
from forklock.agent.contract import Reading
from forklock.models.contract import Completion, InfillTokens, Request
from forklock.tools.languages.language import Language
from forklock.tools.languages.python.language import PYTHON

MAX_TOKENS = 64
"""Limit of one answer, in tokens: only its first statement is used."""
_NO_STATEMENT = "the answer holds no statement that fits, or the one that was there"


def ask(question: Question) -> Asked | None:
    """Each turn takes the next statement out, and after the last one the first again."""
    material, language = question.material, question.language
    marks, opening = material.engine.infill, hole(question.code, question.turn, language)
    if not question.is_function or opening is None or marks is None:
        return None
    text = infill_text(
        marks, question.code, opening, task=material.task, tests=question.tests, language=language
    )
    request = Request(text=text, max_tokens=MAX_TOKENS)
    return Asked(request, question.place, question.code, material.protocol, opening)


def read(asked: Asked, completion: Completion) -> Reading:
    """Puts the answer's first statement into the gap."""
    action = asked.protocol.filled(completion.text, asked.place, asked.code, opening=asked.opening)
    return Reading(action, "" if action else _NO_STATEMENT)


def hole(code: str, turn: int, language: Language = PYTHON) -> str | None:
    """The beginning of `code` up to its `turn`-th statement, counted round and round; None where it has none."""
    known = openings(code, language)
    return known[turn % len(known)] if known else None


def infill_text(
    tokens: InfillTokens,
    code: str,
    opening: str,
    *,
    task: str,
    tests: Sequence[str],
    language: Language = PYTHON,
) -> str:
    """The prompt: tests and task first, then the code with its hole.

    Args:
        code: a definition, dedented.
        opening: a beginning of it, up to the indentation of the statement that is taken out.
    """
    head = "\n\n".join([*(test.strip() for test in tests), f"{language.comments(task)}\n{opening}"])
    rest = remainders(code, opening, language)
    return f"{tokens.prefix}{head}{tokens.suffix}\n{rest[-1] if rest else ''}{tokens.middle}"


WAY = Way("gap", ask, read)
