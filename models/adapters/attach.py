"""Puts a LoRA adapter onto a loaded model: whole, or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from forklock.models.adapters.lora import check_fits, read_config
from forklock.models.catalogue.strict_loading import loader_faults
from forklock.models.catalogue.weights import base_tensors
from forklock.models.contract import ModelFault
from forklock.sandbox.commands.extras import install_hint


def attach_adapter(model: Any, folder: Path, *, base: Path | None, merge: bool) -> Any:
    """Put a PEFT LoRA onto `model`.

    Args:
        base: folder of the model's weights, to name what does not fit; None where they are not at hand.
        merge: fold it into the weights; False keeps it beside them.

    Raises:
        ModelFault: not a LoRA in safetensors, one of another base, or one that PEFT would take in part.
    """
    try:
        import peft
        from peft.tuners.lora import LoraLayer
    except ImportError as error:
        raise ModelFault("adapters need peft", fix=install_hint("local")) from error
    check_fits(folder, base_tensors(base) if base is not None else None)
    _require_known_settings(folder, read_config(folder), peft.LoraConfig)
    with loader_faults(f"The adapter in {folder} does not fit this model"):
        wrapped = peft.PeftModel.from_pretrained(model, str(folder), is_trainable=False)
        _require_taken_whole(folder, peft.get_peft_model_state_dict(wrapped))
        if not merge:
            return wrapped.base_model.model
        for module in wrapped.modules():
            if isinstance(module, LoraLayer):
                _merge_in_float32(module)
        return wrapped.unload()


def _require_known_settings(folder: Path, config: dict[str, Any], known: Any) -> None:
    """Refuse settings that PEFT does not know: it would drop them with a hidden warning."""
    for name, value in config.items():
        if value and name not in known.__dataclass_fields__:
            raise ModelFault(
                f"{folder / 'adapter_config.json'}: this PEFT does not know the setting {name[:80]!r}.",
                fix="Upgrade it: pip install --upgrade peft",
            )


def _require_taken_whole(folder: Path, taken: dict[str, Any]) -> None:
    """Check that PEFT took exactly the numbers that the file holds."""
    from safetensors.torch import load_file

    held = load_file(folder / "adapter_model.safetensors")
    for name in sorted(taken.keys() ^ held.keys()):
        what = "has no place in this model" if name in held else "is missing"
        raise ModelFault(f"The adapter in {folder} does not fit this model: the tensor {name!r} {what}.")
    for name, tensor in held.items():
        if taken[name].shape != tensor.shape or not bool((taken[name].cpu().float() == tensor.float()).all()):
            raise ModelFault(f"The adapter in {folder} was not taken as it is: the tensor {name!r} differs.")


def _merge_in_float32(layer: Any) -> None:
    weight = layer.get_base_layer().weight
    dtype = weight.dtype
    weight.data = weight.data.float()
    layer.merge(safe_merge=True)
    weight = layer.get_base_layer().weight
    weight.data = weight.data.to(dtype)
    if not bool(weight.data.isfinite().all()):
        raise ValueError("merged, the weights are not finite")
