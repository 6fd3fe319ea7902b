"""Asks one question at a time of every server that can answer it.

In: wanted texts, a request. Out: raw results with their codec, or an answer that says why there is none. Before each
question the servers' documents get the right texts, so a result is never about other texts.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import threading
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from lsprotocol import types as lsp
from pygls.workspace import PositionCodec

from forklock.tools.contract import DiagnosticsAnswer, Freshness, LookupAnswer, Symbol
from forklock.tools.lsp.asking import answers
from forklock.tools.lsp.asking.foreign import Foreign, real_path
from forklock.tools.lsp.asking.outlines import Outlined, Outlines, outlined
from forklock.tools.lsp.asking.requests import OFFERED, WIDE, instead_of, outline_of, params_at
from forklock.tools.lsp.asking.sources import Sources
from forklock.tools.lsp.asking.verdicts import combine, why, worth
from forklock.tools.lsp.servers.server import Server
from forklock.tools.lsp.wire.background import Background
from forklock.tools.lsp.wire.connection import Connection
from forklock.tools.lsp.wire.documents import uri_of
from forklock.tools.lsp.wire.faults import Crashed, Refused, TimedOut, Unavailable
from forklock.tools.lsp.wire.process import Launch
from forklock.tools.lsp.wire.reading import READERS

T = TypeVar("T")
PathLike = str | Path
CLOSE_S = 10.0
"""Seconds for an orderly end of all servers; then they are killed."""
COMPANY = 24
"""Files opened beside the one that a question about the whole workspace is asked in."""


class Found(NamedTuple):
    """A server's result, how it counts columns, and a note on what it may not know."""

    result: Any
    codec: PositionCodec
    note: str = ""


