"""Asks OpenAI-compatible servers about themselves, for the two engines that use them.

In: a server's URL. Out: what the server says about itself, exact prompt token counts where it has `/tokenize`, and
its words fit to be shown. Not covered: the wire format of completions itself (each engine has its own).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from forklock.models.contract import ModelFault, Request
from forklock.models.web import clients as web
from forklock.models.web import deadline

TOKENS_BYTES = 16 << 20
"""Largest size of a prompt's ids as JSON, in bytes."""
KEY_VARIABLE = "FORKLOCK_SERVER_KEY"
"""Key for servers named by URL. A provider's key (OPENAI_API_KEY, ...) is never sent to an arbitrary URL."""

_SECRET = re.compile(r"\b(sk|pk|key|hf|gsk|xai)[-_][A-Za-z0-9_\-*]{6,}|(?<=Bearer )\S+", re.IGNORECASE)
_SECRET_VARIABLE = re.compile(r"(_KEY|_TOKEN|_SECRET|_PASSWORD)$")
_TOO_LONG = re.compile(r"maximum context length|context (length|window|size)|too long|max_model_len", re.I)


@dataclass(frozen=True, slots=True)
class Server:
    """An OpenAI-compatible server and the one model of it that we talk to."""

    base_url: str
    """With `/v1`, without a slash at the end."""
    model: str
    owner: str
    """`owned_by` of /v1/models: vllm, llamacpp, ... tells which extensions it understands."""
    context_tokens: int | None
    revision: str = ""
    """Digest of what the server says of the weights; "" where it says nothing."""

    @property
    def root(self) -> str:
        return self.base_url.removesuffix("/v1")


def is_url(model: str) -> bool:
    return model.startswith(("http://", "https://"))


def split_url(model: str) -> tuple[str, str | None]:
    """`http://host:port/v1#name` to (base url, name or None); `/v1` is added where the path is empty."""
    address, _, name = model.partition("#")
    try:
        url = httpx.URL(address)
    except httpx.InvalidURL as error:
        raise ModelFault(f"{address} is not a URL: {error}.", fix="Write http://host:port/v1.") from None
    if not url.host:
        raise ModelFault(f"{address} names no host.", fix="Write http://host:port/v1.")
    if url.path.rstrip("/") == "":
        url = url.copy_with(path="/v1")
    return str(url).rstrip("/"), name or None


def server_headers(key: str | None = None) -> dict[str, str]:
    """Headers that carry `key`, or that of `FORKLOCK_SERVER_KEY`.

    Raises:
        ModelFault: the key cannot stand in a header.
    """
    key = (os.environ.get(KEY_VARIABLE, "") if key is None else key).strip()
    if not (key.isascii() and key.isprintable()):
        raise ModelFault(
            f"The server's key holds characters that no header can carry; it is in {KEY_VARIABLE}.",
            fix=f"Correct {KEY_VARIABLE}.",
        )
    return {"Authorization": f"Bearer {key}"} if key else {}


def find_server(
    model_url: str, *, timeout_s: float = 10.0, key: str | None = None, lenient: bool = False
) -> Server:
    """Ask a running server which model it serves.

    Args:
        key: the server's key; None takes that of `FORKLOCK_SERVER_KEY`.
        lenient: a server that lists no models is believed to have the named one.

    Raises:
        ModelFault: it does not answer, is no OpenAI-compatible server, lacks the named model, or serves
            several and none is named.
    """
    base_url, name = split_url(model_url)
    try:
        cards = _model_cards(base_url, timeout_s, server_headers(key))
    except _NoList:
        if lenient and name is not None:
            return Server(base_url, name, "", None)
        raise
    names = [str(card["id"]) for card in cards]
    if name is None and len(cards) != 1:
        raise ModelFault(
            f"{base_url} serves {len(cards)} models: {_listed(names)}.",
            fix=f"Name one: {base_url}#{names[0] if names else 'MODEL'}.",
        )
    # Ollama's names end with a tag, which its users leave out.
    card = cards[0] if name is None else _by_id(cards, name) or _by_id(cards, f"{name}:latest")
    if card is None:
        raise ModelFault(f"{base_url} serves no model {name!r}.", fix=f"It serves: {_listed(names)}.")
    return Server(
        base_url, card["id"], str(card.get("owned_by", ""))[:100], _context_of(card), _revision_of(card)
    )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return (", ".join(names[:20]) or "none") + more


def _by_id(cards: Sequence[dict[str, Any]], name: str) -> dict[str, Any] | None:
    return next((card for card in cards if card["id"] == name), None)


class _NoList(ModelFault):
    """A server answers, but lists no models."""


