"""Trains a LoRA: load, loop, save, in one file.

In: a folder of transformers weights, examples, a `TrainConfig`, the arm's loss. Out: a folder in PEFT's own format.
AdamW (0.9, 0.95), weight decay 0.1, cosine from the peak to a fifth of it, clipped gradients; the loss is
the mean over the *label tokens* of the whole batch, however it is split into micro-batches. Only the hidden states
that predict a label reach the output layer (`loss.py`). Checkpoints: `checkpoint.py`.
Not covered: more than one device, full fine-tuning, dropout (the paper uses none), gradient checkpointing.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forklock.models.catalogue.strict_loading import load_causal_lm
from forklock.models.contract import FirstStage, ModelFault
from forklock.sandbox.commands.extras import install_hint
from forklock.sandbox.files.atomic import put_folder_in_place
from forklock.selfdistill.contract import EXIT_INFRASTRUCTURE, RoundFault, TrainConfig
from forklock.selfdistill.data.dataset import Example, count_steps, plan_steps
from forklock.selfdistill.training.checkpoint import Position, load_checkpoint, save_checkpoint

if TYPE_CHECKING:
    from torch import Tensor, nn

LR_FLOOR = 0.2
"""The last step's learning rate as a share of the peak (the paper: 5e-6 to 1e-6)."""

Loss = Callable[["nn.Module", Sequence[Example], str], "Tensor"]
OnStep = Callable[[Position, int], None]
"""Called after each optimiser step with (position, total steps)."""
OnTokens = Callable[[int], None]
"""Called after each micro-batch with its number of real (unpadded) tokens."""


@dataclass(frozen=True)
class Job:
    """One training run."""

    weights: Path
    model_name: str
    """The base model that the adapter's config names."""
    examples: Sequence[Example]
    config: TrainConfig
    seed: int
    device: str
    checkpoints: Path
    out: Path
    """Folder to write. An older one is replaced."""
    loss: Loss
    """The arm's: the sum over the labels of some rows, given the model and the device."""
    resumed: Callable[[int], None] | None = None
    """Called with the step of the checkpoint that training resumes from."""


def train(job: Job, *, on_step: OnStep | None = None, on_tokens: OnTokens | None = None) -> Position:
    """Train, or resume from the last checkpoint, and write the adapter.

    Raises:
        ModelFault: an extra is missing, or the weights cannot be loaded or trained this way.
        RoundFault: the loss is not finite.
    """
    torch = _torch()
    model = _load(job)
    weights: dict[str, Tensor] = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(
        weights.values(),
        lr=job.config.lr,
        betas=(job.config.beta1, job.config.beta2),
        weight_decay=job.config.weight_decay,
        foreach=False,
    )
    key = _key(job)
    position = load_checkpoint(job.checkpoints, weights, optimizer, key)
    if position.step and job.resumed:
        job.resumed(position.step)
    total = count_steps(job.examples, job.config)
    steps = islice(plan_steps(job.examples, job.config, seed=job.seed), position.step, None)
    for batch in steps:
        began = time.monotonic()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(position.step, total, job.config.lr)
        loss, norm, labels = _step(model, weights, optimizer, batch, job, on_tokens)
        position.step += 1
        position.losses.append(loss)
        position.grad_norms.append(norm)
        position.label_tokens += labels
        position.seconds += time.monotonic() - began
        if position.step % job.config.checkpoint_every == 0 or position.step == total:
            save_checkpoint(job.checkpoints, position, weights, optimizer, key)
        if on_step:
            on_step(position, total)
    _save(model, job)
    return position


def learning_rate(step: int, total: int, peak: float) -> float:
    """Return the learning rate: a cosine from `peak` at step 0 to `LR_FLOOR * peak` at the last step."""
    progress = step / max(total - 1, 1)
    return peak * (LR_FLOOR + (1 - LR_FLOOR) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0))))


def _step(
    model: nn.Module,
    weights: dict[str, Tensor],
    optimizer: Any,
    batch: list[list[Example]],
    job: Job,
    on_tokens: OnTokens | None,
) -> tuple[float, float, int]:
    """Take one optimiser step. Return the mean loss per label token, the gradient norm before clipping, and the number
    of label tokens."""
    torch = _torch()
    labels = sum(example.labels for micro in batch for example in micro)
    optimizer.zero_grad(set_to_none=True)
    total = 0.0
    for micro in batch:
        loss = job.loss(model, micro, job.device)
        (loss / labels).backward()
        total += loss.item()
        if on_tokens:
            on_tokens(sum(len(example.input_ids) for example in micro))
    norm = torch.nn.utils.clip_grad_norm_(weights.values(), job.config.clip, foreach=False).item()
    mean = total / labels
    if not (math.isfinite(mean) and math.isfinite(norm)):
        raise RoundFault(
            f"the loss is {mean}, the gradient's norm {norm}: training diverged",
            fix="lower --lr; the last checkpoint is kept",
            exit_code=EXIT_INFRASTRUCTURE,
        )
    optimizer.step()
    return mean, norm, labels


