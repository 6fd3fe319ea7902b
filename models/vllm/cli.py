"""`agent engines`: which engines are here, and the vLLM environment (room `models/`).

In: command lines. Out: a table, progress lines, exit codes (2 unknown engine, 3 installation failed). The
agent room mounts `app`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Literal

import typer

from sandbox.terminal import say, say_fault

app = typer.Typer(no_args_is_help=True, help="Engines: where tokens come from.")

_Engine = Annotated[str, typer.Argument(metavar="ENGINE", help="Only vllm has an environment of its own.")]
_BuildOption = Annotated[
    str, typer.Option("--build", help="cpu or cuda; auto looks for an NVIDIA driver.", metavar="BUILD")
]


@app.command("list")
def list_engines() -> None:
    """Say which engines work here."""
    from rich.table import Table

    from sandbox.terminal import screen

    table = Table("engine", "state", "where")
    for row in (_transformers_row(), _hosted_row(), _vllm_row()):
        table.add_row(*row)
    screen().print(table)


@app.command("install")
def install_engine(engine: _Engine, build: _BuildOption = "auto") -> None:
    """Make the environment of an engine; run again to resume."""
    from models.contract import ModelFault
    from models.vllm import install as vllm_install

    _only_vllm(engine)
    if build not in ("auto", "cpu", "cuda"):
        _end(f"There is no build {build!r}.", "Take auto, cpu or cuda.", code=2)
    chosen: Literal["cpu", "cuda"] | None = "cpu" if build == "cpu" else "cuda" if build == "cuda" else None
    try:
        with _steps() as step:
            environment = vllm_install.install(step, build=chosen)
    except ModelFault as fault:
        _end(fault.message, fault.fix, code=3)
    say(f"vLLM {environment.version} ({environment.build}): {environment.python}")


@app.command("remove")
def remove_engine(engine: _Engine) -> None:
    """Delete the environment of an engine."""
    from models.contract import ModelFault
    from models.vllm import install as vllm_install

    _only_vllm(engine)
    try:
        removed = vllm_install.remove()
    except ModelFault as fault:
        _end(fault.message, fault.fix, code=3)
    say("Removed." if removed else "There was none.")


def _only_vllm(engine: str) -> None:
    if engine != "vllm":
        hint = {
            "transformers": "It comes with: pip install 'forklock[local]'",
            "hosted": "It comes with: pip install 'forklock[hosted]'",
        }.get(engine, "Engines: transformers, hosted, vllm.")
        _end(f"{engine!r} has no environment to install or remove.", hint, code=2)


def _end(message: str, fix: str, *, code: int) -> None:
    say_fault(message, fix)
    raise typer.Exit(code)


@contextmanager
def _steps() -> Iterator[Callable[[str], None]]:
    """A spinner with the current step on a terminal, one line per step else."""
    from sandbox.terminal import screen

    console = screen(stderr=True)
    if not console.is_terminal:
        yield lambda line: console.print(line)
        return
    with console.status("Starting") as status:
        yield lambda line: status.update(line)


def _transformers_row() -> tuple[str, str, str]:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return (
            "transformers",
            f"ready ({version('transformers')}, torch {version('torch')})",
            "in this process",
        )
    except PackageNotFoundError:
        return "transformers", "missing: pip install 'forklock[local]'", ""


def _hosted_row() -> tuple[str, str, str]:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return "hosted", f"ready (litellm {version('litellm')})", "any provider, any OpenAI-compatible URL"
    except PackageNotFoundError:
        return "hosted", "missing: pip install 'forklock[hosted]'", ""


def _vllm_row() -> tuple[str, str, str]:
    from models.contract import ModelFault
    from models.vllm import install as vllm_install

    try:
        found = vllm_install.find()
    except ModelFault as fault:
        return "vllm", f"broken: {fault.message}", ""
    if found is None:
        return "vllm", f"missing: {vllm_install.INSTALL_COMMAND}", ""
    return "vllm", f"ready ({found.version}, {found.build})", str(found.python)
