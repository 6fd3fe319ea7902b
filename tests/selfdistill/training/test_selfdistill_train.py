"""Training: the right tokens, the right loss, and checkpoints that are exact."""

from __future__ import annotations

import random
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs the `local` extra")

from safetensors.torch import load_file  # noqa: E402

from forklock.selfdistill.contract import RoundFault, TrainConfig  # noqa: E402
from forklock.selfdistill.data.dataset import Example, count_steps, plan_steps  # noqa: E402
from forklock.selfdistill.training.checkpoint import Position  # noqa: E402
from forklock.selfdistill.training.train import IGNORED, Job, _load, collate, learning_rate, loss_sum, train  # noqa: E402

CONFIG = TrainConfig(rank=4, alpha=8, lr=5e-3, batch_size=4, micro_tokens=64, epochs=2, checkpoint_every=2)


def examples(count: int = 14) -> list[Example]:
    draw = random.Random(3)
    return [
        Example(
            prompt_id=f"p{i}",
            input_ids=tuple(draw.randrange(250) for _ in range(prompt + draw.randint(1, 25))),
            labels_from=prompt,
        )
        for i, prompt in enumerate(draw.randint(1, 12) for _ in range(count))
    ]


def job(tiny_weights: Path, folder: Path) -> Job:
    return Job(
        weights=tiny_weights,
        model_name="tiny",
        examples=examples(),
        config=CONFIG,
        seed=1,
        device="cpu",
        checkpoints=folder / "checkpoints",
        out=folder / "adapter",
        loss=loss_sum,
    )


@dataclass(frozen=True)
class Whole:
    """A training run that was never interrupted. Copied, not changed."""

    folder: Path
    position: Position


