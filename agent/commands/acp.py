"""`agent acp`: the agent in an editor."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from forklock.agent.commands.options import (
    AdapterOption,
    EngineOption,
    ModelOption,
    RolloutsOption,
    SandboxOption,
    SecondsOption,
    StepsOption,
    StrategyOption,
    TokensOption,
    TurnsOption,
    WidthOption,
)
from forklock.sandbox.commands.extras import install_hint
from forklock.sandbox.terminal import say


def acp(
    test: Annotated[
        str, typer.Option(help="The check of prompts that name none; default: the repository's own suite.")
    ] = "",
    model: ModelOption = None,
    engine: EngineOption = None,
    adapter: AdapterOption = None,
    width: WidthOption = None,
    steps: StepsOption = None,
    tokens: TokensOption = None,
    seconds: SecondsOption = None,
    strategy: StrategyOption = None,
    rollouts: RolloutsOption = None,
    turns: TurnsOption = None,
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
