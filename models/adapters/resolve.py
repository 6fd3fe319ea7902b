"""Finds the adapter that the user means: `current`, `none`, a version of the registry, or a folder."""

from __future__ import annotations

from pathlib import Path

from forklock.models.adapters.lora import adapter_digest, check_folder
from forklock.models.adapters.manifest import VERSION_PATTERN, AdapterManifest, AdapterRef
from forklock.models.adapters.registry import AdapterRegistry
from forklock.models.contract import ModelFault
from forklock.models.paths import is_folder, names_folder, user_path


def resolve_adapter(
    base: str,
    spec: str | Path | None,
    *,
    base_revision: str = "",
    former_revision: str = "",
    root: Path | None = None,
) -> AdapterRef | None:
    """From what the user says to an adapter that is whole.

    Args:
        base: the base model's name (`ResolvedModel.name`).
        spec: "current", None or "none" (the bare base), a version, `<base>/<version>`, or a folder, which as text
            begins with `./`, `../`, `/` or `~`.
        base_revision: the base's revision; if given, an adapter of other weights is refused.
        former_revision: another revision of the same base, from an older way of computing it.

    Raises:
        ModelFault: no such adapter, damaged, or trained on other weights.
    """
    registry = AdapterRegistry(root)
    text = str(spec) if spec is not None else "none"
    if text in ("none", ""):
        return None
    if text == "current":
        found = registry.current(base)
    elif VERSION_PATTERN.fullmatch(version := text.removeprefix(f"{base}/")):
        found = registry.ref(base, version)
    elif isinstance(spec, Path) or names_folder(text):
        return _from_folder(base, user_path(text))
    else:
        raise ModelFault(
            f"{text!r} is no adapter version of {base}.",
            fix="Use `current`, `none`, a version from `selfdistill status`, or a folder, written ./FOLDER.",
        )
    if found is not None and base_revision:
        if former_revision and registry.get(base, found.version).base_revision == former_revision:
            return found
        _check_revision(registry.get(base, found.version), base_revision)
    return found


def _from_folder(base: str, folder: Path) -> AdapterRef:
    if not is_folder(folder):
        raise ModelFault(
            f"{str(folder)[:300]!r} is neither an adapter version of {base} nor a folder.",
            fix="Use `current`, `none`, a version from `selfdistill status`, or a folder.",
        )
    check_folder(folder)
    digest = adapter_digest(folder)
    return AdapterRef(base, f"folder-{digest[:16]}", folder.resolve())


def _check_revision(manifest: AdapterManifest, base_revision: str) -> None:
    if manifest.base_revision and manifest.base_revision != base_revision:
        raise ModelFault(
            f"Adapter {manifest.base}/{manifest.version} was trained on other weights of {manifest.base} "
            f"({manifest.base_revision[:12]}, here {base_revision[:12]}).",
            fix="Use `--adapter none`, or train again with `selfdistill refresh`.",
        )
