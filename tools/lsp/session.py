"""`Intel`: what the language servers know about a workspace, asked from ordinary threads (room `tools/`).

In: a root, server names, paths, 1-based lines and 0-based columns, name paths, unsaved texts. Out:
`LookupAnswer` and `DiagnosticsAnswer`; no method raises for anything that a server, a file or a name does.
Safe from several threads; questions are asked one at a time (`asker`). Not covered: changes that commands
make in files nobody asks about, until `sync` is told; renames and code actions.
"""

from __future__ import annotations

import atexit
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lsprotocol import types as lsp

from tools.contract import Diagnostic, DiagnosticsAnswer, Freshness, Location, LookupAnswer, Symbol, ToolFault
from tools.lsp import answers
from tools.lsp.asker import Asker, PathLike
from tools.lsp.connection import START_S, path_of
from tools.lsp.servers import SERVERS, ServerSpec
from tools.lsp.verdicts import merge, unknown
from tools.symbols import find_symbol, symbols

ANSWER_S = 10.0
"""Seconds for one question, start of the server included only as far as it fits."""
MAX_CHARS = 6000
_open: weakref.WeakSet[Intel] = weakref.WeakSet()


def open_intel(
    root: Path,
    *,
    servers: Sequence[str] = ("ty", "ruff"),
    python: Path | None = None,
    timeout_s: float = ANSWER_S,
    start_s: float = START_S,
    max_chars: int = MAX_CHARS,
) -> Intel:
    """Start the servers in the background and take the present state of the files as the baseline.

    `python` is the interpreter whose packages imports resolve to: by default the workspace's own virtual
    environment, else ours. A server that is missing or does not start raises nothing here: its answers say
    so.

    Raises:
        ToolFault: no such folder, or a server name that is not in the table.
    """
    unknown = [name for name in servers if name not in SERVERS]
    if unknown:
        raise ToolFault(f"no language server {unknown[0]!r}", fix=f"choose from: {', '.join(SERVERS)}")
    if not root.is_dir():
        raise ToolFault(f"{root} is not a folder", fix="give the root of the workspace")
    specs = [SERVERS[name] for name in servers]
    return Intel(root.resolve(), specs, python, timeout_s=timeout_s, start_s=start_s, max_chars=max_chars)


