"""Opens the in-process engine by a model's name. Imports torch on opening only."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from forklock.models.adapters import resolve_adapter
from forklock.models.catalogue.catalogue import resolve_model
from forklock.models.contract import Engine, EngineKind, ModelFault, Wish
from forklock.sandbox.commands.extras import install_hint


def open_transformers(model: str, wish: Wish) -> Engine:
    """Load `model` (a catalogue name or a folder) with its adapter into this process.

    Raises:
        ModelFault: unknown or damaged model or adapter, or the `local` extra is missing.
    """
    resolved = resolve_model(model)
    found = resolve_adapter(
        resolved.name,
        wish.adapter,
        base_revision=resolved.revision,
        former_revision=resolved.former_revision,
    )
    try:
        from forklock.models.engines.transformers_engine.engine import TransformersEngine
    except ImportError as error:
        raise ModelFault(
            f"the in-process engine needs the `local` extra ({error.name} is missing)",
            fix=install_hint("local"),
        ) from error
    return TransformersEngine.open(
        resolved.folder,
        name=resolved.name,
        revision=resolved.revision,
        adapter=found.folder if found else None,
        adapter_name=f"{found.base}/{found.version}" if found else None,
        device=wish.device,
        threads=wish.threads,
    )


def _state() -> tuple[str, str]:
    try:
        return f"ready ({version('transformers')}, torch {version('torch')})", "in this process"
    except PackageNotFoundError:
        return f"missing: {install_hint('local')}", ""


KIND = EngineKind(open_transformers, _state, modules=("torch", "transformers"))