class Asker:
    """The servers of one workspace. Hold `lock` while several questions have to see one state."""

    def __init__(
        self,
        servers: Sequence[Server],
        launch: Launch,
        timeout_s: float,
        warm: Collection[str] | None = None,
    ) -> None:
        self.root = launch.root
        self._foreign = Foreign(servers, launch)
        self._inside = os.path.join(self.root, "")  # noqa: PTH118  with the separator
        self.lock = threading.RLock()
        self.timeout_s = timeout_s
        self._closed = False
        self._connections = [Connection(server, launch) for server in servers]
        self._background = Background("forklock-lsp", self._kill_all)
        self._background.loop.call_soon_threadsafe(self._warm_up, warm)
        self._lookers = [c for c in self._connections if c.server.lookups]
        self.outlines = Outlines()
        self.sources = Sources(self.root, frozenset(s for server in servers for s in server.languages))
        _open.add(self)

    def _warm_up(self, names: Collection[str] | None) -> None:
        for connection in (c for c in self._connections if names is None or c.server.name in names):
            task = asyncio.ensure_future(connection.ready())
            task.add_done_callback(lambda t: t.cancelled() or t.exception())

    def close(self) -> None:
        """End the servers and the event loop. Later questions are UNAVAILABLE."""
        with self.lock:
            try:
                if not self._closed:
                    self._closed = True
                    with contextlib.suppress(TimeoutError):
                        self._background.run(self._close_all(), CLOSE_S)
            finally:  # also where the wait was interrupted, or took too long
                self._background.stop()
                _open.discard(self)

    async def _close_all(self) -> None:
        await asyncio.gather(*(c.close() for c in self._connections), return_exceptions=True)

    async def _kill_all(self) -> None:
        await asyncio.gather(*(c.kill() for c in self._connections), return_exceptions=True)

    @property
    def pids(self) -> dict[str, int]:
        """Process ids of the running servers, by name."""
        return {c.server.name: c.pid for c in self._connections if c.pid is not None}

    def inside(self, path: PathLike) -> Path | None:
        """The file of a workspace path. Links inside the workspace keep their own name."""
        try:
            file = _joined(self.root, path)
            if real_path(str(file)) == str(file):  # no link on the way: cheaper than `resolve`
                return file if str(file).startswith(self._inside) else None
            return file if file.resolve().is_relative_to(self.root) and ".." not in file.parts else None
        except (OSError, ValueError, RuntimeError):
            return None

    def read(self, file: Path) -> str | None:
        """The text of a file that a server names."""
        if (own := self.inside(file)) is not None:
            return self.sources.read(own)
        return self.sources.read(real) if (real := self._foreign.shown(file)) else None

    def looks_up(self, file: Path) -> bool:
        """Whether a server that answers look-ups reads files of this name."""
        return any(c.server.reads(file) for c in self._lookers)

    def file(self, path: PathLike, text: str | None = None) -> tuple[Path, str] | LookupAnswer:
        """(file, text) of a workspace path, or an answer that says that there is none."""
        file = self.inside(path)
        with self.lock:
            if file is not None and text is None:
                text = self.sources.read(file)
        if file is None or text is None:
            return LookupAnswer(Freshness.UNAVAILABLE, detail=f"{path} is not a text file of the workspace")
        return file, text

    def at(
        self, method: str, path: PathLike, line: int, column: int, text: str | None
    ) -> Found | LookupAnswer:
        """Ask about a position: line from 1, column in code points."""
        found = self.file(path, text)
        if isinstance(found, LookupAnswer):
            return found
        file, content = found

        def params(codec: Any) -> Any:
            return params_at(method, file, answers.to_position(content, line, column, codec))

        word = answers.word_at(content, line, column) if method in WIDE else ""
        return self.lookup(method, {file: content}, params, word)

    def companions(self, file: Path) -> Callable[[Path], bool]:
        """Whether another file is read by a server that answers look-ups about this one."""
        servers = [c.server for c in self._lookers if c.server.reads(file)]
        return lambda other: any(server.reads(other) for server in servers)

    def lookup(
        self, method: str, wanted: Mapping[Path, str], params: Callable[[Any], Any], word: str = ""
    ) -> Found | LookupAnswer:
        """The answer of the first look-up server that reads these files, or the last one's reason for having none.
        With a `word` the question is about the whole workspace, and files that mention the word matter."""

        async def work() -> Found | LookupAnswer:
            self._settle(wanted)
            answer = LookupAnswer(
                Freshness.UNAVAILABLE, detail="no language server for look-ups reads this file"
            )
            for connection in self._lookers:
                if not all(connection.server.reads(p) for p in wanted):
                    continue
                try:
                    note = await self._widen(connection, wanted, word) if word else ""
                    return await self._one(connection, method, params, note)
                except (TimedOut, Unavailable, Refused) as exc:
                    answer = LookupAnswer(worth(exc), detail=why(exc))
            return answer

        with self.lock:
            quick = self._at_once(method, wanted, params, word) if method in READERS else None
            return quick if quick is not None else self._run(work())

    def _at_once(
        self, method: str, wanted: Mapping[Path, str], params: Callable[[Any], Any], word: str
    ) -> Found | LookupAnswer | None:
        """Ask from this thread, where the server is up and has to be told nothing before. None: the question has to
        go through the loop, which starts, tells and restarts servers."""
        connection = next((c for c in self._lookers if all(c.server.reads(p) for p in wanted)), None)
        if connection is None or self._closed or (word and self._reads_along(connection.server)):
            return None
        texts = self.sources.once()
        for one in self._connections:
            if not one.settled({p: t for p, t in wanted.items() if one.server.reads(p)}, texts):
                return None
        if self.sources.changed:
            return None
        try:
            return Found(*connection.ask_here(method, params, self.timeout_s))
        except TimedOut as exc:
            self._run(connection.count_hang())
            return LookupAnswer(worth(exc), detail=why(exc))
        except (Crashed, Refused):
            return None

    def _reads_along(self, server: Server) -> bool:
        """Whether a question about the whole workspace has to wait for the server, or to show it files first."""
        return server.indexes(self.root) or not server.knows_all(self.root)

    async def _one(
        self, connection: Connection, method: str, params: Callable[[Any], Any], note: str = ""
    ) -> Found:
        if method in OFFERED:
            capability, words = OFFERED[method]
            if not await connection.offers(capability, self.timeout_s):
                raise Unavailable(
                    f"{connection.server.name} offers no {words}", instead_of(connection.server, words)
                )
        codec = await connection.codec(self.timeout_s)
        return Found(await connection.ask(method, params(codec), self.timeout_s), codec, note)

    async def _widen(self, connection: Connection, wanted: Mapping[Path, str], word: str) -> str:
        """Prepare the server for a question about the whole workspace. Returns what it still may not know.

        An index on disk misses changes that a command made: the changed files are opened. Without an index the files
        that mention the word are opened. Each is asked for its outline, which is answered once the file has been
        read.
        """
        await connection.indexed(self.timeout_s)
        server = connection.server
        if server.knows_all(self.root):
            files = (
                [f for f in self.sources.touched() if server.reads(f)] if server.indexes(self.root) else []
            )
        else:
            files = [f for f in self.sources.mentioning(word) if server.reads(f)]
        files = [f for f in files if f not in wanted]
        for file in self._open(connection, files[:COMPANY], wanted):
            await connection.ask(lsp.TEXT_DOCUMENT_DOCUMENT_SYMBOL, outline_of(file), self.timeout_s)
        missed = len(files) - COMPANY
        return f"{missed} more files that mention {word!r} were not read" if missed > 0 else ""

    def _open(self, connection: Connection, files: Sequence[Path], wanted: Mapping[Path, str]) -> list[Path]:
        """Open these files as well, as they are on disk. Returns those that were not open."""
        new = [f for f in files if not connection.documents.holds(uri_of(f))]
        texts = {f: text for f in files if (text := self.sources.read(f)) is not None}
        connection.documents.settle(texts | dict(wanted), self.sources.read)
        return new

    # --- outlines --------------------------------------------------------------------------------

    def symbols(self, file: Path, text: str) -> list[Symbol] | LookupAnswer:
        """The definitions of a text, outer ones before their members."""
        shown = answers.shown_path(file, self.root)
        known = self.outlines.known(file, shown, text)
        if known is not None:
            return known
        found = self.lookup(lsp.TEXT_DOCUMENT_DOCUMENT_SYMBOL, {file: text}, lambda _codec: outline_of(file))
        if isinstance(found, LookupAnswer):
            return found
        return self._keep(file, text, found.result, found.codec)

    def document_symbols(self, file: Path, text: str) -> list[Outlined] | LookupAnswer:
        """The definitions that the server itself names, in our form."""
        found = self.lookup(lsp.TEXT_DOCUMENT_DOCUMENT_SYMBOL, {file: text}, lambda _codec: outline_of(file))
        if isinstance(found, LookupAnswer):
            return found
        shown = answers.shown_path(file, self.root)
        return outlined(shown, text, found.result or [], lambda at: answers.to_column(text, at, found.codec))

    async def _symbols(self, connection: Connection, file: Path, text: str) -> list[Symbol]:
        """As `symbols`, on the loop, for a server whose document has this text already."""
        known = self.outlines.known(file, answers.shown_path(file, self.root), text)
        if known is not None:
            return known
        try:
            found = await self._one(
                connection, lsp.TEXT_DOCUMENT_DOCUMENT_SYMBOL, lambda _codec: outline_of(file)
            )
        except Refused:
            return []
        return self._keep(file, text, found.result, found.codec)

    def _keep(self, file: Path, text: str, found: Any, codec: Any) -> list[Symbol]:
        shown = answers.shown_path(file, self.root)
        return self.outlines.keep(
            file, shown, text, found or [], lambda position: answers.to_column(text, position, codec)
        )

    # --- the loop --------------------------------------------------------------------------------

    def _settle(self, wanted: Mapping[Path, str]) -> None:
        """On the loop: give every server's documents their texts, and tell it what changed on disk."""
        changes = self.sources.take_changes()
        for connection in self._connections:
            connection.documents.settle(
                {p: t for p, t in wanted.items() if connection.server.reads(p)}, self.sources.read
            )
        changes |= self.sources.take_changes()
        for connection in self._connections:
            connection.documents.tell_changes(changes)

    def _run(
        self, work: Coroutine[Any, Any, T], meanwhile: Callable[[], object] | None = None
    ) -> T | LookupAnswer:
        if self._closed:
            work.close()
            return LookupAnswer(Freshness.UNAVAILABLE, detail="closed")
        try:
            limit = self.timeout_s * (len(self._connections) + 1) + 5.0
            return self._background.run(work, limit, meanwhile)
        except TimeoutError as exc:
            return LookupAnswer(Freshness.TIMED_OUT, detail=str(exc))

    def each(
        self, file: Path, text: str, work: Callable[[Connection], Coroutine[Any, Any, Any]]
    ) -> list[Any]:
        """The results of `work` for every server that reads this file, linters included."""
        asked = [c for c in self._connections if c.server.reads(file)]
        if not asked:
            detail = f"no server reads {file.suffix or file.name}"
            return [LookupAnswer(Freshness.UNAVAILABLE, detail=detail)]

        async def all_of_them() -> list[Any]:
            self._settle({file: text})
            return await asyncio.gather(*(work(c) for c in asked))

        with self.lock:
            found = self._run(all_of_them())
        return [found] if isinstance(found, LookupAnswer) else found

    def diagnose(self, file: Path, overlay: Mapping[Path, str]) -> DiagnosticsAnswer:
        """Diagnostics of a file from every server that reads it, with `overlay` in place of what is on disk."""
        path, text = answers.shown_path(file, self.root), overlay[file]
        asked = [c for c in self._connections if c.server.reads(file)]
        if not asked:
            return DiagnosticsAnswer(
                Freshness.UNAVAILABLE, detail=f"no server reads {file.suffix or file.name}"
            )

        async def work() -> list[DiagnosticsAnswer]:
            self._settle(overlay)
            return await asyncio.gather(*(one(c) for c in asked))

        async def one(connection: Connection) -> DiagnosticsAnswer:
            try:
                version, found = await connection.diagnose(file, self.timeout_s)
                kept = answers.kept_diagnostics(found)
                holders = await self._symbols(connection, file, text) if kept else []
            except (TimedOut, Unavailable, Refused) as exc:
                return DiagnosticsAnswer(worth(exc), detail=why(exc))
            items = answers.to_diagnostics(path, kept, connection.server.name, holders)
            return DiagnosticsAnswer(Freshness.FOUND if items else Freshness.CLEAN, tuple(items), version)

        # The server is at work on another core: have the outline ready for what it says.
        done = self._run(work(), lambda: self.outlines.known(file, path, text))
        if isinstance(done, LookupAnswer):
            return DiagnosticsAnswer(done.freshness, detail=done.detail)
        return combine(done)


@lru_cache(maxsize=1024)
def _joined(root: Path, path: PathLike) -> Path:
    return root / path


_open: set[Asker] = set()
"""Askers that were not closed. Kept alive, so that one which nobody refers to is closed at exit, too."""


@atexit.register
def _close_open() -> None:
    for asker in list(_open):
        asker.close()
