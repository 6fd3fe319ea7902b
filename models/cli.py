"""`agent models`: list, pull, remove and verify the models of the catalogue.

A Typer app to be mounted by a room above; faults are raised for its `main` to print.
"""

from __future__ import annotations

from typing import Annotated

import typer

from sandbox.terminal import say

app = typer.Typer(help="Models on this machine: list, pull, remove, verify.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="A name from `agent models list`.")]


@app.command("list")
def list_models() -> None:
    """Show the catalogue, what is pulled, and which adapter serves."""
    from rich.table import Table

    from models.adapters.registry import AdapterRegistry
    from models.families import CATALOGUE
    from sandbox.terminal import screen

    registry = AdapterRegistry()
    table = Table()
    table.add_column("name", no_wrap=True)
    table.add_column("parameters", justify="right")
    table.add_column("download", justify="right")
    for heading in ("licence", "pulled", "adapter"):
        table.add_column(heading)
    for card in CATALOGUE:
        table.add_row(
            card.name,
            f"{card.parameters / 1e6:,.0f} M",
            f"{card.bytes / 1e6:,.0f} MB",
            card.licence,
            _state(card.name),
            registry.current_version(card.name) or "-",
        )
    screen().print(table)


def _state(name: str) -> str:
    from models.catalogue.catalogue import check_pulled, find_card
    from models.catalogue.pull import Places
    from models.contract import ModelFault

    places = Places.of(name)
    if places.done.exists():
        try:
            check_pulled(find_card(name), places.done)
        except ModelFault:
            return "damaged"
        return "yes"
    return "begun" if places.downloads.exists() and any(places.downloads.iterdir()) else "no"


@app.command("pull")
def pull_model(name: Name) -> None:
    """Download a model, check it, and convert it. Goes on where an earlier pull stopped."""
    from models.catalogue.pull import pull

    say(str(pull(name)))


@app.command("remove")
def remove_model(
    name: Name, yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False
) -> None:
    """Delete a pulled model and what is left of its downloads. Adapters stay."""
    from models.catalogue.catalogue import find_card
    from models.catalogue.pull import remove

    card = find_card(name)
    if not yes and not typer.confirm(f"Delete {card.name} from this machine?"):
        raise typer.Exit(1)
    say(f"{remove(card.name) / 1e6:,.0f} MB freed.")


@app.command("verify")
def verify_model(name: Name) -> None:
    """Compare a pulled model with the hashes of its conversion.

    Reads every byte.
    """
    from models.catalogue.catalogue import verify

    verify(name)
    say(f"{name} is whole.")
