"""`Intel`: what the language servers know about a workspace, asked from ordinary threads (room `tools/`).

In: a root, server names, paths, 1-based lines and 0-based columns, name paths, unsaved texts. Out:
`LookupAnswer` and `DiagnosticsAnswer`; no method raises for anything that a server, a file or a name does.
One question at a time (a lock); every question first brings the servers' documents to the right texts, so an
answer is never about others. Not covered: changes that commands make in files nobody asks about, until
`sync` is told; renames and code actions.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from lsprotocol import types as lsp

from tools.contract import Diagnostic, DiagnosticsAnswer, Freshness, Location, LookupAnswer, Symbol, ToolFault
from tools.lsp import answers
from tools.lsp.background import Background
from tools.lsp.client import Refused, TimedOut
from tools.lsp.connection import START_S, Connection, Unavailable, path_of
from tools.lsp.servers import SERVERS, ServerSpec
from tools.lsp.sources import Sources
from tools.symbols import find_symbol, symbols

log = logging.getLogger(__name__)
T = TypeVar("T")
PathLike = str | Path

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
        self._timeout_s = timeout_s
        self._max_chars = max_chars
        self._lock = threading.RLock()
        self._closed = False
        self._baselines: dict[Path, list[Diagnostic]] = {}
        self._connections = [Connection(spec, root, python, start_s) for spec in specs]
        self._background = Background("forklock-lsp")
        self._background.loop.call_soon_threadsafe(self._warm_up)
        self._sources = Sources(root, frozenset(s for spec in specs for s in spec.languages))
        _open.add(self)

    def _warm_up(self) -> None:
        for connection in self._connections:
            task = asyncio.ensure_future(connection.ready())
            task.add_done_callback(lambda t: t.cancelled() or t.exception())

    def __enter__(self) -> Intel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Shut the servers down, in about two seconds at worst. Later questions are UNAVAILABLE."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            with contextlib.suppress(TimeoutError):
                self._background.run(self._close_all(), 10.0)
            self._background.stop()

    async def _close_all(self) -> None:
        await asyncio.gather(*(c.close() for c in self._connections), return_exceptions=True)

    @property
    def pids(self) -> dict[str, int]:
        """Process ids of the running servers, by name."""
        return {c.spec.name: c.pid for c in self._connections if c.pid is not None}

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
        result = self._at(lsp.TEXT_DOCUMENT_HOVER, path, line, column, text)
        if isinstance(result, LookupAnswer):
            return result
        return _text_answer(answers.hover_text(result[0]).splitlines(), max_chars or self._max_chars)

    def completion(
        self, path: PathLike, line: int, column: int, *, text: str | None = None, max_chars: int | None = None
    ) -> LookupAnswer:
        """What could be written there, `label: detail` a line, the server's best first.

        ty answers nothing between a dot and a name that is there already: ask with a `text` without the name.
        """
        result = self._at(lsp.TEXT_DOCUMENT_COMPLETION, path, line, column, text)
        if isinstance(result, LookupAnswer):
            return result
        lines, complete = answers.completion_lines(result[0])
        answer = _text_answer(lines, max_chars or self._max_chars)
        note = "" if complete else "the server says that there may be more"
        return replace(answer, detail="; ".join(p for p in (answer.detail, note) if p))

    # --- by file and by query --------------------------------------------------------------------

    def document_symbols(self, path: PathLike) -> LookupAnswer:
        """The definitions in a file by name path, each with its first line."""
        found = self._file(path)
        if isinstance(found, LookupAnswer):
            return found
        file, text = found
        params = lsp.DocumentSymbolParams(lsp.TextDocumentIdentifier(file.as_uri()))
        result = self._lookup(lsp.TEXT_DOCUMENT_DOCUMENT_SYMBOL, {file: text}, lambda _codec: params)
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
        result = self._lookup(lsp.WORKSPACE_SYMBOL, {}, lambda _codec: params)
        if isinstance(result, LookupAnswer):
            return result
        told = []
        for item in result[0] or []:
            where = getattr(item.location, "range", None)
            file, line = path_of(item.location.uri), (where.start.line if where else 0) + 1
            place, _ = answers.place_of(file, self._sources.read(file) or "", line, 0, self.root)
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
            file = self._file(path)
            if isinstance(file, LookupAnswer):
                return file
            shown = answers.shown_path(file[0], self.root)
            symbol = find_symbol(shown, file[1], name_path)
            if symbol is not None:
                return symbol, file[1]
            return LookupAnswer(Freshness.CLEAN, detail=f"no definition {name_path!r} in {shown}")
        with self._lock:
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
        for file in self._sources.files():
            text = self._sources.read(file)
            if text is None or name not in text:
                continue
            for symbol in symbols(answers.shown_path(file, self.root), text):
                if symbol.name_path == name_path or symbol.name_path.endswith(f".{name_path}"):
                    yield symbol, text

    # --- diagnostics -----------------------------------------------------------------------------

    def diagnostics(self, path: PathLike, text: str | None = None) -> DiagnosticsAnswer:
        """Everything that the servers say about this file: as on disk, or as `text` were in its place."""
        file = self._inside(path)
        if file is None:
            return DiagnosticsAnswer(Freshness.UNAVAILABLE, detail=f"{path} is outside the workspace")
        with self._lock:
            content = text if text is not None else self._sources.read(file)
            if content is None:
                return DiagnosticsAnswer(Freshness.UNAVAILABLE, detail=f"{path} is not a text file")
            return self._diagnose(file, {file: content})

    def new_diagnostics(self, path: PathLike, text: str | None = None) -> DiagnosticsAnswer:
        """What `text` (default: what is on disk) adds to the baseline's diagnostics of this file."""
        return self.new_diagnostics_of({path: text})

    def new_diagnostics_of(
        self,
        texts: Mapping[PathLike, str | None] | Mapping[str, str | None],
        also: Sequence[PathLike] = (),
    ) -> DiagnosticsAnswer:
        """What these texts together add, in these files and in `also` (say, their importers)."""
        with self._lock:
            overlay: dict[Path, str] = {}
            for path, text in [*texts.items(), *((p, None) for p in also)]:
                file = self._inside(path)
                content = self._sources.read(file) if file is not None and text is None else text
                if file is None or content is None:
                    return DiagnosticsAnswer(
                        Freshness.UNAVAILABLE, detail=f"{path} is not a text file inside"
                    )
                overlay[file] = content
            return _merge([self._new_in(file, overlay) for file in overlay])

    def _new_in(self, file: Path, overlay: Mapping[Path, str]) -> DiagnosticsAnswer:
        baseline = self._baseline_of(file)
        if isinstance(baseline, DiagnosticsAnswer):
            return baseline
        now = self._diagnose(file, overlay)
        new = answers.only_new(now.items, baseline)
        if now.freshness is Freshness.FOUND and not new:
            # Partly answered (see `_combine`) and nothing new in that part: not the same as clean.
            fresh = Freshness.CLEAN if not now.detail else Freshness.TIMED_OUT
            return replace(now, freshness=fresh, items=())
        return replace(now, items=new)

    def _baseline_of(self, file: Path) -> list[Diagnostic] | DiagnosticsAnswer:
        """Diagnostics of the file at the baseline, in a workspace at the baseline."""
        if file not in self._baselines:
            text = self._sources.baseline(file)
            if text is None:
                return []
            answer = self._diagnose(file, self._sources.differing() | {file: text})
            if answer.freshness not in (Freshness.CLEAN, Freshness.FOUND) or answer.detail:
                return replace(
                    answer, items=(), freshness=_unknown(answer), detail=f"baseline: {answer.detail}"
                )
            self._baselines[file] = list(answer.items)
        return self._baselines[file]

    def set_baseline(self) -> None:
        """From now on, new means: not there at this moment."""
        with self._lock:
            self._sources.set_baseline()
            self._baselines.clear()

    def sync(self, paths: Iterable[PathLike] | None = None) -> None:
        """Commands have changed these files or folders on disk (None: anything may have changed)."""
        with self._lock:
            inside = [file for p in paths if (file := self._inside(p))] if paths is not None else None
            self._sources.sync(inside)

    def _diagnose(self, file: Path, overlay: Mapping[Path, str]) -> DiagnosticsAnswer:
        path, text = answers.shown_path(file, self.root), overlay[file]
        asked = [c for c in self._connections if c.spec.reads(file)]
        if not asked:
            return DiagnosticsAnswer(
                Freshness.UNAVAILABLE, detail=f"no server reads {file.suffix or file.name}"
            )

        async def work() -> list[DiagnosticsAnswer]:
            self._settle(overlay)
            return await asyncio.gather(*(one(c) for c in asked))

        async def one(connection: Connection) -> DiagnosticsAnswer:
            try:
                version, found = await connection.diagnose(file, self._timeout_s)
            except (TimedOut, Unavailable, Refused) as exc:
                return DiagnosticsAnswer(_freshness(exc), detail=_why(exc))
            items = answers.to_diagnostics(path, text, found, connection.spec.name)
            return DiagnosticsAnswer(Freshness.FOUND if items else Freshness.CLEAN, tuple(items), version)

        done = self._run(work())
        if isinstance(done, LookupAnswer):
            return DiagnosticsAnswer(done.freshness, detail=done.detail)
        return _combine(done)

    # --- asking ----------------------------------------------------------------------------------

    def _inside(self, path: PathLike) -> Path | None:
        """The file of a workspace path. Links inside the workspace keep their own name."""
        try:
            file = self.root / path
            return file if file.resolve().is_relative_to(self.root) and ".." not in file.parts else None
        except (OSError, ValueError, RuntimeError):
            return None

    def _file(self, path: PathLike, text: str | None = None) -> tuple[Path, str] | LookupAnswer:
        file = self._inside(path)
        with self._lock:
            if file is not None and text is None:
                text = self._sources.read(file)
        if file is None or text is None:
            return LookupAnswer(Freshness.UNAVAILABLE, detail=f"{path} is not a text file of the workspace")
        return file, text

    def _at(
        self, method: str, path: PathLike, line: int, column: int, text: str | None
    ) -> tuple[Any, Any] | LookupAnswer:
        found = self._file(path, text)
        if isinstance(found, LookupAnswer):
            return found
        file, content = found

        def params(codec: Any) -> Any:
            position = answers.to_position(content, line, column, codec)
            document = lsp.TextDocumentIdentifier(file.as_uri())
            if method == lsp.TEXT_DOCUMENT_REFERENCES:
                uses_only = lsp.ReferenceContext(include_declaration=False)
                return lsp.ReferenceParams(uses_only, document, position)
            return _PARAMS[method](document, position)

        return self._lookup(method, {file: content}, params)

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
        result = self._at(method, path, line, column, text)
        if isinstance(result, LookupAnswer):
            return result
        found, codec = result
        own, told = self._inside(path), {}
        with self._lock:
            for place in answers.as_list(found):
                file, start = path_of(place.uri), place.range.start
                there = text if text is not None and file == own else self._sources.read(file) or ""
                column_there = answers.to_column(there, start, codec)
                told[str(file), start.line, column_there] = tell(
                    file, there, start.line + 1, column_there, self.root
                )
        ordered = [told[key] for key in sorted(told, key=self._near_first)]
        return answers.pack(ordered, max_chars or self._max_chars)

    def _near_first(self, key: tuple[str, int, int]) -> tuple[bool, str, int, int]:
        return (not Path(key[0]).is_relative_to(self.root), *key)

    def _lookup(
        self, method: str, wanted: Mapping[Path, str], params: Callable[[Any], Any]
    ) -> tuple[Any, Any] | LookupAnswer:
        """(result, codec) of the first look-up server that answers; else the last one's reason."""

        async def work() -> tuple[Any, Any] | LookupAnswer:
            self._settle(wanted)
            answer = LookupAnswer(
                Freshness.UNAVAILABLE, detail="no language server for look-ups reads this file"
            )
            for connection in self._connections:
                if not connection.spec.lookups or not all(connection.spec.reads(p) for p in wanted):
                    continue
                try:
                    codec = await connection.codec(self._timeout_s)
                    return await connection.ask(method, params(codec), self._timeout_s), codec
                except (TimedOut, Unavailable, Refused) as exc:
                    answer = LookupAnswer(_freshness(exc), detail=_why(exc))
            return answer

        with self._lock:
            return self._run(work())

    def _settle(self, wanted: Mapping[Path, str]) -> None:
        """On the loop: bring every server's documents to their texts, and tell what changed on disk."""
        changes = self._sources.take_changes()
        for connection in self._connections:
            connection.settle(
                {p: t for p, t in wanted.items() if connection.spec.reads(p)}, self._sources.read
            )
        changes |= self._sources.take_changes()
        for connection in self._connections:
            connection.tell_changes(changes)

    def _run(self, work: Coroutine[Any, Any, T]) -> T | LookupAnswer:
        if self._closed:
            work.close()
            return LookupAnswer(Freshness.UNAVAILABLE, detail="closed")
        try:
            return self._background.run(work, self._timeout_s * (len(self._connections) + 1) + 5.0)
        except TimeoutError as exc:
            return LookupAnswer(Freshness.TIMED_OUT, detail=str(exc))


