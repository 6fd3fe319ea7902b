"""Writes and reads exact training checkpoints without pickle: tensors as safetensors, the rest as JSON.

A checkpoint is a folder that is renamed into place, so it is whole or absent. It holds the adapter, both of Adam's
moments, the random state and the position. The schedule and the order of the data are functions of the position. A run
resumed from a checkpoint takes the same steps as one that was never interrupted, bit for bit on CPU.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from forklock.sandbox.files.atomic import put_folder_in_place, write_atomic
from forklock.sandbox.files.reading import parse_json
from forklock.selfdistill.store import file_digest


@dataclass
class Position:
    """How far training has come."""

    step: int = 0
    """Number of optimiser steps taken."""
    losses: list[float] = field(default_factory=list)
    """Mean loss per label token of each step, nats."""
    grad_norms: list[float] = field(default_factory=list)
    label_tokens: int = 0
    seconds: float = 0.0
    """Wall-clock seconds of training so far, summed over all resumes."""


def save_checkpoint(
    folder: Path, position: Position, weights: dict[str, Tensor], optimizer: torch.optim.Optimizer, key: str
) -> None:
    """Write `folder/<step>`, then remove older checkpoints. `key` names the data and settings that it belongs to."""
    target = folder / f"{position.step:06d}"
    temporary = folder / f".{target.name}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    tensors = {f"weight/{name}": weight.detach().cpu().contiguous() for name, weight in weights.items()}
    for name, weight in weights.items():
        state = optimizer.state[weight]
        for moment in ("exp_avg", "exp_avg_sq"):
            tensors[f"{moment}/{name}"] = state[moment].detach().cpu().contiguous()
    tensors["random/cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["random/cuda"] = torch.cuda.get_rng_state()
    save_file(tensors, temporary / "state.safetensors")
    state_json = {
        "key": key,
        "tensors": file_digest(temporary / "state.safetensors"),
        "position": asdict(position),
    }
    write_atomic(temporary / "state.json", json.dumps(state_json))
    put_folder_in_place(temporary, target)
    for old in folder.iterdir():
        if old != target:
            shutil.rmtree(old, ignore_errors=True)


def load_checkpoint(
    folder: Path, weights: dict[str, Tensor], optimizer: torch.optim.Optimizer, key: str
) -> Position:
    """Restore the newest intact checkpoint that belongs to `key`. Without one, return position 0."""
    for path in sorted(folder.glob("[0-9]*"), reverse=True):
        try:
            state = parse_json((path / "state.json").read_bytes(), finite=False)  # a loss may be NaN
            whole = state["key"] == key and state["tensors"] == file_digest(path / "state.safetensors")
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue
        if not whole:
            continue
        try:
            position = Position(**state["position"])
            tensors = load_file(path / "state.safetensors")
        except (OSError, TypeError, SafetensorError):
            continue
        if _fits(tensors, weights):
            _restore(tensors, weights, optimizer, position.step)
            return position
    return Position()


def _fits(tensors: dict[str, Tensor], weights: dict[str, Tensor]) -> bool:
    """Return whether a checkpoint holds exactly the weights and both of their moments, in their shapes, all finite."""
    wanted = {f"{kind}/{name}" for name in weights for kind in ("weight", "exp_avg", "exp_avg_sq")}
    held = {name for name in tensors if not name.startswith("random/")}
    return (
        held == wanted
        and "random/cpu" in tensors
        and all(tensors[name].shape == weights[name.partition("/")[2]].shape for name in wanted)
        and all(bool(tensors[name].isfinite().all()) for name in wanted)
    )


def _restore(
    tensors: dict[str, Tensor], weights: dict[str, Tensor], optimizer: torch.optim.Optimizer, step: int
) -> None:
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(tensors[f"weight/{name}"])
            optimizer.state[weight] = {
                "step": torch.tensor(float(step)),
                "exp_avg": tensors[f"exp_avg/{name}"].to(weight.device),
                "exp_avg_sq": tensors[f"exp_avg_sq/{name}"].to(weight.device),
            }
    torch.set_rng_state(tensors["random/cpu"])
    if "random/cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["random/cuda"])