@pytest.fixture(scope="module")
def whole(tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = tmp_path_factory.mktemp("whole")
    return Whole(folder, train(job(tiny_weights, folder)))


def test_targets_are_exactly_the_completion() -> None:
    rows = [
        Example(prompt_id="a", input_ids=(5, 6, 7, 8, 9), labels_from=3),
        Example(prompt_id="b", input_ids=(1, 2), labels_from=1),
    ]
    ids, attention, targets = collate(rows, "cpu")
    assert ids.tolist() == [[5, 6, 7, 8, 9], [1, 2, 0, 0, 0]]
    assert attention.sum(1).tolist() == [5, 2]
    x = IGNORED
    assert targets.tolist() == [[x, x, 8, 9, x], [2, x, x, x, x]]


def test_loss_is_the_models_own_on_masked_labels(tiny_weights: Path, tmp_path: Path) -> None:
    """Against transformers' own loss, row by row, so padding cannot leak either."""
    model = _load(job(tiny_weights, tmp_path))
    rows = examples(5)
    expected = 0.0
    for row in rows:
        ids = torch.tensor([row.input_ids])
        labels = ids.clone()
        labels[0, : row.labels_from] = IGNORED
        expected += model(input_ids=ids, labels=labels).loss.item() * row.labels
    assert loss_sum(model, rows, "cpu").item() == pytest.approx(expected, rel=1e-4)


def test_how_a_batch_is_cut_changes_nothing(tiny_weights: Path, tmp_path: Path) -> None:
    base = job(tiny_weights, tmp_path)
    fine = train(replace(base, config=CONFIG.model_copy(update={"micro_tokens": 16}), out=tmp_path / "a"))
    wide = train(
        replace(
            base,
            config=CONFIG.model_copy(update={"micro_tokens": 4096}),
            out=tmp_path / "b",
            checkpoints=tmp_path / "other",
        )
    )
    assert fine.losses == pytest.approx(wide.losses, rel=1e-3)


def test_loss_falls_and_only_the_adapter_is_written(tiny_weights: Path, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"steps": 60, "lr": 5e-2, "rank": 8})
    one = [Example(prompt_id="p", input_ids=(1, 2, *[7] * 12), labels_from=2)]
    position = train(replace(job(tiny_weights, tmp_path), config=config, examples=one))
    # Random weights of scale 0.02 leave logits little room; a tenth of a nat is a clear fall here.
    assert position.losses[-1] < position.losses[0] - 0.1
    assert sorted(p.name for p in (tmp_path / "adapter").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    assert all(
        t.dtype == torch.float32 for t in load_file(tmp_path / "adapter/adapter_model.safetensors").values()
    )


class Killed(Exception):
    pass


@pytest.mark.parametrize("die_at", [1, 2, 3, 5, 7])
def test_resumed_equals_uninterrupted_bit_for_bit(
    tiny_weights: Path, tmp_path: Path, whole: Whole, die_at: int
) -> None:
    broken = job(tiny_weights, tmp_path / "broken")

    def die(position: object, _total: int) -> None:
        if position.step == die_at:  # type: ignore[attr-defined]
            raise Killed

    with pytest.raises(Killed):
        train(broken, on_step=die)
    found: list[int] = []
    got = train(replace(broken, resumed=found.append))

    assert found == ([die_at // 2 * 2] if die_at >= 2 else [])
    assert got.losses == whole.position.losses
    name = "adapter/adapter_model.safetensors"
    assert (tmp_path / "broken" / name).read_bytes() == (whole.folder / name).read_bytes()


def test_a_damaged_or_foreign_checkpoint_is_not_used(
    tiny_weights: Path, tmp_path: Path, whole: Whole
) -> None:
    base = job(tiny_weights, tmp_path)
    shutil.copytree(whole.folder / "checkpoints", base.checkpoints)
    found: list[int] = []
    train(replace(base, seed=2, resumed=found.append))
    state = next((tmp_path / "checkpoints").glob("*/state.safetensors"))
    state.write_bytes(state.read_bytes()[:-3] + b"xyz")
    train(replace(base, seed=2, resumed=found.append))
    assert found == []


def test_plan_covers_each_epoch_once_and_respects_the_budget() -> None:
    rows = examples(11)
    steps = list(plan_steps(rows, CONFIG, seed=0))
    assert len(steps) == count_steps(rows, CONFIG) == 6
    for half in (steps[:3], steps[3:]):
        assert sorted(e.prompt_id for s in half for m in s for e in m) == sorted(e.prompt_id for e in rows)
    for micro in (m for s in steps for m in s):
        assert len(micro) == 1 or len(micro) * max(len(e.input_ids) for e in micro) <= CONFIG.micro_tokens
    capped = CONFIG.model_copy(update={"steps": 4})
    assert list(plan_steps(rows, capped, seed=0)) == steps[:4]


def test_zero_label_batch_is_an_error() -> None:
    empty = [Example(prompt_id="p", input_ids=(1, 2, 3), labels_from=3)] * 2
    with pytest.raises(RoundFault, match="without a single label"):
        next(plan_steps(empty, CONFIG, seed=0))


def test_schedule_ends() -> None:
    assert learning_rate(0, 10, 1.0) == 1.0
    assert learning_rate(9, 10, 1.0) == pytest.approx(0.2)
    assert learning_rate(0, 1, 1.0) == 1.0


@pytest.mark.hostile("weights")
@pytest.mark.parametrize("damage", ["drop", "rename", "reshape", "nan", "surplus"])
@pytest.mark.parametrize("kind", ["weight", "exp_avg", "exp_avg_sq"])
def test_a_checkpoint_with_a_wrong_tensor_is_not_resumed(
    tiny_weights: Path, tmp_path: Path, whole: Whole, kind: str, damage: str
) -> None:
    """Its own digest and key are right, as a program that writes checkpoints would leave them."""
    import json

    from safetensors.torch import save_file

    from forklock.selfdistill.store import file_digest
    from forklock.selfdistill.training.checkpoint import load_checkpoint
    from forklock.selfdistill.training.train import _key

    work = job(tiny_weights, tmp_path)
    shutil.copytree(whole.folder / "checkpoints", work.checkpoints)
    folder = next(work.checkpoints.glob("[0-9]*"))
    tensors = load_file(folder / "state.safetensors")
    name = next(name for name in sorted(tensors) if name.startswith(f"{kind}/"))
    if damage == "nan":
        tensors[name] = tensors[name] * torch.nan
    elif damage == "reshape":
        tensors[name] = tensors[name][:1].clone()
    elif damage == "surplus":
        tensors[f"{name}.x"] = tensors[name].clone()
    else:
        moved = tensors.pop(name)
        if damage == "rename":
            tensors[f"{name}.x"] = moved
    save_file(tensors, folder / "state.safetensors")
    state = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(
        json.dumps(state | {"tensors": file_digest(folder / "state.safetensors")})
    )
    weights = {n: p for n, p in _load(work).named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(weights.values())
    assert load_checkpoint(work.checkpoints, weights, optimizer, _key(work)).step == 0