_PARAMS: dict[str, Callable[..., Any]] = {
    lsp.TEXT_DOCUMENT_DEFINITION: lsp.DefinitionParams,
    lsp.TEXT_DOCUMENT_HOVER: lsp.HoverParams,
    lsp.TEXT_DOCUMENT_COMPLETION: lsp.CompletionParams,
}


def _told_line(path: Path, text: str, line: int, column: int, root: Path) -> tuple[Location, tuple[str, ...]]:
    place, _ = answers.place_of(path, text, line, column, root)
    return place, (place.snippet, "")


def _text_answer(lines: Sequence[str], max_chars: int) -> LookupAnswer:
    text, note = answers.pack_lines(lines, max_chars)
    return LookupAnswer(Freshness.FOUND if text else Freshness.CLEAN, text=text, detail=note)


# --- what an answer is worth -----------------------------------------------------------------------


def _freshness(exc: Exception) -> Freshness:
    return Freshness.TIMED_OUT if isinstance(exc, TimedOut) else Freshness.UNAVAILABLE


def _why(exc: Exception) -> str:
    fix = exc.fix if isinstance(exc, Unavailable) else ""
    return f"{exc} (fix: {fix})" if fix else str(exc)


def _unknown(answer: DiagnosticsAnswer) -> Freshness:
    return answer.freshness if answer.freshness is Freshness.UNAVAILABLE else Freshness.TIMED_OUT


def _combine(parts: Sequence[DiagnosticsAnswer]) -> DiagnosticsAnswer:
    """One file, several servers. Clean only if all are; what was found counts even if one did not answer, and
    `detail` says which."""
    items = answers.united(d for p in parts for d in p.items)
    detail = "; ".join(p.detail for p in parts if p.detail)
    versions = [p.version for p in parts if p.version is not None]
    states = {p.freshness for p in parts}
    if items:
        state = Freshness.FOUND
    elif Freshness.UNAVAILABLE in states:
        state = Freshness.UNAVAILABLE
    elif Freshness.TIMED_OUT in states:
        state = Freshness.TIMED_OUT
    else:
        state = Freshness.CLEAN
    return DiagnosticsAnswer(state, items, max(versions, default=None), detail)


def _merge(parts: Sequence[DiagnosticsAnswer]) -> DiagnosticsAnswer:
    """Several files: as `_combine`, in the order of the files."""
    combined = _combine(parts)
    return replace(combined, items=tuple(d for part in parts for d in part.items))


@atexit.register
def _close_all() -> None:
    for intel in list(_open):
        intel.close()
