"""From a model's name to an engine that serves it.

In: what the user wrote after `--model`, and which engine and adapter. Out: an open `Engine`. Names are
looked up in this order: URL, folder, catalogue, provider's id. Heavy libraries load only for the engine
that is taken.
"""

from __future__ import annotations

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
        model: a catalogue name (`qwen2.5-coder-0.5b`), a folder with transformers weights, a provider's
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


def is_local(model: str) -> bool:
    """Whether weights on this machine (or in the catalogue) are meant, rather than a provider."""
    from models.catalogue.catalogue import find_folder, is_catalogue_name

    if "://" in model:
        return False
    if is_catalogue_name(model) or find_folder(model) is not None:
        return True
    # A path that is not there, or a bare word, is a local name gone wrong: say that, don't call a provider.
    return model.startswith((".", "/", "~")) or "/" not in model


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