class Intel:
    def __init__(
        self,
        root: Path,
        specs: Sequence[ServerSpec],
        python: Path | None,
        *,
        timeout_s: float = ANSWER_S,
        start_s: float = START_S,
        max_chars: int = MAX_CHARS,
    ) -> None:
        self.root = root
        self._max_chars = max_chars
        self._asker = Asker(root, specs, python, timeout_s, start_s)
        self._baselines: dict[Path, list[Diagnostic]] = {}
        _open.add(self)

    def __enter__(self) -> Intel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Shut the servers down, in about two seconds at worst. Later questions are UNAVAILABLE."""
        self._asker.close()

    @property
    def pids(self) -> dict[str, int]:
        """Process ids of the running servers, by name."""
        return self._asker.pids

    # --- by position: `text` stands in for what is on disk ---------------------------------------

    def definition(
        self, path: PathLike, line: int, column: int, *, text: str | None = None, max_chars: int | None = None
    ) -> LookupAnswer:
        """The source of what the name there stands for, libraries included."""
        told = answers.told_definition
        return self._places(lsp.TEXT_DOCUMENT_DEFINITION, path, line, column, text, max_chars, told)

    def references(
        self, path: PathLike, line: int, column: int, *, text: str | None = None, max_chars: int | None = None
    ) -> LookupAnswer:
        """Every use, the declaration left out, each with its line and the definition that holds it."""
        return self._places(lsp.TEXT_DOCUMENT_REFERENCES, path, line, column, text, max_chars, _told_line)

    def hover(
        self, path: PathLike, line: int, column: int, *, text: str | None = None, max_chars: int | None = None
    ) -> LookupAnswer:
        """Type and documentation of the name there, as text."""
        result = self._asker.at(lsp.TEXT_DOCUMENT_HOVER, path, line, column, text)
        if isinstance(result, LookupAnswer):
            return result
        return _text_answer(answers.hover_text(result[0]).splitlines(), max_chars or self._max_chars)

    def completion(
        self, path: PathLike, line: int, column: int, *, text: str | None = None, max_chars: int | None = None
    ) -> LookupAnswer:
        """What could be written there, `label: detail` a line, the server's best first.

        ty answers nothing between a dot and a name that is there already: ask with a `text` without the name.
        """
        result = self._asker.at(lsp.TEXT_DOCUMENT_COMPLETION, path, line, column, text)
        if isinstance(result, LookupAnswer):
            return result
        lines, complete = answers.completion_lines(result[0])
        answer = _text_answer(lines, max_chars or self._max_chars)
        note = "" if complete else "the server says that there may be more"
        return replace(answer, detail="; ".join(p for p in (answer.detail, note) if p))

    # --- by file and by query --------------------------------------------------------------------

    def document_symbols(self, path: PathLike) -> LookupAnswer:
        """The definitions in a file by name path, each with its first line."""
        found = self._asker.file(path)
        if isinstance(found, LookupAnswer):
            return found
        file, text = found
        params = lsp.DocumentSymbolParams(lsp.TextDocumentIdentifier(file.as_uri()))
        result = self._asker.lookup(lsp.TEXT_DOCUMENT_DOCUMENT_SYMBOL, {file: text}, lambda _codec: params)
        if isinstance(result, LookupAnswer):
            return result
        shown = answers.shown_path(file, self.root)
        rows = [(name, line, answers.line_of(text, line)) for name, line in answers.outline(result[0] or [])]
        return answers.pack(
            [(Location(shown, n, 0, name, s), (s, "")) for name, n, s in rows], self._max_chars
        )

    def workspace_symbols(self, query: str) -> LookupAnswer:
        """Definitions whose name the server thinks is like the query, over the whole workspace."""
        params = lsp.WorkspaceSymbolParams(query)
        result = self._asker.lookup(lsp.WORKSPACE_SYMBOL, {}, lambda _codec: params)
        if isinstance(result, LookupAnswer):
            return result
        told = []
        for item in result[0] or []:
            where = getattr(item.location, "range", None)
            file, line = path_of(item.location.uri), (where.start.line if where else 0) + 1
            place, _ = answers.place_of(file, self._asker.sources.read(file) or "", line, 0, self.root)
            told.append((replace(place, name_path=place.name_path or item.name), (place.snippet, "")))
        return answers.pack(told, self._max_chars)

    # --- by name path ----------------------------------------------------------------------------

    def definition_of(
        self, name_path: str, path: str | None = None, *, max_chars: int | None = None
    ) -> LookupAnswer:
        """The source of the definition of that name path; `path` may be left out where the name is unique."""
        found = self._named(name_path, path)
        if isinstance(found, LookupAnswer):
            return found
        return answers.pack([answers.told_symbol(*found)], max_chars or self._max_chars)

    def references_of(
        self, name_path: str, path: str | None = None, *, max_chars: int | None = None
    ) -> LookupAnswer:
        found = self._named(name_path, path)
        if isinstance(found, LookupAnswer):
            return found
        symbol, text = found
        return self.references(symbol.path, *answers.name_position(text, symbol), max_chars=max_chars)

    def hover_of(
        self, name_path: str, path: str | None = None, *, max_chars: int | None = None
    ) -> LookupAnswer:
        found = self._named(name_path, path)
        if isinstance(found, LookupAnswer):
            return found
        symbol, text = found
        return self.hover(symbol.path, *answers.name_position(text, symbol), max_chars=max_chars)

    def _named(self, name_path: str, path: str | None) -> tuple[Symbol, str] | LookupAnswer:
        if path is not None:
            file = self._asker.file(path)
            if isinstance(file, LookupAnswer):
                return file
            shown = answers.shown_path(file[0], self.root)
            symbol = find_symbol(shown, file[1], name_path)
            if symbol is not None:
                return symbol, file[1]
            return LookupAnswer(Freshness.CLEAN, detail=f"no definition {name_path!r} in {shown}")
        with self._asker.lock:
            found = list(self._candidates(name_path))
        exact = [f for f in found if f[0].name_path == name_path] or found
        if len(exact) == 1:
            return exact[0]
        if not exact:
            return LookupAnswer(Freshness.CLEAN, detail=f"no definition {name_path!r} in the workspace")
        names = ", ".join(f"{symbol.path}:{symbol.name_path}" for symbol, _ in exact[:20])
        packed = answers.pack([answers.told_symbol(s, t) for s, t in exact], self._max_chars)
        return replace(packed, detail=f"{name_path!r} is ambiguous, name the path too: {names}")

    def _candidates(self, name_path: str) -> Iterable[tuple[Symbol, str]]:
        name = answers.last_name(name_path)
        for file in self._asker.sources.files():
            text = self._asker.sources.read(file)
            if text is None or name not in text:
                continue
            for symbol in symbols(answers.shown_path(file, self.root), text):
                if symbol.name_path == name_path or symbol.name_path.endswith(f".{name_path}"):
                    yield symbol, text

    # --- diagnostics -----------------------------------------------------------------------------

    def diagnostics(self, path: PathLike, text: str | None = None) -> DiagnosticsAnswer:
        """Everything that the servers say about this file: as on disk, or as `text` were in its place."""
        file = self._asker.inside(path)
        if file is None:
            return DiagnosticsAnswer(Freshness.UNAVAILABLE, detail=f"{path} is outside the workspace")
        with self._asker.lock:
            content = text if text is not None else self._asker.sources.read(file)
            if content is None:
                return DiagnosticsAnswer(Freshness.UNAVAILABLE, detail=f"{path} is not a text file")
            return self._asker.diagnose(file, {file: content})

    def new_diagnostics(self, path: PathLike, text: str | None = None) -> DiagnosticsAnswer:
        """What `text` (default: what is on disk) adds to the baseline's diagnostics of this file."""
        return self.new_diagnostics_of({path: text})

    def new_diagnostics_of(
        self,
        texts: Mapping[PathLike, str | None] | Mapping[str, str | None],
        also: Sequence[PathLike] = (),
    ) -> DiagnosticsAnswer:
        """What these texts together add, in these files and in `also` (say, their importers)."""
        with self._asker.lock:
            overlay: dict[Path, str] = {}
            for path, text in [*texts.items(), *((p, None) for p in also)]:
                file = self._asker.inside(path)
                content = self._asker.sources.read(file) if file is not None and text is None else text
                if file is None or content is None:
                    return DiagnosticsAnswer(
                        Freshness.UNAVAILABLE, detail=f"{path} is not a text file inside"
                    )
                overlay[file] = content
            return merge([self._new_in(file, overlay) for file in overlay])

    def _new_in(self, file: Path, overlay: Mapping[Path, str]) -> DiagnosticsAnswer:
        gone = [] if file in self._baselines else self._asker.sources.vanished()
        baseline = self._baseline_of(file) if not gone else []
        if isinstance(baseline, DiagnosticsAnswer):
            return baseline
        now = self._asker.diagnose(file, overlay)
        new = answers.only_new(now.items, baseline)
        if now.freshness is Freshness.FOUND and not new:
            # Partly answered (see `combine`) and nothing new in that part: not the same as clean.
            fresh = Freshness.CLEAN if not now.detail else Freshness.TIMED_OUT
            return replace(now, freshness=fresh, items=())
        if gone and new:
            path = answers.shown_path(gone[0], self.root)
            note = f"{path} is gone since the baseline, so old diagnostics may be among these"
            return replace(now, items=new, detail="; ".join(p for p in (now.detail, note) if p))
        return replace(now, items=new)

    def _baseline_of(self, file: Path) -> list[Diagnostic] | DiagnosticsAnswer:
        """Diagnostics of the file at the baseline, in a workspace at the baseline."""
        if file not in self._baselines:
            text = self._asker.sources.baseline(file)
            if text is None:
                return []
            answer = self._asker.diagnose(file, self._asker.sources.differing() | {file: text})
            if answer.freshness not in (Freshness.CLEAN, Freshness.FOUND) or answer.detail:
                return replace(
                    answer, items=(), freshness=unknown(answer), detail=f"baseline: {answer.detail}"
                )
            self._baselines[file] = list(answer.items)
        return self._baselines[file]

    def set_baseline(self) -> None:
        """From now on, new means: not there at this moment."""
        with self._asker.lock:
            self._asker.sources.set_baseline()
            self._baselines.clear()

    def sync(self, paths: Iterable[PathLike] | None = None) -> None:
        """Commands have changed these files or folders on disk (None: anything may have changed)."""
        with self._asker.lock:
            inside = [file for p in paths if (file := self._asker.inside(p))] if paths is not None else None
            self._asker.sources.sync(inside)

    def _places(
        self,
        method: str,
        path: PathLike,
        line: int,
        column: int,
        text: str | None,
        max_chars: int | None,
        tell: Callable[..., Any],
    ) -> LookupAnswer:
        result = self._asker.at(method, path, line, column, text)
        if isinstance(result, LookupAnswer):
            return result
        found, codec = result
        own, told = self._asker.inside(path), {}
        with self._asker.lock:
            for place in answers.as_list(found):
                file, start = path_of(place.uri), place.range.start
                there = text if text is not None and file == own else self._asker.sources.read(file) or ""
                column_there = answers.to_column(there, start, codec)
                told[str(file), start.line, column_there] = tell(
                    file, there, start.line + 1, column_there, self.root
                )
        ordered = [told[key] for key in sorted(told, key=self._near_first)]
        return answers.pack(ordered, max_chars or self._max_chars)

    def _near_first(self, key: tuple[str, int, int]) -> tuple[bool, str, int, int]:
        return (not Path(key[0]).is_relative_to(self.root), *key)


def _told_line(path: Path, text: str, line: int, column: int, root: Path) -> tuple[Location, tuple[str, ...]]:
    place, _ = answers.place_of(path, text, line, column, root)
    return place, (place.snippet, "")


def _text_answer(lines: Sequence[str], max_chars: int) -> LookupAnswer:
    text, note = answers.pack_lines(lines, max_chars)
    return LookupAnswer(Freshness.FOUND if text else Freshness.CLEAN, text=text, detail=note)


@atexit.register
def _close_all() -> None:
    for intel in list(_open):
        intel.close()
