"""One server process and the wire to it: pygls' client, made bounded (room `tools/`).

In: a `ServerSpec`, requests. Out: typed results, `TimedOut` or `Crashed`, each within its time. What pygls
2.1 leaves open is closed here: stderr is drained, answers that do not parse fail their request at once,
server-to-client requests are answered, a broken stream counts as a crash, and the process group is killed
when it does not leave. Not covered: documents and restarts (`connection`).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from lsprotocol import types as lsp
from pygls.lsp._base_client import BaseLanguageClient
from pygls.protocol import LanguageServerProtocol, default_converter
from pygls.protocol.json_rpc import JsonRPCResponseMessage

from sandbox.bubblewrap.contained import contained
from sandbox.contract import Limits, SandboxFault
from sandbox.linux.cgroups import Group, make_group
from sandbox.linux.limits import TreeWatcher
from tools.lsp.servers.table import ServerSpec, command, environment, readable
from tools.lsp.wire import memory
from tools.lsp.wire.capabilities import CAPABILITIES
from tools.lsp.wire.frames import Frames, Wire
from tools.lsp.wire.reading import READERS, message

log = logging.getLogger(__name__)

_SCRATCH = "/tmp"  # noqa: S108  its own
STOP_S = 2.0
"""A server has this long to shut down; then its process group is killed."""

# pygls reports a late answer or an odd message on a terminal that is not ours to write on.
logging.getLogger("pygls").setLevel(logging.CRITICAL)

_LAUNCH = """
import os, sys
parent, doors, argv = int(sys.argv[1]), sys.argv[2].split(), sys.argv[3:]
for door in doors:
    with open(door, "w") as file:
        file.write("0")
try:
    import ctypes
    ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)  # PR_SET_PDEATHSIG, SIGKILL
except (AttributeError, OSError):
    pass
if os.getppid() == parent:
    os.execv(argv[0], argv)
"""


class TimedOut(Exception):
    """No answer in time; the request was cancelled."""


class Crashed(Exception):
    """The process is gone, or what it says cannot be read any more."""


class Refused(Exception):
    """The server answered with an error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class _Protocol(LanguageServerProtocol):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.readers: dict[Any, Callable[[Any], Any]] = {}
        """By the id of the request: how its answer is read, where that is not the converter's work."""

    def structure_message(self, data: dict[str, Any]) -> Any:
        """An answer that does not parse fails its request, rather than never arriving."""
        if "jsonrpc" not in data:  # a part of a message
            return data
        try:
            reader = self.readers.pop(data.get("id"), None) if "method" not in data else None
            if reader is not None and "error" not in data:
                return JsonRPCResponseMessage(data["id"], data["jsonrpc"], reader(data.get("result")))
            return super().structure_message(data)
        except Exception as exc:
            if "method" in data or "id" not in data:
                raise
            error = lsp.ResponseError(
                code=lsp.ErrorCodes.ParseError, message=f"cannot read the answer: {exc}"
            )
            return lsp.ResponseErrorMessage(id=data["id"], error=error)

    def handle_message(self, message: Any) -> None:
        """Answers first: pygls compares each message with three protocols of `typing`, which costs as much again."""
        if type(message) is JsonRPCResponseMessage:
            self._handle_response(message.id, message.result)
        else:
            super().handle_message(message)


def _converter() -> Any:
    """lsprotocol 2025.0.0 cannot structure `notebookDocumentSync` (ty, ruff, pyrefly send it); nobody here
    reads it."""
    converter: Any = default_converter()  # type: ignore[no-untyped-call]
    options = lsp.NotebookDocumentSyncOptions | lsp.NotebookDocumentSyncRegistrationOptions | None
    converter.register_structure_hook(options, lambda _value, _type: None)
    converter.register_structure_hook(lsp.Command | lsp.CodeAction, partial(_action, converter))
    return converter


def _action(converter: Any, value: Any, _type: Any) -> Any:
    """lsprotocol 2025.0.0 takes a code action that also has a command for that command."""
    kind = lsp.Command if isinstance(value.get("command"), str) else lsp.CodeAction
    return converter.structure(value, kind)