def _model_cards(base_url: str, timeout_s: float, headers: dict[str, str]) -> list[dict[str, Any]]:
    hint = "Start the server, or correct the URL (http://host:port/v1)."
    seconds = deadline.bounded(timeout_s)
    try:
        with web.client(seconds=seconds, headers=headers) as http:
            answer = http.get(f"{base_url}/models")
        answer.raise_for_status()
        cards = web.decode_json(answer.content)["data"]
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        if status in (401, 403):
            hint = f"Put the server's key into {KEY_VARIABLE}."
        kind = _NoList if status in (404, 405, 501) else ModelFault
        raise kind(f"{base_url}/models answered {status}.", fix=hint) from None
    except (web.TooSlow, web.TooLarge) as fault:
        raise ModelFault(f"{base_url}/models gave no usable answer: {fault.message}.", fix=hint) from None
    except httpx.HTTPError as error:
        reason = plain(str(error)) or type(error).__name__
        raise ModelFault(f"No server answers at {base_url}: {reason}.", fix=hint) from None
    except (ValueError, KeyError, TypeError):
        raise ModelFault(f"{base_url}/models is not OpenAI's format.", fix=hint) from None
    if not isinstance(cards, list) or not all(map(_is_card, cards)):
        raise ModelFault(f"{base_url}/models is not OpenAI's format.", fix=hint)
    return cards


def _is_card(card: object) -> bool:
    """Whether a model's entry has a name that can be shown and asked for."""
    name = card.get("id") if isinstance(card, dict) else None
    return isinstance(name, str) and 0 < len(name) <= 300 and name.isprintable()


def _revision_of(card: dict[str, Any]) -> str:
    """Digest of what a card says of the weights behind the name; "" where it says nothing."""
    meta = card.get("meta")
    meta = meta if isinstance(meta, dict) else {}
    said = {key: card[key] for key in ("root", "parent") if isinstance(card.get(key), str)}
    said |= {key: meta[key] for key in ("n_params", "size", "n_vocab", "ftype") if key in meta}
    if not said or said == {"root": card["id"]}:
        return ""
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()


def _context_of(card: dict[str, Any]) -> int | None:
    """vLLM and SGLang say `max_model_len`; llama.cpp says `meta.n_ctx` in newer builds."""
    meta = card.get("meta")
    for value in (card.get("max_model_len"), meta.get("n_ctx") if isinstance(meta, dict) else None):
        if isinstance(value, int) and value > 0:
            return value
    return None


def chat_wire(request: Request) -> list[dict[str, str]]:
    """Messages in OpenAI's form; a prefill becomes the last, unfinished assistant message."""
    wire: list[dict[str, str]] = [{"role": m.role, "content": m.content} for m in request.messages]
    if request.prefill:
        wire.append({"role": "assistant", "content": request.prefill})
    return wire


CONTINUE_LAST = {"add_generation_prompt": False, "continue_final_message": True}
"""vLLM's and SGLang's way to go on with an unfinished assistant message."""


def tokenize_on_server(server: Server, request: Request, *, key: str | None = None) -> list[int] | None:
    """The server's own ids of the rendered prompt, by vLLM's `/tokenize`; None where it has none.

    Raises:
        ModelFault: the server refuses the prompt (its chat template may).
    """
    body: dict[str, Any] = {"model": server.model}
    if request.text is not None:
        body["prompt"] = request.text
    else:
        body["messages"] = chat_wire(request)
        if request.prefill:
            body |= CONTINUE_LAST
    seconds = deadline.bounded(60.0)
    try:
        with web.client(seconds=seconds, most_bytes=TOKENS_BYTES, headers=server_headers(key)) as http:
            answer = http.post(f"{server.root}/tokenize", json=body)
        if answer.status_code == 400:
            raise ModelFault(f"{server.base_url} refuses the prompt: {message_of(answer.text)[0][:300]}")
        tokens = web.decode_json(answer.content)["tokens"] if answer.is_success else None
    except (web.TooSlow, web.TooLarge, httpx.HTTPError, ValueError, KeyError, TypeError):
        return None
    if not isinstance(tokens, list) or not all(isinstance(token, int) for token in tokens):
        return None
    return tokens


def message_of(text: str) -> tuple[str, str]:
    """(message, parameter that it is about) of an error's body, fit to be shown."""
    try:
        answer = web.decode_json(text)
        error = answer.get("error", answer)
        if isinstance(error, dict):
            words = error.get("message") or error.get("detail") or error
            return plain(str(words))[:500], plain(str(error.get("param") or ""))[:50]
        return plain(str(error))[:500], ""
    except (ValueError, AttributeError):
        return plain(text)[:500], ""


def plain(text: str) -> str:
    """A server's words as one line that can be shown: without keys, and without control characters."""
    words = redact(text[:10_000])
    return " ".join("".join(c if c.isprintable() else " " for c in words).split())


def redact(text: str) -> str:
    """`text` without API keys: the values of key-like environment variables, and what looks like one."""
    for name, value in os.environ.items():
        if len(value) >= 8 and _SECRET_VARIABLE.search(name):
            text = text.replace(value, "***")
    return _SECRET.sub("***", text)


def says_too_long(message: str) -> bool:
    """Does a server's 400 mean that prompt and answer exceed the context?"""
    return _TOO_LONG.search(message) is not None
