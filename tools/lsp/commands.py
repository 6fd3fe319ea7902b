"""Shows changes and calls as text, for the command line and for the served tools.

In: an `Intel`, names, a root. Out: text for a reader; files are written only on request (`write`). Errors say what to
do next. Not covered: choosing servers.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from forklock.tools.contract import Change, ChangesAnswer, Freshness, ReplaceFile, ToolFault, Uncovered
from forklock.tools.edits.apply import apply_edits
from forklock.tools.index.find import NoSuchSymbol

if TYPE_CHECKING:
    from forklock.tools.lsp import Intel

WHOLE = 10_000_000
"""Characters of an answer that is not to be cut."""
NAMED = 20
"""Mentions in prose that a verdict names."""
LISTED = 200
"""Uncovered places that a verdict lists."""
_NO_END = "\\ No newline at end of file\n"


class NameTaken(ToolFault):
    """The new name cannot be used."""

    exit_code = 2


class Incomplete(ToolFault):
    """A rename that leaves places uncovered was to be written."""

    exit_code = 1


@dataclass(frozen=True, slots=True)
class Shown:
    """An answer as text, and whether it covers every place that has the name."""

    text: str
    verdict: str
    complete: bool


def show_rename(
    intel: Intel,
    root: Path,
    name: str,
    new_name: str,
    path: str | None,
    *,
    apply: bool = False,
    partial: bool = False,
) -> Shown:
    """The diff and the verdict. `apply` writes the change; if it is not complete, only together with `partial`.

    Raises:
        Incomplete: it is not complete, and was to be written without `partial`.
        NameTaken, NoSuchSymbol, ToolFault: as `the_rename`.
    """
    answer = the_rename(intel, name, new_name, path)
    change, verdict = answer.changes[0], rename_verdict(answer)
    told = diff_of(intel, change)
    if apply and not (answer.complete or partial):
        raise Incomplete(
            f"nothing was written: {verdict}", fix="change these places first, or write it with --partial"
        )
    if apply:
        write(intel, root, change)
    return Shown(told, verdict, answer.complete)


def the_rename(intel: Intel, name: str, new_name: str, path: str | None) -> ChangesAnswer:
    """The answer to a rename; it has exactly one change.

    Raises:
        NoSuchSymbol: there is nothing to rename.
        NameTaken: the new name cannot be used.
        ToolFault: no server answers.
    """
    answer = checked(intel.changes.rename(name, new_name, path))
    if answer.refused:
        raise NameTaken(answer.refused, fix="choose another name")
    if not answer.changes:
        raise NoSuchSymbol(answer.detail or f"{name} cannot be renamed")
    return answer


def rename_verdict(answer: ChangesAnswer) -> str:
    """The word `complete` or the places that are not covered, and the places where prose keeps the old name."""
    parts = [uncovered_words(answer.uncovered, "not complete, these places were not covered:") or "complete"]
    if answer.mentions:
        where = ", ".join(dict.fromkeys(f"{one.path}:{one.line}" for one in answer.mentions[:NAMED]))
        more = len(answer.mentions) - NAMED
        parts.append(
            f"comments and prose keep the old name: {where}" + (f" and {more} more" if more > 0 else "")
        )
    return "\n".join(parts)


def uncovered_words(places: Sequence[Uncovered], head: str) -> str:
    """The places as lines below `head`; "" where there are none."""
    rows = [
        f"  {one.path}:{one.line}: {one.why}" + (f": {one.snippet}" if one.snippet else "") for one in places
    ]
    more = [f"  and {len(rows) - LISTED} more"] if len(rows) > LISTED else []
    return "\n".join([head, *rows[:LISTED], *more]) if rows else ""


def show_calls(intel: Intel, name: str, path: str | None, *, outgoing: bool = False) -> Shown:
    """The calls that the servers know, and the places that may be calls."""
    ask = intel.calls.outgoing if outgoing else intel.calls.incoming
    answer = ask(name, path, cover=True, max_chars=WHOLE)
    if answer.freshness in (Freshness.TIMED_OUT, Freshness.UNAVAILABLE):
        raise ToolFault(f"{answer.freshness.value}: {answer.detail}")
    if answer.detail.startswith("no definition") and not answer.locations:
        raise NoSuchSymbol(
            answer.detail, fix="`tools search WORDS` and `tools symbols FILE` list definitions"
        )
    rows = [
        f"{p.path}:{p.line} {p.name_path}".rstrip() + f": {p.snippet}".rstrip(": ") for p in answer.locations
    ]
    notes = [f"({answer.detail})"] if answer.detail else []
    nothing = (
        "calls nothing"
        if outgoing
        else "no calls"
        if not answer.uncovered
        else "no calls that a server knows"
    )
    maybe = uncovered_words(answer.uncovered, "not complete, these places may call it:")
    return Shown("\n".join([*rows, *notes]) or nothing, maybe or "complete", not answer.uncovered)


def show_actions(intel: Intel, root: Path, path: str, line: int | None, kind: str, *, apply: str = "") -> str:
    """The diffs that servers offer for a file; the one named by `apply` is written.

    Raises:
        NoSuchSymbol: no such kind, or no action of that title.
        ToolFault: no server answers.
    """
    from forklock.tools.lsp.changes import KINDS

    if kind and kind not in KINDS:
        raise NoSuchSymbol(f"no kind of action {kind!r}", fix=f"one of {', '.join(KINDS)}")
    answer = checked(intel.changes.actions(path, line, (kind,) if kind else tuple(KINDS)))
    if not apply:
        return "\n".join(_offer(intel, change) for change in answer.changes) or "nothing to change"
    change = the_action(answer, apply)
    told = diff_of(intel, change)
    write(intel, root, change)
    return told


def the_action(answer: ChangesAnswer, title: str) -> Change:
    """The change of that title. Raises NoSuchSymbol where there is none."""
    for change in answer.changes:
        if change.title == title:
            return change
    titles = "; ".join(dict.fromkeys(change.title for change in answer.changes)) or "nothing"
    raise NoSuchSymbol(f"no action {title!r} is offered there", fix=f"offered: {titles}")


def checked(answer: ChangesAnswer) -> ChangesAnswer:
    """The same answer. Raises ToolFault where servers did not answer, which does not mean that there is nothing."""
    if answer.freshness in (Freshness.TIMED_OUT, Freshness.UNAVAILABLE):
        raise ToolFault(f"{answer.freshness.value}: {answer.detail}")
    return answer


def write(intel: Intel, root: Path, change: Change) -> None:
    """Write all files of the change or none, behind the syntax gate. Raises EditRefused."""
    apply_edits(root, [ReplaceFile(path=path, source=text) for path, text in change.texts.items()])
    intel.sync(change.texts)


def diff_of(intel: Intel, change: Change) -> str:
    """The change as a diff. Ask before `write`."""
    return "\n".join(_diff(path, intel.text(path), new) for path, new in change.texts.items())


def _offer(intel: Intel, change: Change) -> str:
    return f"{change.title} [{change.kind}]\n{diff_of(intel, change)}"


def _diff(path: str, before: str, after: str) -> str:
    """A diff that git applies: line ends as they are, and a last line without one is marked."""
    old, new = _lines(before), _lines(after)
    lines = list(difflib.unified_diff(old, new, f"a/{path}", f"b/{path}", n=1))
    return "".join(line if line.endswith("\n") else f"{line}\n{_NO_END}" for line in lines).removesuffix("\n")


def _lines(text: str) -> list[str]:
    """Lines with their ends. Only a newline ends one: not a form feed, as `splitlines` has it."""
    return [line for line in re.split(r"(?<=\n)", text) if line]
