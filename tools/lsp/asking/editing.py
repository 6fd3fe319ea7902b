"""Turns a server's edits into whole new texts.

In: a WorkspaceEdit. Out: texts by workspace path; nothing is written. Edits that reach out of the workspace, or that
move, make or delete files, are refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from lsprotocol import types as lsp

from forklock.tools.lsp.asking import answers
from forklock.tools.lsp.asking.asker import Asker
from forklock.tools.lsp.wire.documents import path_of


class Outside(Exception):
    """A server's edit that is refused."""


@dataclass
class Edits:
    """Edits by workspace path, all about the files as they are now."""

    by_path: dict[str, list[Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, asker: Asker, edit: lsp.WorkspaceEdit | None) -> Edits:
        """Read a server's edit. Raises Outside."""
        found = cls()
        for uri, edits in by_file(edit):
            file = path_of(uri)
            if asker.inside(file) is None:
                raise Outside(f"it would change {file}, outside the workspace")
            found.by_path.setdefault(answers.shown_path(file, asker.root), []).extend(edits)
        return found

    def texts(self, asker: Asker, codec: Any) -> dict[str, str]:
        """The new text of each file that is changed. Raises Outside."""
        texts: dict[str, str] = {}
        for path, edits in self.by_path.items():
            old = asker.sources.read(asker.root / path)
            if old is None:
                raise Outside(f"{path} is not a text file")
            new = edited(old, edits, codec)
            if new != old:
                texts[path] = new
        return texts

    def add(self, asker: Asker, codec: Any, path: str, line: int, column: int, old: str, new: str) -> None:
        """Replace the word `old` that stands there."""
        text = asker.sources.read(asker.root / path) or ""
        ends = (answers.to_position(text, line, at, codec) for at in (column, column + len(old)))
        self.by_path.setdefault(path, []).append(lsp.TextEdit(lsp.Range(*ends), new))

    def words(self, asker: Asker, codec: Any, name: str) -> Iterator[tuple[str, int, int]]:
        """Places of the word `name` that are replaced."""
        for path, edits in self.by_path.items():
            text = asker.sources.read(asker.root / path) or ""
            lines = answers.lines_of(text)
            for edit in edits:
                start = edit.range.start
                column = answers.to_column(text, start, codec)
                line = lines[start.line] if start.line < len(lines) else ""
                at, end = line.find(name, column), answers.to_column(text, edit.range.end, codec)
                if column <= at < end and edit.range.end.line == start.line:
                    yield path, start.line + 1, at


def edited(text: str, edits: Iterable[Any], codec: Any) -> str:
    """The text after all edits. Their positions are those before any of them.

    Raises:
        Outside: two edits overlap.
    """
    lines = answers.lines_of(text)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))

    def offset(position: lsp.Position) -> int:
        if position.line >= len(lines):
            return len(text)
        width = len(lines[position.line].rstrip("\r\n"))
        return starts[position.line] + min(width, answers.to_column(text, position, codec))

    spans = sorted(
        ((offset(e.range.start), offset(e.range.end), index, e.new_text) for index, e in enumerate(edits)),
    )
    parts, last = [], 0
    for start, end, _, new in spans:
        if start < last or end < start:
            raise Outside("its edits overlap")
        parts += [text[last:start], new]
        last = end
    return "".join([*parts, text[last:]])


def by_file(edit: lsp.WorkspaceEdit | None) -> list[tuple[str, list[Any]]]:
    """(URI, edits) for each file. Raises Outside."""
    if edit is None:
        return []
    if edit.document_changes:
        found = []
        for change in edit.document_changes:
            if not isinstance(change, lsp.TextDocumentEdit):
                raise Outside("it would make, move or delete files")
            found.append((change.text_document.uri, list(change.edits)))
        return found
    return [(uri, list(edits)) for uri, edits in (edit.changes or {}).items()]
