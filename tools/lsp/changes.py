"""Asks servers for changes: renames, quick fixes, organised imports.

In: a definition or a place. Out: `ChangesAnswer` with whole new texts by path. Nothing is written here: `apply_edits`
of `forklock.tools.edits` does that, behind the syntax gate, all files or none. Changes that reach out of the
workspace, or that move, make or delete files, are left out. Not covered: actions that are only a command of the server.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lsprotocol import types as lsp

from forklock.tools.contract import Change, ChangesAnswer, Freshness, LookupAnswer
from forklock.tools.lsp.asking import answers
from forklock.tools.lsp.asking.asker import Asker, PathLike
from forklock.tools.lsp.asking.editing import Edits, Outside
from forklock.tools.lsp.asking.names import Names
from forklock.tools.lsp.asking.verdicts import why, worth
from forklock.tools.lsp.renames.rename import Renames
from forklock.tools.lsp.wire.connection import Connection
from forklock.tools.lsp.wire.documents import uri_of
from forklock.tools.lsp.wire.faults import Refused, TimedOut, Unavailable

ORGANISE = "source.organizeImports"
QUICK_FIX = "quickfix"
KINDS = {"fix": QUICK_FIX, "imports": ORGANISE, "all": "source.fixAll"}
"""Our words for kinds of actions → the protocol's."""


class Changes:
    """Reached as `Intel.changes`."""

    def __init__(self, asker: Asker, names: Names) -> None:
        self._asker = asker
        self._names = names
        self._renames = Renames(asker, names)

    def rename(self, name_path: str, new_name: str, path: str | None = None) -> ChangesAnswer:
        """One change that renames the definition and its uses in the whole workspace, and the places that it leaves
        uncovered. A name that is taken is refused."""
        with self._asker.lock:
            found = self._names.one(name_path, path)
            if isinstance(found, LookupAnswer):
                return _silent(found)
            return self._renames.of(*found, new_name)

    def actions(
        self, path: PathLike, line: int | None = None, kinds: Sequence[str] = tuple(KINDS)
    ) -> ChangesAnswer:
        """What the servers offer for a file, or for what begins on one of its lines: `fix`, `imports`, `all`."""
        found = self._asker.file(path)
        if isinstance(found, LookupAnswer):
            return _silent(found)
        file, text = found
        wanted = [lsp.CodeActionKind(KINDS[kind]) for kind in kinds]
        offered = self._asker.each(file, text, lambda c: self._offers(c, file, text, line, wanted))
        changes: dict[tuple[str, str], Change] = {}
        silent = [o for o in offered if isinstance(o, LookupAnswer)]
        for one in offered:
            if not isinstance(one, LookupAnswer):
                for action, codec in one:
                    self._keep(changes, action, codec)
        detail = "; ".join(s.detail for s in silent)
        if not changes and silent:
            return ChangesAnswer(silent[0].freshness, detail=detail)
        state = Freshness.FOUND if changes else Freshness.CLEAN
        return ChangesAnswer(state, tuple(changes.values()), detail)

    def _keep(self, changes: dict[tuple[str, str], Change], action: lsp.CodeAction, codec: Any) -> None:
        try:
            texts = Edits.of(self._asker, action.edit).texts(self._asker, codec)
        except Outside:
            return
        if texts:
            kind = str(getattr(action.kind, "value", action.kind) or "")
            changes.setdefault((action.title, kind), Change(action.title, kind, texts))

    async def _offers(
        self, connection: Connection, file: Path, text: str, line: int | None, kinds: list[lsp.CodeActionKind]
    ) -> list[tuple[lsp.CodeAction, Any]] | LookupAnswer:
        try:
            _, found = await connection.diagnose(file, self._asker.timeout_s)
            codec = await connection.codec(self._asker.timeout_s)
            actions: list[lsp.CodeAction] = []
            for where, told in _questions(text, found, line):
                context = lsp.CodeActionContext(told, kinds, lsp.CodeActionTriggerKind.Invoked)
                params = lsp.CodeActionParams(lsp.TextDocumentIdentifier(uri_of(file)), where, context)
                answer = await connection.ask(lsp.TEXT_DOCUMENT_CODE_ACTION, params, self._asker.timeout_s)
                for action in answer or []:
                    if isinstance(action, lsp.CodeAction) and action.disabled is None:
                        actions.append(await self._resolved(connection, action))
        except (TimedOut, Unavailable, Refused) as exc:
            return LookupAnswer(worth(exc), detail=why(exc))
        return [(action, codec) for action in actions if action.edit is not None]

    async def _resolved(self, connection: Connection, action: lsp.CodeAction) -> lsp.CodeAction:
        """Request the edit of an action: servers leave out edits that are expensive to make."""
        if action.edit is not None or action.data is None:
            return action
        try:
            resolved: lsp.CodeAction = await connection.ask(
                lsp.CODE_ACTION_RESOLVE, action, self._asker.timeout_s
            )
        except Refused:
            return action
        return resolved


def _questions(
    text: str, found: Sequence[lsp.Diagnostic], line: int | None
) -> list[tuple[lsp.Range, list[lsp.Diagnostic]]]:
    """The ranges to ask about: that of each diagnostic, since servers fix what the range touches, and the file or the
    line."""
    here = [d for d in found if line is None or d.range.start.line == line - 1]
    last = len(answers.lines_of(text))
    start, end = (0, last) if line is None else (line - 1, line)
    whole = lsp.Range(lsp.Position(start, 0), lsp.Position(end, 0))
    return [*((d.range, [d]) for d in here[:_ASKED]), (whole, here)]


_ASKED = 20
"""Diagnostics of one file that fixes are asked for."""


def _silent(answer: LookupAnswer) -> ChangesAnswer:
    return ChangesAnswer(answer.freshness, detail=answer.detail)
