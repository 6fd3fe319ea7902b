"""`agent models`: models by name and on this machine. A Typer app that a room above mounts; faults are its to print."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from forklock.sandbox.terminal import say

if TYPE_CHECKING:
    from rich.table import Table

    from forklock.models.adapters import AdapterRegistry

app = typer.Typer(help="Models on this machine: list, pull, remove, verify.", no_args_is_help=True)

Name = Annotated[
    str, typer.Argument(help="A name from `agent models list`, or owner/name on the Hugging Face hub.")
]


@app.command("list")
def list_models() -> None:
    """Show the catalogue, what is pulled, and which adapter serves."""
    from rich.table import Table

    from forklock.models.adapters import AdapterRegistry
    from forklock.models.families import CATALOGUE
    from forklock.sandbox.terminal import screen

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
    screen().print(_hub_table(registry))


def _hub_table(registry: AdapterRegistry) -> Table:
    """Return models of the hub: those that are here, and those that people run."""
    from rich.table import Table

    from forklock.models.catalogue.hub_here import folder_name, hub_folder, pulled_hub
    from forklock.models.families import HUB, profile_of

    table = Table("on the hub", "memory", "window", "calls", "licence", "pulled", "adapter")
    records = {record.repo_id.lower(): record for record in pulled_hub()}
    rows = {
        card.repo_id.lower(): (
            card.repo_id,
            f"{card.needed_gb:,.0f} GB",
            f"{card.context_tokens:,}",
            card.licence,
        )
        for card in HUB
    }
    for key, record in records.items():
        rows.setdefault(key, (record.repo_id, f"{record.weights_bytes / 1e9:,.1f} GB", "", record.licence))
    for repo_id, memory, window, licence in rows.values():
        pulled = "yes" if repo_id.lower() in records else "damaged" if hub_folder(repo_id).exists() else "no"
        adapter = registry.current_version(folder_name(repo_id)) or "-"
        table.add_row(repo_id, memory, window, profile_of(repo_id).calls, licence, pulled, adapter)
    return table


def _state(name: str) -> str:
    from forklock.models.catalogue.catalogue import check_pulled, find_card
    from forklock.models.catalogue.pull import Places
    from forklock.models.contract import ModelFault

    places = Places.of(name)
    if places.done.exists():
        try:
            check_pulled(find_card(name), places.done)
        except ModelFault:
            return "damaged"
        return "yes"
    return "begun" if places.downloads.exists() and any(places.downloads.iterdir()) else "no"


@app.command("profiles")
def list_profiles() -> None:
    """Show how each family of models is driven: call format, edits, window, decoding, gap marks."""
    from rich.table import Table

    from forklock.models.families import FAMILIES, UNKNOWN
    from forklock.sandbox.terminal import screen

    table = Table("family", "in names", "calls", "edits by", "window", "decoding", "fills gaps")
    rows = [(family.name, ", ".join(family.in_names), family.profile, family.infill) for family in FAMILIES]
    for name, words, profile, infill in [*rows, ("(others)", "", UNKNOWN, None)]:
        if profile is None:
            continue
        how = profile.decoding
        decoding = f"T {how.temperature:g}, top-p {how.top_p:g}" + (
            f", top-k {how.top_k}" if how.top_k else ""
        )
        fills = "yes" if infill else "-"
        table.add_row(name, words, profile.calls, profile.edit, f"{profile.window:,}", decoding, fills)
    screen().print(table)


@app.command("pull")
def pull_model(
    name: Name,
    revision: Annotated[
        str, typer.Option("--revision", help="Of a hub model: branch, tag or commit.")
    ] = "main",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Accept the licence; don't ask.")] = False,
) -> None:
    """Download a model and check it. Resumes an earlier pull.

    A name of the catalogue is converted from its GGUF file. owner/name is fetched from the Hugging Face hub (HF_TOKEN
    and HF_ENDPOINT hold): safetensors and tokenizer only, never code.
    """
    from forklock.models.catalogue.hub_here import is_hub_name
    from forklock.models.catalogue.pull import pull

    if not is_hub_name(name):
        say(str(pull(name)))
        return
    from forklock.models.catalogue.hub_pull import Offer, pull_hub

    def accept(offer: Offer) -> bool:
        for line in offer.lines():
            say(line)
        return yes or not offer.must_be_accepted or typer.confirm("Do you accept this licence?")

    say(str(pull_hub(name, accept=accept, revision=revision)))


@app.command("remove")
def remove_model(
    name: Name, yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False
) -> None:
    """Delete a pulled model and what is left of its downloads. Adapters stay."""
    from forklock.models.catalogue.catalogue import find_card
    from forklock.models.catalogue.hub_here import is_hub_name
    from forklock.models.catalogue.hub_pull import remove_hub
    from forklock.models.catalogue.pull import remove

    on_hub = is_hub_name(name)
    known = name.strip() if on_hub else find_card(name).name
    if not yes and not typer.confirm(f"Delete {known} from this machine?"):
        raise typer.Exit(1)
    freed = remove_hub(known) if on_hub else remove(known)
    say(f"{freed / 1e6:,.0f} MB freed.")


@app.command("verify")
def verify_model(name: Name) -> None:
    """Compare a pulled model with the hashes of its pull.

    Reads every byte.
    """
    from forklock.models.catalogue.catalogue import verify

    verify(name)
    say(f"{name} is whole.")
