"""Chat prompts: the task, the failing check, the frame around the code, and the last attempt.

A prompt is packed to a token budget in order of worth: the code to change and the failures are kept verbatim, the
frame takes what is left, the repository's notes come last. The same state gives the same bytes, which resume and
replay rely on, so a prompt has no timings and no temporary paths.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from forklock.agent.asking.openings import function_header
from forklock.agent.contract import Place
from forklock.models.contract import Message, Request
from forklock.tools.contract import TestReport, TestStatus
from forklock.tools.languages.known import language_of

SYSTEM = (
    "You are an expert programmer who repairs code in a repository. You read the failing check, find what "
    "the code does wrong, and write the corrected code. You change as little as the repair needs."
)

CountTokens = Callable[[str], int]

_MAX_FAILURES = 3
_MAX_FAILURE_CHARS = 1200
_MAX_TEST_CHARS = 2400
_NOISE = re.compile(r"\b\d+(?:\.\d+)?\s?(?:s|ms|seconds)\b|0x[0-9a-f]{6,}")


@dataclass(frozen=True, slots=True)
class Attempt:
    """A candidate that failed, shown to the model before its next try."""

    source: str
    """The definition or file as the candidate had it."""
    failure: str


@dataclass(frozen=True, slots=True)
class View:
    """All that a prompt about one place is made of."""

    place: Place
    code: str
    """Source of the place, as it stands in the workspace."""
    task: str
    report: TestReport
    test_sources: tuple[str, ...]
    closing: str
    """The instruction at the end."""
    frame: str = ""
    notes: str = ""
    """Notes of the repository (AGENTS.md)."""
    attempt: Attempt | None = None
    is_bare: bool = False
    """The prompt says no more than the task, the check and the code."""
    hides_code: bool = False
    """The body is not shown."""
    outline: str = ""
    """Where the code is hidden, for a method: its class with the method's body left out."""


def without_noise(text: str) -> str:
    """Returns text without durations and addresses, which change from run to run."""
    return _NOISE.sub("…", text)


def failure_text(report: TestReport) -> str:
    """Formats the failures of a report, short and without what changes from run to run."""
    if not report.failures:
        tail = report.output.strip()[-_MAX_FAILURE_CHARS:]
        return without_noise(f"{report.status}\n{tail}".strip())
    parts = [
        f"{failure.test_id}\n{failure.message.strip()[:_MAX_FAILURE_CHARS]}"
        for failure in report.failures[:_MAX_FAILURES]
    ]
    more = len(report.failures) - _MAX_FAILURES
    if more > 0:
        parts.append(f"(and {more} more failures)")
    return without_noise("\n\n".join(parts))


def build_request(view: View, *, budget: int, count: CountTokens) -> Request:
    """Builds the request for one place: at most `budget` prompt tokens by `count`, if the kept parts allow it."""
    language = language_of(view.place.path).name
    where = _where(view.place, view.is_bare)
    kept = [
        f"# Task\n\n{view.task.strip()}",
        *_tests(view.test_sources, language),
        *([] if view.is_bare and view.test_sources else _failures(view.report)),
    ]
    code = _code(view, where, language)
    code.append(view.closing)
    room = budget - count("\n\n".join([SYSTEM, *kept, *code])) - 32
    extras: list[str] = []
    around = [] if view.is_bare else [("Around it", view.frame), ("Notes of this repository", view.notes)]
    for title, text in around:
        packed = pack(text, room, count)
        if packed:
            extras.append(f"# {title}\n\n{packed}")
            room -= count(extras[-1])
    user = "\n\n".join([*kept, *extras, *code])
    return Request(
        messages=(Message(role="system", content=SYSTEM), Message(role="user", content=user)),
    )


def _where(place: Place, bare: bool) -> str:
    if place.symbol is None:
        return f"`{place.path}`"
    return f"`{place.symbol.name_path}`" + ("" if bare else f" in `{place.path}`")


def _code(view: View, where: str, language: str) -> list[str]:
    if view.hides_code:
        own = language_of(view.place.path)
        shown = view.outline or own.to_be_written(function_header(view.code, own))
        return [f"# What is to be written: {where}\n\n```{language}\n{shown.rstrip()}\n```"]
    parts = [f"# The code to repair: {where}\n\n```{language}\n{view.code.rstrip()}\n```"]
    if view.attempt is not None:
        parts.append(
            f"# A repair that was tried and failed\n\n```{language}\n{view.attempt.source.rstrip()}\n```\n\n"
            f"It failed so:\n\n```\n{view.attempt.failure[:_MAX_FAILURE_CHARS]}\n```\n\nDo something different."
        )
    return parts


def _failures(report: TestReport) -> list[str]:
    """Returns nothing where nothing fails: an unverified run has no failing check."""
    if report.status is TestStatus.PASSED:
        return []
    return [f"# What the check says\n\n```\n{failure_text(report)}\n```"]


def _tests(sources: tuple[str, ...], language: str) -> list[str]:
    parts: list[str] = []
    room = _MAX_TEST_CHARS
    for source in sources:
        if len(source) > room:
            break
        parts.append(f"```{language}\n{source.rstrip()}\n```")
        room -= len(source)
    return ["# The failing check\n\n" + "\n\n".join(parts)] if parts else []


def pack(text: str, room: int, count: CountTokens) -> str:
    """Returns the leading lines of `text` that fit in `room` tokens, and closes a fence that is left open."""
    if not text.strip() or room <= 16:
        return ""
    if count(text) <= room:
        return text.strip()
    lines = text.strip().splitlines()
    low, high = 0, len(lines)
    while low < high:
        middle = (low + high + 1) // 2
        if count("\n".join(lines[:middle])) <= room - 8:
            low = middle
        else:
            high = middle - 1
    kept = lines[:low]
    if sum(line.lstrip().startswith("```") for line in kept) % 2:
        kept.append("```")
    return "\n".join(kept)
