"""The list of families, and what follows from it for a model's name, a vocabulary or a GGUF file."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from forklock.models.contract import InfillTokens
from forklock.models.families.family import Decodings, Family, ModelCard
from forklock.models.families.llama import LLAMA
from forklock.models.families.qwen import QWEN
from forklock.models.families.smollm import SMOLLM
from forklock.models.families.thinking import THINKING

FAMILIES: tuple[Family, ...] = (THINKING, QWEN, SMOLLM, LLAMA)
"""Every family. The first whose words are in a model's name wins."""
DEFAULT = QWEN
"""Its decodings hold for names that belong to no family of the paper's."""

CATALOGUE: tuple[ModelCard, ...] = tuple(card for family in FAMILIES for card in family.cards)
"""Every model that can be pulled by name."""
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
