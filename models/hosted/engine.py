"""The hosted engine: any provider that LiteLLM knows, and any OpenAI-compatible server (room `models/`).

In: requests. Out: completions over HTTP, several at once, with retries for what passes (429, 5xx, broken
connections) and faults that name the fix for what does not. An option that the other side would ignore or
refuse is a fault, never dropped; the one exception is the seed, which most callers set by default: where it
cannot be honoured (`honours_seed`) that is logged once. Log probabilities are asked for only from servers
known to give them at temperature 1. Not covered: images, tools, providers' batch APIs.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from models.contract import (
    Completion,
    Decoding,
    Engine,
    FinishReason,
    ModelFault,
    ModelIdentity,
    OnCompletion,
    OnTokens,
    Request,
)
from models.hosted.wire import (
    CONTINUE_LAST,
    KEY_VARIABLE,
    Emit,
    Sample,
    Server,
    Tokens,
    chat_wire,
    fan_out,
    find_server,
    is_url,
    redact,
    says_too_long,
    tokenize_on_server,
)
from models.web.endpoints import endpoint_of_provider, endpoint_of_url

REQUESTS_AT_ONCE = 16
ATTEMPTS = 5
TIMEOUT_S = 600.0
"""For one answer, a whole stream included."""
UNKNOWN_CONTEXT = 8192
"""Tokens assumed where nobody says how long the context is."""
EXTENDED_OWNERS = frozenset({"vllm", "sglang"})
"""`owned_by` of servers that take top_k, min_p, return_token_ids and an unfinished last message."""
TRUNCATION = {"anthropic": {"top_k"}, "gemini": {"top_k"}, "openrouter": {"top_k", "min_p"}}
"""What providers truncate by beyond top_p. Others refuse it, or worse, ignore it."""

log = logging.getLogger(__name__)
T = TypeVar("T")


def open_hosted(model: str, *, timeout_s: float = TIMEOUT_S, attempts: int = ATTEMPTS) -> Engine:
    """Talk to `model` through LiteLLM.

    Args:
        model: LiteLLM's id (`openai/gpt-5`, `anthropic/...`), or a server's URL (`http://host:port/v1`,
            `#name` picks one of several models).
        timeout_s: for one answer.
        attempts: most tries of one request, waits between them growing.

    Raises:
        ModelFault: no litellm, unknown provider, a missing key, a server that does not answer.
    """
    litellm = _import_litellm()
    if is_url(model):
        server = find_server(model)
        return HostedEngine(litellm, _of_server(server), timeout_s, attempts, server=server)
    return HostedEngine(litellm, _of_provider(litellm, model), timeout_s, attempts)


def _import_litellm() -> Any:
    # Its price list comes from the package; without this it is fetched at import.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    os.environ.setdefault("LITELLM_LOG", "ERROR")
    try:
        import litellm
    except ImportError:
        raise ModelFault("The hosted engine needs litellm.", fix="pip install 'forklock[hosted]'") from None
    litellm.telemetry = False
    litellm.suppress_debug_info = True
    litellm.drop_params = False
    # Its log lines hold whole requests.
    logging.getLogger("LiteLLM").setLevel(logging.CRITICAL)
    return litellm


@dataclass(frozen=True, slots=True)
class Route:
    """Where requests go, and what may be asked there."""

    name: str
    chat_model: str
    text_model: str | None
    """None where raw text cannot be continued."""
    params: frozenset[str]
    """OpenAI parameters that the other side honours."""
    truncation: frozenset[str]
    extended: bool
    """vLLM's extensions are understood."""
    prefill: bool
    context_tokens: int
    connection: dict[str, str]
    endpoint: str


def _of_server(server: Server) -> Route:
    extended = server.owner in EXTENDED_OWNERS
    key = os.environ.get(KEY_VARIABLE) or "none"
    params = {"temperature", "top_p", "stop", "seed", *({"n"} if extended else set())}
    return Route(
        name=server.model,
        chat_model=f"openai/{server.model}",
        text_model=f"text-completion-openai/{server.model}",
        params=frozenset(params),
        truncation=frozenset({"top_k", "min_p"} if extended else set()),
        extended=extended,
        prefill=extended,
        context_tokens=server.context_tokens or UNKNOWN_CONTEXT,
        connection={"api_base": server.base_url, "api_key": key},
        endpoint=endpoint_of_url(server.base_url),
    )


