"""Keeps a language server running: starts it when it is needed, and restarts it once after a crash.

In: the texts that open documents must have (`documents`), requests. Out: results for exactly those texts, or
TimedOut, Refused or Unavailable. A second crash is final. Not covered: what an answer means (`asking`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lsprotocol import types as lsp
from pygls.workspace import PositionCodec

from forklock.tools.languages.text import to_lf
from forklock.tools.lsp.servers.server import Server
from forklock.tools.lsp.wire.client import Client
from forklock.tools.lsp.wire.documents import Disk, Documents, uri_of
from forklock.tools.lsp.wire.faults import Crashed, Refused, TimedOut, Unavailable
from forklock.tools.lsp.wire.features import register
from forklock.tools.lsp.wire.process import MEMORY_VARIABLE, Launch

log = logging.getLogger(__name__)

INDEX_BEGIN_S = 3.0
"""A server that reads the whole workspace reports it within this time of its start, or has nothing to read."""
LATE_S = 1.0
"""A server that reads changed files late does so within this time, or does not read the file at all."""
_HANGS = 3
"""This many timeouts in a row count as a crash."""
_RETRY = {lsp.LSPErrorCodes.ServerCancelled.value, lsp.LSPErrorCodes.ContentModified.value}


class Connection:
    """Every coroutine method belongs to one event loop; `ask` is called once at a time."""

    def __init__(self, server: Server, launch: Launch) -> None:
        self.server = server
        self.documents = Documents(server)
        self._launch = launch
        self._client: Client | None = None
        self._starting: asyncio.Task[Client] | None = None
        self._accepted: dict[str, tuple[int, list[lsp.Diagnostic]]] = {}
        """URI → the last publish without a version that was accepted, and the version that it was accepted for."""
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
            # Shielded: a caller whose time is up does not undo a start that the next caller can use.
            return await asyncio.shield(starting)
        finally:
            if starting.done():
                self._starting = None

    async def _start(self) -> Client:
        server = self.server
        reason = await self._bury()
        program = server.program()
        if program is None:
            raise self._give_up(f"{server.name} is not installed ({server.argv[0]} not found)", server.fix)
        while self._starts_left > 0:
            self._starts_left -= 1
            client = Client(server, program, self._launch)
            register(client)
            try:
                await client.start(self._launch.start_s)
            except TimedOut as exc:
                raise self._give_up(str(exc), f"run `{' '.join(server.argv)}` by hand to see why") from exc
            except (Crashed, Refused) as exc:
                reason = str(exc)
                self._check_memory(client)
                continue
            self._client = client
            self.documents.open_all(client)
            return client
        raise self._give_up(f"{server.name} crashed twice ({reason})", f"reinstall it: {server.fix}")

    async def _bury(self) -> str:
        """Clear away a server that has ended. Returns its last words."""
        if self._client is None:
            return ""
        client, self._client = self._client, None
        self.documents.client = None
        await client.kill()
        self._check_memory(client)
        return client.last_words()

    def _check_memory(self, client: Client) -> None:
        """Give up on a server that took too much memory: a second one would take as much. Raises Unavailable."""
        if client.over_memory:
            bound = self._launch.bound
            message = f"{self.server.name} was ended, since it took more than {bound} MB of memory"
            fix = f"set {MEMORY_VARIABLE} higher than {bound}, if this repository needs it"
            raise self._give_up(message, fix)

    def _give_up(self, message: str, fix: str) -> Unavailable:
        log.warning("%s; %s", message, fix)
        self._verdict = Unavailable(message, fix)
        return self._verdict

    async def close(self) -> None:
        """Shut the server down, also one that is just starting."""
        await self._end_start()
        if self._client is not None:
            await self._client.leave()

    async def kill(self) -> None:
        """End the server without asking it to shut down."""
        await self._end_start()
        if self._client is not None:
            await self._client.kill()

    async def _end_start(self) -> None:
        self._verdict = self._verdict or Unavailable("closed")
        starting = self._starting
        if starting is not None and not starting.done():
            if not starting.cancelling():  # a second request would interrupt its clean-up
                starting.cancel()
            await asyncio.wait({starting})

    @property
    def pid(self) -> int | None:
        """The process id of the running server."""
        return self._client.pid if self._client else None

    # --- requests --------------------------------------------------------------------------------

    async def ask(self, method: str, params: Any, timeout_s: float) -> Any:
        """Send a request about the documents as settled. After a crash the server is restarted and asked once more.

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
                continue  # `_start` counts crashes, and gives up
            except TimedOut:
                await self.count_hang()
                raise
            except Refused as exc:
                if exc.code not in _RETRY:
                    raise
                await asyncio.sleep(0.02)
                continue
            self._hangs = 0
            if client.ready or not self.server.discards_early:
                return result

    def ask_here(self, method: str, params: Callable[[PositionCodec], Any], timeout_s: float) -> Any:
        """As `ask`, from another thread than the loop's, of a server that is up. Raises as `Client.ask`."""
        assert self._client is not None
        result = self._client.ask_here(method, params(_codec(self._client)), timeout_s)
        self._hangs = 0
        return result, _codec(self._client)

    def settled(self, wanted: Mapping[Path, str], disk: Disk) -> bool:
        """Whether the server is up, and needs to be told nothing before a question about these texts. False for
        servers that have to be waited for."""
        if self._client is None or not self._client.alive or self._starting is not None:
            return False
        if self.server.reports_ready or self.server.reads_late:
            return False
        return self.documents.are_settled(wanted, disk)

    async def _caught_up(self, client: Client, end: float) -> None:
        """Wait until the server has read the workspace, and what changed in it. Raises TimedOut, Crashed, Refused."""
        while self.server.discards_early and not client.ready:
            left = end - time.monotonic()
            if left <= 0:
                raise TimedOut(f"{self.server.name} is still reading the workspace")
            await self._woken(client, client.news, left)
        unseen = self.documents.unseen
        if not self.server.reads_late:
            unseen.clear()
        unknown_until = time.monotonic() + LATE_S
        while unseen:
            path = min(unseen)
            shown = await self._shown(client, path, end)
            text = self.documents.text(path)
            foreign = shown is None and time.monotonic() > unknown_until
            if foreign or shown == (None if text is None else to_lf(text)):
                unseen.discard(path)
            else:
                await asyncio.sleep(0.005)

    async def _reread(self, client: Client, params: Any, end: float) -> None:
        """Wait until the server has read again what the document includes, where it does so only for a document that is
        opened. Raises TimedOut, Crashed."""
        uri = getattr(getattr(params, "text_document", None), "uri", None)
        if self.server.rereads_opened and uri and self.documents.holds(uri) and self.documents.is_behind(uri):
            await self._published(client, uri, end)

    async def _shown(self, client: Client, path: Path, end: float) -> str | None:
        """A file's text as the server has it; None for a file that it does not know."""

        async def ask(method: str, params: Any) -> Any:
            return await client.ask(method, params, max(0.0, end - time.monotonic()))

        try:
            return await self.server.text_of(ask, uri_of(path))
        except Refused as exc:
            return "\0" if exc.code in _RETRY else None

    async def _ready_by(self, end: float) -> Client:
        try:
            return await asyncio.wait_for(self.ready(), max(0.001, end - time.monotonic()))
        except TimeoutError:
            raise TimedOut(f"{self.server.name} is still starting") from None

    async def count_hang(self) -> None:
        """Count a timeout; several in a row end the server, so that the next question restarts it."""
        if self._client is not None and time.monotonic() - self._client.began < self.server.warms_up_s:
            return
        self._hangs += 1
        if self._hangs >= _HANGS and self._client is not None:
            self._hangs = 0
            await self._client.kill()

    # --- diagnostics -----------------------------------------------------------------------------

    async def diagnose(self, path: Path, timeout_s: float) -> tuple[int, list[lsp.Diagnostic]]:
        """(version, diagnostics) of the document as settled: requested, or else waited for."""
        end = time.monotonic() + timeout_s
        uri = uri_of(path)
        while True:
            client = await self._ready_by(end)
            if self.server.pulls(client.capabilities):
                found = await self._pulled(uri, end)
                return self.documents.version(uri), found
            try:
                return await self._published(client, uri, end)
            except Crashed:
                continue

    async def _pulled(self, uri: str, end: float) -> list[lsp.Diagnostic]:
        async def ask(method: str, params: Any) -> Any:
            return await self.ask(method, params, max(0.0, end - time.monotonic()))

        try:
            return await self.server.pull(ask, uri)
        except ValueError as exc:
            raise Refused(0, f"{self.server.name}: {exc}") from exc

    async def _published(self, client: Client, uri: str, end: float) -> tuple[int, list[lsp.Diagnostic]]:
        """Wait for a publish about the document's present version."""
        self.documents.reopen(client, uri)
        version = self.documents.version(uri)
        before, accepted = client.published.get(uri), self._accepted.get(uri)
        if accepted is not None and accepted[0] == version:
            return accepted
        while (left := end - time.monotonic()) > 0:
            news, latest = client.news, client.published.get(uri)
            if latest is not None and latest[0] == version:
                return version, list(latest[1])
            settling = latest is not None and latest is not before and latest[0] is None
            quiet = self.server.settles_after_s if settling else None
            woken = await self._woken(client, news, left if quiet is None else min(left, quiet))
            if latest is not None and quiet is not None and quiet <= left and not woken:
                self._accepted[uri] = version, list(latest[1])
                return self._accepted[uri]
        await self.count_hang()
        raise TimedOut(f"{self.server.name} published nothing about version {version} in time")

    # --- waiting ---------------------------------------------------------------------------------

    async def _woken(self, client: Client, news: asyncio.Event, pause: float) -> bool:
        """Wait up to `pause` seconds for news of the server. Returns whether there was some. Raises Crashed."""
        waits = {asyncio.create_task(news.wait()), asyncio.create_task(client.gone())}
        try:
            done, _ = await asyncio.wait(waits, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()
        if not client.alive:
            raise Crashed(client.last_words())
        return bool(done)

    async def indexed(self, timeout_s: float) -> None:
        """Wait until the server has read the workspace, where it does that. Raises TimedOut, Unavailable."""
        end = time.monotonic() + timeout_s
        indexes = self.server.indexes(self._launch.root)
        while indexes or self.server.reports_ready:
            client = await self._ready_by(end)
            busy = not client.ready or (indexes and bool(client.working))
            grace = client.began + INDEX_BEGIN_S if indexes and not client.worked else 0.0
            left = (end if busy else min(end, grace)) - time.monotonic()
            if not busy and left <= 0:
                return
            if left <= 0:
                raise TimedOut(f"{self.server.name} is still reading the workspace")
            with contextlib.suppress(Crashed):
                await self._woken(client, client.news, left)

    # --- what the server offers ------------------------------------------------------------------

    async def offers(self, capability: str, timeout_s: float) -> bool:
        """Whether the server has a capability, such as `rename_provider`."""
        client = await self._ready_by(time.monotonic() + timeout_s)
        return bool(getattr(client.capabilities, capability))

    async def codec(self, timeout_s: float) -> PositionCodec:
        """How the server counts columns."""
        return _codec(await self._ready_by(time.monotonic() + timeout_s))


def _codec(client: Client) -> PositionCodec:
    return PositionCodec(client.capabilities.position_encoding or lsp.PositionEncodingKind.Utf16)
