"""evals: what is known to be wrong with records of public sets, and how to judge them right.

In: a raw record. Out: fields to put under it (`evals.problems.records.EXTRA_FIELDS`): a checker where a
problem has several
right answers and its record holds one of them, `interactive` where a program would have to talk with a judge. Known
are the problems of LiveCodeBench's own ERRATA.md that can be judged right at all; from their statements we wrote a
checker each (`NAME.py` beside this file, text for the sandbox and never imported here). LeetCode's problems whose
statement allows any order are recognised by its standing phrase. What a record or a sidecar file says goes first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

_PROGRAMS = frozenset(
    {
        "abc311_c",
        "abc326_d",
        "abc333_e",
        "abc343_a",
        "abc343_e",
        "abc350_c",
        "abc362_c",
        "arc185_c",
        "find-the-last-marked-nodes-in-tree",
    }
)
_ANY_ORDER = frozenset(
    {
        "find-words-containing-character",
        "find-the-peaks",
        "generate-binary-strings-without-adjacent-zeros",
    }
)
_INTERACTIVE = frozenset({"abc337_e", "abc355_e"})

STATEMENT_CHARS = 200_000
"""Of a statement, so much is looked through: no real one is so long, and each place costs time."""
_GAP = r"(?:(?!\b(?:if|may|can|after|by|when|such)\b)[^.,;:]){0,80}"
_PHRASE = re.compile(
    rf"\breturn\b{_GAP}\b(?:answer|output|result|array|list|indices|strings|elements|numbers|integers|pairs|words|them)\b"
    rf"{_GAP}\bin any order\s*\.",
    re.IGNORECASE,
)
"""As LeetCode says it of what is returned, and not of what may be done on the way."""


def known_errata(record: Mapping[str, Any]) -> dict[str, Any]:
    """Fields that a record lacks to be judged right; none for most."""
    names = {str(record.get("question_id", "")), str(record.get("question_title", ""))}
    if names & _INTERACTIVE:
        return {"interactive": True}
    if found := sorted(names & _PROGRAMS):
        return {"checker": {"kind": "program", "code": _program(found[0])}}
    if names & _ANY_ORDER or (record.get("platform") == "leetcode" and allows_any_order(record)):
        return {"checker": "lines"}
    return {}


def allows_any_order(record: Mapping[str, Any]) -> bool:
    """Whether the statement takes what is returned in any order."""
    statement = str(record.get("question_content", ""))[:STATEMENT_CHARS]
    return _PHRASE.search(" ".join(statement.split())) is not None


@cache
def _program(name: str) -> str:
    return (
        resources.files("evals.problems.errata").joinpath(f"{name.replace('-', '_')}.py").read_text("utf-8")
    )
