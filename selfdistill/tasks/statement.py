"""Writes a task's statement from what is there: docstring, failing test, commit message. No model is asked. Pure.

A statement must not give the repair away: lines of the repair that the code does not have are taken out of it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from forklock.selfdistill.tasks.contract import Bug
from forklock.tools.contract import TestFailure
from forklock.tools.edits.hunks import hunks_of

MESSAGE_LINES = 6
_SHOWN = 900
_FEWEST = 12
"""Characters of a line that can give something away; shorter ones are everywhere."""
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")


def statement(bug: Bug, failures: Sequence[TestFailure], docs: Sequence[str], fix: str) -> str:
    """Return the statement of a task.

    Args:
        failures: of the tests that fail with the bug, in order.
        docs: documentation of each changed definition; "" where there is none.
    """
    parts = [_opening(bug, docs), _tests(failures)]
    return without_repair("\n\n".join(part for part in parts if part), fix)


def _opening(bug: Bug, docs: Sequence[str]) -> str:
    names = [place.rpartition(":")[2] for place in bug.places]
    described = [f"`{name}`: {_first(doc)}" for name, doc in zip(names, docs, strict=True) if doc]
    if bug.kind == "removal":
        doc = f" Its description: {_first(docs[0])}" if docs[0] else ""
        return f"`{names[0]}` in `{bug.places[0].partition(':')[0]}` is not implemented. Implement it.{doc}"
    if bug.message:
        return f"This was repaired once, and is broken again:\n\n{bug.message}"
    if described and bug.kind == "pairs":
        return "Several things are broken. What concerned functions are for:\n" + "\n".join(
            f"- {one}" for one in described
        )
    return ""


def _tests(failures: Sequence[TestFailure]) -> str:
    if not failures:
        return ""
    first = failures[0]
    others = len(failures) - 1
    more = (
        ""
        if not others
        else "One other test fails, too."
        if others == 1
        else f"{others} other tests fail, too."
    )
    message = "\n".join(first.message.strip().split("\n")[:MESSAGE_LINES])[:_SHOWN]
    opening = f"The test `{first.test_id}` ({in_words(first.test_id)}) fails:"
    return "\n\n".join(part for part in (opening, _indented(message), more) if part)


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.split("\n"))


def _first(doc: str) -> str:
    """Return the first paragraph of a documentation on one line."""
    return " ".join(doc.strip().split("\n\n")[0].split())


def in_words(test_id: str) -> str:
    """Return a test's name as words: `test_total_of_empty_cart[a-1]` is `total of empty cart`."""
    last = re.split(r"::| > ", test_id.partition("[")[0])[-1]
    words = [word.lower() for word in _WORDS.findall(last)]
    return " ".join(words[1:] if words[:1] == ["test"] and len(words) > 1 else words)


def without_repair(text: str, fix: str) -> str:
    """Return a text without the lines that hold a line which only the repaired code has."""
    secrets = repair_lines(fix)
    kept = [
        line for line in text.split("\n") if not any(secret in " ".join(line.split()) for secret in secrets)
    ]
    return "\n".join(kept).strip()


def repair_lines(fix: str) -> list[str]:
    """Return the lines that a repair adds and that the broken code around does not have, blanks made single."""
    hunks = list(hunks_of(fix))
    before = {" ".join(line.split()) for hunk in hunks for line in hunk.old}
    added = dict.fromkeys(" ".join(line.split()) for hunk in hunks for line in hunk.added)
    return [line for line in added if len(line) >= _FEWEST and line not in before]
