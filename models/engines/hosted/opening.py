"""Opens the hosted engine by a provider's id or a server's URL."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from forklock.models.contract import Engine, EngineKind, ModelFault, Wish
from forklock.models.engines.hosted.engine import ATTEMPTS, TIMEOUT_S, HostedEngine
from forklock.models.engines.hosted.routes import route_to
from forklock.sandbox.commands.extras import install_hint


def open_hosted(model: str, *, timeout_s: float = TIMEOUT_S, attempts: int = ATTEMPTS) -> Engine:
    """Talk to `model` over HTTP.

    Args:
        model: LiteLLM's id (`openai/gpt-5`, `anthropic/...`), a local server's model (`ollama/...`), or a server's
            URL (`http://host:port/v1`, `#name` picks one of several models).
        timeout_s: for one answer.
        attempts: most tries of one request, waits between them growing.

    Raises:
        ModelFault: no litellm, unknown provider, a missing key, a server that does not answer.
    """
    return HostedEngine(route_to(model), timeout_s, attempts)


def _open(model: str, wish: Wish) -> Engine:
    if wish.adapter not in (None, "current"):
        raise ModelFault(
            f"the hosted engine cannot load the adapter {wish.adapter}",
            fix="serve it with --engine transformers or --engine vllm",
        )
    return open_hosted(model)


def _state() -> tuple[str, str]:
    try:
        return f"ready (litellm {version('litellm')})", "any provider, any OpenAI-compatible URL"
    except PackageNotFoundError:
        return f"missing: {install_hint('hosted')}", ""


KIND = EngineKind(_open, _state, loads_weights=False)
