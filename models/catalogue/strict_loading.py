"""Loads weights whole or not at all: what a loader would initialise at random, skip or convert is a fault.

In: a folder of weights, or what transformers and PEFT say of a load. Out: nothing, or a fault that names the tensor.
Shared by the in-process engine, by training, by the conversion of GGUF files and by servers that we start.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from forklock.models.catalogue.weights import check_weights, safetensors_files
from forklock.models.contract import ModelFault

FIX = "Remove it and get it again: `agent models remove NAME`, `agent models pull NAME`."
_STRICTLY: Mapping[str, Any] = {
    "use_safetensors": True,
    "trust_remote_code": False,
    "local_files_only": True,
    "output_loading_info": True,
    "ignore_mismatched_sizes": True,  # `require_exact` names them
}


def load_causal_lm(folder: Path, **options: Any) -> Any:
    """`AutoModelForCausalLM.from_pretrained` of safetensors and no code, strictly.

    Raises:
        ModelFault: missing, surplus, misshapen or damaged tensors, NaN, or whatever else the loader stumbles over.
    """
    import transformers

    try:
        check_weights(folder)
    except ModelFault as fault:
        message = f"The model in {folder} cannot be loaded: {fault.message}"
        raise ModelFault(message, fix=fault.fix or FIX) from None
    with loader_faults(f"The model in {folder} cannot be loaded"):
        model, info = transformers.AutoModelForCausalLM.from_pretrained(folder, **_STRICTLY, **options)
    require_exact(folder, info)
    require_finite_model(folder, model)
    return model


def require_exact(source: Path, info: dict[str, Any]) -> None:
    """
    Args:
        info: what `output_loading_info` gives; names that the model's class declares are left out of it.

    Raises:
        ModelFault: a tensor is missing, surplus or of another shape.
    """
    for key, what in (
        ("missing_keys", "lacks"),
        ("mismatched_keys", "has in another shape"),
        ("unexpected_keys", "has, and the model does not know,"),
    ):
        names = sorted(str(entry[0] if isinstance(entry, tuple) else entry) for entry in info.get(key) or ())
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            listed = ", ".join(map(repr, names[:3]))
            raise ModelFault(f"The model in {source} {what} the tensor {listed}{more}.", fix=FIX)
    errors = info.get("error_msgs") or info.get("conversion_errors")
    if errors:
        raise ModelFault(f"The model in {source} cannot be loaded: {str(errors)[:300]}", fix=FIX)


def require_finite_model(source: Path, model: Any) -> None:
    """
    Raises:
        ModelFault: a parameter holds NaN or infinity.
    """
    for name, parameter in model.named_parameters():
        if parameter.device.type == "meta":
            raise ModelFault(f"The model in {source} lacks the tensor {name!r}.", fix=FIX)
        if parameter.is_floating_point() and not bool(parameter.isfinite().all()):
            raise ModelFault(f"The model in {source} holds NaN or infinity in the tensor {name!r}.", fix=FIX)


def check_loads(folder: Path) -> None:
    """Check that a folder would load exactly, without loading it: for servers that load it themselves.

    Raises:
        ModelFault: as `load_causal_lm`; models that transformers does not know are left to the server.
    """
    from forklock.models.catalogue.safetensors_header import read_tensors, require_finite

    check_weights(folder)
    for path in safetensors_files(folder):
        require_finite(path, read_tensors(path).values())
    try:
        import transformers
        from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as KNOWN
    except ImportError:
        return
    with loader_faults(f"The model in {folder} cannot be loaded"):
        config = transformers.AutoConfig.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        )
        if config.model_type not in KNOWN or getattr(config, "quantization_config", None):
            return
        _, info = transformers.AutoModelForCausalLM.from_pretrained(folder, device_map="meta", **_STRICTLY)
    require_exact(folder, info)


@contextmanager
def loader_faults(what: str) -> Iterator[None]:
    """Turn what loaders raise on a damaged file (OSError, SafetensorError, KeyError, ...) into a fault."""
    try:
        yield
    except ModelFault:
        raise
    except Exception as error:
        line = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        raise ModelFault(f"{what}: {line}", fix=FIX) from error
