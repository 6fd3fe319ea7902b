"""Finds a model's card by its name, and its checked weights by a name or a folder.

In: a catalogue name, a name of the hub (`owner/name`) or a folder. Out: a `ModelCard` (facts, sizes, hashes, where to
get it) or a `ResolvedModel` (a folder that is whole, and a revision for cache keys). Downloading is
`models/catalogue/pull.py` and `hub_pull.py`. The name of a model that is here wins over a folder of the same name;
write `./name` for the folder.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from forklock.models.catalogue.hub_here import check_hub, hub_folder, is_hub_name, verify_hub
from forklock.models.catalogue.weights import (
    check_against_record,
    check_weights,
    folder_revision,
    former_revision,
    read_record,
    verify_hashes,
)
from forklock.models.contract import ModelFault
from forklock.models.families import CATALOGUE, ModelCard, hub_card
from forklock.models.paths import is_folder, models_dir, names_folder, user_path

if TYPE_CHECKING:
    from forklock.sandbox.terminal.progress import Progress


class NoSuchModel(ModelFault):
    """The user asked for something that the catalogue and the disk do not know."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """Weights on this machine that are whole, as far as headers and sizes show."""

    name: str
    """Catalogue name, or the folder's own name (`owner--name` for models of the hub)."""
    folder: Path
    revision: str
    """The GGUF's sha256 for catalogue models, else a digest of the folder (`folder_revision`)."""
    card: ModelCard | None
    former_revision: str = ""
    """What `revision` was for a folder before it covered every byte; adapters' manifests may hold it."""


def find_card(name: str, catalogue: tuple[ModelCard, ...] = CATALOGUE) -> ModelCard:
    """Return the card of a catalogue name (case does not matter).

    Raises:
        ModelFault: no such model; the near miss is named.
    """
    by_name = {card.name: card for card in catalogue}
    found = by_name.get(name.strip().lower())
    if found:
        return found
    near = difflib.get_close_matches(name.lower(), by_name, n=1, cutoff=0.5)
    known = f"Did you mean {near[0]!r}?" if near else f"Known models: {', '.join(by_name)}."
    raise NoSuchModel(
        f"There is no model {name[:300]!r} in the catalogue.", fix=f"{known} See `agent models list`."
    )


def is_catalogue_name(name: str) -> bool:
    return name.strip().lower() in {card.name for card in CATALOGUE}


def resolve_model(name_or_folder: str | Path) -> ResolvedModel:
    """Return checked weights for a catalogue name or a transformers folder. It reads headers, not tensors.

    Args:
        name_or_folder: as text, a folder begins with `./`, `../`, `/` or `~`.

    Raises:
        ModelFault: unknown name, not pulled, damaged, not safetensors, no tokenizer.
    """
    text = str(name_or_folder)
    if isinstance(name_or_folder, str) and is_catalogue_name(text):
        return _resolve_pulled(find_card(text))
    if isinstance(name_or_folder, str) and is_hub_name(text) and hub_folder(text).exists():
        return _resolve_hub(text.strip())
    folder = user_path(text)
    meant = isinstance(name_or_folder, Path) or names_folder(text)
    if not meant and is_folder(folder):
        raise NoSuchModel(
            f"There is no model {text!r} in the catalogue; there is a folder of that name here.",
            fix=f"Write ./{text} if you mean the folder.",
        )
    if meant and is_folder(folder):
        folder = folder.resolve()
        check_weights(folder)
        return ResolvedModel(folder.name, folder, folder_revision(folder), None, former_revision(folder))
    if not meant and is_hub_name(text):
        raise NoSuchModel(
            f"There is no model {text[:300]!r} on this machine.",
            fix=f"Run `agent models pull {text}` to fetch it from the hub, or write ./{text} for a folder.",
        )
    if meant or "/" in text:
        raise NoSuchModel(
            f"There is no model folder {text[:300]!r}.", fix="Check the path, or see `agent models list`."
        )
    return _resolve_pulled(find_card(text))


def is_on_hub_or_here(text: str) -> bool:
    """Return whether `owner/name` is a model of the hub that is here, or a known one whose owner is no provider."""
    if not is_hub_name(text):
        return False
    return hub_folder(text).exists() or (
        hub_card(text) is not None and text.partition("/")[0] not in _ALSO_PROVIDERS
    )


def must_be_fetched(text: str) -> bool:
    """Return whether `owner/name` can only mean a model of the hub that is not on this machine."""
    return is_hub_name(text) and not hub_folder(text).exists() and not is_folder(user_path(text))


_ALSO_PROVIDERS = frozenset({"openai"})
"""Owners on the hub that are providers of hosted models, too. Their models count as local once they are pulled."""


def _resolve_hub(repo_id: str) -> ResolvedModel:
    folder = check_hub(repo_id)
    return ResolvedModel(folder.name, folder, folder_revision(folder), None, former_revision(folder))


def _resolve_pulled(card: ModelCard) -> ResolvedModel:
    folder = models_dir() / card.name
    if not folder.exists():
        raise ModelFault(
            f"Model {card.name} is not on this machine yet ({card.bytes / 1e6:,.0f} MB to fetch).",
            fix=f"Run `agent models pull {card.name}`.",
        )
    check_pulled(card, folder)
    conversion = read_record(folder).conversion
    revision = card.sha256 if conversion == 1 else f"{card.sha256}-c{conversion}"
    return ResolvedModel(card.name, folder, revision, card)


def check_pulled(card: ModelCard, folder: Path) -> None:
    """Check a pulled model by its sizes and headers.

    Raises:
        ModelFault: it is damaged; the fix names two commands.
    """
    try:
        record = read_record(folder)
        check_against_record(folder, record.files)
        check_weights(folder)
    except ModelFault as fault:
        raise _damaged(card, fault.message) from None
    if record.gguf_sha256 != card.sha256:
        raise _damaged(card, "it was made from another file than the catalogue's.")


def _damaged(card: ModelCard, what: str) -> ModelFault:
    return ModelFault(
        f"Model {card.name} is damaged: {what}",
        fix=f"Run `agent models remove {card.name}`, then `agent models pull {card.name}`.",
    )


def verify(name: str, *, progress: Progress | None = None) -> None:
    """Compare every byte of a pulled model with the hashes taken at conversion.

    Raises:
        ModelFault: not pulled, or damaged.
    """
    from forklock.sandbox.terminal.progress import Progress

    if is_hub_name(name):
        total = sum(file.stat().st_size for file in check_hub(name).iterdir())
        with (progress or Progress()).task(f"Verifying {name}", total) as advance:
            verify_hub(name, advance)
        return
    card = find_card(name)
    resolved = _resolve_pulled(card)
    record = read_record(resolved.folder)
    total = sum(file.bytes for file in record.files.values())
    with (progress or Progress()).task(f"Verifying {card.name}", total) as advance:
        try:
            verify_hashes(resolved.folder, record.files, advance)
        except ModelFault as fault:
            raise _damaged(card, fault.message) from None
