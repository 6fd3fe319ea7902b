"""The ACP agent: speaks the protocol with the official SDK over standard input and output.

In: requests of an editor. Out: sessions (`forklock.agent.serving.acp.conversation`). Only what is there is advertised.
Standard output carries the protocol alone; log records go to stderr. The end of the input, SIGINT and SIGTERM end what
is running.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import acp
from acp.exceptions import RequestError
from acp.helpers import update_available_commands, update_user_message_text
from acp.interfaces import Client
from acp.schema import (
    AgentCapabilities,
    AvailableCommand,
    AvailableCommandInput,
    ClientCapabilities,
    Implementation,
    InitializeResponse,
    LoadSessionResponse,
    NewSessionResponse,
    PromptCapabilities,
    PromptResponse,
    SessionMode,
    SessionModeState,
    SetSessionModeResponse,
    UnstructuredCommandInput,
)

from forklock.agent.contract import AgentFault
from forklock.agent.repo import inspect_repo
from forklock.agent.serving.acp.conversation import Conversation, Options
from forklock.agent.serving.acp.kept import new_id, told_again, turns_of
from forklock.agent.serving.acp.prompt import COMMANDS, Block
from forklock.sandbox.fault import Fault
from forklock.sandbox.terminal import printable

MODES = {
    "solve": ("Solve", "Find the place, sample candidates in a sandbox, and let the tools choose"),
    "plan": ("Plan", "Show what a run would do first; no model is loaded, no token is spent"),
}
_MOST_SESSIONS = 64
_MOST_INPUT = 16 << 20
"""Bytes of one message that are read at once; the SDK puts longer ones together."""
_SOON_S = 0.1
"""Seconds after an answer until what belongs to its session is sent: the client must know the session first."""


def serve(options: Options) -> None:
    """Serve until standard input ends, or SIGINT or SIGTERM comes.

    Raises:
        AgentFault: standard input or output is no pipe.
    """
    if logging.lastResort is not None:  # the SDK's words are foreign text, too
        logging.getLogger().addHandler(logging.lastResort)
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(_serve(options))


async def _serve(options: Options) -> None:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    agent = Agent(options)
    try:
        await acp.run_agent(cast(acp.Agent, agent), stdio_buffer_limit_bytes=_MOST_INPUT)
    except ValueError as error:
        raise AgentFault(
            f"the protocol needs pipes: {error}",
            fix="start `agent acp` from an editor; docs/editors.md says how",
        ) from error
    finally:
        await agent.end()


class Agent:
    """What an editor talks to. Methods are requests of the protocol; the SDK calls them by name."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._sessions: dict[str, Conversation] = {}
        self._busy = asyncio.Lock()
        self._sees_buffers = False
        self._client: Client | None = None
        self._later: set[asyncio.Task[None]] = set()

    def on_connect(self, conn: Client) -> None:
        """The SDK's connection, which stands for the editor."""
        self._client = conn

    # -- requests ---------------------------------------------------------------------------------------------

    async def initialize(
        self, protocol_version: int, client_capabilities: ClientCapabilities | None = None, **_: Any
    ) -> InitializeResponse:
        del protocol_version  # there is one
        files = client_capabilities.fs if client_capabilities else None
        self._sees_buffers = bool(files and files.read_text_file)
        return InitializeResponse(
            protocol_version=acp.PROTOCOL_VERSION,
            agent_capabilities=AgentCapabilities(
                load_session=True,
                prompt_capabilities=PromptCapabilities(image=False, audio=False, embedded_context=True),
            ),
            auth_methods=[],
            agent_info=Implementation(name="forklock", title="Forklock", version=version("forklock")),
        )

    async def new_session(self, cwd: str, **_: Any) -> NewSessionResponse:
        session = self._opened(new_id(), cwd)
        self._soon(self._introduce(session))
        return NewSessionResponse(session_id=session.id, modes=_modes(session))

    async def load_session(self, cwd: str, session_id: str, **_: Any) -> LoadSessionResponse:
        root = _root(cwd)
        try:
            turns = await asyncio.to_thread(turns_of, root, session_id)
        except Fault as fault:
            raise _refusal(fault) from fault
        session = self._sessions.get(session_id) or self._opened(session_id, cwd)
        for turn in turns:
            session.test = turn.test
            session.last_run = turn.run or session.last_run
            await self._send(session, update_user_message_text(turn.prompt))
            for update in await asyncio.to_thread(told_again, root, turn):
                await self._send(session, update)
        self._soon(self._introduce(session))
        return LoadSessionResponse(modes=_modes(session))

    async def set_session_mode(self, session_id: str, mode_id: str, **_: Any) -> SetSessionModeResponse:
        session = self._session(session_id)
        if mode_id not in MODES:
            raise RequestError(-32602, f"there is no mode {mode_id[:40]!r}: one of {', '.join(MODES)}")
        session.mode = mode_id
        return SetSessionModeResponse()

    async def prompt(self, session_id: str, prompt: list[Block], **_: Any) -> PromptResponse:
        session = self._session(session_id)
        if session.task is not None:
            raise RequestError(-32600, "a prompt of this session is being answered; cancel it first")
        session.task = asyncio.create_task(session.answer(prompt))
        try:
            reason, usage = await session.task
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                raise
            return PromptResponse(stop_reason="cancelled")
        finally:
            session.task = None
        return (
            PromptResponse(stop_reason=reason, usage=usage) if usage else PromptResponse(stop_reason=reason)
        )

    async def cancel(self, session_id: str, **_: Any) -> None:
        session = self._sessions.get(session_id)
        if session is not None and session.task is not None:
            session.task.cancel()

    # -- sessions -----------------------------------------------------------------------------------------------

    async def end(self) -> None:
        """Ends what is running."""
        tasks = [session.task for session in self._sessions.values() if session.task is not None]
        for task in (*tasks, *self._later):
            task.cancel()
        await asyncio.gather(*tasks, *self._later, return_exceptions=True)

    def _opened(self, session_id: str, cwd: str) -> Conversation:
        if len(self._sessions) >= _MOST_SESSIONS:
            idle = next((key for key, one in self._sessions.items() if one.task is None), None)
            if idle is None:
                raise RequestError(-32600, f"{_MOST_SESSIONS} sessions are busy; close one")
            del self._sessions[idle]
        root = _root(cwd)
        assert self._client is not None
        session = Conversation(
            session_id, Path(cwd), root, self._client, self._options, self._busy, self._sees_buffers
        )
        self._sessions[session_id] = session
        return session

    def _session(self, session_id: str) -> Conversation:
        found = self._sessions.get(session_id)
        if found is None:
            raise RequestError(-32602, f"there is no session {session_id[:40]!r}")
        return found

    async def _introduce(self, session: Conversation) -> None:
        await asyncio.sleep(_SOON_S)
        await self._send(session, update_available_commands(_commands()))

    async def _send(self, session: Conversation, update: Any) -> None:
        await session.client.session_update(session_id=session.id, update=update)

    def _soon(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._later.add(task)
        task.add_done_callback(self._later.discard)


def _root(cwd: str) -> Path:
    """The top of the repository that a session works in.

    Raises:
        RequestError: it is no folder of a git repository.
    """
    try:
        place = Path(cwd)
        if not place.is_absolute():
            raise AgentFault(f"{cwd!r} is no absolute path", fix="the editor's project folder is needed")
        return inspect_repo(place).root
    except Fault as fault:
        raise _refusal(fault) from fault
    except (OSError, ValueError) as error:  # a name that no file can have
        raise RequestError(-32602, f"{cwd[:200]!r} is no folder") from error


def _refusal(fault: Fault) -> RequestError:
    return RequestError(-32602, printable(f"{fault.message}. {fault.fix}" if fault.fix else fault.message))


def _modes(session: Conversation) -> SessionModeState:
    modes = [SessionMode(id=key, name=name, description=says) for key, (name, says) in MODES.items()]
    return SessionModeState(current_mode_id=session.mode, available_modes=modes)


def _commands() -> list[AvailableCommand]:
    return [
        AvailableCommand(
            name=name,
            description=says,
            input=AvailableCommandInput(root=UnstructuredCommandInput(hint=hint)) if hint else None,
        )
        for name, (says, hint) in COMMANDS.items()
    ]
