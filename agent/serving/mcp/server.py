"""The MCP server: registers the tools with the official SDK, and serves standard input and output.

Tools run in threads, faults become tool errors that say what to do next, and the end of the input ends everything that
was started. The SDK keeps standard output for the protocol; other output goes to stderr.
"""

from __future__ import annotations

import functools
import inspect
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import CallToolResult, TextContent, ToolAnnotations

from forklock.agent.contract import AgentFault
from forklock.agent.serving.mcp.answers import Diagnostics, EditAnswer, TestAnswer, TidyAnswer
from forklock.agent.serving.mcp.reading import Reading
from forklock.agent.serving.mcp.testing import Testing
from forklock.agent.serving.mcp.workbench import ServeOptions, Workbench
from forklock.agent.serving.mcp.writing import Writing
from forklock.sandbox import SandboxFault
from forklock.tools.contract import EditRefused, ToolFault

INSTRUCTIONS = (
    "Deterministic tools for one repository. Paths are relative to its root, lines count from 1, a name path "
    "is `function` or `Class.method`. Ask `frame` before an edit; prefer `replace_symbol`; then `run_tests`."
)
INTERRUPTED = 130


def serve(root: Path, options: ServeOptions) -> None:
    """Serves until standard input ends, or SIGINT or SIGTERM comes."""
    bench = Workbench(root, options)
    try:
        anyio.run(_serve, build(bench), bench)
    finally:
        bench.close()


async def _serve(server: MCPServer[Any], bench: Workbench) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_end_on_signal, bench)
        await server.run_stdio_async()
        tasks.cancel_scope.cancel()


async def _end_on_signal(bench: Workbench) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            bench.close()
            # A thread of the SDK waits in read(0) and cannot be woken: an orderly exit would wait for it.
            os._exit(INTERRUPTED)


def build(bench: Workbench) -> MCPServer[Any]:
    """Makes the server, with the tools that the options allow."""
    server: MCPServer[Any] = MCPServer(
        "forklock", instructions=INSTRUCTIONS, version=version("forklock"), log_level="WARNING"
    )
    reading, writing, testing = Reading(bench), Writing(bench), Testing(bench)
    for tool in (
        reading.find_symbol, reading.symbols, reading.definition, reading.references, reading.hover,
        reading.completion, reading.diagnostics, reading.calls, reading.code_actions, reading.frame,
        reading.search, reading.repo_map, reading.localise,
        testing.run_tests,
    ):  # fmt: skip
        _register(server, tool, writes=False)
    if not bench.options.read_only:
        for edit in (
            writing.replace_symbol,
            writing.search_replace,
            writing.replace_file,
            writing.rename,
            writing.apply_action,
        ):
            _register(server, edit, writes=True)
    _register(server, writing.tidy, writes=not bench.options.read_only)
    return server


def _register(server: MCPServer[Any], tool: Callable[..., Any], *, writes: bool) -> None:
    server.add_tool(
        _served(tool),
        description=inspect.getdoc(tool),
        annotations=ToolAnnotations(
            read_only_hint=not writes, destructive_hint=writes, open_world_hint=False
        ),
        structured_output=inspect.signature(tool, eval_str=True).return_annotation is not str,
    )


def _served(tool: Callable[..., Any]) -> Callable[..., Awaitable[CallToolResult]]:
    """Runs a tool in a thread that the end of the session does not wait for, and turns its faults into tool errors."""

    @functools.wraps(tool)
    async def run(**arguments: Any) -> CallToolResult:
        call = functools.partial(tool, **arguments)
        try:
            answer = await anyio.to_thread.run_sync(call, abandon_on_cancel=True)
        except (ToolFault, SandboxFault, AgentFault) as fault:
            raise ToolError(f"{fault.message}; {fault.fix}" if fault.fix else fault.message) from fault
        except EditRefused as refused:
            raise ToolError(refused.message) from refused
        return _result(answer)

    return run


def _result(answer: str | Diagnostics | EditAnswer | TidyAnswer | TestAnswer) -> CallToolResult:
    if isinstance(answer, str):
        return CallToolResult(content=[TextContent(text=answer)])
    return CallToolResult(content=[TextContent(text=answer.text())], structured_content=asdict(answer))
