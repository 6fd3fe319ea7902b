"""What the commands of all rooms share: how an app is made, `--version`, and the check of `--sandbox`."""

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


def command_app(name: str, about: str) -> typer.Typer:
    """Return the app of one of the commands. Rich would draw a help text in twice the time, so it does not."""
    app = typer.Typer(
        name=name, help=about, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None
    )
    app.callback()(_root)
    return app


def _root(version: VersionOption = False) -> None:
    """Options of the command itself, before its sub-commands."""


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
