"""The interface of every engine: requests in, completions out.

Truncation order is fixed: temperature, then top-k, then top-p (over the top-k survivors, renormalised),
then min-p. It is vLLM's order and that of the SSD paper (arXiv 2604.01193, section 3).
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from forklock.sandbox.fault import Fault


class ModelFault(Fault):
    """A model or an engine cannot answer. `fix` says what the user can do next."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Message(_Frozen):
    role: Literal["system", "user", "assistant"]
    content: str


class Request(_Frozen):
    """One prompt: a chat, or raw text that is continued as it stands. Exactly one of the two is set."""

    messages: tuple[Message, ...] = ()
    text: str | None = None
    prefill: str = ""
    """Opening words of the answer, given as the assistant's own (chat only). They are not part of
    `Completion.text`. Engines that cannot prefill raise `ModelFault`."""
    seed: int | None = None
    """Takes the place of `Decoding.seed` for this request: its samples then depend on this number and not
    on the request's place in the call, so that the rest of an interrupted batch comes out the same."""
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    """Fewer new tokens than `Decoding.max_tokens`, for this request."""
    stop: tuple[str, ...] = ()
    """Strings that end this request's samples, beside those of `Decoding.stop`."""
    greedy: bool = False
    """Take the likeliest token each time, whatever `Decoding` says about temperature and truncation."""

    @model_serializer(mode="wrap")
    def _without_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave later fields out if they hold their default, so that keys of older samples stay valid."""
        fields: dict[str, Any] = handler(self)
        for name in ("stop", "greedy"):
            if not fields.get(name, True):
                del fields[name]
        return fields

    def own(self, decoding: Decoding) -> Decoding:
        """Return `decoding` as it applies to this request."""
        if not self.greedy:
            return decoding
        return decoding.model_copy(update={"temperature": 0.0, "virtual_ssd": None})

    def stops(self, decoding: Decoding) -> tuple[str, ...]:
        """Return the strings that end a sample of this request."""
        return tuple(dict.fromkeys((*decoding.stop, *self.stop)))

    def bound(self, decoding: Decoding) -> int:
        """Return the most new tokens per sample of this request."""
        return min(decoding.max_tokens, self.max_tokens or decoding.max_tokens)

    def model_post_init(self, _: object, /) -> None:
        if bool(self.messages) == (self.text is not None):
            raise ValueError("a request holds either messages or text")

    @classmethod
    def chat(cls, user: str, *, system: str | None = None, prefill: str = "") -> Request:
        head = (Message(role="system", content=system),) if system else ()
        return cls(messages=(*head, Message(role="user", content=user)), prefill=prefill)


class FirstStage(_Frozen):
    """The train-time settings that virtual SSD applies before the eval-time ones (`Decoding.virtual_ssd`)."""

    temperature: Annotated[float, Field(gt=0, le=5)]
    top_k: Annotated[int, Field(ge=0)] = 0
    """Tokens kept by rank; 0 keeps all."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0

    @classmethod
    def parse(cls, text: str) -> FirstStage:
        """Parse `T/top_k/top_p`, as the paper writes it: `1.6/20/0.8`.

        Raises:
            ValueError: another form, or a number out of its range; the message says which.
        """
        parts = [part.strip() for part in text.split("/")]
        if len(parts) != 3:
            raise ValueError(f"{text!r} is not T/top_k/top_p, as in 1.6/20/0.8")
        try:
            temperature, top_k, top_p = float(parts[0]), int(parts[1]), float(parts[2])
        except ValueError:
            raise ValueError(f"{text!r} is not T/top_k/top_p, as in 1.6/20/0.8") from None
        if not (0 < temperature <= 5 and top_k >= 0 and 0 < top_p <= 1):
            raise ValueError(
                f"{text!r}: T is within 0..5 and not 0, top_k 0 or more, top_p within 0..1 and not 0"
            )
        return cls(temperature=temperature, top_k=top_k, top_p=top_p)

    def __str__(self) -> str:
        return f"{self.temperature:g}/{self.top_k}/{self.top_p:g}"