def _of_provider(litellm: Any, model: str) -> Route:
    try:
        bare, provider, _, api_base = litellm.get_llm_provider(model)
    except Exception:
        raise ModelFault(
            f"LiteLLM knows no provider for {model!r}.",
            fix="Write provider/model, such as openai/gpt-5, or a server's URL.",
        ) from None
    keys = litellm.validate_environment(model)
    if not keys["keys_in_environment"] and keys["missing_keys"]:
        names = " or ".join(keys["missing_keys"])
        raise ModelFault(
            f"{provider} needs an API key.", fix=f"export {keys['missing_keys'][0]}=... ({names})"
        )
    info = _price_entry(litellm, model)
    return Route(
        name=model,
        chat_model=model,
        text_model=model if provider == "text-completion-openai" else None,
        params=frozenset(litellm.get_supported_openai_params(bare, custom_llm_provider=provider) or ()),
        truncation=frozenset(TRUNCATION.get(provider, set())),
        extended=False,
        prefill=bool(info.get("supports_assistant_prefill")),
        context_tokens=int(info.get("max_input_tokens") or UNKNOWN_CONTEXT),
        connection={},
        endpoint=endpoint_of_provider(str(provider), api_base),
    )


def _price_entry(litellm: Any, model: str) -> dict[str, Any]:
    """LiteLLM's facts about a model; empty where it has none (it raises a bare Exception then)."""
    try:
        return dict(litellm.get_model_info(model))
    except Exception:
        return {}


@dataclass(frozen=True, slots=True)
class _Piece:
    """One choice of an answer, on its way to a `Completion`."""

    text: str
    reason: FinishReason
    tokens: int
    prompt_tokens: int
    token_ids: tuple[int, ...] | None
    logprobs: tuple[float, ...] | None
    cost_usd: float | None


