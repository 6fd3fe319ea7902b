"""Fill-in-the-middle: one statement of a function taken out, everything around it shown, for models trained so.

The statement with the mistake is out of sight, so it cannot be copied, and what follows it is in sight, so the
model need not write it again. What comes back is read by `agent.asking.splice`. Pure.

Source: Bavarian et al. 2022 (arXiv 2207.14255), order prefix, suffix, middle; as a repair method, cloze-style
program repair (Xia and Zhang 2022, AlphaRepair, arXiv 2207.08281).
"""

from __future__ import annotations

from collections.abc import Sequence

from agent.asking.openings import PYTHON, Language, openings
from agent.asking.splice import remainders
from models.contract import InfillTokens

MAX_TOKENS = 64
"""New tokens of one answer: only its first statement is used."""


def hole(code: str, turn: int, language: Language = PYTHON) -> str | None:
    """The beginning of `code` up to its `turn`-th statement, round and round; None where it has none."""
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
    head = "\n\n".join([*(test.strip() for test in tests), f"{language.comment(task)}\n{opening}"])
    rest = remainders(code, opening, language)
    return f"{tokens.prefix}{head}{tokens.suffix}\n{rest[-1] if rest else ''}{tokens.middle}"