class Decoding(_Frozen):
    """How tokens are chosen. Temperature 0 is greedy."""

    temperature: Annotated[float, Field(ge=0, le=5)] = 0.7
    top_k: Annotated[int, Field(ge=0)] = 0
    """Tokens kept by rank; 0 keeps all."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    min_p: Annotated[float, Field(ge=0, lt=1)] = 0.0
    max_tokens: Annotated[int, Field(ge=1)] = 1024
    """New tokens per sample. Prompt and answer together must fit the engine's context."""
    stop: tuple[str, ...] = ()
    """Strings that end a sample; they are not part of its text."""
    n: Annotated[int, Field(ge=1)] = 1
    """Samples per request."""
    seed: int | None = None
    """Seed of the first sample; sample i of request j is reproducible on the same engine, version and
    batch. None draws afresh."""
    virtual_ssd: FirstStage | None = None
    """Two stages: temper and truncate at these settings, renormalise, and apply all the others to what came
    out. Under ideal fit a model that was self-distilled at these settings gives the same distribution (arXiv
    2604.01193, section 4). Engines whose `supports_virtual_ssd` is false raise `ModelFault`."""

    @property
    def effective_temperature(self) -> float:
        """Return T_train times T_eval; plain decoding has T_train = 1."""
        return self.temperature * (self.virtual_ssd.temperature if self.virtual_ssd else 1.0)

    @model_serializer(mode="wrap")
    def _without_absent_stage(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave an absent first stage out, so that older digests and logs stay valid."""
        fields: dict[str, Any] = handler(self)
        if fields.get("virtual_ssd", self) is None:
            del fields["virtual_ssd"]
        return fields

    def digest(self) -> str:
        """Return a hash of what shapes one sample's distribution: everything but `n` and `seed`."""
        text = self.model_dump_json(exclude={"n", "seed"})
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class Fitted(_Frozen):
    """A decoding that an engine takes."""

    decoding: Decoding
    notes: tuple[str, ...] = ()
    """What was left out, in words for the user."""


class FinishReason(StrEnum):
    STOP = "stop"
    """The model ended its turn, or a stop string was met."""
    LENGTH = "length"
    """`max_tokens` or the context was reached."""


class ModelIdentity(_Frozen):
    """The exact weights that answer. Part of every cache key."""

    name: str
    """Catalogue name, folder, or the provider's id."""
    revision: str = ""
    """Digest of the weights, or "" if a provider does not tell."""
    adapter: str | None = None
    """`<base>/<version>` of the LoRA adapter, or None for the base."""
    engine: str

    def __str__(self) -> str:
        revision = f"@{self.revision[:12]}" if self.revision else ""
        adapter = f"+{self.adapter}" if self.adapter else ""
        return f"{self.name}{revision}{adapter}"


class Completion(_Frozen):
    """One sample. Token ids and log probabilities are the engine's own, never re-tokenised text."""

    text: str
    finish_reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    token_ids: tuple[int, ...] | None = None
    logprobs: tuple[float, ...] | None = None
    """Natural log of each sampled token's probability under the model at temperature 1, untruncated."""
    tokens_estimated: bool = False
    """The server counted no tokens; the counts are upper estimates by length of text."""
    cached_tokens: int | None = None
    """Tokens of the prompt that the server had in its prefix cache; None where it does not say."""
    seconds: float
    """Wall-clock from the batch's start to this sample's end."""
    cost_usd: float | None = None
    """None if the price is unknown; 0.0 for local engines."""
    model: ModelIdentity


OnTokens = Callable[[int], None]
"""Called repeatedly with the number of tokens made since the last call, over the whole batch."""
OnCompletion = Callable[[int, int, Completion], None]
"""Called as each sample ends, with (request index, sample index, completion), in any order."""


class InfillTokens(_Frozen):
    """The marks with which a model was trained to fill in a gap (arXiv 2207.14255)."""

    prefix: str
    suffix: str
    middle: str


class Alternative(_Frozen):
    """A token that the model might have written where a text has another."""

    start: Annotated[int, Field(ge=0)]
    """Characters of the text that stand before it."""
    replaced: str
    """The text's own token there."""
    text: str
    logprob: float
    """Natural log of its probability at temperature 1, untruncated."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user asks of an engine, beside the model."""

    adapter: str | Path | None = None
    """`current`, a version of the registry, a folder; None takes the bare base."""
    device: str | None = None
    """The torch device; None takes CUDA where there is one."""
    threads: int | None = None
    """CPU threads; None leaves them to the library."""


@dataclass(frozen=True, slots=True)
class EngineKind:
    """One line of the list of engines (`forklock.models.engines.open.ENGINES`): what is known about an engine before
    it is open."""

    open: Callable[[str, Wish], Engine]
    """Opens the engine on a model's name. Raises ModelFault."""
    state: Callable[[], tuple[str, str]]
    """For `agent engines list`: whether the engine works here, and where it is."""
    loads_weights: bool = True
    """Whether opening takes time, so that faults in the model's name are looked for before."""
    modules: tuple[str, ...] = ()
    """Python modules of the extra `local` that the engine needs."""


class Engine(ABC):
    """A source of tokens. Use as a context manager; `close` frees memory, servers and sockets."""

    identity: ModelIdentity
    context_tokens: int
    """Prompt and answer together, in tokens."""
    widen: str = ""
    """What the user can set so that `context_tokens` gets larger; "" where it is the model's own limit."""
    endpoint: str = ""
    """The server that answers (`forklock.models.web.endpoints`); "" for this process, or a server that it started."""
    supports_prefill: bool = True
    """Whether `Request.prefill` works here."""
    continues_text: bool = True
    """Whether raw text (`Request.text`) is continued as it stands, by the model and not by a chat."""
    supports_virtual_ssd: bool = False
    """Whether `Decoding.virtual_ssd` works here."""
    supports_alternatives: bool = False
    """Whether `alternatives` works here."""

    def refuse_virtual_ssd(self, decoding: Decoding) -> None:
        """
        Raises:
            ModelFault: `decoding` has two stages and this engine knows one.
        """
        if decoding.virtual_ssd is not None and not self.supports_virtual_ssd:
            raise ModelFault(
                f"the {self.identity.engine} engine cannot decode in two stages (virtual SSD)",
                fix="take --engine transformers, which has the whole distribution at hand",
            )

    def fit(self, decoding: Decoding, *, asked: Collection[str] = ()) -> Fitted:  # noqa: ARG002
        """Return `decoding` as this engine supports it: defaults that it does not know are left out, with a note.

        Args:
            asked: fields that the user asked for; they are never left out.

        Raises:
            ModelFault: the engine cannot do what the user asked for.
        """
        return Fitted(decoding=decoding)

    @property
    def infill(self) -> InfillTokens | None:
        """Return the model's marks of a gap, for raw-text requests; None if it has none or they are not known."""
        return None

    @abstractmethod
    def complete(
        self,
        requests: Sequence[Request],
        decoding: Decoding,
        *,
        on_tokens: OnTokens | None = None,
        on_completion: OnCompletion | None = None,
    ) -> list[list[Completion]]:
        """Return `decoding.n` samples of each request: `result[request][sample]`, in batches if the engine can.

        A callback may raise: generation stops, the exception propagates, and the engine stays usable. A caller stops
        in this way as soon as one sample is good enough.

        Raises:
            ModelFault: the prompt does not fit, the engine died, the provider refused, an option is
                unknown to this engine (never silently dropped).
        """

    def pieces(self, token_ids: Sequence[int]) -> list[str]:  # noqa: ARG002
        """Return the text of each token; empty if the engine does not know."""
        return []

    def alternatives(self, request: Request, text: str, *, top_k: int = 8) -> list[Alternative]:  # noqa: ARG002
        """Return what else the model might have written, had `text` been its answer to `request`.

        For each token of `text`: those of the `top_k` likeliest tokens in its place that differ from it, in order of
        place, the likelier first. It takes one pass over the text; nothing is sampled.

        Raises:
            ModelFault: the engine cannot (`supports_alternatives`), or request and text do not fit the context.
        """
        raise ModelFault(
            f"the {self.identity.engine} engine cannot tell what else a model might have written",
            fix="take --engine transformers",
        )

    def stream(self, request: Request, decoding: Decoding) -> Iterator[str]:
        """Yield the text of one sample piece by piece (`decoding.n` counts as 1); here in one piece."""
        yield self.complete([request], decoding.model_copy(update={"n": 1}))[0][0].text

    @abstractmethod
    def count_tokens(self, request: Request) -> int:
        """Return the tokens of the rendered prompt: exact if the tokenizer is available, else an upper estimate."""

    @abstractmethod
    def close(self) -> None:
        """Free memory, servers and sockets. Idempotent."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
