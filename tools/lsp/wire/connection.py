"""A language server that stays up: documents, versions, one restart (room `tools/`).

In: the texts that open documents must have, requests. Out: results for exactly those texts, or `TimedOut` or
`Unavailable`. A crash is answered by one restart with the same documents; the second is final. Not covered:
what an answer means (`answers`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from lsprotocol import types as lsp
from pygls.workspace import PositionCodec

from tools.edits.files import to_lf
from tools.lsp.servers import typescript as tsserver
from tools.lsp.servers.table import ServerSpec, find_server
from tools.lsp.wire import memory
from tools.lsp.wire.client import Client, Crashed, Refused, TimedOut

log = logging.getLogger(__name__)

START_S = 20.0
"""A cold basedpyright on a loaded machine needs most of this."""
MAX_OPEN = 48
"""Documents kept open; the longest unused is closed first."""
INDEX_BEGIN_S = 3.0
"""A server that will read the whole workspace says so within this time of its start, or has nothing to read."""
OWN_PACE_S = 1.0
"""A server that reads changed files when it gets to it does so within this time, or the file is none of its own."""
_HANGS = 3
"""This many time-outs in a row count as a crash."""
_RETRY = {lsp.LSPErrorCodes.ServerCancelled.value, lsp.LSPErrorCodes.ContentModified.value}


class Unavailable(Exception):
    """No server: absent, or crashed twice. `fix` says what the user can do."""

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(message)
        self.fix = fix


@dataclass(slots=True)
class _Document:
    text: str
    version: int
    """Also the number of the change that made it: greater in one document means later."""


class Connection:
    """Every coroutine method belongs to one event loop; `settle` and `ask` are called one at a time."""

    def __init__(
        self,
        spec: ServerSpec,
        root: Path,
        python: Path | None,
        start_s: float = START_S,
        *,
        trusted: bool = True,
        memory_mb: int | None = None,
    ) -> None:
        """`trusted`, `memory_mb`: as for `Client` (None: `memory.bound_mb`)."""
        self.spec = spec
        self._root = root
        self._python = python
        self._start_s = start_s
        self._trusted = trusted
        self._memory_mb = memory_mb or memory.bound_mb()
        self._client: Client | None = None
        self._starting: asyncio.Task[Client] | None = None
        self._documents: dict[str, _Document] = {}
        self._accepted: dict[str, tuple[int, list[lsp.Diagnostic]]] = {}
        """Unversioned publishes by URI, with the version that they were taken for."""
        self._unseen: set[Path] = set()
        """Files that changed under a server that reads them when it gets to it."""
        self._disk: Callable[[Path], str | None] = lambda _path: None
        self._prompt = not (spec.ready_says or spec.says_when_quiet or spec.shows_text)
        self._version = 0
        self._starts_left = 2
        self._hangs = 0
        self._verdict: Unavailable | None = None

    # --- life ------------------------------------------------------------------------------------

    async def ready(self) -> Client:
        """The running client; starts it, or restarts it once. Raises Unavailable."""
        if self._client is not None and self._client.alive:
            return self._client
        if self._verdict is not None:
            raise self._verdict
        if self._starting is None:
            self._starting = asyncio.create_task(self._start())
        starting = self._starting
        try:
            # Shielded: a caller out of time does not undo a start that the next caller can use.
            return await asyncio.shield(starting)
        finally:
            if starting.done():
                self._starting = None

    async def _start(self) -> Client:
        reason = await self._bury()
        program = find_server(self.spec)
        if program is None:
            raise self._give_up(
                f"{self.spec.name} is not installed ({self.spec.argv[0]} not found)", self.spec.fix
            )
        while self._starts_left > 0:
            self._starts_left -= 1
            client = Client(
                self.spec, program, self._root, self._python, trusted=self._trusted, memory_mb=self._memory_mb
            )
            try:
                await client.start(self._start_s)
            except TimedOut as exc:
                raise self._give_up(str(exc), f"run `{' '.join(self.spec.argv)}` by hand to see why") from exc
            except (Crashed, Refused) as exc:
                reason = str(exc)
                self._check_memory(client)
                continue
            self._client = client
            for uri, document in self._documents.items():
                self._open(client, uri, document)
            return client
        raise self._give_up(f"{self.spec.name} crashed twice ({reason})", f"reinstall it: {self.spec.fix}")

    async def _bury(self) -> str:
        if self._client is None:
            return ""
        client, self._client = self._client, None
        await client.kill()
        self._check_memory(client)
        return client.last_words()

    def _check_memory(self, client: Client) -> None:
        """No second try: it would take as much again. Raises Unavailable."""
        if client.over_memory:
            message = f"{self.spec.name} was ended, since it took more than {self._memory_mb} MB of memory"
            raise self._give_up(message, memory.fix(self._memory_mb))

    def _give_up(self, message: str, fix: str) -> Unavailable:
        log.warning("%s; %s", message, fix)
        self._verdict = Unavailable(message, fix)
        return self._verdict

    async def close(self) -> None:
        self._verdict = self._verdict or Unavailable("closed")
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
        if self._client is not None:
            await self._client.leave()

    @property
    def pid(self) -> int | None:
        return self._client.pid if self._client else None

    # --- documents -------------------------------------------------------------------------------

    def settle(self, wanted: Mapping[Path, str], disk: Callable[[Path], str | None]) -> None:
        """Give every open document its text: `wanted` where named, else that on disk; open what is missing.

        A document that is neither wanted nor on disk is closed.
        """
        self._disk = disk
        names = {uri_of(path): path for path in wanted}
        for uri in [u for u in self._documents if u not in names]:
            text = disk(path_of(uri))
            if text is None:
                self._close(uri)
                # Servers go on believing in a file that they have only seen as a document.
                self.tell_changes({path_of(uri): lsp.FileChangeType.Deleted})
            else:
                self._change(uri, text)
        for uri, path in names.items():
            self._change(uri, wanted[path])
        for uri in [u for u in self._documents if u not in names][: max(0, len(self._documents) - MAX_OPEN)]:
            self._close(uri)

    def _change(self, uri: str, text: str) -> None:
        document = self._documents.pop(uri, None)
        if document is not None and document.text == text:
            self._documents[uri] = document  # moved to the end: last used
            return
        stale = document is not None and document.version != self._version and not self._pulls(self._client)
        self._version += 1
        new = self._documents[uri] = _Document(text, self._version)
        if self._client is None:
            return  # opened when it starts
        if document is None:
            self._open(self._client, uri, new)
            return
        if stale:
            # Something else changed since: busy, clangd publishes about the new version with old headers first.
            self._shut(self._client, uri)
            self._open(self._client, uri, new)
            return
        self._client.tell(
            lsp.TEXT_DOCUMENT_DID_CHANGE,
            lsp.DidChangeTextDocumentParams(
                text_document=lsp.VersionedTextDocumentIdentifier(uri=uri, version=new.version),
                content_changes=[lsp.TextDocumentContentChangeWholeDocument(text=text)],
            ),
        )

    def _open(self, client: Client, uri: str, document: _Document) -> None:
        language = self.spec.languages.get(path_of(uri).suffix, "plaintext")
        item = lsp.TextDocumentItem(
            uri=uri, language_id=language, version=document.version, text=document.text
        )
        client.tell(lsp.TEXT_DOCUMENT_DID_OPEN, lsp.DidOpenTextDocumentParams(text_document=item))

    def _close(self, uri: str) -> None:
        self._documents.pop(uri, None)
        if self._client is not None:
            self._shut(self._client, uri)
            self._unseen.add(path_of(uri))

    @staticmethod
    def _shut(client: Client, uri: str) -> None:
        identifier = lsp.TextDocumentIdentifier(uri=uri)
        client.tell(lsp.TEXT_DOCUMENT_DID_CLOSE, lsp.DidCloseTextDocumentParams(text_document=identifier))

    def tell_changes(self, changes: Mapping[Path, lsp.FileChangeType]) -> None:
        """What commands did on disk."""
        self._version += 1 if changes else 0
        self._unseen |= changes.keys()
        if self._client is not None and changes:
            events = [lsp.FileEvent(uri=uri_of(p), type=kind) for p, kind in changes.items()]
            self._client.tell(
                lsp.WORKSPACE_DID_CHANGE_WATCHED_FILES, lsp.DidChangeWatchedFilesParams(changes=events)
            )

    # --- questions -------------------------------------------------------------------------------

    async def ask(self, method: str, params: Any, timeout_s: float) -> Any:
        """A request against the documents as settled. A crash under it costs one restart and one more try.

        Raises TimedOut, Unavailable, Refused.
        """
        end = time.monotonic() + timeout_s
        while True:
            client = await self._ready_by(end)
            try:
                await self._caught_up(client, end)
                await self._reread(client, params, end)
            except Crashed:
                continue
            try:
                result = await client.ask(method, params, max(0.0, end - time.monotonic()))
            except Crashed:
                continue  # `_start` counts, and gives up
            except TimedOut:
                await self.count_hang()
                raise
            except Refused as exc:
                if exc.code not in _RETRY:
                    raise
                await asyncio.sleep(0.02)
                continue
            self._hangs = 0
            if client.ready or not self.spec.says_when_quiet:
                return result

    def ask_here(self, method: str, params: Callable[[PositionCodec], Any], timeout_s: float) -> Any:
        """As `ask`, without the loop, of a server that is up: another thread's question. Raises as `Client.ask`."""
        assert self._client is not None
        result = self._client.ask_here(method, params(_codec(self._client)), timeout_s)
        self._hangs = 0
        return result, _codec(self._client)

    def settled(self, wanted: Mapping[Path, str], disk: Callable[[Path], str | None]) -> bool:
        """The server is up and has these texts already, and those on disk of what else is open: `settle` would tell
        it nothing. False for servers that are not ready at once."""
        if self._client is None or not self._client.alive or self._starting is not None or not self._prompt:
            return False
        if not all(uri_of(path) in self._documents for path in wanted):
            return False
        if self.spec.rereads_opened and any(self._is_behind(uri_of(path)) for path in wanted):
            return False
        open_ = ((path_of(uri), document.text) for uri, document in self._documents.items())
        return all((wanted[path] if path in wanted else disk(path)) == text for path, text in open_)

    async def _caught_up(self, client: Client, end: float) -> None:
        """Wait until the server has read the workspace, and what changed in it. Raises TimedOut, Crashed, Refused."""
        while self.spec.says_when_quiet and not client.ready:
            left = end - time.monotonic()
            if left <= 0:
                raise TimedOut(f"{self.spec.name} is still reading the workspace")
            await self._woken(client, client.news, left)
        if not self.spec.shows_text:
            self._unseen.clear()
        unknown_until = time.monotonic() + OWN_PACE_S
        while self._unseen:
            path = min(self._unseen)
            shown = await self._shown(client, path, end)
            document = self._documents.get(uri_of(path))
            text = document.text if document else self._disk(path)
            foreign = shown is None and time.monotonic() > unknown_until
            if foreign or shown == (None if text is None else to_lf(text)):
                self._unseen.discard(path)
            else:
                await asyncio.sleep(0.005)

    async def _reread(self, client: Client, params: Any, end: float) -> None:
        """Wait until what the document includes was read again, where the server does so only for a document that is
        opened. Raises TimedOut, Crashed."""
        uri = getattr(getattr(params, "text_document", None), "uri", None)
        if self.spec.rereads_opened and uri in self._documents and self._is_behind(uri):
            await self._published(client, uri, end)

    def _is_behind(self, uri: str) -> bool:
        """Something else changed since this document was told."""
        return self._documents[uri].version != self._version

    async def _shown(self, client: Client, path: Path, end: float) -> str | None:
        """A file's text as the server has it; None for a file that it does not know."""
        params = lsp.TextDocumentIdentifier(uri_of(path))
        try:
            text = await client.ask(self.spec.shows_text, params, max(0.0, end - time.monotonic()))
        except Refused as exc:
            return "\0" if exc.code in _RETRY else None
        return str(text)

    async def _ready_by(self, end: float) -> Client:
        try:
            return await asyncio.wait_for(self.ready(), max(0.001, end - time.monotonic()))
        except TimeoutError:
            raise TimedOut(f"{self.spec.name} is still starting") from None

    async def count_hang(self) -> None:
        if self._client is not None and time.monotonic() - self._client.began < self.spec.warms_up_s:
            return
        self._hangs += 1
        if self._hangs >= _HANGS and self._client is not None:
            self._hangs = 0
            await self._client.kill()

    async def diagnose(self, path: Path, timeout_s: float) -> tuple[int, list[lsp.Diagnostic]]:
        """(version, diagnostics) of the document as settled: pulled, else waited for."""
        end = time.monotonic() + timeout_s
        uri = uri_of(path)
        while True:
            client = await self._ready_by(end)
            if self.spec.pulls_by_command:
                return self._documents[uri].version, await self._commanded(uri, end)
            if self._pulls(client):
                identifier = lsp.TextDocumentIdentifier(uri=uri)
                params = lsp.DocumentDiagnosticParams(text_document=identifier)
                report = await self.ask(
                    lsp.TEXT_DOCUMENT_DIAGNOSTIC, params, max(0.0, end - time.monotonic())
                )
                return self._documents[uri].version, list(getattr(report, "items", []) or [])
            try:
                return await self._published(client, uri, end)
            except Crashed:
                continue

    def _pulls(self, client: Client | None) -> bool:
        """Diagnostics are asked for, not waited for."""
        if self.spec.pull or self.spec.pulls_by_command or client is None:
            return True
        return client.capabilities.diagnostic_provider is not None

    async def _commanded(self, uri: str, end: float) -> list[lsp.Diagnostic]:
        found: list[lsp.Diagnostic] = []
        for command in tsserver.ASKED:
            params = tsserver.request(command, uri)
            answer = await self.ask(lsp.WORKSPACE_EXECUTE_COMMAND, params, max(0.0, end - time.monotonic()))
            try:
                found += tsserver.diagnostics(answer)
            except ValueError as exc:
                raise Refused(0, f"{self.spec.name}: {exc}") from exc
        return found

    async def _published(self, client: Client, uri: str, end: float) -> tuple[int, list[lsp.Diagnostic]]:
        self._refresh(client, uri)
        version = self._documents[uri].version
        before, accepted = client.published.get(uri), self._accepted.get(uri)
        if accepted is not None and accepted[0] == version:
            return accepted
        while (left := end - time.monotonic()) > 0:
            news, latest = client.news, client.published.get(uri)
            if latest is not None and latest[0] == version:
                return version, list(latest[1])
            settling = latest is not None and latest is not before and latest[0] is None
            quiet = self.spec.push_quiet_s if settling else None
            woken = await self._woken(client, news, left if quiet is None else min(left, quiet))
            if latest is not None and quiet is not None and quiet <= left and not woken:
                self._accepted[uri] = version, list(latest[1])
                return self._accepted[uri]
        await self.count_hang()
        raise TimedOut(f"{self.spec.name} published nothing about version {version} in time")

    def _refresh(self, client: Client, uri: str) -> None:
        """A publish knows nothing of later changes elsewhere: open the document anew, as a later version."""
        document = self._documents[uri]
        if not self._is_behind(uri):
            return
        self._close(uri)
        self._version += 1
        self._documents[uri] = _Document(document.text, self._version)
        self._open(client, uri, self._documents[uri])

    async def _woken(self, client: Client, news: asyncio.Event, pause: float) -> bool:
        """True when something was published within `pause` seconds; Crashed when the server went away."""
        waits = {asyncio.create_task(news.wait()), asyncio.create_task(client.gone())}
        done, pending = await asyncio.wait(waits, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        if not client.alive:
            raise Crashed(client.last_words())
        return bool(done)

    async def indexed(self, timeout_s: float) -> None:
        """Wait until a server that reads the whole workspace has read it. Raises TimedOut, Unavailable."""
        end = time.monotonic() + timeout_s
        indexes = self.spec.indexes(self._root)
        while indexes or self.spec.ready_says:
            client = await self._ready_by(end)
            busy = not client.ready or (indexes and bool(client.working))
            grace = client.began + INDEX_BEGIN_S if indexes and not client.worked else 0.0
            left = (end if busy else min(end, grace)) - time.monotonic()
            if not busy and left <= 0:
                return
            if left <= 0:
                raise TimedOut(f"{self.spec.name} is still reading the workspace")
            with contextlib.suppress(Crashed):
                await self._woken(client, client.news, left)

    def holds(self, uri: str) -> bool:
        return uri in self._documents

    @property
    def empty(self) -> bool:
        return not self._documents

    async def offers(self, capability: str, timeout_s: float) -> bool:
        client = await self._ready_by(time.monotonic() + timeout_s)
        return bool(getattr(client.capabilities, capability))

    async def codec(self, timeout_s: float) -> PositionCodec:
        return _codec(await self._ready_by(time.monotonic() + timeout_s))


def _codec(client: Client) -> PositionCodec:
    return PositionCodec(client.capabilities.position_encoding or lsp.PositionEncodingKind.Utf16)


@lru_cache(maxsize=4096)
def uri_of(path: Path) -> str:
    return path.as_uri()


@lru_cache(maxsize=4096)
def path_of(uri: str) -> Path:
    from pygls.uris import to_fs_path

    return Path(to_fs_path(uri) or uri)