class HostedEngine(Engine):
    """See the module; made by `open_hosted`."""

    def __init__(
        self,
        litellm: Any,
        route: Route,
        timeout_s: float,
        attempts: int,
        *,
        server: Server | None = None,
    ) -> None:
        self.identity = ModelIdentity(name=route.name, engine="hosted")
        self.endpoint = route.endpoint
        self.context_tokens = route.context_tokens
        self.supports_prefill = route.prefill
        self.continues_text = route.extended
        self.honours_seed = "seed" in route.params
        self._litellm = litellm
        self._route = route
        self._timeout_s = timeout_s
        self._attempts = attempts
        self._server = server
        self._closed = False
        self._said_seed = False

    def complete(
        self,
        requests: Sequence[Request],
        decoding: Decoding,
        *,
        on_tokens: OnTokens | None = None,
        on_completion: OnCompletion | None = None,
    ) -> list[list[Completion]]:
        """See `Engine.complete`. Samples are one request where the other side has `n`, else one each."""
        self._check_open()
        began = time.perf_counter()
        jobs: list[Callable[[Emit], list[Completion]]] = []
        for index, request in enumerate(requests):
            # vLLM refuses `n` for greedy samples.
            splits = "n" not in self._route.params or not request.own(decoding).temperature
            together = 1 if splits else decoding.n
            for first in range(0, decoding.n, together):
                call = self._call(request, decoding, index * decoding.n + first, together)
                jobs.append(self._job(request, call, index, first, together, began))
        parts = fan_out(jobs, at_once=REQUESTS_AT_ONCE, on_tokens=on_tokens, on_completion=on_completion)
        flat = [completion for part in parts for completion in part]
        return [flat[i * decoding.n : (i + 1) * decoding.n] for i in range(len(requests))]

    def stream(self, request: Request, decoding: Decoding) -> Iterator[str]:
        """See `Engine.stream`."""
        self._check_open()
        call = self._call(request, decoding, 0, 1) | {"stream": True}
        answer = self._retried(lambda: self._send(request, call))
        finished = False
        try:
            for chunk in answer:
                for choice in chunk.choices:
                    piece = choice.text if request.text is not None else choice.delta.content
                    finished = finished or choice.finish_reason is not None
                    if piece:
                        yield piece
        except Exception as error:
            raise self._fault(error) from None
        if not finished:
            raise ModelFault(f"{self.identity.name} broke the stream off.", fix="Try again.")

    def count_tokens(self, request: Request) -> int:
        """Exact where the server has `/tokenize`; else LiteLLM's count plus a third: an upper estimate."""
        if self._server is not None:
            ids = tokenize_on_server(self._server, request)
            if ids is not None:
                return len(ids)
        text = (
            request.text if request.text is not None else "\n".join(m["content"] for m in chat_wire(request))
        )
        counted = int(self._litellm.token_counter(model="gpt-4o", text=text))
        return counted + counted // 3 + 8 * (len(request.messages) + 1)

    def close(self) -> None:
        """See `Engine.close`."""
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise ModelFault("The engine is closed.", fix="Open it again.")

    def _job(
        self, request: Request, call: dict[str, Any], index: int, first: int, count: int, began: float
    ) -> Callable[[Emit], list[Completion]]:
        def run(emit: Emit) -> list[Completion]:
            answer = self._retried(lambda: self._send(request, call))
            pieces = self._pieces(answer)
            if len(pieces) != count:
                raise ModelFault(f"{self.identity.name} gave {len(pieces)} samples, {count} were asked for.")
            completions = [self._completion(piece, time.perf_counter() - began) for piece in pieces]
            for offset, completion in enumerate(completions):
                emit(Tokens(completion.completion_tokens))
                emit(Sample(index, first + offset, completion))
            return completions

        return run

    def _call(self, request: Request, decoding: Decoding, number: int, count: int) -> dict[str, Any]:
        """LiteLLM's arguments for samples `number` and following.

        Raises:
            ModelFault: an option that the other side does not honour.
        """
        decoding = request.own(decoding)
        call: dict[str, Any] = {
            "max_tokens": request.bound(decoding),
            "timeout": self._timeout_s,
            "max_retries": 0,
            "num_retries": 0,
            **self._route.connection,
            **self._optional(decoding, request.stops(decoding), number, count),
        }
        extra: dict[str, Any] = self._truncation(decoding)
        if self._route.extended:
            extra["return_token_ids"] = True
            call["logprobs"] = True if request.text is None else 1
        if request.prefill:
            if not self._route.prefill or request.text is not None:
                raise ModelFault(f"{self.identity.name} cannot prefill an answer.", fix="Send no prefill.")
            if self._route.extended:
                extra |= CONTINUE_LAST
        if extra and self._route.extended:
            call["extra_body"] = extra
        else:
            call |= extra
        return call

    def _optional(
        self, decoding: Decoding, stops: tuple[str, ...], number: int, count: int
    ) -> dict[str, Any]:
        wanted: dict[str, Any] = {"temperature": decoding.temperature}
        if decoding.temperature > 0 and decoding.top_p < 1:
            wanted["top_p"] = decoding.top_p
        if stops:
            wanted["stop"] = list(stops)
        for name in wanted:
            if name not in self._route.params:
                raise ModelFault(
                    f"{self.identity.name} takes no {name}.", fix=f"Leave {name} at its default."
                )
        if count > 1:
            wanted["n"] = count
        if decoding.seed is not None:
            if self.honours_seed:
                wanted["seed"] = (decoding.seed * 1_000_003 + number) % 2**31
            elif not self._said_seed:
                self._said_seed = True
                log.warning("%s honours no seed; samples are drawn afresh", self.identity.name)
        return wanted

    def _truncation(self, decoding: Decoding) -> dict[str, Any]:
        """Greedy needs none: no truncation removes the likeliest token."""
        self.refuse_virtual_ssd(decoding)
        if decoding.temperature == 0:
            return {}
        wanted: dict[str, Any] = {}
        if decoding.top_k:
            wanted["top_k"] = decoding.top_k
        if decoding.min_p:
            wanted["min_p"] = decoding.min_p
        for name in wanted:
            if name not in self._route.truncation:
                raise ModelFault(
                    f"{self.identity.name} does not truncate by {name}.",
                    fix=f"Set {name} = 0, or serve the model with --engine vllm or transformers.",
                )
        if self._route.extended and decoding.min_p and decoding.top_p < 1:
            raise ModelFault(
                "This server applies min-p before top-p, not after it.", fix="Set only one of the two."
            )
        return wanted

    def _send(self, request: Request, call: dict[str, Any]) -> Any:
        if request.text is None:
            return self._litellm.completion(model=self._route.chat_model, messages=chat_wire(request), **call)
        if self._route.text_model is None:
            raise ModelFault(f"{self.identity.name} answers chats only.", fix="Send messages, not raw text.")
        return self._litellm.text_completion(model=self._route.text_model, prompt=request.text, **call)

    def _retried(self, send: Callable[[], T]) -> T:
        """`send` again after what passes; waits grow, or are what the server asks for."""
        from tenacity import Retrying, retry_if_exception, stop_after_attempt

        retrying = Retrying(
            retry=retry_if_exception(_passes),
            stop=stop_after_attempt(self._attempts),
            wait=_wait,
            reraise=True,
        )
        try:
            return retrying(send)
        except ModelFault:
            raise
        except Exception as error:
            raise self._fault(error) from None

    def _fault(self, error: Exception) -> ModelFault:
        """LiteLLM's error in our words, without keys."""
        name, where = self.identity.name, self._route.connection.get("api_base", "the provider")
        kind, status = type(error).__name__, getattr(error, "status_code", None)
        message = redact(str(error)).replace("litellm.", "")[:500]
        if kind == "ContextWindowExceededError" or (status == 400 and says_too_long(message)):
            return ModelFault(f"Prompt and answer do not fit {name}: {message}", fix="Shorten the prompt.")
        if status in (401, 403):
            variable = KEY_VARIABLE if self._server else "the provider's key variable"
            return ModelFault(f"{where} refuses the API key: {message}", fix=f"Check {variable}.")
        if status == 404:
            return ModelFault(f"{where} has no model {name}: {message}", fix="Check the model's name.")
        if kind == "Timeout":
            return ModelFault(
                f"{name} did not answer within {self._timeout_s:.0f} s.", fix="Is the server overloaded?"
            )
        if status == 429:
            return ModelFault(f"{where} limits the rate: {message}", fix="Wait, or ask for fewer samples.")
        if _passes(error):
            return ModelFault(
                f"{where} failed {self._attempts} times: {message}", fix="Is the server up? Try again later."
            )
        return ModelFault(f"{where} refused the request: {message}")

    def _pieces(self, answer: Any) -> list[_Piece]:
        """The choices of an answer. Per-sample token counts are exact where ids or log probabilities came or
        one sample was asked for; else the exact total is shared out by length of text."""
        try:
            found = answer.model_dump()
            usage, choices = found["usage"], found["choices"]
            texts = [_text_of(choice) for choice in choices]
            cost = self._cost(answer)
            size = sum(map(len, texts)) or 1
            pieces = []
            for choice, text in zip(choices, texts, strict=True):
                ids, logprobs = _ids_of(choice), _logprobs_of(choice)
                share = len(text) / size if len(choices) > 1 else 1.0
                known = ids if ids is not None else logprobs
                tokens = len(known) if known is not None else round(usage["completion_tokens"] * share)
                reason = FinishReason.LENGTH if choice["finish_reason"] == "length" else FinishReason.STOP
                paid = None if cost is None else cost / len(choices)
                prompt = int(usage["prompt_tokens"])
                pieces.append(_Piece(text, reason, tokens, prompt, ids, logprobs, paid))
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise ModelFault(
                f"{self.identity.name} gave an answer that is not OpenAI's format ({type(error).__name__}).",
                fix="Is the URL that of an OpenAI-compatible server?",
            ) from None
        return pieces

    def _cost(self, answer: Any) -> float | None:
        """LiteLLM's price for the whole answer; it raises for models without one."""
        if self._server is not None:
            return None
        try:
            return float(self._litellm.completion_cost(completion_response=answer, model=self._route.name))
        except Exception:
            return None

    def _completion(self, piece: _Piece, seconds: float) -> Completion:
        return Completion(
            text=piece.text,
            finish_reason=piece.reason,
            prompt_tokens=piece.prompt_tokens,
            completion_tokens=piece.tokens,
            token_ids=piece.token_ids,
            logprobs=piece.logprobs,
            seconds=seconds,
            cost_usd=piece.cost_usd,
            model=self.identity,
        )


