"""`agent sandbox`: which backends work on this machine, and building the docker backend's image.

Exit codes: 0 done, 3 no sandbox or no image can be had.
"""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="See which sandboxes work here; build the docker image.")


@app.command()
def status() -> None:
    """Try each backend for real, and say what stands in its way and how to mend it."""
    from rich.console import Console
    from rich.markup import escape

    from sandbox import bubblewrap
    from sandbox.open import docker_problem

    console = Console(soft_wrap=True)
    problems = {"docker": docker_problem(), "bubblewrap": bubblewrap.why_not()}
    for name, problem in problems.items():
        if problem is None:
            console.print(f"[green]{name:<11}works[/green]  {escape(_note(name))}")
        else:
            console.print(
                f"[red]{name:<11}no[/red]     {escape(problem[0])}\n{'':18}fix: {escape(problem[1])}"
            )
    console.print(f"{'host':<11}works  isolates nothing; used only with `--sandbox host`")
    console.print(f"{'forks':<11}{escape(_forks())}")
    chosen = next((name for name, problem in problems.items() if problem is None), None)
    console.print(f"`auto` takes: {chosen or 'nothing, until one of the above is mended'}")
    raise typer.Exit(0 if chosen else 3)


def _note(name: str) -> str:
    from sandbox.cgroups import writable_parents
    from sandbox.docker_engine import DEFAULT_IMAGE

    if name == "docker":
        return f"image {DEFAULT_IMAGE}"
    parents = writable_parents()
    if parents:
        return f"memory and processes bounded by control groups (v{parents.version})"
    return "memory bounded per process and watched; no control group can be made (see docs/sandbox.md)"


def _forks() -> str:
    import tempfile
    from pathlib import Path

    from sandbox.copying import shares_blocks
    from sandbox.snapshot import layers_work

    place = Path(tempfile.gettempdir()).resolve()
    if layers_work(place):
        return f"layers over a shared snapshot, in {place}"
    if shares_blocks(place):
        return f"reflinks, in {place}"
    return f"copies, in {place}: this user may not mount overlays there, and its file system has no reflinks"


@app.command()
def build(
    force: Annotated[bool, typer.Option("--force", help="Build again although the image is there.")] = False,
) -> None:
    """Build the docker backend's image: from a registry where one answers, else by debootstrap."""
    from rich.console import Console

    from sandbox.contract import SandboxFault
    from sandbox.image import build_image

    console = Console(stderr=True, soft_wrap=True)
    try:
        if console.is_terminal:
            with console.status("building the image") as spinner:
                name = build_image(lambda line: spinner.update(line[: console.width - 4]), force=force)
        else:
            name = build_image(lambda line: console.print(line, markup=False, highlight=False), force=force)
    except SandboxFault as fault:
        console.print(f"error: {fault.message}", markup=False)
        if fault.fix:
            console.print(f"fix: {fault.fix}", markup=False)
        raise typer.Exit(3) from None
    console.print(f"ready: {name}", markup=False)
