"""From a model's name to an engine that serves it.

In: what the user wrote after `--model`, and which engine and adapter. Out: an open `Engine`. Names are
looked up in this order: URL, catalogue, provider's id; a folder begins with `./`, `../`, `/` or `~`. Heavy
libraries load only for the engine that is taken.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from models.contract import Engine, ModelFault

EngineName = Literal["auto", "transformers", "hosted", "vllm"]


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
        model: a catalogue name (`qwen2.5-coder-0.5b`), a folder with transformers weights (`./weights`), a provider's
            id for LiteLLM (`openai/gpt-5`), or the URL of an OpenAI-compatible server.
        engine: which engine; `auto` takes `transformers` for catalogue names and folders, `hosted` else.
        adapter: `current` for the promoted adapter of this base if there is one, None for the bare base,
            a version of the registry, or an adapter's folder.
        device: torch device of the in-process engine; None takes CUDA where there is one.
        threads: CPU threads of the in-process engine; None leaves torch's own choice.

    Raises:
        ModelFault: unknown or damaged model, missing extra, server that does not answer.
    """
    if engine not in ("auto", "transformers", "hosted", "vllm"):
        raise ModelFault(f"no such engine: {engine}", fix="auto, transformers, hosted or vllm")
    chosen = engine if engine != "auto" else ("transformers" if is_local(model) else "hosted")
    if engine == "auto" and chosen == "hosted":
        _refuse_ambiguous(model)
    if chosen == "transformers":
        return _open_transformers(model, adapter, device, threads)
    if chosen == "vllm":
        return _open_vllm(model, adapter)
    if adapter not in (None, "current"):
        raise ModelFault(
            f"the hosted engine cannot load the adapter {adapter}",
            fix="serve it with --engine transformers or --engine vllm",
        )
    return _open_hosted(model)


def opens_at_once(model: str, engine: EngineName) -> bool:
    """Whether opening the engine loads no weights, so that its faults can come before all else."""
    return engine == "hosted" or (engine == "auto" and not is_local(model))


def require_there(model: str, engine: EngineName) -> None:
    """Say what can be said of a model without loading it.

    Raises:
        ModelFault: no such engine; or, of local weights, no such model, not pulled, damaged, or no library for it.
    """
    if engine not in ("auto", "transformers", "hosted", "vllm"):
        raise ModelFault(f"no such engine: {engine}", fix="auto, transformers, hosted or vllm")
    if opens_at_once(model, engine) or "://" in model:
        return
    from models.catalogue.catalogue import resolve_model

    resolve_model(model)
    if engine != "vllm" and (
        missing := [name for name in ("torch", "transformers") if find_spec(name) is None]
    ):
        raise ModelFault(
            f"the in-process engine needs the `local` extra ({missing[0]} is missing)",
            fix="pip install 'forklock[local]'",
        )


def is_local(model: str) -> bool:
    """Whether weights on this machine (or in the catalogue) are meant, rather than a provider."""
    from models.catalogue.catalogue import is_catalogue_name
    from models.paths import names_folder

    if "://" in model:
        return False
    # A path that is not there, or a bare word, is a local name gone wrong: say that, don't call a provider.
    return is_catalogue_name(model) or names_folder(model) or "/" not in model


def _refuse_ambiguous(model: str) -> None:
    """
    Raises:
        ModelFault: the id of a provider's model is also a folder here: a repository could be the one that put it there,
            and the user could mean the folder, so that code would leave the machine by mistake.
    """
    from models.paths import is_folder

    if "://" not in model and is_folder(Path(model)):
        raise ModelFault(
            f"{model!r} names a provider's model, and there is a folder of that name here",
            fix=f"write ./{model} for the folder, or add --engine hosted for the provider",
        )


def _open_transformers(
    model: str, adapter: str | Path | None, device: str | None, threads: int | None
) -> Engine:
    from models.adapters.registry import resolve_adapter
    from models.catalogue.catalogue import resolve_model

    resolved = resolve_model(model)
    found = resolve_adapter(
        resolved.name, adapter, base_revision=resolved.revision, former_revision=resolved.former_revision
    )
    try:
        from models.transformers_engine import TransformersEngine
    except ImportError as error:
        raise ModelFault(
            f"the in-process engine needs the `local` extra ({error.name} is missing)",
            fix="pip install 'forklock[local]'",
        ) from error
    return TransformersEngine.open(
        resolved.folder,
        name=resolved.name,
        revision=resolved.revision,
        adapter=found.folder if found else None,
        adapter_name=f"{found.base}/{found.version}" if found else None,
        device=device,
        threads=threads,
    )


def _open_vllm(model: str, adapter: str | Path | None) -> Engine:
    from models.vllm.engine import open_vllm

    return open_vllm(model, adapter=adapter)


def _open_hosted(model: str) -> Engine:
    from models.hosted.engine import open_hosted

    return open_hosted(model)