class Client(BaseLanguageClient):
    """A started server. Every method belongs to the event loop that `start` ran on."""

    def __init__(
        self,
        spec: ServerSpec,
        program: Path,
        root: Path,
        python: Path | None,
        *,
        trusted: bool,
        memory_mb: int,
    ) -> None:
        """`trusted`: it runs among our own processes, and not in name spaces of its own. `memory_mb`: what it and its
        children may take."""
        super().__init__("forklock", "0", protocol_cls=_Protocol, converter_factory=_converter)
        self.readers: dict[Any, Callable[[Any], Any]] = self.protocol.readers  # type: ignore[attr-defined]
        # pygls' own handlers are a server's: an `exit` from the other side would end our loop.
        self.protocol.fm.builtin_features.clear()
        self.spec = spec
        self.program = program
        self.root = root
        self._python = python
        self._trusted = trusted
        self.settings = spec.settings(root, python)
        self.options = spec.options(root, python)
        self.capabilities = lsp.ServerCapabilities()
        self.published: dict[str, tuple[int | None, tuple[lsp.Diagnostic, ...]]] = {}
        """URI → (version, items) of the last publish."""
        self.news = asyncio.Event()
        """Set, and replaced, at each publish and each report of progress."""
        self.working: set[str | int] = set()
        """Tokens of work that the server has begun and not ended."""
        self.began = 0.0
        """When it was initialized, by the monotonic clock."""
        self.worked = False
        """It has reported work."""
        self.ready = not (spec.ready_says or spec.says_when_quiet)
        self.stderr_tail = b""
        self.over_memory = False
        """It was ended for the memory that it took. True at the latest when `kill` has returned."""
        self._memory_mb = memory_mb
        self._group: Group | None = None
        self._wire: Wire | None = None
        self._broken = asyncio.Event()
        # Strings of our own: pygls keeps both directions' ids in one table, and servers count from 0.
        self._ids = (f"forklock-{n}" for n in itertools.count(1))
        self._tasks: list[asyncio.Task[Any]] = []
        _register(self)

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
            raise TimedOut(f"{self.spec.name} did not start within {timeout_s:g} s") from None
        except OSError as exc:
            raise Crashed(f"{self.spec.name} cannot be started: {exc}") from exc
        except BaseException:
            await self.kill()
            raise

    async def _spawn(self) -> None:
        program = command(self.spec, self.program, self.root)
        env = {**environment(), **self.spec.environment(self.root)}
        with ExitStack() as stack:
            fds: tuple[int, ...] = ()
            if not self._trusted:
                places = readable(self.program, self.root, self._python)
                scratch = {"HOME": _SCRATCH, "TMPDIR": _SCRATCH, "XDG_CACHE_HOME": _SCRATCH}
                inside = {**environment(), **scratch, **self.spec.environment(self.root)}
                apart = contained(
                    program, self.root, readable=places, writable=self.spec.writes(self.root), env=inside
                )
                try:
                    one = stack.enter_context(apart)
                except SandboxFault as exc:
                    raise Crashed(f"{self.spec.name} cannot be contained: {exc.message}") from exc
                program, fds = tuple(one.argv), one.pass_fds
            self._group = make_group(memory_mb=self._memory_mb, processes=memory.PROCESSES)
            doors = " ".join(self._group.doors()) if self._group else ""
            argv = [sys.executable, "-I", "-S", "-c", _LAUNCH, str(os.getpid()), doors, *program]
            await self.start_io(*argv, cwd=str(self.root), env=env, start_new_session=True, pass_fds=fds)

    def _watch(self) -> None:
        assert self._server is not None and self._server.stdin is not None
        self._wire = Wire(self._server.stdin, asyncio.get_running_loop())
        self.protocol.set_writer(self._wire)
        output = self._server._transport.get_pipe_transport(1)  # type: ignore[attr-defined]
        output.set_protocol(Frames(output.get_protocol(), self._said, self._break))
        for task in self._async_tasks:
            task.add_done_callback(self._on_stream_end)
        self._tasks.append(asyncio.create_task(self._drain_stderr()))
        if self._group is None:
            self._tasks.append(asyncio.create_task(self._watch_memory()))

    def _on_stream_end(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled():
            task.exception()  # retrieved, so that asyncio does not print it
        self._break()

    def _break(self) -> None:
        """It cannot be talked to any more; who waits for an answer learns it."""
        self._broken.set()
        for future in list(self.protocol._request_futures.values()):
            if not future.done():
                future.set_exception(RuntimeError("the stream ended"))

    def _said(self, body: bytes) -> None:
        try:
            self.protocol.handle_message(self.protocol.structure_message(json.loads(body)))
        except Exception as exc:  # an odd message is passed over, as pygls does it
            log.debug("%s said what cannot be read: %s", self.spec.name, exc)

    async def _drain_stderr(self) -> None:
        assert self._server is not None and self._server.stderr is not None
        while chunk := await self._server.stderr.read(65536):
            self.stderr_tail = (self.stderr_tail + chunk)[-2000:]

    async def _watch_memory(self) -> None:
        """For machines where no control group can be made."""

        def over() -> None:
            self.over_memory = True
            self._signal()

        bounds = Limits(memory_mb=self._memory_mb, processes=memory.PROCESSES)
        watcher = TreeWatcher(self.pid, bounds, over)
        while self.alive:
            watcher.tick()
            await asyncio.sleep(memory.LOOK_S)

    async def _initialize(self, timeout_s: float) -> None:
        uri = self.root.as_uri()
        params = lsp.InitializeParams(
            process_id=os.getpid() if self._trusted else None,  # which it could not see
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
        return self._server is not None and self._server.returncode is None and not self._broken.is_set()

    async def gone(self) -> None:
        """Returns when the server cannot be talked to any more."""
        await self._broken.wait()

    @property
    def pid(self) -> int | None:
        return self._server.pid if self._server else None

    async def leave(self) -> None:
        """Shutdown and exit as the protocol has it, then kill what is still there. Takes at most STOP_S."""
        if self.alive:
            with contextlib.suppress(TimedOut, Crashed, Refused, TimeoutError):
                async with asyncio.timeout(STOP_S):
                    await self.ask(lsp.SHUTDOWN, None, STOP_S)
                    self.tell(lsp.EXIT, None)
                    assert self._server is not None
                    await self._server.wait()
        await self.kill()

    async def kill(self) -> None:
        """Kill the process group, reap, and end the tasks. Safe at any time, and twice."""
        self._break()
        self._stop_event.set()
        if self._wire is not None:
            self._wire.close()
        if self._server is not None:
            self._signal()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._server.wait(), STOP_S)
            # Close our ends now: a transport that is left to the collector complains of a closed loop.
            self._server._transport.close()  # type: ignore[attr-defined]
        tasks = [*self._tasks, *self._async_tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._group is not None:
            self.over_memory = self.over_memory or self._group.oom_killed()
            self._group.remove()
            self._group = None

    def _signal(self) -> None:
        assert self._server is not None
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._server.pid, signal.SIGKILL)

    # --- words -----------------------------------------------------------------------------------

    def tell(self, method: str, params: Any) -> None:
        if self.alive:
            self.protocol.notify(method, params)

    async def ask(self, method: str, params: Any, timeout_s: float) -> Any:
        """One request. Raises TimedOut (after cancelling it), Crashed or Refused."""
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
        raise TimedOut(f"{self.spec.name} did not answer {method} within {timeout_s:.1f} s")

    def ask_here(self, method: str, params: Any, timeout_s: float) -> Any:
        """As `ask`, of another thread than the loop's, which only reads. For the methods of `READERS`."""
        if not self.alive or self._wire is None:
            raise Crashed(self.last_words())
        msg_id = self._new_id(method)
        answer: Future[Any] = Future()
        self.protocol._request_futures[msg_id] = answer
        self._wire.write(message(method, msg_id, params))
        if self._broken.is_set():  # meanwhile: nobody will
            raise Crashed(self.last_words())
        try:
            return _unwrap(answer, self, timeout_s)
        except FutureTimeout:
            self._forget(msg_id)
            raise TimedOut(f"{self.spec.name} did not answer {method} within {timeout_s:.1f} s") from None

    def _new_id(self, method: str) -> str:
        msg_id = next(self._ids)
        if method in READERS:
            self.readers[msg_id] = READERS[method]
        return msg_id

    def _forget(self, msg_id: str) -> None:
        """Tell the server to stop, and let a late answer find nobody."""
        self.tell(lsp.CANCEL_REQUEST, lsp.CancelParams(id=msg_id))
        self.protocol._request_futures.pop(msg_id, None)
        self.protocol._result_types.pop(msg_id, None)
        self.readers.pop(msg_id, None)

    def wake(self) -> None:
        woken, self.news = self.news, asyncio.Event()
        woken.set()

    def last_words(self) -> str:
        tail = self.stderr_tail.decode("utf-8", "replace").strip().splitlines()
        said = next((line for line in tail if line.lower().startswith("error")), tail[-1] if tail else "")
        return f"{self.spec.name} stopped" + (f": {said[:200]}" if said else "")


def _unwrap(answer: Any, client: Client, *timeout_s: float) -> Any:
    from pygls.exceptions import JsonRpcException

    try:
        return answer.result(*timeout_s)
    except JsonRpcException as exc:
        raise Refused(exc.code or 0, exc.message or "error without a message") from exc
    except RuntimeError as exc:  # pygls: the process exited
        raise Crashed(client.last_words()) from exc


# --- what the server may ask of us -----------------------------------------------------------------


def _register(client: Client) -> None:
    feature = client.feature
    feature(lsp.WORKSPACE_CONFIGURATION)(lambda p: [_section(client.settings, i.section) for i in p.items])
    feature(lsp.WORKSPACE_WORKSPACE_FOLDERS)(
        lambda _p: [lsp.WorkspaceFolder(uri=client.root.as_uri(), name=client.root.name)]
    )
    feature(lsp.WORKSPACE_APPLY_EDIT)(
        lambda _p: lsp.ApplyWorkspaceEditResult(applied=False, failure_reason="edits are the agent's")
    )
    feature(lsp.WINDOW_SHOW_DOCUMENT)(lambda _p: lsp.ShowDocumentResult(success=False))
    for method in (
        lsp.CLIENT_REGISTER_CAPABILITY,
        lsp.CLIENT_UNREGISTER_CAPABILITY,
        lsp.WINDOW_WORK_DONE_PROGRESS_CREATE,
        lsp.WINDOW_SHOW_MESSAGE_REQUEST,
        lsp.WORKSPACE_DIAGNOSTIC_REFRESH,
        lsp.WORKSPACE_SEMANTIC_TOKENS_REFRESH,
        lsp.WORKSPACE_INLAY_HINT_REFRESH,
        lsp.WORKSPACE_CODE_LENS_REFRESH,
        lsp.WINDOW_SHOW_MESSAGE,
        lsp.TELEMETRY_EVENT,
        lsp.LOG_TRACE,
    ):
        feature(method)(_agreed)

    def published(params: lsp.PublishDiagnosticsParams) -> None:
        client.published[params.uri] = (params.version, tuple(params.diagnostics))
        client.wake()

    def progress(params: lsp.ProgressParams) -> None:
        kind = (
            params.value.get("kind") if isinstance(params.value, dict) else getattr(params.value, "kind", "")
        )
        if kind == "begin":
            client.worked = True
            client.working.add(params.token)
        elif kind == "end":
            client.working.discard(params.token)
        client.wake()

    def logged(params: lsp.LogMessageParams) -> None:
        if not client.ready and re.search(client.spec.ready_says, params.message):
            client.ready = True
            client.wake()

    def status(params: Any) -> None:
        if client.spec.says_when_quiet:
            client.ready = bool(getattr(params, "quiescent", False))
            client.wake()

    feature("experimental/serverStatus")(status)
    feature(lsp.WINDOW_LOG_MESSAGE)(logged)
    feature(lsp.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)(published)
    feature(lsp.PROGRESS)(progress)


def _agreed(_params: Any) -> None:
    return None


def _section(settings: Mapping[str, Any], section: str | None) -> Any:
    """`a.b` of nested settings; None where there is nothing, which tells a server to use its defaults."""
    value: Any = settings
    for part in (section or "").split(".") if section else []:
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
