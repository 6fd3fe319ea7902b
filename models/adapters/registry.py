"""The adapter registry: LoRA adapters by base and version, and which one serves.

Lives here and not in selfdistill/, since the agent and evals read `current` and may not import that room.
Layout: `<root>/<base>/<version>/` holds PEFT's own files and `manifest.json`; `<root>/<base>/current` is a
symlink that is replaced atomically; `<root>/<base>/history.jsonl` is append-only. A version's name and
folder are never reused: servers cache by name. Only `adapter_model.safetensors` is taken in, never a pickle.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from forklock.models.adapters.history import History
from forklock.models.adapters.lora import WEIGHTS, check_folder
from forklock.models.adapters.manifest import (
    MANIFEST,
    TAKEN_IN,
    VERSION_FORMAT,
    VERSION_PATTERN,
    AdapterManifest,
    AdapterRef,
    AdapterState,
)
from forklock.models.catalogue.weights import FileRecord, hash_file
from forklock.models.contract import ModelFault
from forklock.models.paths import adapters_dir
from forklock.sandbox.files import atomic


class AdapterRegistry:
    """Adapters under `root` (default: `forklock.models.paths.adapters_dir()`). Safe for several processes."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or adapters_dir()

    # --- reading ------------------------------------------------------------------------------------

    def get(self, base: str, version: str) -> AdapterManifest:
        """
        Raises:
            ModelFault: no such version, or its manifest is damaged.
        """
        folder = self.folder(base, version)
        if not folder.is_dir():
            raise ModelFault(
                f"There is no adapter {base}/{version}.", fix="`selfdistill status` lists the versions."
            )
        try:
            return AdapterManifest.model_validate_json((folder / MANIFEST).read_bytes())
        except (OSError, ValueError, RecursionError) as error:
            raise self._damaged(
                base, version, f"its {MANIFEST} is unreadable ({type(error).__name__})"
            ) from None

    def list(self, base: str | None = None) -> Sequence[AdapterManifest]:
        """Readable manifests, oldest first; `torn` names the others."""
        return [found for found, _ in self._scan(base) if found is not None]

    def torn(self, base: str | None = None) -> Sequence[str]:
        """`base/version` of folders whose manifest cannot be read."""
        return [name for found, name in self._scan(base) if found is None]

    def current_version(self, base: str) -> str | None:
        """What the pointer names, whether or not it is whole."""
        try:
            return (self._base(base) / "current").readlink().name
        except (FileNotFoundError, OSError):
            return None

    def current(self, base: str) -> AdapterRef | None:
        """The adapter that serves, None for the bare base.

        Raises:
            ModelFault: it is missing or damaged.
        """
        version = self.current_version(base)
        return None if version is None else self.ref(base, version)

    def ref(self, base: str, version: str) -> AdapterRef:
        """A version whose files match the hashes taken when it was added.

        Raises:
            ModelFault: missing, damaged.
        """
        manifest, folder = self.get(base, version), self.folder(base, version)
        for name, expected in manifest.files.items():
            path = folder / name
            if Path(name).name != name or not path.is_file():
                raise self._damaged(base, version, f"{name!r} is missing")
            if path.stat().st_size != expected.bytes or hash_file(path) != expected.sha256:
                raise self._damaged(base, version, f"{name} does not match its recorded sha256")
        if WEIGHTS not in manifest.files:
            raise self._damaged(base, version, f"its manifest names no {WEIGHTS}")
        return AdapterRef(base, version, folder)

    def folder(self, base: str, version: str) -> Path:
        if not VERSION_PATTERN.fullmatch(version):
            raise ModelFault(
                f"{version!r} is not an adapter version.", fix="`selfdistill status` lists the versions."
            )
        return self._base(base) / version

    # --- writing ------------------------------------------------------------------------------------

    def new_version(self, base: str) -> str:
        """A name that no version of this base ever had; sorts by time, also where the clock goes back."""
        with self._locked(base):
            version = datetime.now(UTC).strftime(VERSION_FORMAT)
            last = max((event.version or "" for event in self._history(base).events()), default="")
            if version <= last:
                after = datetime.strptime(last, VERSION_FORMAT) + timedelta(microseconds=1)
                version = after.strftime(VERSION_FORMAT)
            self._history(base).append("reserved", version)
        return version

    def add(self, folder: Path, manifest: AdapterManifest) -> AdapterRef:
        """Copy PEFT's files from `folder` in under the manifest's version; whole or not at all.

        Adding the same files under the same version again (a round that was killed) changes nothing.

        Raises:
            ModelFault: no safetensors, damaged, or the version was not made by `new_version`, or is taken.
        """
        check_folder(folder)
        base, version = manifest.base, manifest.version
        place = self.folder(base, version)
        files = {
            name: FileRecord(bytes=(folder / name).stat().st_size, sha256=hash_file(folder / name))
            for name in TAKEN_IN
            if (folder / name).is_file()
        }
        with self._locked(base):
            if place.exists():
                if self.get(base, version).files == files:
                    return self.ref(base, version)
                raise ModelFault(f"Adapter {base}/{version} exists already.", fix="Take a new version.")
            kinds = [event.kind for event in self._history(base).events() if event.version == version]
            if kinds != ["reserved"]:
                raise ModelFault(
                    f"Version {version} of {base} was never reserved, or was deleted.",
                    fix="Take a new version.",
                )
            self._copy_in(folder, place, manifest.model_copy(update={"files": files}))
        return self.ref(base, version)

    def set_state(
        self, base: str, version: str, state: AdapterState, *, gate: dict[str, Any] | None = None
    ) -> AdapterManifest:
        """Record a state and, if given, what the gate measured. Does not move `current`."""
        with self._locked(base):
            return self._set_state(base, version, state, gate)

    def promote(self, base: str, version: str) -> AdapterRef:
        """Let `version` serve.

        Raises:
            ModelFault: missing or damaged; nothing has changed then.
        """
        ref = self.ref(base, version)
        with self._locked(base):
            self._settle(base)
            previous = self.current_version(base)
            if previous != version:
                self._history(base).append("promoted", version)
                self._point(base, version)
            self._set_state(base, version, AdapterState.PROMOTED)
            if previous not in (None, version):
                self._retire(base, previous)
        return ref

    def rollback(self, base: str) -> str | None:
        """Let serve what served before (the bare base: None). Versions that are damaged are stepped over.

        Raises:
            ModelFault: the bare base serves already.
        """
        with self._locked(base):
            if self._settle(base) == "rolled back":
                return self.current_version(base)
            served = self._history(base).served()
            bad = served.pop()
            if bad is None:
                raise ModelFault(f"The bare {base} serves already.", fix="There is nothing to roll back.")
            while served[-1] is not None and not self._is_whole(base, served[-1]):
                served.pop()
            good = served[-1]
            self._history(base).append("rolled back", good)
            self._point(base, good)
            self._retire(base, bad)
            if good is not None:
                self._set_state(base, good, AdapterState.PROMOTED)
        return good

    def delete(self, base: str, version: str) -> None:
        """Remove a version's folder; its name stays taken. Refused for the one that serves."""
        with self._locked(base):
            if self.current_version(base) == version:
                raise ModelFault(
                    f"Adapter {base}/{version} is serving.", fix="Run `selfdistill rollback` first."
                )
            folder = self.folder(base, version)
            if not folder.is_dir():
                raise ModelFault(f"There is no adapter {base}/{version}.")
            self._history(base).append("deleted", version)
            shutil.rmtree(folder)

    # --- parts --------------------------------------------------------------------------------------

    def _base(self, base: str) -> Path:
        if not base or base != Path(base).name or base.startswith(".") or "\0" in base:
            raise ModelFault(f"{base!r} cannot name a base model.", fix="Use a plain name.")
        return self.root / base

    def _scan(self, base: str | None) -> Iterator[tuple[AdapterManifest | None, str]]:
        bases = [base] if base is not None else [path.name for path in sorted(self.root.glob("*/"))]
        for name in bases:
            for path in sorted(self._base(name).glob("*/")):
                if VERSION_PATTERN.fullmatch(path.name):
                    try:
                        yield self.get(name, path.name), f"{name}/{path.name}"
                    except ModelFault:
                        yield None, f"{name}/{path.name}"

    @contextmanager
    def _locked(self, base: str) -> Iterator[None]:
        import filelock

        folder = self._base(base)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ModelFault(
                f"{folder} cannot be made: {error.strerror}.", fix="Set FORKLOCK_HOME."
            ) from None
        with filelock.FileLock(folder / ".lock"):
            yield

    def _copy_in(self, folder: Path, place: Path, manifest: AdapterManifest) -> None:
        incoming = place.with_name(f".incoming-{place.name}")
        shutil.rmtree(incoming, ignore_errors=True)
        incoming.mkdir()
        for name in manifest.files:
            shutil.copyfile(folder / name, incoming / name)
        (incoming / MANIFEST).write_text(manifest.model_dump_json(indent=2), encoding="utf-8")
        for path in (*incoming.iterdir(), incoming):
            atomic.sync(path)
        atomic.put_in_place(incoming, place)

    def _set_state(
        self, base: str, version: str, state: AdapterState, gate: dict[str, Any] | None = None
    ) -> AdapterManifest:
        update: dict[str, Any] = {"state": state} | ({} if gate is None else {"gate": gate})
        manifest = self.get(base, version).model_copy(update=update)
        atomic.write_atomic(self.folder(base, version) / MANIFEST, manifest.model_dump_json(indent=2))
        return manifest

    def _retire(self, base: str, version: str | None) -> None:
        """A version that served and now does not. One that has been damaged since keeps its state."""
        if version is not None and self._has_manifest(base, version):
            self._set_state(base, version, AdapterState.RETIRED)

    def _has_manifest(self, base: str, version: str) -> bool:
        try:
            self.get(base, version)
        except ModelFault:
            return False
        return True

    def _is_whole(self, base: str, version: str) -> bool:
        try:
            self.ref(base, version)
        except ModelFault:
            return False
        return True

    def _point(self, base: str, version: str | None) -> None:
        pointer = self._base(base) / "current"
        if version is None:
            pointer.unlink(missing_ok=True)
            atomic.sync(pointer.parent)
        else:
            atomic.replace_link(pointer, version)

    def _settle(self, base: str) -> str | None:
        """Finish a promotion or roll-back that was logged but killed before the pointer moved."""
        meant = self._history(base).served()[-1]
        if meant == self.current_version(base):
            return None
        self._point(base, meant)
        return self._history(base).last_move()

    def _history(self, base: str) -> History:
        return History(self._base(base) / "history.jsonl")

    def _damaged(self, base: str, version: str, what: str) -> ModelFault:
        if self.current_version(base) == version:
            fix = f"Run `selfdistill rollback` for {base}, or use `--adapter none`."
        else:
            fix = "Use another version (`selfdistill status`), or `--adapter none`."
        return ModelFault(f"Adapter {base}/{version} is damaged: {what}.", fix=fix)
