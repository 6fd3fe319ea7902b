"""An editor for tests: the SDK's own client, and an `agent acp` that it has started, over real pipes."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import acp
from acp.schema import (
    AllowedOutcome,
    ClientCapabilities,
    DeniedOutcome,
    FileSystemCapabilities,
    ReadTextFileResponse,
    RequestPermissionResponse,
)

ROOT = Path(__file__).parents[3]


@dataclass
class Editor(acp.Client):
    """What a person sees, and what they answer."""

    choice: str = "apply"
    """The option that is chosen when permission is asked; "" cancels the question."""
    buffers: dict[str, str] = field(default_factory=dict)
    """Text of open files, by absolute path."""
    updates: list[Any] = field(default_factory=list)
    asked: list[Any] = field(default_factory=list)
    """Permissions that were asked for."""
    agent: Any = None
    process: Any = None

    async def session_update(self, session_id: str, update: Any, **_: Any) -> None:
        self.updates.append(update)

    async def request_permission(
        self, session_id: str, tool_call: Any, options: Any, **_: Any
    ) -> RequestPermissionResponse:
        self.asked.append((tool_call, options))
        if not self.choice:
            return RequestPermissionResponse(outcome=DeniedOutcome(outcome="cancelled"))
        return RequestPermissionResponse(outcome=AllowedOutcome(outcome="selected", option_id=self.choice))

    async def read_text_file(self, session_id: str, path: str, **_: Any) -> ReadTextFileResponse:
        return ReadTextFileResponse(content=self.buffers.get(path) or Path(path).read_text())

    def on_connect(self, conn: Any) -> None:
        pass

    # -- what is on the screen ------------------------------------------------------------------------------

    def kinds(self) -> list[str]:
        return [update.session_update for update in self.updates]

    @property
    def text(self) -> str:
        """All that the agent said."""
        return "".join(u.content.text for u in self.updates if u.session_update == "agent_message_chunk")

    @property
    def plan(self) -> list[tuple[str, str]]:
        """The plan as it is now: words and status of each entry."""
        plans = [u for u in self.updates if u.session_update == "plan"]
        return [(entry.content, entry.status) for entry in plans[-1].entries]

    def calls(self, word: str = "") -> list[Any]:
        return [u for u in self.updates if u.session_update == "tool_call" and word in u.title]

    async def prompt(self, session: str, text: str) -> Any:
        return await self.agent.prompt(session_id=session, prompt=[acp.text_block(text)])


@asynccontextmanager
async def editor(*flags: str, reads: bool = False, **answers: Any) -> AsyncIterator[Editor]:
    """An editor that has started `agent acp` with these flags.

    Args:
        reads: the editor can say what its buffers hold.
    """
    person = Editor(**answers)
    command = (sys.executable, "-m", "forklock.agent.cli", "acp", *flags)
    async with acp.spawn_agent_process(
        person, *command, env=dict(os.environ), cwd=ROOT, transport_kwargs={"stderr": None}
    ) as (agent, process):
        person.agent, person.process = agent, process
        await agent.initialize(
            protocol_version=acp.PROTOCOL_VERSION,
            client_capabilities=ClientCapabilities(fs=FileSystemCapabilities(read_text_file=reads)),
        )
        yield person


async def opened(person: Editor, repo: Path) -> str:
    """A new session's id."""
    answer = await person.agent.new_session(cwd=str(repo), mcp_servers=[])
    return str(answer.session_id)
