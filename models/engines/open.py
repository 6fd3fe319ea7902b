"""Opens the engine that serves a model, and holds the list of engines.

In: what the user wrote after `--model`, and which engine and adapter. Out: an open `Engine`. Names are
looked up in this order: URL, catalogue, models of the hub that are here, provider's id; a folder begins with `./`,
`../`, `/` or `~`. Heavy libraries load only for the engine that is opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

from forklock.models.contract import Engine, EngineKind, ModelFault, Wish
from forklock.sandbox.commands.extras import install_hint

ENGINES: Mapping[str, str] = MappingProxyType({
    "transformers": "transformers_engine.opening:KIND",
    "hosted": "hosted.opening:KIND",
    "vllm": "vllm.opening:KIND",
})  # fmt: skip
"""Every engine by name, and where in this room its `EngineKind` is; imported on first use.

docs/engines.md says how to add one."""

EngineName: TypeAlias = str
"""A key of `ENGINES`, or `auto`. `check_engine` refuses others."""


def open_engine(
    model: str,
    *,
    engine: EngineName = "auto",
    adapter: str | Path | None = "current",
    device: str | None = None,
    threads: int | None = None,
) -> Engine:
    """Open the engine that serves `model`.

    Args:
        model: a catalogue name (`qwen2.5-coder-0.5b`), a pulled model of the hub (`Qwen/Qwen3-4B-Instruct-2507`), a
            folder with transformers weights (`./weights`), a provider's id for LiteLLM (`openai/gpt-5`), or the URL of
            an OpenAI-compatible server.
        engine: which engine; `auto` takes `transformers` for what is on this machine, `hosted` else.
        adapter: `current` for the promoted adapter of this base if there is one, None for the bare base,
            a version of the registry, or an adapter's folder.
        device: torch device of the in-process engine; None takes CUDA where there is one.
        threads: CPU threads of the in-process engine; None leaves torch's own choice.

    Raises:
        ModelFault: unknown or damaged model, missing extra, server that does not answer.
    """
    _require_known(engine)
    chosen = _chosen(model, engine)
    if engine == "auto" and chosen == "hosted":
        _refuse_ambiguous(model)
    return engine_kind(chosen).open(model, Wish(adapter, device, threads))


def check_engine(name: str) -> EngineName:
    """Return `name` if it can be given to `open_engine`.

    Raises:
        ValueError: there is no such engine; the message lists them.
    """
    if name != "auto" and name not in ENGINES:
        raise ValueError(f"there is no engine {name!r}: take one of auto, {', '.join(ENGINES)}")
    return name


def engine_kind(name: str) -> EngineKind:
    """Import an engine's entry. `name` is a key of `ENGINES`."""
    module, _, attribute = ENGINES[name].partition(":")
    found: EngineKind = getattr(import_module(f".{module}", __package__), attribute)
    return found


def require_there(model: str, engine: EngineName) -> None:
    """Check what can be checked without loading the model.

    A model of the hub that is not here is fetched, if its licence is an open one.

    Raises:
        ModelFault: no such engine; or, of local weights, no such model, not pulled, damaged, or no library for it.
    """
    _require_known(engine)
    if opens_at_once(model, engine) or "://" in model:
        return
    from forklock.models.catalogue.catalogue import must_be_fetched, resolve_model

    if must_be_fetched(model):
        from forklock.models.catalogue.hub_pull import pull_open

        _require_modules(model, engine)
        pull_open(model)
    resolve_model(model)
    _require_modules(model, engine)


def _require_modules(model: str, engine: EngineName) -> None:
    missing = [name for name in engine_kind(_chosen(model, engine)).modules if find_spec(name) is None]
    if missing:
        raise ModelFault(
            f"the in-process engine needs the `local` extra ({missing[0]} is missing)",
            fix=install_hint("local"),
        )


def opens_at_once(model: str, engine: EngineName) -> bool:
    """Return whether opening the engine loads no weights, so that it can be opened first."""
    return not engine_kind(_chosen(model, engine)).loads_weights


def _chosen(model: str, engine: EngineName) -> str:
    if engine != "auto":
        return engine
    return "transformers" if is_local(model) else "hosted"


def _require_known(engine: EngineName) -> None:
    if engine != "auto" and engine not in ENGINES:
        raise ModelFault(f"no such engine: {engine}", fix=f"one of auto, {', '.join(ENGINES)}")


def is_local(model: str) -> bool:
    """Return whether the name means weights on this machine (or in the catalogue), and not a provider."""
    from forklock.models.catalogue.catalogue import is_catalogue_name, is_on_hub_or_here
    from forklock.models.paths import names_folder

    if "://" in model:
        return False
    # A path that is not there, or a bare word, is a local name gone wrong: say that, don't call a provider.
    named = is_catalogue_name(model) or names_folder(model) or "/" not in model
    return named or is_on_hub_or_here(model)


def _refuse_ambiguous(model: str) -> None:
    """
    Raises:
        ModelFault: the id of a provider's model is also a folder here: a repository could be the one that put it there,
            and the user could mean the folder, so that code would leave the machine by mistake.
    """
    from forklock.models.paths import is_folder

    if "://" not in model and is_folder(Path(model)):
        raise ModelFault(
            f"{model!r} names a provider's model, and there is a folder of that name here",
            fix=f"write ./{model} for the folder, or add --engine hosted for the provider",
        )
