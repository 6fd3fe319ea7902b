"""`edit`: changes a file behind the syntax gate, and answers with what a developer would see at once.

That is: new diagnostics, and what the task's check says where it is quick. An edit that does not fit is answered by the
lines that are there. After two of them on one file, the file is shown whole, and only a whole write is taken.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from forklock.agent.driving.contract import ToolAnswer
from forklock.agent.driving.tools.checking import explain, is_new_test, is_quick, judge, note_tests
from forklock.agent.driving.tools.context import Context
from forklock.agent.driving.tools.excerpts import MAX_CHARS, clip
from forklock.agent.driving.tools.forms import Delete, Rename, Unclear, change_of
from forklock.agent.driving.tools.read import text_of
from forklock.agent.driving.tools.rename import rename
from forklock.tools.contract import (
    Diagnostic,
    Edit,
    EditRefused,
    Freshness,
    ReplaceFile,
    TestReport,
    ToolFault,
)
from forklock.tools.edits.apply import AppliedEdit, plan_edit
from forklock.tools.languages.text import to_lf
from forklock.tools.lsp.servers.table import has_server
from forklock.tools.paths import resolve

FAILURES = 2
"""Refused edits in a row on one file, after which it is shown whole."""
WHOLE_LINES = 400
WHOLE_CHARS = 16_000
"""A file that is longer is not shown whole, and edited in parts all the same."""
_DIAGNOSTICS = 8


def edit(context: Context, path: str, arguments: Mapping[str, str | int | bool]) -> ToolAnswer:
    """Answer a call.

    Raises:
        SandboxFault: the sandbox failed.
    """
    try:
        change = change_of(path, arguments)
    except Unclear as unclear:
        return ToolAnswer(str(unclear), "refused")
    try:
        if isinstance(change, Delete):
            return _deleted(context, change.path)
        if isinstance(change, Rename):
            return _seen(context, *rename(context, change))
        return _edited(context, change)
    except EditRefused as refused:
        return ToolAnswer(clip(refused.message, MAX_CHARS), "refused")


def require_writable(context: Context, path: str) -> str:
    """Return where a path leads, links followed.

    Raises:
        EditRefused: out of the workspace, or to what judges the task.
    """
    real = resolve(context.root, path).relative_to(context.root.resolve()).as_posix()
    if context.guard is None or (real == path and is_new_test(context.guard, path)):
        return real
    return context.guard.require_editable(context.root, path)


# --- one file --------------------------------------------------------------------------------------


def _edited(context: Context, change: Edit) -> ToolAnswer:
    path = change.path
    real = require_writable(context, path)
    whole = _whole(context, path) if context.failures[path] >= FAILURES else None
    if whole is not None and not isinstance(change, ReplaceFile):
        return ToolAnswer(f"{_only_whole(path)}\n{whole}", "refused")
    if has_server(path):
        context.intel()  # opened before the edit: what the servers report then is not new
    try:
        planned = plan_edit(context.root, change)
    except EditRefused as refused:
        return _failed(context, path, refused)
    applied = planned.applied
    if context.guard is not None and not is_new_test(context.guard, real):
        context.guard.require_kept(AppliedEdit(real, applied.before, applied.after), path)
    if applied.before == applied.after:
        text = (
            f"Nothing was changed: {path} is already like that. The change has to be another one, or is done."
        )
        return ToolAnswer(text, "refused", no_op=True)
    planned.write()
    del context.failures[path]
    return _seen(context, (real,), _counted(applied))


def _failed(context: Context, path: str, refused: EditRefused) -> ToolAnswer:
    """Answer an edit that does not fit."""
    context.failures[path] += 1
    text = clip(refused.message, MAX_CHARS)
    if context.failures[path] >= FAILURES and (whole := _whole(context, path)) is not None:
        text = f"{text}\n{_only_whole(path)}\n{whole}"
    return ToolAnswer(text, "refused")


def _only_whole(path: str) -> str:
    return (
        f"Edits of {path} did not fit {FAILURES} times. Write the whole file now: "
        f"edit with path={path!r} and its whole new text as `content`. This is the file as it is:"
    )


def _text_or_none(context: Context, path: str) -> str | None:
    try:
        return text_of(context, path)
    except EditRefused:
        return None


def _whole(context: Context, path: str) -> str | None:
    """Return the text of a file that is short enough to be written whole; None for others."""
    text = _text_or_none(context, path) or ""
    fits = len(text) <= WHOLE_CHARS and text.count("\n") <= WHOLE_LINES
    return text if fits and text else None


def _counted(applied: AppliedEdit) -> str:
    if applied.before is None:
        return f"Made {applied.path} ({len(applied.after.splitlines())} lines)."
    old, new = to_lf(applied.before).split("\n"), to_lf(applied.after).split("\n")
    added = removed = 0
    for line in difflib.unified_diff(old, new, n=0, lineterm=""):
        added += line.startswith("+") and not line.startswith("+++ ")
        removed += line.startswith("-") and not line.startswith("--- ")
    return f"Edited {applied.path}: +{added} -{removed} lines."


def _deleted(context: Context, path: str) -> ToolAnswer:
    real = require_writable(context, path)
    file = resolve(context.root, path)
    if not file.exists():
        raise EditRefused(f"There is no file {path}.")
    if context.guard is not None and not is_new_test(context.guard, real):
        context.guard.require_kept(AppliedEdit(real, _text_or_none(context, path), ""), path)
    if has_server(path):
        context.intel()
    try:
        (context.root / path).unlink()  # of a link, the link
    except OSError as error:
        raise EditRefused(f"{path} cannot be deleted: {error.strerror}") from None
    return _seen(context, (path,), f"Deleted {path}.")


# --- what a developer would see --------------------------------------------------------------------


def _seen(context: Context, wrote: tuple[str, ...], done: str) -> ToolAnswer:
    context.wrote(wrote)
    note_tests(context, wrote)
    parts = [done, _diagnostics(context, wrote)]
    report: TestReport | str | None = None
    if is_quick(context.check):
        report = judge(context)
        parts.append(context.relative(explain(context.check, report, context.root)))
    text = "\n".join(part for part in parts if part)
    return ToolAnswer(text, "ok", wrote=wrote, report=report if isinstance(report, TestReport) else None)


def _diagnostics(context: Context, wrote: tuple[str, ...]) -> str:
    """Say what the language servers report of the files that were written, and did not report before."""
    there = [path for path in wrote if (context.root / path).is_file() and has_server(path)]
    intel = context.intel() if there else None
    if intel is None:
        return ""
    try:
        answer = intel.new_diagnostics_of(dict.fromkeys(there))
    except ToolFault as fault:
        return f"diagnostics: {fault.message}"
    if answer.freshness is Freshness.CLEAN:
        return "no new diagnostics"
    if answer.freshness is not Freshness.FOUND:
        return f"diagnostics: {answer.freshness.value}" + (f" ({answer.detail})" if answer.detail else "")
    worst = sorted(answer.items, key=lambda item: item.severity != "error")
    rows = [_row(item) for item in worst[:_DIAGNOSTICS]]
    more = [f"  … {len(worst) - _DIAGNOSTICS} more"] if len(worst) > _DIAGNOSTICS else []
    return "\n".join(["new diagnostics:", *rows, *more])


def _row(item: Diagnostic) -> str:
    message = " ".join(item.message.split())
    return f"  {item.path}:{item.line}: {item.severity} [{item.code or item.source}] {message[:300]}"
