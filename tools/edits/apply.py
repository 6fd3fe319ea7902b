"""Edits: from what a model wrote to a changed file, or to a refusal that it can act on.

Comes in: a workspace file's text and an `Edit`. Goes out: the new text (`preview`, pure), or the file
replaced in one step (`apply_edit`) with encoding, BOM, line ends, mode and trailing newline kept.

The syntax gate: what would not parse is never written. A file that did not parse before may be edited as
long as its first error does not move up.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from forklock.tools.contract import Edit, EditRefused, ReplaceFile, SearchReplace
from forklock.tools.edits.definition import replace_definition
from forklock.tools.edits.search_replace import search_replace
from forklock.tools.files import read_document, write_document
from forklock.tools.languages.definitions import SyntaxProblem, Target
from forklock.tools.languages.known import check_syntax, language_of
from forklock.tools.languages.text import restore_style, to_lf
from forklock.tools.paths import resolve

CONTEXT_LINES = 3


@dataclass(frozen=True, slots=True)
class AppliedEdit:
    """What an edit did to a file. `before` is None where it made the file."""

    path: str
    before: str | None
    after: str


def preview(text: str | None, edit: Edit, version: Target | None = None) -> str:
    """The file's text after the edit; `text` is None where the file does not exist.

    Args:
        version: the version that the repository runs on; for a file that needs a newer one than this interpreter,
            that one, where nothing says which.

    Raises:
        EditRefused: the edit does not fit the text, or its result does not parse.
    """
    original = to_lf(text) if text is not None else None
    if original is not None:
        version = language_of(edit.path).fitting(edit.path, original, version)
    edited = _edited(original, edit, version)
    _gate(edit.path, original, edited, version)
    return edited if text is None else restore_style(text, edited)


@dataclass(frozen=True, slots=True)
class PlannedEdit:
    """An edit that fits, and is not written yet."""

    applied: AppliedEdit
    file: Path
    encoding: str

    def write(self) -> None:
        """
        Raises:
            EditRefused: the file cannot be written.
        """
        if self.applied.after != self.applied.before:
            write_document(self.file, self.applied.path, self.applied.after, self.encoding)


def apply_edit(root: Path, edit: Edit) -> AppliedEdit:
    """Carry out an edit below `root`. Nothing is written unless all of it is.

    Raises:
        EditRefused: as `preview`, or the path may not be touched, or the file cannot be read or written.
    """
    planned = plan_edit(root, edit)
    planned.write()
    return planned.applied


def apply_edits(root: Path, edits: Sequence[Edit]) -> list[AppliedEdit]:
    """Carry out edits of several files, each file once: all of them, or none.

    Raises:
        EditRefused: as `apply_edit`; what had been written is as it was before.
    """
    planned = [
        plan_edit(root, edit) for edit in edits
    ]  # every refusal that can be foreseen comes before a write
    if len({one.file for one in planned}) < len(planned):
        raise EditRefused("Two of the edits are of one file; give each file once.")
    done: list[PlannedEdit] = []
    try:
        for one in planned:
            if one.applied.after != one.applied.before:
                done.append(one)
                one.write()
    except BaseException:
        for one in done:
            if one.applied.before is not None:
                write_document(one.file, one.applied.path, one.applied.before, one.encoding)
            else:
                with contextlib.suppress(OSError):  # it may be the one that could not be written
                    one.file.unlink(missing_ok=True)
        raise
    return [one.applied for one in planned]


def plan_edit(root: Path, edit: Edit) -> PlannedEdit:
    """Work out an edit below `root` without writing it.

    Raises:
        EditRefused: as `apply_edit`.
    """
    file = resolve(root, edit.path)
    document = read_document(file, edit.path) if file.exists() else None
    before = document.text if document else None
    after = preview(before, edit, language_of(edit.path).target(root))
    return PlannedEdit(
        AppliedEdit(edit.path, before, after), file, document.encoding if document else "utf-8"
    )


def _edited(text: str | None, edit: Edit, version: Target | None) -> str:
    if isinstance(edit, ReplaceFile):
        return _replace_file(text, to_lf(edit.source))
    if text is None:
        raise EditRefused(f"There is no file {edit.path}. To make it, give its whole text.")
    if isinstance(edit, SearchReplace):
        return search_replace(edit.path, text, to_lf(edit.search), to_lf(edit.replace))
    return replace_definition(edit.path, text, edit.name_path, to_lf(edit.source), version)


def _replace_file(text: str | None, source: str) -> str:
    """Models are careless about the last newline: it stays as the file has it; new files get one."""
    if text and not text.endswith("\n"):
        return source.rstrip("\n")
    return source if source.endswith("\n") or not source else source + "\n"


# --- the syntax gate -------------------------------------------------------------------------------


def _gate(path: str, before: str | None, after: str, version: Target | None) -> None:
    problem = check_syntax(path, after, version)
    if problem is None:
        return
    old = check_syntax(path, before, version) if before is not None else None
    if old is not None and before is not None and _from_end(after, problem) <= _from_end(before, old):
        return
    message = f"The edit was not applied: {path} would not parse. Line {problem.line}: {problem.message}."
    message += f" So says {problem.judge}." if problem.judge else ""
    message += f"\nIt would be:\n{_snippet(after, problem.line)}"
    if before is not None and before.strip():
        message += f"\nIt is now:\n{_snippet(before, _same_place(before, after, problem.line), mark=False)}"
    raise EditRefused(message, would_be=after)


def _from_end(text: str, problem: SyntaxProblem) -> int:
    """Lines from the first error to the end: an edit that does no harm never makes it more."""
    return text.count("\n") - problem.line


def _same_place(before: str, after: str, line: int) -> int:
    """The line of `before` that stood where `line` of `after` is."""
    old, new = before.split("\n"), after.split("\n")
    head = next(
        (n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new))
    )
    return (
        min(max(line, 1), len(old))
        if line <= head + 1
        else min(max(head + 1, line + len(old) - len(new)), len(old))
    )


def _snippet(text: str, line: int, *, mark: bool = True) -> str:
    lines = text.split("\n")
    line = min(max(line, 1), len(lines))
    first, last = max(1, line - CONTEXT_LINES), min(len(lines), line + CONTEXT_LINES)
    return "\n".join(
        f"{'>' if mark and number == line else ' '}{number:4} | {lines[number - 1]}"
        for number in range(first, last + 1)
    )
