"""The `--version` option that all commands have. Here because it is the lowest room, which every command imports."""

from __future__ import annotations

from typing import Annotated

import typer


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
