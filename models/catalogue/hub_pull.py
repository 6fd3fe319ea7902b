"""Pulls a model of the Hugging Face hub, by `owner/name`, into a transformers folder under `models_dir()`.

Small files come first and are checked before any weights are fetched: a model that needs code of its repository is
refused. Each file can be resumed at any byte, also after kill -9, and is compared with the hub's hash. The folder
appears whole or not at all.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from forklock.models.catalogue.download import DiskFull, download, space_guard
from forklock.models.catalogue.hub import INDEX, SMALL_BYTES, HubFile, Listing, ask_hub, hub_client
from forklock.models.catalogue.hub_here import HubRecord, damage, folder_name, hub_folder
from forklock.models.catalogue.pull import SLACK_BYTES, free_bytes, model_lock
from forklock.models.catalogue.weights import RECORD_NAME, FileRecord, check_weights, hash_file, read_json
from forklock.models.contract import ModelFault
from forklock.models.families import hub_card
from forklock.models.paths import models_dir
from forklock.sandbox.files.atomic import put_in_place, write_atomic
from forklock.sandbox.terminal.progress import Progress

DAY_S = 86_400.0
OPEN_LICENCES = frozenset({"apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "cc0-1.0", "unlicense"})
"""Licences that nobody is asked to accept."""
_CODE_KEYS = ("auto_map", "custom_pipelines")


@dataclass(frozen=True, slots=True)
class Offer:
    """What the user is shown before anything large is fetched."""

    listing: Listing
    here: int
    """Bytes that are on this machine already."""

    @property
    def total(self) -> int:
        return sum(file.bytes for file in self.listing.files)

    @property
    def must_be_accepted(self) -> bool:
        return self.listing.licence not in OPEN_LICENCES

    def lines(self) -> list[str]:
        """Return name, licence, size and memory, in words."""
        left = f", {(self.total - self.here) / 1e9:,.1f} GB to fetch" if self.here else ""
        card = hub_card(self.listing.repo_id)
        needed = self.listing.weights_bytes / 1e9
        window = f", window {card.context_tokens:,} tokens" if card else ""
        return [
            f"{self.listing.repo_id} at {self.listing.commit[:12]}: licence {self.listing.licence}, "
            f"{self.total / 1e9:,.1f} GB{left}{window}.",
            f"To run it: {needed:,.1f} GB of memory for the weights, and more for what it reads. "
            f"This machine has {_memory_gb():,.1f} GB.",
        ]


Accept = Callable[[Offer], bool]
"""Asked once, before weights are fetched; false ends the pull."""


class Declined(ModelFault):
    """The user does not want the model."""

    exit_code = 1


def pull_hub(
    repo_id: str, *, accept: Accept, revision: str = "main", progress: Progress | None = None
) -> Path:
    """Bring a model of the hub onto this machine and return its folder. Does nothing if it is whole.

    Raises:
        ModelFault: the hub does not have it or refuses it, it needs code, a hash does not match, the disk is full.
        Declined: `accept` said no.
    """
    repo_id = repo_id.strip()
    progress = progress or Progress()
    done = hub_folder(repo_id)
    with model_lock(folder_name(repo_id), progress):
        if done.exists() and not damage(done):
            return done
        listing = ask_hub(repo_id, revision)
        work = _work_folder(repo_id, listing)
        with space_guard(work.parent), _faults():
            work.mkdir(parents=True, exist_ok=True)
            listing = _small_files(listing, work)
            here = sum(listing.remote(file).here(work) for file in listing.files)
            _check_space(listing, work, here)
            if not accept(offer := Offer(listing, here)):
                raise Declined(f"{repo_id} was not pulled.")
            _fetch(listing, listing.files, work, progress, total=offer.total, here=here)
            _finish(listing, work, done)
    return done


def pull_open(repo_id: str) -> Path:
    """`pull_hub` for a model that the user named in another command: shows the same, and asks nothing.

    Raises:
        ModelFault: as `pull_hub`; or the licence is not an open one.
    """
    progress = Progress()

    def accept(offer: Offer) -> bool:
        for line in offer.lines():
            progress.say(line)
        return not offer.must_be_accepted

    try:
        return pull_hub(repo_id, accept=accept, progress=progress)
    except Declined:
        raise Declined(
            f"The licence of {repo_id} must be accepted first.", fix=f"Run `agent models pull {repo_id}`."
        ) from None


def remove_hub(repo_id: str, *, progress: Progress | None = None) -> int:
    """Delete a pulled model of the hub and what was begun; returns the bytes freed.

    Raises:
        ModelFault: neither is there.
    """
    with model_lock(folder_name(repo_id), progress or Progress()):
        folders = [path for path in (hub_folder(repo_id), _begun(repo_id)) if path.exists()]
        if not folders:
            raise ModelFault(f"Model {repo_id} is not on this machine.", fix="See `agent models list`.")
        freed = sum(file.stat().st_size for path in folders for file in path.rglob("*") if file.is_file())
        for path in folders:
            shutil.rmtree(path)
    return freed


# -- fetching -----------------------------------------------------------------------------------------------


def _begun(repo_id: str) -> Path:
    return models_dir() / f".pulling-{folder_name(repo_id)}"


def _work_folder(repo_id: str, listing: Listing) -> Path:
    """Return the folder of this commit's files; what was begun of another commit is deleted."""
    begun = _begun(repo_id)
    for other in begun.iterdir() if begun.is_dir() else ():
        if other.name != listing.commit:
            shutil.rmtree(other, ignore_errors=True)
    return begun / listing.commit


