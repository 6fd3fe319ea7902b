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


def apply_edit(root: Path, edit: Edit) -> AppliedEdit:
    """Carry out an edit below `root`. Nothing is written unless all of it is.

    Raises:
        EditRefused: as `preview`, or the path may not be touched, or the file cannot be read or written.
    """
    applied, file, encoding = _planned(root, edit)
    if applied.after != applied.before:
        write_document(file, edit.path, applied.after, encoding)
    return applied


def apply_edits(root: Path, edits: Sequence[Edit]) -> list[AppliedEdit]:
    """Carry out edits of several files, each file once: all of them, or none.

    Raises:
        EditRefused: as `apply_edit`; what had been written is as it was before.
    """
    planned = [
        _planned(root, edit) for edit in edits
    ]  # every refusal that can be foreseen comes before a write
    if len({file for _, file, _ in planned}) < len(planned):
        raise EditRefused("Two of the edits are of one file; give each file once.")
    done: list[tuple[AppliedEdit, Path, str]] = []
    try:
        for applied, file, encoding in planned:
            if applied.after != applied.before:
                done.append((applied, file, encoding))
                write_document(file, applied.path, applied.after, encoding)
    except BaseException:
        for applied, file, encoding in done:
            if applied.before is not None:
                write_document(file, applied.path, applied.before, encoding)
            else:
                with contextlib.suppress(OSError):  # it may be the one that could not be written
                    file.unlink(missing_ok=True)
        raise
    return [applied for applied, _, _ in planned]


def _planned(root: Path, edit: Edit) -> tuple[AppliedEdit, Path, str]:
    file = resolve(root, edit.path)
    document = read_document(file, edit.path) if file.exists() else None
    before = document.text if document else None
    after = preview(before, edit, language_of(edit.path).target(root))
    return AppliedEdit(edit.path, before, after), file, document.encoding if document else "utf-8"


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
