"""Decides where a hosted model's requests go, and which parameters may be sent there.

In: what the user wrote: a server's URL, `ollama/NAME` and its like, or a provider's id. Out: a `Route`. Programs that
serve models on the user's own machine (`LOCAL`) are asked directly in OpenAI's format: they need no LiteLLM and no
key. A key is asked for only where LiteLLM says that the provider cannot be used without one.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from forklock.models.contract import Decoding, Fitted, ModelFault
from forklock.models.engines.hosted.callers import Caller, LitellmCaller, WireCaller, import_litellm
from forklock.models.engines.hosted.refusals import Refused
from forklock.models.engines.hosted.windows import WIDEN, Window, ask_window
from forklock.models.engines.hosted.wire import KEY_VARIABLE, Server, find_server, is_url, server_headers
from forklock.models.web import clients as web
from forklock.models.web.endpoints import endpoint_of_provider, endpoint_of_url

UNKNOWN_CONTEXT = 8192
"""Context length that is assumed if nobody states it, in tokens."""
EXTENDED_OWNERS = frozenset({"vllm", "sglang"})
"""`owned_by` of servers that take top_k, min_p, return_token_ids and an unfinished last message."""
SERVER_TRUNCATION = {owner: {"top_k", "min_p"} for owner in EXTENDED_OWNERS} | {"llamacpp": {"top_k"}}
"""What servers truncate by beyond top_p, by `owned_by`. llama.cpp applies min-p before the temperature."""
TRUNCATION = {"anthropic": {"top_k"}, "gemini": {"top_k"}, "openrouter": {"top_k", "min_p"}}
"""What providers truncate by beyond top_p. Others refuse it, or worse, ignore it."""


NEUTRAL: dict[str, Any] = {"top_k": 0, "min_p": 0.0, "top_p": 1.0, "seed": None}
"""Values that ask for nothing. A temperature has none: it is left out of the request instead."""


@dataclass(frozen=True, slots=True)
class LocalServer:
    """A program that serves models by OpenAI's wire, most often on this machine."""

    address: str | None
    """Where it listens unless told otherwise; None where nothing is usual."""
    base_variables: tuple[str, ...]
    key_variable: str
    advice: str


LOCAL = {
    "ollama": LocalServer(
        "http://127.0.0.1:11434", ("OLLAMA_API_BASE", "OLLAMA_HOST"), "OLLAMA_API_KEY",
        "Start it with `ollama serve`, fetch the model with `ollama pull {model}`, or set OLLAMA_API_BASE.",
    ),
    "lm_studio": LocalServer(
        "http://127.0.0.1:1234", ("LM_STUDIO_API_BASE",), "LM_STUDIO_API_KEY",
        "Start the server in LM Studio and load {model}, or set LM_STUDIO_API_BASE.",
    ),
    "llamafile": LocalServer(
        "http://127.0.0.1:8080", ("LLAMAFILE_API_BASE",), "LLAMAFILE_API_KEY",
        "Start the llamafile with --server, or set LLAMAFILE_API_BASE.",
    ),
    "hosted_vllm": LocalServer(
        None, ("HOSTED_VLLM_API_BASE",), "HOSTED_VLLM_API_KEY",
        "Say where it is with HOSTED_VLLM_API_BASE=http://host:port/v1.",
    ),
}  # fmt: skip
LOCAL["ollama_chat"] = LOCAL["ollama"]


@dataclass(frozen=True, slots=True)
class Route:
    """Where requests go, and which parameters may be sent there."""

    name: str
    caller: Caller
    where: str
    """For messages: the address, or the provider."""
    params: frozenset[str]
    """OpenAI parameters that the other side honours."""
    truncation: frozenset[str]
    extended: bool
    """vLLM's extensions are understood."""
    prefill: bool
    context_tokens: int
    endpoint: str
    """To compare with another route's (`forklock.models.web.endpoints`)."""
    revision: str = ""
    server: Server | None = None
    """None where LiteLLM speaks to a provider."""
    key: str | None = None
    """The server's key; None where `FORKLOCK_SERVER_KEY` holds it."""
    window: Window = field(default_factory=lambda: Window(None))
    """What the server says about its window."""

    @property
    def widen(self) -> str:
        """What makes the window larger; empty for providers."""
        return WIDEN[self.window.kind] if self.server is not None else ""

    @property
    def key_variable(self) -> str:
        """What to correct where a key is refused."""
        return KEY_VARIABLE if self.server is not None and self.key is None else "the provider's key variable"


def fault_of(refused: Refused, route: Route, attempts: int) -> ModelFault:
    """Return the fault for a refusal, without keys in its text."""
    name, where, status = route.name, route.where, refused.status
    message = refused.message or f"status {status}"
    if refused.too_long:
        fix = f"Shorten the prompt. {route.widen}".strip()
        return ModelFault(f"Prompt and answer do not fit {name}: {message}", fix=fix)
    if status in (401, 403):
        return ModelFault(f"{where} refuses the API key: {message}", fix=f"Check {route.key_variable}.")
    if status == 404:
        return ModelFault(f"{where} has no model {name}: {message}", fix="Check the model's name.")
    if refused.timed_out:
        return ModelFault(f"{name} did not answer: {message}", fix="Is the server overloaded?")
    if status == 429:
        return ModelFault(f"{where} limits the rate: {message}", fix="Wait, or ask for fewer samples.")
    if refused.passes:
        return ModelFault(
            f"{where} failed {attempts} times: {message}", fix="Is the server up? Try again later."
        )
    fix = f"Leave {refused.param} at its default." if refused.param else ""
    return ModelFault(f"{where} refused the request: {message}", fix=fix)


