"""Checks whether a LoRA adapter is whole and fits its base, and computes its digest.

In: a folder in PEFT's format and, where it is here, the base's tensors. Out: a fault that names the tensor or the
setting, or a digest over weights and settings. Checked without torch, so that each engine refuses the same adapters.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from forklock.models.catalogue.safetensors_header import (
    TensorInfo,
    read_tensors,
    require_finite,
    require_floats,
)
from forklock.models.catalogue.weights import hash_file, read_json
from forklock.models.contract import ModelFault

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
MOST_RANK, MOST_SCALE = 4096, 1e6
_PREFIX = "base_model.model."
_FACTOR = re.compile(r"(?P<module>.+)\.lora_(?P<side>A|B|embedding_A|embedding_B)(\.weight)?")
_PAIRS = {"A": "B", "B": "A", "embedding_A": "embedding_B", "embedding_B": "embedding_A"}
_PROVENANCE = frozenset({"base_model_name_or_path", "inference_mode", "revision", "peft_version", "auto_mapping",
                         "task_type", "lora_dropout", "init_lora_weights", "megatron_core"})  # fmt: skip
"""Settings that tell where an adapter comes from or how it was trained, and shape no token."""
VLLM_IGNORES = ("alpha_pattern", "use_dora", "modules_to_save", "lora_bias", "layer_replication", "fan_in_fan_out",
                "trainable_token_indices", "target_parameters", "use_qalora", "use_bdlora")  # fmt: skip
"""Settings that vLLM refuses, or ignores silently."""


def read_config(folder: Path) -> dict[str, Any]:
    """Return the adapter's settings.

    Raises:
        ModelFault: none, damaged, no LoRA, or with sizes that cannot be.
    """
    path = folder / CONFIG
    try:
        config = read_json(path)
    except ModelFault as fault:
        raise ModelFault(fault.message, fix="Save the adapter again.") from None
    kind = config.get("peft_type")
    if kind != "LORA":
        raise ModelFault(
            f"{path} describes no LoRA adapter: it is of type {str(kind)[:40]!r}.",
            fix="Only LoRA adapters can serve.",
        )
    ranks, alphas = config.get("rank_pattern") or {}, config.get("alpha_pattern") or {}
    if not isinstance(ranks, dict) or not isinstance(alphas, dict):
        raise ModelFault(f"{path}: rank_pattern and alpha_pattern must be tables.")
    for name, rank in {"r": config.get("r", 8), **ranks}.items():
        if not isinstance(rank, int) or isinstance(rank, bool) or not 0 < rank <= MOST_RANK:
            raise ModelFault(f"{path}: the rank {name} = {str(rank)[:40]} cannot be.")
    for name, alpha in {"lora_alpha": config.get("lora_alpha", 8), **alphas}.items():
        number = isinstance(alpha, (int, float)) and not isinstance(alpha, bool)
        if not number or not math.isfinite(alpha) or not 0 < alpha <= MOST_SCALE:
            raise ModelFault(f"{path}: the scale {name} = {str(alpha)[:40]} cannot be.")
    return config


def check_folder(folder: Path) -> dict[str, TensorInfo]:
    """Return the tensors of an adapter that is whole in itself.

    Raises:
        ModelFault: what is missing or damaged.
    """
    weights = folder / WEIGHTS
    if weights.is_symlink() or not weights.is_file():
        pickled = (folder / "adapter_model.bin").exists()
        raise ModelFault(
            f"{folder} holds its adapter as a pickle file."
            if pickled
            else f"{folder} holds no LoRA adapter: there is no {WEIGHTS}.",
            fix="Save it again with `save_pretrained(folder, safe_serialization=True)`.",
        )
    tensors = read_tensors(weights)
    require_floats(weights, tensors.values())
    require_finite(weights, tensors.values())
    read_config(folder)
    return tensors


def check_fits(folder: Path, base: Mapping[str, TensorInfo] | None) -> dict[str, Any]:
    """Check that each tensor is half of a pair, of the right rank, for a weight that the base has.

    Args:
        base: tensors of the base, None where they are not here.

    Returns:
        The adapter's settings.

    Raises:
        ModelFault: the first tensor or setting that does not fit.
    """
    tensors, config = check_folder(folder), read_config(folder)
    if not tensors:
        raise ModelFault(f"{folder / WEIGHTS} holds no tensors: it would change nothing.")
    for name, tensor in tensors.items():
        match = _FACTOR.fullmatch(name)
        if match is None:
            _check_other(folder, name, config)
            continue
        _check_factor(folder, tensor, match, tensors, config)
        if base is not None:
            _check_against(folder, tensor, match, base)
    if base is not None:
        _check_all_there(folder, tensors, config, base)
    return config


def _check_other(folder: Path, name: str, config: dict[str, Any]) -> None:
    """Tensors that are no factor belong to settings that ask for them."""
    wanted = (
        (config.get("use_dora") and "lora_magnitude_vector" in name)
        or any(f".{module}." in name for module in config.get("modules_to_save") or ())
        or (config.get("lora_bias") and name.endswith("lora_B.bias"))
        or (config.get("bias", "none") != "none" and name.endswith(".bias"))
        or (config.get("trainable_token_indices") and "token_adapter" in name)
    )
    if not wanted:
        raise ModelFault(f"{folder / WEIGHTS}: nothing in {CONFIG} asks for the tensor {name!r}.")


def _check_factor(
    folder: Path,
    tensor: TensorInfo,
    match: re.Match[str],
    tensors: Mapping[str, TensorInfo],
    config: dict[str, Any],
) -> None:
    side, module = match["side"], match["module"]
    partner = tensor.name[: match.start("side")] + _PAIRS[side] + tensor.name[match.end("side") :]
    if partner not in tensors:
        raise ModelFault(f"{folder / WEIGHTS}: {tensor.name!r} lacks its other half, {partner!r}.")
    if len(tensor.shape) != 2:
        raise ModelFault(f"{folder / WEIGHTS}: {tensor.name!r} has the shape {tensor.shape}, not two axes.")
    rank = _rank_of(module, config)
    own = tensor.shape[0 if side.endswith("A") else 1]
    if own != rank:
        raise ModelFault(f"{folder / WEIGHTS}: {tensor.name!r} has rank {own}, {CONFIG} says {rank}.")


def _rank_of(module: str, config: dict[str, Any]) -> int:
    """By the pattern that PEFT would take: the first whose regular expression matches the end of the name."""
    name = module.removeprefix(_PREFIX)
    for pattern, rank in (config.get("rank_pattern") or {}).items():
        try:
            if re.fullmatch(rf"(.*\.)?({pattern})", name):
                return int(rank)
        except re.error:
            raise ModelFault(f"{CONFIG}: rank_pattern {pattern[:80]!r} is no regular expression.") from None
    return int(config.get("r", 8))


def _check_against(
    folder: Path, tensor: TensorInfo, match: re.Match[str], base: Mapping[str, TensorInfo]
) -> None:
    name = f"{match['module'].removeprefix(_PREFIX)}.weight"
    weight = base.get(name)
    if weight is None:
        if name.removesuffix("weight") + "qweight" in base:
            return  # Quantised weights have shapes of their own.
        raise ModelFault(
            f"{folder / WEIGHTS}: {tensor.name!r} is for a weight that the base lacks ({name}).",
            fix="Is the adapter one of this base?",
        )
    if len(weight.shape) != 2:
        raise ModelFault(f"{folder / WEIGHTS}: {tensor.name!r} is for {name}, which has no two axes.")
    out, into = weight.shape
    if match["side"].startswith("embedding"):
        out, into = into, out
    wanted = into if match["side"].endswith("A") else out
    own = tensor.shape[1 if match["side"].endswith("A") else 0]
    if own != wanted:
        raise ModelFault(
            f"{folder / WEIGHTS}: {tensor.name!r} has the shape {tensor.shape}, but {name} has {weight.shape}.",
            fix="Is the adapter one of this base?",
        )


def _check_all_there(
    folder: Path, tensors: Mapping[str, TensorInfo], config: dict[str, Any], base: Mapping[str, TensorInfo]
) -> None:
    """That each weight which the settings name has its factors."""
    there = {match["module"].removeprefix(_PREFIX) for name in tensors if (match := _FACTOR.fullmatch(name))}
    for name, weight in base.items():
        module = name.removesuffix(".weight")
        if name == module or len(weight.shape) != 2 or module in there:
            continue
        if _is_target(module, config):
            raise ModelFault(
                f"{folder / WEIGHTS}: {CONFIG} names {module}, but there is no tensor for it.",
                fix="The adapter is not whole: save it again.",
            )


def _is_target(module: str, config: dict[str, Any]) -> bool:
    """Whether `target_modules` names a module for sure; what only the engine can tell is left to the engine."""
    targets = config.get("target_modules")
    if (
        not isinstance(targets, list)
        or config.get("exclude_modules")
        or config.get("layers_to_transform") is not None
    ):
        return False
    return any(
        module == target or module.endswith(f".{target}") for target in targets if isinstance(target, str)
    )


def refuse_for_vllm(folder: Path, config: dict[str, Any]) -> None:
    """
    Raises:
        ModelFault: vLLM would serve this adapter as another one.
    """
    strange = [name for name in VLLM_IGNORES if config.get(name)]
    if any(rank != config.get("r", 8) for rank in (config.get("rank_pattern") or {}).values()):
        strange.append("rank_pattern")
    if config.get("bias", "none") != "none":
        strange.append("bias")
    if strange:
        raise ModelFault(
            f"The adapter in {folder} uses {', '.join(strange)}, which vLLM does not serve.",
            fix="Serve it with --engine transformers.",
        )


def adapter_digest(folder: Path) -> str:
    """Digest of everything in an adapter that shapes tokens: its weights, and its settings but for their origin."""
    config = {key: value for key, value in read_config(folder).items() if key not in _PROVENANCE and value}
    if isinstance(config.get("target_modules"), list):
        config["target_modules"] = sorted(map(str, config["target_modules"]))
    text = json.dumps(config, sort_keys=True)
    return hashlib.sha256(f"{hash_file(folder / WEIGHTS)}\0{text}".encode()).hexdigest()