def _text_of(choice: dict[str, Any]) -> str:
    return str((choice["message"]["content"] if "message" in choice else choice["text"]) or "")


def _ids_of(choice: dict[str, Any]) -> tuple[int, ...] | None:
    """vLLM's `token_ids`; LiteLLM keeps what it does not know among the provider's own fields."""
    fields = choice.get("provider_specific_fields") or {}
    ids = choice.get("token_ids") or fields.get("token_ids")
    return tuple(int(token) for token in ids) if ids else None


def _logprobs_of(choice: dict[str, Any]) -> tuple[float, ...] | None:
    given = choice.get("logprobs") or {}
    if given.get("content"):
        return tuple(float(entry["logprob"]) for entry in given["content"])
    return tuple(map(float, given["token_logprobs"])) if given.get("token_logprobs") else None


def _passes(error: BaseException) -> bool:
    """Whether trying again may help: rate limits, server errors, broken connections. Not time-outs: the
    wait was long already."""
    if isinstance(error, ModelFault) or type(error).__name__ == "Timeout":
        return False
    status = getattr(error, "status_code", None)
    return isinstance(error, json.JSONDecodeError) or (
        isinstance(status, int) and (status == 429 or status >= 500)
    )


def _wait(state: Any) -> float:
    """Seconds before the next try: the server's Retry-After (at most a minute), else 0.5, 1, 2, ... 20."""
    error = state.outcome.exception()
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    try:
        return min(60.0, max(0.0, float(headers["retry-after"])))
    except (KeyError, ValueError, TypeError):
        return float(min(20.0, 0.5 * 2 ** (state.attempt_number - 1)))
