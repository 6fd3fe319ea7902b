"""Opens the vLLM engine: on a server that is started and ended with the engine, or on one that runs already."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from forklock.models.catalogue.catalogue import resolve_model
from forklock.models.catalogue.strict_loading import check_loads
from forklock.models.contract import Engine, EngineKind, ModelFault, ModelIdentity
from forklock.models.engines.hosted.windows import WIDEN
from forklock.models.engines.hosted.wire import find_server, is_url
from forklock.models.engines.vllm import install
from forklock.models.engines.vllm.engine import VllmEngine
from forklock.models.engines.vllm.lora import VllmLora
from forklock.models.engines.vllm.prompts import LocalPrompts
from forklock.models.engines.vllm.server import OnWait, ServerPlan, start_server
from forklock.models.web.endpoints import endpoint_of_url


def open_vllm(
    model: str,
    *,
    adapter: str | Path | None = None,
    port: int | None = None,
    extra: tuple[str, ...] = (),
    on_wait: OnWait | None = None,
) -> Engine:
    """Serve `model` by vLLM.

    Args:
        model: URL of a running vLLM server (`http://host:port/v1`, `#name` picks a model), a catalogue
            name, or a folder of weights, for which a server is started and ended with the engine.
        adapter: as `resolve_adapter` takes it. `current` means the base where the model is a URL, since
            what that server's base really is cannot be checked against the registry.
        port: of the server to start; None picks a free one.
        extra: more flags for the server to start.
        on_wait: called with the start's progress; None shows it on stderr.

    Raises:
        ModelFault: no vLLM here, port in use, the server died or does not answer, no such adapter.
    """
    if is_url(model):
        if port is not None or extra:
            raise ModelFault("A port and server flags go with a server that we start, not with a URL.")
        return _attach(model, adapter)
    return _start(model, adapter, port, extra, on_wait)


def _attach(url: str, adapter: str | Path | None) -> VllmEngine:
    server = find_server(url)
    lora = VllmLora.read(server.model, None if adapter == "current" else adapter)
    identity = ModelIdentity(
        name=server.model, revision=server.revision, adapter=lora.name if lora else None, engine="vllm"
    )
    if server.context_tokens is None:
        raise ModelFault(
            f"{server.base_url} is no vLLM server (its model has no max_model_len).",
            fix="Take the hosted engine for other OpenAI-compatible servers.",
        )
    engine = VllmEngine(server, identity, lora=lora)
    engine.endpoint = endpoint_of_url(server.base_url)
    engine.widen = WIDEN["vllm"]
    return engine


def _start(
    model: str, adapter: str | Path | None, port: int | None, extra: tuple[str, ...], on_wait: OnWait | None
) -> VllmEngine:
    environment = install.find_or_fault()
    weights = resolve_model(model)
    check_loads(weights.folder)
    lora = VllmLora.read(weights.name, adapter, weights)
    plan = ServerPlan(weights.folder, weights.name, environment, port=port, extra=extra)
    if lora is not None:
        plan = replace(plan, lora=True, lora_rank=lora.server_rank)
    with _shown(on_wait, weights.name) as report:
        owned = start_server(plan, on_wait=report)
    try:
        server = find_server(f"{owned.base_url}#{weights.name}")
        identity = ModelIdentity(
            name=weights.name,
            revision=weights.revision,
            adapter=lora.name if lora else None,
            engine="vllm",
        )
        prompts = LocalPrompts.open(weights.folder)
        return VllmEngine(server, identity, lora=lora, owned=owned, prompts=prompts, truncates=plan.truncates)
    except BaseException:
        owned.close()
        raise


@contextmanager
def _shown(on_wait: OnWait | None, name: str) -> Iterator[OnWait]:
    """Show the start on stderr, with the last line of the server's log, unless the caller listens itself."""
    if on_wait is not None:
        yield on_wait
        return
    from forklock.sandbox.terminal.progress import spinner

    title = f"Starting a vLLM server for {name}"
    with spinner(f"{title} ...", lines=False) as step:
        yield lambda seconds, line: step(f"{title}: {seconds:.0f} s  {line[-80:]}")


def _state() -> tuple[str, str]:
    try:
        found = install.find()
    except ModelFault as fault:
        return f"broken: {fault.message}", ""
    if found is None:
        return f"missing: {install.INSTALL_COMMAND}", ""
    return f"ready ({found.version}, {found.build})", str(found.python)


KIND = EngineKind(lambda model, wish: open_vllm(model, adapter=wish.adapter), _state)