def loss_sum(model: nn.Module, micro: Sequence[Example], device: str) -> Tensor:
    """Return the summed negative log-likelihood of the labels of these rows, in nats: the loss of most arms."""
    from forklock.selfdistill.training.loss import cross_entropy_sum

    ids, attention, targets = collate(micro, device)
    predicts = targets != IGNORED
    head = output_layer(model)
    hidden = hidden_states(model, ids, attention)[predicts]
    return cross_entropy_sum(hidden, head.weight, targets[predicts], bias=head.bias)


def soft_loss_sum(model: nn.Module, micro: Sequence[Example], device: str, cut: FirstStage) -> Tensor:
    """Return the summed divergence KL(teacher || student) at the labels of these rows, in nats.

    The teacher is the model without its LoRA, after the truncation `cut`. The sampled tokens are the context only.
    """
    from forklock.selfdistill.training.loss import cross_entropy_sum, truncated_targets

    torch = _torch()
    ids, attention, targets = collate(micro, device)
    predicts = targets != IGNORED
    head = output_layer(model)
    with torch.no_grad(), model.disable_adapter():  # type: ignore[operator]
        teacher = hidden_states(model, ids, attention)[predicts]
    goal = truncated_targets(teacher, head.weight, cut, bias=head.bias)
    hidden = hidden_states(model, ids, attention)[predicts]
    return cross_entropy_sum(hidden, head.weight, goal, bias=head.bias) - goal.entropy_sum()


def hidden_states(model: nn.Module, input_ids: Tensor, attention: Tensor) -> Tensor:
    """Return the last hidden states of a PEFT model, (rows, length, width)."""
    decoder = model.get_base_model().get_decoder()  # type: ignore[operator]
    states: Tensor = decoder(input_ids=input_ids, attention_mask=attention, use_cache=False).last_hidden_state
    return states


def output_layer(model: nn.Module) -> Any:
    """Return the (frozen) layer that makes logits of hidden states."""
    return model.get_base_model().get_output_embeddings()  # type: ignore[operator]


IGNORED = -100


def collate(micro: Sequence[Example], device: str) -> tuple[Tensor, Tensor, Tensor]:
    """Return input ids, attention mask and targets, each of shape (rows, length).

    The target of position t is token t+1 if that is a label, else `IGNORED`. Padding is on the right."""
    torch = _torch()
    rows, length = len(micro), max(len(example.input_ids) for example in micro)
    input_ids = torch.zeros((rows, length), dtype=torch.long)
    attention = torch.zeros((rows, length), dtype=torch.long)
    targets = torch.full((rows, length), IGNORED, dtype=torch.long)
    for row, example in enumerate(micro):
        ids = torch.tensor(example.input_ids)
        input_ids[row, : len(ids)] = ids
        attention[row, : len(ids)] = 1
        first = max(example.labels_from, 1)
        targets[row, first - 1 : len(ids) - 1] = ids[first:]
    return input_ids.to(device), attention.to(device), targets.to(device)


def _load(job: Job) -> nn.Module:
    """Load the frozen base in its own precision, with a new fp32 LoRA on every linear layer but the head."""
    torch = _torch()
    try:
        from peft import LoraConfig, get_peft_model
        from transformers.utils import logging
    except ImportError as error:
        raise _missing_extra(error) from error
    logging.disable_progress_bar()
    base = load_causal_lm(job.weights, dtype="auto")
    _refuse_unknown_head(base.config)
    torch.manual_seed(job.seed)
    lora = LoraConfig(
        r=job.config.rank,
        lora_alpha=job.config.alpha,
        lora_dropout=0.0,
        target_modules="all-linear",
        bias="none",
        task_type="CAUSAL_LM",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PEFT reads a name that transformers renames
        model: nn.Module = get_peft_model(base, lora).to(job.device)
    # Without dropout, train mode changes nothing; outside it, some models warn or drop caches.
    return model.train()


def _refuse_unknown_head(config: Any) -> None:
    """Reject models whose head reshapes logits: `loss.py` computes the logits of a plain linear head."""
    for name in ("final_logit_softcapping", "logit_scale", "logits_scaling"):
        if getattr(config, name, None) not in (None, 1, 1.0):
            raise ModelFault(
                f"this model's output layer uses {name}, which training does not support",
                fix="use a model with a plain output layer (Qwen, Llama, SmolLM)",
            )


def _save(model: nn.Module, job: Job) -> None:
    """Write PEFT's files and rename the folder into place. The same weights give the same bytes."""
    temporary = job.out.with_name(f".{job.out.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    model.save_pretrained(temporary, safe_serialization=True)  # type: ignore[operator]
    (temporary / "README.md").unlink(missing_ok=True)
    config_path = temporary / "adapter_config.json"
    config = json.loads(config_path.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = job.model_name
    config["target_modules"] = sorted(config["target_modules"])
    config_path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    put_folder_in_place(temporary, job.out)


def _key(job: Job) -> str:
    """Return the key of a checkpoint: a digest of data, settings, base and seed."""
    digest = hashlib.sha256()
    digest.update(f"{job.model_name}\0{job.seed}\0{job.config.model_dump_json()}".encode())
    for example in job.examples:
        digest.update(example.model_dump_json().encode())
    return digest.hexdigest()


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise _missing_extra(error) from error
    return torch


def _missing_extra(error: ImportError) -> ModelFault:
    return ModelFault(f"training needs {error.name}, which is not installed", fix=install_hint("local"))
