"""What servers would change, and who calls what, in words: shared by the command line and the served tools.

In: an `Intel`, names, a root. Out: text for a reader; files written only where told to (`write`). Faults say what
can be done. Not covered: choosing servers.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from tools.contract import Change, ChangesAnswer, Freshness, ReplaceFile, ToolFault
from tools.edits.apply import apply_edits
from tools.edits.files import to_lf
from tools.index.find import NoSuchSymbol

if TYPE_CHECKING:
    from tools.lsp import Intel


def show_rename(
    intel: Intel, root: Path, name: str, new_name: str, path: str | None, *, apply: bool = False
) -> str:
    change = the_rename(intel, name, new_name, path)
    told = diff_of(intel, change)
    if apply:
        write(intel, root, change)
    return told


def the_rename(intel: Intel, name: str, new_name: str, path: str | None) -> Change:
    """Raises ToolFault where there is nothing to rename, or a server refuses the name."""
    if not new_name.isidentifier() and not new_name.replace("$", "_").isidentifier():
        raise NoSuchSymbol(
            f"{new_name!r} is no name", fix="give the last part alone, as `total` for `Cart.total`"
        )
    answer = checked(intel.changes.rename(name, new_name, path))
    if not answer.changes:
        raise NoSuchSymbol(answer.detail or f"{name} cannot be renamed")
    if answer.detail:
        raise ToolFault(f"{name} would be renamed in part only: {answer.detail}")
    return answer.changes[0]


def show_calls(intel: Intel, name: str, path: str | None, *, outgoing: bool = False) -> str:
    answer = intel.calls.outgoing(name, path) if outgoing else intel.calls.incoming(name, path)
    if answer.freshness in (Freshness.TIMED_OUT, Freshness.UNAVAILABLE):
        raise ToolFault(f"{answer.freshness.value}: {answer.detail}")
    rows = [
        f"{p.path}:{p.line} {p.name_path}".rstrip() + f": {p.snippet}".rstrip(": ") for p in answer.locations
    ]
    notes = [f"({answer.detail})"] if answer.detail else []
    return "\n".join([*rows, *notes]) or ("calls nothing" if outgoing else "no calls")


def show_actions(intel: Intel, root: Path, path: str, line: int | None, kind: str, *, apply: str = "") -> str:
    from tools.lsp.changes import KINDS

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
    """Raises NoSuchSymbol: none of that title."""
    for change in answer.changes:
        if change.title == title:
            return change
    titles = "; ".join(dict.fromkeys(change.title for change in answer.changes)) or "nothing"
    raise NoSuchSymbol(f"no action {title!r} is offered there", fix=f"offered: {titles}")


def checked(answer: ChangesAnswer) -> ChangesAnswer:
    """Raises ToolFault where servers did not answer: silence is not "nothing"."""
    if answer.freshness in (Freshness.TIMED_OUT, Freshness.UNAVAILABLE):
        raise ToolFault(f"{answer.freshness.value}: {answer.detail}")
    return answer


def write(intel: Intel, root: Path, change: Change) -> None:
    """All files of the change or none, behind the syntax gate. Raises EditRefused."""
    apply_edits(root, [ReplaceFile(path=path, source=text) for path, text in change.texts.items()])
    intel.sync(change.texts)


def diff_of(intel: Intel, change: Change) -> str:
    """Before `write`."""
    return "\n".join(_diff(path, intel.text(path), new) for path, new in change.texts.items())


def _offer(intel: Intel, change: Change) -> str:
    return f"{change.title} [{change.kind}]\n{diff_of(intel, change)}"


def _diff(path: str, before: str, after: str) -> str:
    old, new = to_lf(before).split("\n"), to_lf(after).split("\n")
    lines: Iterable[str] = difflib.unified_diff(old, new, f"a/{path}", f"b/{path}", n=1, lineterm="")
    return "\n".join(lines)