@contextmanager
def _faults() -> Iterator[None]:
    try:
        yield
    except (httpx.TooManyRedirects, httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise ModelFault(
            f"The hub redirects in a way that leads nowhere ({type(error).__name__}).",
            fix="Check HF_ENDPOINT and the proxy.",
        ) from None


def _small_files(listing: Listing, work: Path) -> Listing:
    """Fetch everything but the weights, refuse what needs code, and return the listing with the weights that count."""
    small = [file for file in listing.files if not file.name.endswith(".safetensors")]
    _fetch(listing, small, work, Progress(quiet=True), total=0, here=0)
    for file in small:
        if file.name.endswith(".json"):
            _refuse_code(listing.repo_id, file.name, work)
    if not (work / INDEX).is_file():
        return listing
    places = read_json(work / INDEX).get("weight_map")
    named = {str(name) for name in places.values()} if isinstance(places, dict) else set()
    missing = named - {file.name for file in listing.files}
    if not named or missing:
        raise ModelFault(
            f"{listing.repo_id}: its index names weights that it does not have: {sorted(missing)[:1]}.",
            fix="Try another revision.",
        )
    return listing.only(named)


def _refuse_code(repo_id: str, name: str, work: Path) -> None:
    """
    Raises:
        ModelFault: a configuration asks for code of the repository.
    """
    if name in ("tokenizer.json", "tekken.json", "vocab.json", INDEX):
        return
    settings: dict[str, Any] = read_json(work / name)
    if any(key in settings for key in _CODE_KEYS):
        raise ModelFault(
            f"{repo_id} needs code of its own ({name} has auto_map), which is never run.",
            fix="Take a model that transformers knows.",
        )


def _fetch(
    listing: Listing, files: Sequence[HubFile], work: Path, progress: Progress, *, total: int, here: int
) -> None:
    most = max((file.bytes for file in files), default=0) + SMALL_BYTES
    with (
        hub_client(DAY_S, most) as client,
        progress.task(f"Fetching {listing.repo_id}", total, done=here) as advance,
    ):
        for file in files:
            download(listing.remote(file), work, client, advance)


def _check_space(listing: Listing, work: Path, here: int) -> None:
    needed = sum(file.bytes for file in listing.files) - here + SLACK_BYTES
    free = free_bytes(work)
    if free < needed:
        raise DiskFull(
            f"Not enough space for {listing.repo_id} on the disk that holds {work}: "
            f"{needed:,} bytes are needed, {free:,} are free.",
            fix="Free some space, or set FORKLOCK_HOME to a folder on a larger disk.",
        )


def _finish(listing: Listing, work: Path, done: Path) -> None:
    """Check the whole folder, record it, and put it in its place."""
    keep = {file.name for file in listing.files}
    for path in work.iterdir():
        if path.name not in keep:
            path.unlink()
    check_weights(work)
    files = {file.name: _recorded(file, work) for file in listing.files}
    record = HubRecord(
        repo_id=listing.repo_id,
        commit=listing.commit,
        endpoint=listing.endpoint,
        licence=listing.licence,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        files=files,
    )
    write_atomic(work / RECORD_NAME, record.model_dump_json(indent=2))
    if done.exists():  # a damaged earlier pull
        shutil.rmtree(done)
    put_in_place(work, done)
    shutil.rmtree(work.parent, ignore_errors=True)


def _recorded(file: HubFile, work: Path) -> FileRecord:
    return FileRecord(bytes=file.bytes, sha256=file.sha256 or hash_file(work / file.name))


def _memory_gb() -> float:
    import psutil

    return float(psutil.virtual_memory().total) / 1e9