def route_to(model: str) -> Route:
    """
    Raises:
        ModelFault: no litellm, unknown provider, a missing key, a server that does not answer or lacks the model.
    """
    if is_url(model):
        return _of_server(find_server(model, lenient=True), None)
    provider, _, name = model.partition("/")
    if provider in LOCAL and name:
        return replace(_of_local(LOCAL[provider], name), name=model)
    try:
        litellm = import_litellm()
    except ModelFault as fault:
        raise ModelFault(
            fault.message, fix=f"{fault.fix} If {model} is a model of the hub: `agent models pull {model}`."
        ) from None
    return _of_provider(litellm, model)


def _of_server(server: Server, key: str | None) -> Route:
    extended = server.owner in EXTENDED_OWNERS
    window = ask_window(server, key)
    params = {"temperature", "top_p", "stop", "seed", *({"n"} if extended else set())}
    return Route(
        name=server.model,
        caller=WireCaller(server, web.client(headers=server_headers(key))),
        where=server.base_url,
        params=frozenset(params),
        truncation=frozenset(SERVER_TRUNCATION.get(server.owner, set())),
        extended=extended,
        prefill=extended,
        context_tokens=window.tokens or server.context_tokens or UNKNOWN_CONTEXT,
        endpoint=endpoint_of_url(server.base_url),
        revision=server.revision,
        server=server,
        key=key,
        window=window,
    )


def _of_local(local: LocalServer, name: str) -> Route:
    base = next((value for key in local.base_variables if (value := os.environ.get(key, "").strip())), None)
    address, advice = base or local.address, local.advice.format(model=name)
    if address is None:
        raise ModelFault(f"Nothing says where {name} is served.", fix=advice)
    address = address if "://" in address else f"http://{address}"
    # Ollama's own variable is what it listens on; any address of this machine is reached by the loopback.
    address = address.replace("//0.0.0.0", "//127.0.0.1").rstrip("/")
    url = address if address.endswith("/v1") else f"{address}/v1"
    key = os.environ.get(local.key_variable, "")
    try:
        server = find_server(f"{url}#{name}", key=key, lenient=True)
    except ModelFault as fault:
        raise ModelFault(fault.message, fix=advice) from None
    return _of_server(server, key)


def _of_provider(litellm: Any, model: str) -> Route:
    try:
        bare, provider, _, base = litellm.get_llm_provider(model)
    except Exception:
        raise ModelFault(
            f"LiteLLM knows no provider for {model!r}.",
            fix=f"Write provider/model, such as openai/gpt-5, or a server's URL. A model of the hub must be on this "
            f"machine first: `agent models pull {model}`.",
        ) from None
    _require_key(litellm, model, provider)
    info = _price_entry(litellm, model)
    text_model = model if provider == "text-completion-openai" else None
    return Route(
        name=model,
        caller=LitellmCaller(litellm, model, text_model),
        where=base or provider,
        params=frozenset(litellm.get_supported_openai_params(bare, custom_llm_provider=provider) or ()),
        truncation=frozenset(TRUNCATION.get(provider, set())),
        extended=False,
        prefill=bool(info.get("supports_assistant_prefill")),
        context_tokens=_tokens(info.get("max_input_tokens")),
        endpoint=endpoint_of_provider(str(provider), base),
    )


def _require_key(litellm: Any, model: str, provider: str) -> None:
    """
    Raises:
        ModelFault: the provider needs a key, and none is set.
    """
    keys = litellm.validate_environment(model)
    missing = [name for name in keys["missing_keys"] if not _is_address(name)]
    if not keys["keys_in_environment"] and missing:
        raise ModelFault(
            f"{provider} needs an API key.", fix=f"export {missing[0]}=... ({' or '.join(missing)})"
        )


def _is_address(variable: str) -> bool:
    """Whether a variable that LiteLLM calls a key says where a server is."""
    return variable.endswith(("_API_BASE", "_BASE_URL", "_HOST"))


def _price_entry(litellm: Any, model: str) -> dict[str, Any]:
    """LiteLLM's facts about a model; empty where it has none (it raises a bare Exception then)."""
    try:
        return dict(litellm.get_model_info(model))
    except Exception:
        return {}


def _tokens(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else UNKNOWN_CONTEXT


def fit(decoding: Decoding, unknown: Iterable[str], asked: Collection[str], *, where: str) -> Fitted:
    """Leave the fields in `unknown` out of `decoding`.

    Raises:
        ModelFault: the user asked for one of them.
    """
    changes: dict[str, Any] = {}
    notes = []
    for name in unknown:
        value = getattr(decoding, name)
        if name in NEUTRAL and value == NEUTRAL[name]:
            continue
        if name in asked:
            raise cannot(where, name)
        if name in NEUTRAL:
            changes[name] = NEUTRAL[name]
        notes.append(f"{where} takes no {name}: {name} = {value:g} is left out, and its own default applies.")
    return Fitted(decoding=decoding.model_copy(update=changes), notes=tuple(notes))


def cannot(where: str, name: str) -> ModelFault:
    """Return the fault for a field that a server does not honour."""
    verb = "truncate by" if name in ("top_k", "min_p", "top_p") else "take"
    neutral = NEUTRAL.get(name, "its default")
    return ModelFault(
        f"{where} does not {verb} {name}.",
        fix=f"Leave {name} out (or set it to {neutral}), or serve the model with --engine vllm or transformers.",
    )
