"""One question at a time, to every server that can answer it (room `tools/`).

In: wanted texts, a request. Out: raw results with their codec, or an answer that says why there is none.
Every question first brings the servers' documents to the right texts, so a result is never about others.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from lsprotocol import types as lsp

from tools.contract import DiagnosticsAnswer, Freshness, LookupAnswer
from tools.lsp import answers
from tools.lsp.background import Background
from tools.lsp.client import Refused, TimedOut
from tools.lsp.connection import Connection, Unavailable
from tools.lsp.servers import ServerSpec
from tools.lsp.sources import Sources
from tools.lsp.verdicts import combine, why, worth

T = TypeVar("T")
PathLike = str | Path


class Asker:
    """`lock` is held by whoever needs several questions to see one state."""

    def __init__(
        self, root: Path, specs: Sequence[ServerSpec], python: Path | None, timeout_s: float, start_s: float
    ) -> None:
        self.root = root
        self.lock = threading.RLock()
        self._timeout_s = timeout_s
        self._closed = False
        self._connections = [Connection(spec, root, python, start_s) for spec in specs]
        self._background = Background("forklock-lsp")
        self._background.loop.call_soon_threadsafe(self._warm_up)
        self.sources = Sources(root, frozenset(s for spec in specs for s in spec.languages))

    def _warm_up(self) -> None:
        for connection in self._connections:
            task = asyncio.ensure_future(connection.ready())
            task.add_done_callback(lambda t: t.cancelled() or t.exception())

    def close(self) -> None:
        with self.lock:
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
        return {c.spec.name: c.pid for c in self._connections if c.pid is not None}

    def inside(self, path: PathLike) -> Path | None:
        """The file of a workspace path. Links inside the workspace keep their own name."""
        try:
            file = self.root / path
            return file if file.resolve().is_relative_to(self.root) and ".." not in file.parts else None
        except (OSError, ValueError, RuntimeError):
            return None

    def file(self, path: PathLike, text: str | None = None) -> tuple[Path, str] | LookupAnswer:
        file = self.inside(path)
        with self.lock:
            if file is not None and text is None:
                text = self.sources.read(file)
        if file is None or text is None:
            return LookupAnswer(Freshness.UNAVAILABLE, detail=f"{path} is not a text file of the workspace")
        return file, text

    def at(
        self, method: str, path: PathLike, line: int, column: int, text: str | None
    ) -> tuple[Any, Any] | LookupAnswer:
        found = self.file(path, text)
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

        return self.lookup(method, {file: content}, params)

    def lookup(
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
                    answer = LookupAnswer(worth(exc), detail=why(exc))
            return answer

        with self.lock:
            return self._run(work())

    def _settle(self, wanted: Mapping[Path, str]) -> None:
        """On the loop: bring every server's documents to their texts, and tell what changed on disk."""
        changes = self.sources.take_changes()
        for connection in self._connections:
            connection.settle(
                {p: t for p, t in wanted.items() if connection.spec.reads(p)}, self.sources.read
            )
        changes |= self.sources.take_changes()
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

    def diagnose(self, file: Path, overlay: Mapping[Path, str]) -> DiagnosticsAnswer:
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
                return DiagnosticsAnswer(worth(exc), detail=why(exc))
            items = answers.to_diagnostics(path, text, found, connection.spec.name)
            return DiagnosticsAnswer(Freshness.FOUND if items else Freshness.CLEAN, tuple(items), version)

        done = self._run(work())
        if isinstance(done, LookupAnswer):
            return DiagnosticsAnswer(done.freshness, detail=done.detail)
        return combine(done)


_PARAMS: dict[str, Callable[..., Any]] = {
    lsp.TEXT_DOCUMENT_DEFINITION: lsp.DefinitionParams,
    lsp.TEXT_DOCUMENT_HOVER: lsp.HoverParams,
    lsp.TEXT_DOCUMENT_COMPLETION: lsp.CompletionParams,
}
