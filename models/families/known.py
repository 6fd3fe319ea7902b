"""The list of families, and what follows from it for a model's name, a vocabulary or a GGUF file."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from forklock.models.contract import InfillTokens
from forklock.models.families.family import Decodings, Family, HubCard, ModelCard
from forklock.models.families.gpt_oss import GPT_OSS
from forklock.models.families.llama import LLAMA
from forklock.models.families.mistral import MISTRAL
from forklock.models.families.profile import UNKNOWN, Profile
from forklock.models.families.qwen import QWEN
from forklock.models.families.qwen3 import QWEN3
from forklock.models.families.qwen3_coder import QWEN3_CODER
from forklock.models.families.smollm import SMOLLM
from forklock.models.families.thinking import THINKING

FAMILIES: tuple[Family, ...] = (THINKING, GPT_OSS, QWEN3_CODER, QWEN3, QWEN, SMOLLM, MISTRAL, LLAMA)
"""Every family. The first whose words are in a model's name wins."""
DEFAULT = QWEN
"""Its decodings hold for names that belong to no family of the paper's."""

CATALOGUE: tuple[ModelCard, ...] = tuple(card for family in FAMILIES for card in family.cards)
"""Every model that is converted from a GGUF file, by catalogue name."""
HUB: tuple[HubCard, ...] = tuple(card for family in FAMILIES for card in family.hub)
"""Models of the hub that people run. Others can be pulled by name as well."""
END_OF_TURN = tuple(dict.fromkeys(token for family in FAMILIES for token in family.end_of_turn))

EVAL_TOP_K, EVAL_TOP_P = 20, 0.8
"""The paper's truncation at eval time, for all families. Below 4B parameters the paper tries none of its decodings."""
PRESETS: dict[str, Decodings] = {family.name: family.decodings for family in FAMILIES if family.decodings}
"""The paper's settings per family."""


def family_of(model: str) -> str:
    """Return the key of `PRESETS` for a model of this name."""
    name = model.lower()
    for family in FAMILIES:
        if family.decodings and any(word in name for word in family.in_names):
            return family.name
    return DEFAULT.name


def preset_of(model: str) -> Decodings:
    """Return the paper's decodings for a model of this name."""
    return PRESETS[family_of(model)]


def profile_of(model: str) -> Profile:
    """Return how a model of this name is driven. The name may be a file's, a server's or the hub's."""
    name = model.lower()
    for family in FAMILIES:
        if family.profile and any(word in name for word in family.in_names):
            return family.profile
    return UNKNOWN


def hub_card(model: str) -> HubCard | None:
    """Return what is known of a model of the hub; None if it is none of `HUB`."""
    return next((card for card in HUB if card.repo_id.lower() == model.strip().lower()), None)


def infill_of(vocabulary: Collection[str]) -> InfillTokens | None:
    """Return the marks of a gap that the vocabulary knows, None if it knows none."""
    for family in FAMILIES:
        marks = family.infill
        if marks and all(mark in vocabulary for mark in (marks.prefix, marks.suffix, marks.middle)):
            return marks
    return None


def restore_tokenizer(tokenizer: Any, pre_tokenizer: str) -> None:
    """Put back what the GGUF names (`tokenizer.ggml.pre`) but the loader does not rebuild."""
    for family in FAMILIES:
        if pre_tokenizer in family.restore_tokenizer:
            family.restore_tokenizer[pre_tokenizer](tokenizer)
