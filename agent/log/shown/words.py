"""Says in plain words why a candidate fell: the assertion that failed, not the last line of a report.

In: the hop and the reason of a ruling (`forklock.agent.judging.hops`), in any runner's words. Out: one line.
"""

from __future__ import annotations

import re

_TEST_ID = re.compile(r"^(?!E\s)\S+(?:::|\.py\b|\s>\s).*$|^[\w./-]*\btest\w*[\w.\[\]-]*$", re.IGNORECASE)
_ASSERTION = re.compile(r"^(?:E\s+)?(?:>\s+)?(assert\b.*|assertion .*failed.*|expect\(.*)$")
_ERROR = re.compile(
    r"^(?:E\s+)?((?:[\w.]+\.)?[A-Z]\w*(?:Error|Exception|Warning|Interrupt|Failure|Exit)\b.*)$"
)
_TELLING = re.compile(
    r"^(?:E\s+)?(.*(?:assertion .*failed|panicked at|expected\b|got\b.*want|want\b.*got|!=+ |is not |timed out).*)$",
    re.IGNORECASE,
)
_BARE = re.compile(r"^(?:AssertionError|Error|Exception|Failure|Failed)(?: \[\w+\])?:?$")
_DETAIL = re.compile(
    r"^\s*(?:E\s+)?(?:\+\s+where\s+|and\s+|left:|right:|expected:?|actual:?|received:?|[+-] ?\S|.* !== )"
)
_DETAILS = 2
"""Lines behind an assertion that say what was compared."""
_MOST = 400


def fell(hop: str, reason: str) -> str:
    """Says why a candidate ended at this hop, in one line; "" where there is nothing to say."""
    lines = [line.rstrip() for line in reason[:20_000].splitlines() if line.strip()]
    if not lines or hop == "solved":
        return ""
    if hop == "tests":
        words = _tests(lines)
    elif hop == "diagnose":
        words = f"{lines[0]}"
    else:  # what was wrong comes first, then what would have been right
        words = lines[0].partition(" One valid ")[0]
    return " ".join(words.split())[:_MOST]


def _tests(lines: list[str]) -> str:
    if "ran out of time" in lines[0] or lines[0].strip() == "timed out":
        rest = _failure(lines[1:]) if len(lines) > 1 and "::" in lines[1] else ""
        return f"ran out of time (an endless loop?); {rest}" if rest else "ran out of time (an endless loop?)"
    if "ran out of memory" in lines[0]:
        return "ran out of memory"
    return _failure(lines)


def _failure(lines: list[str]) -> str:
    """The first failed test, and what it says."""
    test = next((number for number, line in enumerate(lines) if _TEST_ID.match(line)), None)
    name = "" if test is None else _short(lines[test])
    body = lines if test is None else lines[test + 1 :]
    following = next(
        (number for number, line in enumerate(body) if number and "::" in line and _TEST_ID.match(line)), None
    )
    said = _said(body[:following])
    return f"{name}: {said}" if name and said else said or name


def _said(lines: list[str]) -> str:
    """The assertion or the error among a failure's lines, with what was compared."""
    stripped = [line.strip() for line in lines]
    for pattern in (_ASSERTION, _ERROR, _TELLING):
        for number, line in enumerate(stripped):
            found = pattern.match(line)
            if found is None or _BARE.match(found[1].strip()):
                continue
            return _with_details(found[1].strip(), lines[number + 1 :])
    for number, line in enumerate(stripped):
        if _BARE.match(line):
            return _with_details(line.rstrip(":"), lines[number + 1 :], must=True)
    unindented = [line for line in lines if not line[0].isspace()]
    return (unindented or stripped or [""])[-1].strip()


def _with_details(words: str, behind: list[str], *, must: bool = False) -> str:
    more: list[str] = []
    for line in behind[:_DETAILS]:
        if _TEST_ID.match(line) or not (must or _DETAIL.match(line)):
            break
        more.append(re.sub(r"^(?:E\s+)?\+\s+", "", line.strip()))
    return ", ".join([words.rstrip(":"), *more]) if more else words


def _short(test_id: str) -> str:
    """The test's own name, without its file and class."""
    last = re.split(r"::|\s>\s", test_id.strip())[-1]
    return last if "::" in test_id or " > " in test_id else last.rpartition(".")[2] or last
