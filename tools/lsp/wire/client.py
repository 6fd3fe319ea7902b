"""One server process and the connection to it: pygls' client with timeouts, containment and an orderly end.

pygls 2.1 lacks what this adds: stderr is drained, requests of the server are answered (`features`), a broken stream
counts as a crash, every answer has a timeout, and the process group is killed when it does not exit. Not covered:
documents (`documents`) and restarts (`connection`).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path
from typing import Any

from lsprotocol import types as lsp
from pygls.lsp._base_client import BaseLanguageClient

from forklock.sandbox.linux.cgroups import Group
from forklock.tools.lsp.servers.server import Server
from forklock.tools.lsp.wire.capabilities import CAPABILITIES
from forklock.tools.lsp.wire.faults import Crashed, Refused, TimedOut
from forklock.tools.lsp.wire.frames import Frames, Wire
from forklock.tools.lsp.wire.process import Launch, spawn, watch_memory
from forklock.tools.lsp.wire.protocol import Protocol, converter
from forklock.tools.lsp.wire.reading import READERS, message

log = logging.getLogger(__name__)

STOP_S = 2.0
"""A server has this long to shut down; then its process group is killed."""

# pygls reports late answers and malformed messages on stderr, which is not ours to write on.
logging.getLogger("pygls").setLevel(logging.CRITICAL)


class Client(BaseLanguageClient):
    """A started server. Every method belongs to the event loop that `start` ran on."""

    def __init__(self, server: Server, program: Path, launch: Launch) -> None:
        super().__init__("forklock", "0", protocol_cls=Protocol, converter_factory=converter)
        self.readers: dict[Any, Callable[[Any], Any]] = self.protocol.readers  # type: ignore[attr-defined]
        # pygls' own handlers are those of a server: an `exit` from the other side would end our loop.
        self.protocol.fm.builtin_features.clear()
        self.server = server
        self.program = program
        self.root = launch.root
        self._launch = launch
        self.settings = server.settings(launch.root, launch.python)
        self.options = server.options(launch.root, launch.python)
        self.capabilities = lsp.ServerCapabilities()
        self.published: dict[str, tuple[int | None, tuple[lsp.Diagnostic, ...]]] = {}
        """URI → (version, items) of the last publish."""
        self.news = asyncio.Event()
        """Set, and replaced, at each publish and each report of progress or readiness."""
        self.working: set[str | int] = set()
        """Tokens of work that the server has begun and not ended."""
        self.began = 0.0
        """When it was initialized, by the monotonic clock."""
        self.worked = False
        """It has reported work."""
        self.ready = not server.reports_ready
        self.stderr_tail = b""
        self.over_memory = False
        """It was ended because it took too much memory. True at the latest when `kill` has returned."""
        self._group: Group | None = None
        self._wire: Wire | None = None
        self._broken = asyncio.Event()
        # Strings of our own: pygls keeps both directions' ids in one table, and servers count from 0.
        self._ids = (f"forklock-{n}" for n in itertools.count(1))
        self._tasks: list[asyncio.Task[Any]] = []

    # --- life ------------------------------------------------------------------------------------

    async def start(self, timeout_s: float) -> None:
        """Spawn and initialize. Raises TimedOut or Crashed, with the process gone."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._spawn()
                self._watch()
                await self._initialize(timeout_s)
        except TimeoutError:
            await self.kill()
            raise TimedOut(f"{self.server.name} did not start within {timeout_s:g} s") from None
        except OSError as exc:
            await self.kill()
            raise Crashed(f"{self.server.name} cannot be started: {exc}") from exc
        except BaseException:
            await self.kill()
            raise

    async def _spawn(self) -> None:
        with spawn(self.server, self.program, self._launch) as made:
            self._group = made.group
            await self.start_io(
                *made.argv, cwd=str(self.root), env=made.env, start_new_session=True, pass_fds=made.pass_fds
            )

    def _watch(self) -> None:
        assert self._server is not None and self._server.stdin is not None
        try:
            self._wire = Wire(self._server.stdin, asyncio.get_running_loop())
        except ValueError as exc:  # its end of the pipe is closed
            raise Crashed(f"{self.server.name} ended as soon as it was started") from exc
        self.protocol.set_writer(self._wire)
        output = self._server._transport.get_pipe_transport(1)  # type: ignore[attr-defined]
        output.set_protocol(Frames(output.get_protocol(), self._said, self._break))
        for task in self._async_tasks:
            task.add_done_callback(self._on_stream_end)
        self._tasks.append(asyncio.create_task(self._drain_stderr()))
        if self._group is None:
            self._tasks.append(
                asyncio.create_task(
                    watch_memory(self.pid, self._launch.bound, lambda: self.alive, self._end_for_memory)
                )
            )

    def _on_stream_end(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled():
            task.exception()  # retrieved, so that asyncio does not print it
        self._break()

    def _break(self) -> None:
        """Mark the connection as broken, and fail all requests that wait for an answer."""
        self._broken.set()
        for future in list(self.protocol._request_futures.values()):
            if not future.done():
                future.set_exception(RuntimeError("the stream ended"))

    def _said(self, body: bytes) -> None:
        try:
            self.protocol.handle_message(self.protocol.structure_message(json.loads(body)))
        except Exception as exc:  # a malformed message is skipped, as pygls does it
            log.debug("%s sent a malformed message: %s", self.server.name, exc)

    async def _drain_stderr(self) -> None:
        assert self._server is not None and self._server.stderr is not None
        while chunk := await self._server.stderr.read(65536):
            self.stderr_tail = (self.stderr_tail + chunk)[-2000:]

    def _end_for_memory(self) -> None:
        self.over_memory = True
        self._signal()

    async def _initialize(self, timeout_s: float) -> None:
        uri = self.root.as_uri()
        params = lsp.InitializeParams(
            process_id=os.getpid() if self._launch.trusted else None,  # contained, it cannot see us
            root_uri=uri,
            capabilities=CAPABILITIES,
            initialization_options=dict(self.options),
            workspace_folders=[lsp.WorkspaceFolder(uri=uri, name=self.root.name)],
        )
        result: lsp.InitializeResult = await self.ask(lsp.INITIALIZE, params, timeout_s)
        self.capabilities = result.capabilities
        self.began = time.monotonic()
        self.tell(lsp.INITIALIZED, lsp.InitializedParams())
        if self.settings:
            self.tell(
                lsp.WORKSPACE_DID_CHANGE_CONFIGURATION,
                lsp.DidChangeConfigurationParams(settings=dict(self.settings)),
            )

    @property
    def alive(self) -> bool:
        """Whether the process runs and the connection works."""
        return self._server is not None and self._server.returncode is None and not self._broken.is_set()

    async def gone(self) -> None:
        """Return when the connection is broken."""
        await self._broken.wait()

    @property
    def pid(self) -> int | None:
        """The process id; None before the start."""
        return self._server.pid if self._server else None

    async def leave(self) -> None:
        """Send `shutdown` and `exit`, then kill what is still running. Takes at most STOP_S."""
        try:
            if self.alive:
                with contextlib.suppress(TimedOut, Crashed, Refused, TimeoutError):
                    async with asyncio.timeout(STOP_S):
                        await self.ask(lsp.SHUTDOWN, None, STOP_S)
                        self.tell(lsp.EXIT, None)
                        assert self._server is not None
                        await self._server.wait()
        finally:  # also where this task is cancelled
            await self.kill()

    async def kill(self) -> None:
        """Kill the process group, reap it, and end the tasks. Safe at any time, and twice.

        A cancellation takes effect when all is done; otherwise the process would be abandoned.
        """
        self._break()
        self._stop_event.set()
        if self._wire is not None:
            self._wire.close()
        cancelled: asyncio.CancelledError | None = None
        if self._server is not None:
            self._signal()
            cancelled = await self._reap(self._server)
            # Close our ends now: a transport that the collector closes warns of a closed loop.
            self._server._transport.close()  # type: ignore[attr-defined]
        if self._group is not None:
            self.over_memory = self.over_memory or self._group.oom_killed()
            self._group.remove()
            self._group = None
        tasks = [*self._tasks, *self._async_tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if cancelled is not None:
            raise cancelled

    @staticmethod
    async def _reap(process: asyncio.subprocess.Process) -> asyncio.CancelledError | None:
        """Wait for the end of a killed process. Returns the cancellation that came meanwhile."""
        cancelled, end = None, time.monotonic() + STOP_S
        while process.returncode is None and (left := end - time.monotonic()) > 0:
            try:
                await asyncio.wait_for(process.wait(), left)
            except TimeoutError:
                break
            except asyncio.CancelledError as exc:
                cancelled = exc
        return cancelled

    def _signal(self) -> None:
        assert self._server is not None
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._server.pid, signal.SIGKILL)

    # --- messages --------------------------------------------------------------------------------

    def tell(self, method: str, params: Any) -> None:
        """Send a notification."""
        if self.alive:
            self.protocol.notify(method, params)

    async def ask(self, method: str, params: Any, timeout_s: float) -> Any:
        """Send a request. Raises TimedOut (after cancelling it), Crashed or Refused."""
        if not self.alive:
            raise Crashed(self.last_words())
        msg_id = self._new_id(method)
        answer = self.protocol.send_request_async(method, params, msg_id)
        broken = asyncio.create_task(self.gone())
        try:
            done, _ = await asyncio.wait(
                {answer, broken}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            broken.cancel()
            if not answer.done():
                self._forget(msg_id)
                answer.cancel()
        if answer in done:
            return _unwrap(answer, self)
        if broken in done:
            raise Crashed(self.last_words())
        raise TimedOut(f"{self.server.name} did not answer {method} within {timeout_s:.1f} s")

    def ask_here(self, method: str, params: Any, timeout_s: float) -> Any:
        """As `ask`, from another thread than the loop's. Only for the methods of `READERS`."""
        if not self.alive or self._wire is None:
            raise Crashed(self.last_words())
        msg_id = self._new_id(method)
        answer: Future[Any] = Future()
        self.protocol._request_futures[msg_id] = answer
        self._wire.write(message(method, msg_id, params))
        if self._broken.is_set():  # broken meanwhile: no answer will come
            raise Crashed(self.last_words())
        try:
            return _unwrap(answer, self, timeout_s)
        except FutureTimeout:
            self._forget(msg_id)
            raise TimedOut(f"{self.server.name} did not answer {method} within {timeout_s:.1f} s") from None

    def _new_id(self, method: str) -> str:
        msg_id = next(self._ids)
        if method in READERS:
            self.readers[msg_id] = READERS[method]
        return msg_id

    def _forget(self, msg_id: str) -> None:
        """Cancel a request; a late answer to it is dropped."""
        self.tell(lsp.CANCEL_REQUEST, lsp.CancelParams(id=msg_id))
        self.protocol._request_futures.pop(msg_id, None)
        self.protocol._result_types.pop(msg_id, None)
        self.readers.pop(msg_id, None)

    def wake(self) -> None:
        """Wake those who wait for `news`."""
        woken, self.news = self.news, asyncio.Event()
        woken.set()

    def last_words(self) -> str:
        """A message that the server stopped, with the first error line of its stderr, or the last line."""
        tail = self.stderr_tail.decode("utf-8", "replace").strip().splitlines()
        said = next((line for line in tail if line.lower().startswith("error")), tail[-1] if tail else "")
        return f"{self.server.name} stopped" + (f": {said[:200]}" if said else "")


def _unwrap(answer: Any, client: Client, *timeout_s: float) -> Any:
    from pygls.exceptions import JsonRpcException

    try:
        return answer.result(*timeout_s)
    except JsonRpcException as exc:
        raise Refused(exc.code or 0, exc.message or "error without a message") from exc
    except RuntimeError as exc:  # pygls: the process exited
        raise Crashed(client.last_words()) from exc
