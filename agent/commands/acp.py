"""`agent acp`: the agent in an editor."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from forklock.agent.commands.options import SandboxOption
from forklock.sandbox.commands.extras import install_hint
from forklock.sandbox.terminal import say


def acp(
    test: Annotated[
        str, typer.Option(help="The check of prompts that name none; default: the repository's own suite.")
    ] = "",
    model: Annotated[
        str | None, typer.Option(help="Catalogue name, folder, provider id or server URL.")
    ] = None,
    engine: Annotated[str | None, typer.Option(help="auto, transformers, hosted or vllm.")] = None,
    adapter: Annotated[str | None, typer.Option(help="current, none, a version or a folder.")] = None,
    width: Annotated[int | None, typer.Option(help="Candidates sampled in each step.")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps of a run at most.")] = None,
    tokens: Annotated[int | None, typer.Option(help="Tokens of a run at most, prompts included.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Seconds of a run at most.")] = None,
    strategy: Annotated[
        str | None, typer.Option(help="auto, repair or drive; see `agent solve --help`.")
    ] = None,
    rollouts: Annotated[int | None, typer.Option(help="drive: tries that run at once.")] = None,
    turns: Annotated[int | None, typer.Option(help="drive: turns of one try, at most.")] = None,
    sandbox: SandboxOption = None,
) -> None:
    """Serve runs to an editor, over the Agent Client Protocol.

    Put `agent acp` into the settings of Zed, JetBrains IDEs, Neovim or Emacs (docs/editors.md).
    A prompt is one run; you are asked once, before its change is applied.
    """
    from forklock.agent.contract import AgentFault

    try:
        from forklock.agent.serving.acp.conversation import Options
        from forklock.agent.serving.acp.server import serve
    except ImportError as error:
        raise AgentFault(f"the ACP SDK is missing or too old ({error})", fix=install_hint("acp")) from error
    if sys.stdin.isatty():
        say(
            "agent acp speaks with an editor on standard input and output; docs/editors.md says how.",
            err=True,
        )
    shared = _words(model=model, width=width, sandbox=sandbox)
    more = _words(
        engine=engine, adapter=adapter, steps=steps, tokens=tokens, seconds=seconds, strategy=strategy,
        rollouts=rollouts, turns=turns,
    )  # fmt: skip
    serve(Options(test.strip(), (*shared, *more), shared))


def _words(**flags: object) -> tuple[str, ...]:
    """Flags for another command, without those that were not given."""
    return tuple(f"--{name}={value}" for name, value in flags.items() if value is not None)
