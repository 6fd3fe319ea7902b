"""What an OpenAI-compatible server answers, read with distrust: from JSON to pieces of completions.

In: a decoded answer. Out: `Piece`s with whole texts and token counts that are plausible, or a fault. A server that
counts no tokens, or counts what cannot be, gets an estimate, so that budgets in tokens bind all the same.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from forklock.models.contract import FinishReason, ModelFault, Request

BYTES_PER_TOKEN = 3.5
"""Bytes that one token of code or English has, about. A smaller number overestimates the count."""
PER_MESSAGE = 8
"""Tokens of a chat template around one message, at most."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One choice of an answer, on its way to a `Completion`."""

    text: str
    reason: FinishReason
    tokens: int
    prompt_tokens: int
    estimated: bool = False
    """The server counted no tokens; these are ours."""
    cached: int | None = None
    """Prompt tokens that were in the server's prefix cache."""
    token_ids: tuple[int, ...] | None = None
    logprobs: tuple[float, ...] | None = None
    cost_usd: float | None = None


def estimated_tokens(text: str) -> int:
    """An upper estimate of the tokens of a text, without its tokenizer."""
    return math.ceil(len(text.encode("utf-8", "replace")) / BYTES_PER_TOKEN)


def estimated_prompt(request: Request) -> int:
    """An upper estimate of the tokens of a rendered prompt."""
    if request.text is not None:
        return estimated_tokens(request.text) + PER_MESSAGE
    words = sum(estimated_tokens(message.content) for message in request.messages)
    return words + estimated_tokens(request.prefill) + PER_MESSAGE * (len(request.messages) + 1)


def pieces_of(answer: Any, request: Request, *, most_tokens: int, name: str) -> list[Piece]:
    """The choices of an answer.

    Counts per sample are exact where ids or log probabilities came or one sample was asked for; else the total is
    shared out by length of text.

    Args:
        most_tokens: `max_tokens` of one sample.
        name: of the model, for faults.

    Raises:
        ModelFault: not OpenAI's format.
    """
    try:
        choices = list(answer["choices"])
        texts = [_text_of(choice) for choice in choices]
        made, prompt = _usage(answer, len(choices) * most_tokens)
        size = sum(map(len, texts)) or 1
        pieces = []
        for choice, text in zip(choices, texts, strict=True):
            ids, logprobs = _ids_of(choice), _logprobs_of(choice)
            known = ids if ids is not None else logprobs
            if known is not None:
                tokens: int | None = len(known)
            elif made is None:
                tokens = None
            else:
                tokens = round(made * (len(text) / size if len(choices) > 1 else 1.0))
            reason = FinishReason.LENGTH if choice.get("finish_reason") == "length" else FinishReason.STOP
            piece = Piece(
                text,
                reason,
                tokens or 0,
                prompt or 0,
                token_ids=ids,
                logprobs=logprobs,
                cached=cached_in(answer),
            )
            pieces.append(_counted(piece, tokens, prompt, request))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        raise ModelFault(
            f"{name} gave an answer that is not OpenAI's format ({type(error).__name__}).",
            fix="Is the URL that of an OpenAI-compatible server?",
        ) from None
    return pieces


def _counted(piece: Piece, tokens: int | None, prompt: int | None, request: Request) -> Piece:
    """`piece` with estimates where the server's counts are missing or say that a text is made of nothing."""
    if not tokens and piece.text:
        piece = replace(piece, tokens=estimated_tokens(piece.text), estimated=True)
    if prompt is None:
        piece = replace(piece, prompt_tokens=estimated_prompt(request), estimated=True)
    return piece


def _usage(answer: dict[str, Any], most: int) -> tuple[int | None, int | None]:
    """(completion tokens, prompt tokens); None for what is not told or cannot be."""
    usage = answer.get("usage")
    if not isinstance(usage, dict):
        return None, None
    # Models that think may be charged for more than `max_tokens`.
    return _count(usage.get("completion_tokens"), 16 * most + 1024), _count(
        usage.get("prompt_tokens"), 1 << 30
    )


def cached_in(answer: dict[str, Any]) -> int | None:
    """Prompt tokens that an answer's `usage` says were cached; None where it says nothing, or what cannot be."""
    usage = answer.get("usage")
    details = usage.get("prompt_tokens_details") if isinstance(usage, dict) else None
    found = details.get("cached_tokens") if isinstance(details, dict) else None
    if not isinstance(usage, dict) or not isinstance(found, int) or isinstance(found, bool):
        return None
    prompt = _count(usage.get("prompt_tokens"), 1 << 30)
    return found if prompt is not None and 0 <= found <= prompt else None


def _count(value: object, most: int) -> int | None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and isinstance(value, int) and 0 < value <= most else None


def _text_of(choice: dict[str, Any]) -> str:
    found = choice["message"].get("content") if "message" in choice else choice["text"]
    if found is not None and not isinstance(found, str):
        raise TypeError("content is no text")
    return _whole((found or "") + _calls_as_text(choice.get("message")))


def _calls_as_text(message: object) -> str:
    """Return the tool calls that a server took out of the text, put back as the model writes them.

    We send no tools, but some servers look for calls all the same. Call formats read this form.
    """
    calls = message.get("tool_calls") if isinstance(message, dict) else None
    texts = []
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict) and isinstance(function.get("name"), str):
            body = {"name": function["name"], "arguments": function.get("arguments")}
            texts.append(f"\n<tool_call>\n{json.dumps(body, ensure_ascii=False)}\n</tool_call>")
    return "".join(texts)


def _whole(text: str) -> str:
    """`text` without lone surrogates, which no file can hold."""
    return text.encode("utf-8", "replace").decode("utf-8") if not text.isascii() else text


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


def cut_at_stops(piece: Piece, stops: Sequence[str]) -> Piece:
    """`piece` up to the first of `stops`, for servers that take fewer stop strings, or none."""
    places = [place for stop in stops if stop and (place := piece.text.find(stop)) >= 0]
    if not places:
        return piece
    text = piece.text[: min(places)]
    return replace(piece, text=text, reason=FinishReason.STOP)


def until_stop(pieces: Iterable[str], stops: Sequence[str]) -> Iterator[str]:
    """Streamed text up to the first of `stops`; what may become one is held back."""
    stops = [stop for stop in stops if stop]
    longest = max(map(len, stops), default=1) - 1
    held = ""
    for piece in pieces:
        held += piece
        places = [place for stop in stops if (place := held.find(stop)) >= 0]
        if places:
            yield held[: min(places)]
            return
        sure = len(held) - longest
        if sure > 0:
            yield held[:sure]
            held = held[sure:]
    if held:
        yield held
