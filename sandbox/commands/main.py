"""`agent sandbox`: which backends work on this machine, and the docker backend's images.

Exit codes: 0 done, 3 no sandbox or no image can be had.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from forklock.sandbox.terminal import say, say_fault

T = TypeVar("T")

app = typer.Typer(no_args_is_help=True, help="See which sandboxes work here; build the docker image.")
image_app = typer.Typer(
    no_args_is_help=True, help="Images with what a repo depends on, for the docker backend."
)
app.add_typer(image_app, name="image")


@app.command()
def status() -> None:
    """Try each backend for real. Says how to fix those that fail."""
    from rich.text import Text

    from forklock.sandbox.backends.open import BACKENDS, backend_class
    from forklock.sandbox.terminal import screen

    console, chosen = screen(), None
    for name in BACKENDS:
        backend = backend_class(name)
        problem = backend.problem()
        if problem is not None:
            words = f"     {problem[0]}\n{'':18}fix: {problem[1]}"
            console.print(Text.assemble((f"{name:<11}no", "red"), words))
            continue
        style = "green" if backend.isolates else ""
        console.print(Text.assemble((f"{name:<11}works", style), f"  {backend.note()}"))
        if backend.isolates:
            chosen = chosen or name
    console.print(f"{'forks':<11}{_forks()}")
    console.print(f"`auto` takes: {chosen or 'nothing, until one of the above is fixed'}")
    raise typer.Exit(0 if chosen else 3)


def _forks() -> str:
    import tempfile

    from forklock.sandbox.workspace.copying import shares_blocks
    from forklock.sandbox.workspace.snapshot import layers_work

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
    """Build the docker backend's image.

    From a registry where one answers, else by debootstrap.
    """
    from forklock.sandbox.images.default import build_image

    _built(lambda progress: build_image(progress, force=force))


@image_app.command("build")
def image_build(
    repo: Annotated[Path, typer.Argument(help="The repo.", exists=True, file_okay=False)] = Path(),
    source: Annotated[
        str, typer.Option("--from", help="auto, devcontainer, dockerfile, lock or manifest.")
    ] = "auto",
    base: Annotated[str | None, typer.Option(help="Start from this image (needs python3 and venv).")] = None,
    allow: Annotated[
        list[str] | None, typer.Option(help="A host that the build may reach besides the package registries.")
    ] = None,
    only: Annotated[
        bool, typer.Option("--only-allowed", help="Reach the hosts of --allow and no others.")
    ] = False,
    wheels: Annotated[
        Path | None, typer.Option(help="Build without any network, from the wheels in this directory.")
    ] = None,
    ca: Annotated[
        Path | None,
        typer.Option(help="More certificates to trust (default: those of PIP_CERT and the like)."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Build again although the image is there.")] = False,
    show: Annotated[bool, typer.Option("--print", help="Print the Dockerfile, and build nothing.")] = False,
) -> None:
    """Build an image with what REPO depends on.

    By its own files. Sandboxes of the repo take it from then on.
    """
    from typing import cast, get_args

    from forklock.sandbox.images.build import Build, build_repo_image, recipe_for
    from forklock.sandbox.images.recipe import Source

    if source not in get_args(Source):
        raise typer.BadParameter(f"one of {', '.join(get_args(Source))}", param_hint="--from")
    chosen = cast(Source, source)
    if show:
        recipe = _or_exit(lambda: recipe_for(repo, chosen))
        say(f"# {recipe.tag}, from {', '.join(recipe.sources)}\n{recipe.dockerfile}")
        return
    hosts = tuple(allow or ())
    how = Build(source=chosen, base=base, registries=not only, hosts=hosts, wheels=wheels, ca=ca, force=force)
    _built(lambda progress: build_repo_image(repo, progress, how))


@image_app.command("list")
def image_list() -> None:
    """List the images of repos, newest first."""
    from rich.table import Table

    from forklock.sandbox.images.build import images
    from forklock.sandbox.images.engine import why_not
    from forklock.sandbox.terminal import screen

    _or_exit(lambda: _need(why_not()))
    table = Table("image", "repo", "MB", "made")
    for one in images():
        table.add_row(one.name, one.repo, str(one.size_mb), one.made)
    screen().print(table)


@image_app.command("remove")
def image_remove(name: Annotated[str, typer.Argument(help="Its name, or the part after the colon.")]) -> None:
    """Remove an image of a repo."""
    from forklock.sandbox.images.build import remove_image
    from forklock.sandbox.images.engine import why_not

    _or_exit(lambda: _need(why_not()))
    _or_exit(lambda: remove_image(name))


def _need(problem: tuple[str, str] | None) -> None:
    from forklock.sandbox.contract import SandboxFault

    if problem is not None:
        raise SandboxFault(problem[0], fix=problem[1])


def _or_exit(what: Callable[[], T]) -> T:
    """Its result; a fault is printed with its fix, and ends the command with 3."""
    from forklock.sandbox.contract import SandboxFault

    try:
        return what()
    except SandboxFault as fault:
        say_fault(fault.message, fault.fix)
        raise typer.Exit(3) from None


def _built(build: Callable[[Callable[[str], None]], str]) -> None:
    """Run a build with its progress."""
    from forklock.sandbox.terminal.progress import spinner

    with spinner("building the image") as step:
        name = _or_exit(lambda: build(step))
    say(f"ready: {name}", err=True)
