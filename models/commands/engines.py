"""`agent engines`: which engines work here, and the vLLM environment. A Typer app that a room above mounts."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from forklock.sandbox.commands.extras import install_hint
from forklock.sandbox.terminal import say, say_fault

app = typer.Typer(no_args_is_help=True, help="Engines: where tokens come from.")

_Engine = Annotated[str, typer.Argument(metavar="ENGINE", help="Only vllm has an environment of its own.")]
_BuildOption = Annotated[
    str, typer.Option("--build", help="cpu or cuda; auto looks for an NVIDIA driver.", metavar="BUILD")
]


@app.command("list")
def list_engines() -> None:
    """Say which engines work here."""
    from rich.table import Table

    from forklock.models.engines.open import ENGINES, engine_kind
    from forklock.sandbox.terminal import screen

    table = Table("engine", "state", "where")
    for name in ENGINES:
        table.add_row(name, *engine_kind(name).state())
    screen().print(table)


@app.command("install")
def install_engine(engine: _Engine, build: _BuildOption = "auto") -> None:
    """Make the environment of an engine; run again to resume."""
    from forklock.models.contract import ModelFault
    from forklock.models.engines.vllm import install as vllm_install
    from forklock.sandbox.terminal.progress import spinner

    _only_vllm(engine)
    if build not in ("auto", "cpu", "cuda"):
        _end(f"There is no build {build!r}.", "Take auto, cpu or cuda.", code=2)
    chosen: Literal["cpu", "cuda"] | None = "cpu" if build == "cpu" else "cuda" if build == "cuda" else None
    try:
        with spinner("Starting") as step:
            environment = vllm_install.install(step, build=chosen)
    except ModelFault as fault:
        _end(fault.message, fault.fix, code=3)
    say(f"vLLM {environment.version} ({environment.build}): {environment.python}")


@app.command("remove")
def remove_engine(engine: _Engine) -> None:
    """Delete the environment of an engine."""
    from forklock.models.contract import ModelFault
    from forklock.models.engines.vllm import install as vllm_install

    _only_vllm(engine)
    try:
        removed = vllm_install.remove()
    except ModelFault as fault:
        _end(fault.message, fault.fix, code=3)
    say("Removed." if removed else "There was none.")


def _only_vllm(engine: str) -> None:
    if engine != "vllm":
        from forklock.models.engines.open import ENGINES

        extra = {"transformers": "local"}.get(engine, engine)
        hint = f"Engines: {', '.join(ENGINES)}."
        if engine in ENGINES:
            hint = f"It comes with: {install_hint(extra)}"
        _end(f"{engine!r} has no environment to install or remove.", hint, code=2)


def _end(message: str, fix: str, *, code: int) -> None:
    say_fault(message, fix)
    raise typer.Exit(code)
