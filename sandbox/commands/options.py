"""What the commands of all rooms share of their options: `--version`, and the check of `--sandbox`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from forklock.sandbox import BackendName


def _show(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        from forklock.sandbox.terminal import say

        say(version("forklock"))
        raise typer.Exit


VersionOption = Annotated[
    bool, typer.Option("--version", callback=_show, is_eager=True, help="Print Forklock's version and exit.")
]


def root(version: VersionOption = False) -> None:
    """Options of the command itself, before its sub-commands. Give it to `app.callback()`."""


def check_sandbox(name: str) -> BackendName:
    """Return the value of `--sandbox`.

    Raises:
        typer.BadParameter: there is no such backend; the message lists them.
    """
    from forklock.sandbox import check_backend

    try:
        return check_backend(name)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--sandbox") from None
