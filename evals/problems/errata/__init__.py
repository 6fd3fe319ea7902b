"""evals: corrections of public sets' records that are known to be wrong.

Input: a raw record. Output: fields to add to it (`forklock.evals.problems.records.EXTRA_FIELDS`): a checker where
a problem has
several right answers and its record holds one of them, or `interactive` where a program would have to talk with a
judge. The known problems are those of LiveCodeBench's own ERRATA.md that can be judged at all. We wrote a checker for
each from its statement (`NAME.py` beside this file; it is text for the sandbox and never imported here). LeetCode's
problems whose statement allows any order are recognised by its standing phrase. Fields of a record or a sidecar file
take precedence.
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
"""Characters of a statement that are searched; no real statement is longer, and each place costs time."""
_GAP = r"(?:(?!\b(?:if|may|can|after|by|when|such)\b)[^.,;:]){0,80}"
_PHRASE = re.compile(
    rf"\breturn\b{_GAP}\b(?:answer|output|result|array|list|indices|strings|elements|numbers|integers|pairs|words|them)\b"
    rf"{_GAP}\bin any order\s*\.",
    re.IGNORECASE,
)
"""Matches LeetCode's phrase about what is returned, and not about what may be done on the way."""


def known_errata(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that a record needs to be judged right; most need none."""
    names = {str(record.get("question_id", "")), str(record.get("question_title", ""))}
    if names & _INTERACTIVE:
        return {"interactive": True}
    if found := sorted(names & _PROGRAMS):
        return {"checker": {"kind": "program", "code": _program(found[0])}}
    if names & _ANY_ORDER or (record.get("platform") == "leetcode" and allows_any_order(record)):
        return {"checker": "lines"}
    return {}


def allows_any_order(record: Mapping[str, Any]) -> bool:
    """Return whether the statement accepts the result in any order."""
    statement = str(record.get("question_content", ""))[:STATEMENT_CHARS]
    return _PHRASE.search(" ".join(statement.split())) is not None


@cache
def _program(name: str) -> str:
    return (
        resources.files("forklock.evals.problems.errata")
        .joinpath(f"{name.replace('-', '_')}.py")
        .read_text("utf-8")
    )
