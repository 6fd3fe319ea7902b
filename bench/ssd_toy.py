"""Why self-distillation can help: a toy of one fork and three locks, computed exactly and trained for real.

A root chooses between a way that can succeed and distractors. A fork then has several good ways on, and a
tail of bad ones; success needs one of the ways that this task wants, and the teacher ranks it low. Three
locks follow, each with one right token and a tail. One global decoding must serve fork and locks: a low
temperature loses the fork, a high one loses the locks. The student is a softmax table trained by gradient
descent on the teacher's own truncated samples, with no correctness signal, then decoded again.

The shape is the toy of arXiv 2604.01193; the logits are ours, so the figures are not the paper's (8.32 % to
13.77 %). Run: python bench/ssd_toy.py
"""

from __future__ import annotations

import torch
from torch import Tensor

from forklock.models.contract import Decoding
from forklock.models.transformers_engine.sampling import truncated

NODES = {
    # logits; ids of tokens that lead on to success
    "root": ([3.0] + [0.5] * 9, [0]),
    "fork": ([1.6, 1.4, 1.2, 1.0] + [-0.8] * 16, [2, 3]),
    "lock 1": ([3.2] + [0.4] * 19, [0]),
    "lock 2": ([3.0] + [0.4] * 19, [0]),
    "lock 3": ([3.4] + [0.4] * 19, [0]),
}
TRAIN = Decoding(temperature=0.9, top_p=0.85)
EVAL_TOP_P = 0.8
TEMPERATURES = [round(0.1 * step, 1) for step in range(2, 21)]
SAMPLES, STEPS = 20_000, 400


def success(tables: dict[str, Tensor], temperature: float) -> float:
    """Exact chance that every node's token leads on."""
    chance = 1.0
    decoding = Decoding(temperature=temperature, top_p=EVAL_TOP_P)
    for name, (_, good) in NODES.items():
        chance *= truncated(tables[name][None], decoding)[0, good].sum().item()
    return chance


def distil(teacher: dict[str, Tensor], decoding: Decoding) -> dict[str, Tensor]:
    """Fit a table per node to raw samples of the teacher by cross-entropy, starting from the teacher."""
    student = {}
    for name, logits in teacher.items():
        drawn = torch.multinomial(truncated(logits[None], decoding)[0].float(), SAMPLES, replacement=True)
        share = torch.bincount(drawn, minlength=len(logits)).float() / SAMPLES
        table = logits.clone().requires_grad_()
        optimizer = torch.optim.Adam([table], lr=0.05)
        for _ in range(STEPS):
            optimizer.zero_grad()
            (-(share * table.log_softmax(-1)).sum()).backward()
            optimizer.step()
        student[name] = table.detach()
    return student


def best(tables: dict[str, Tensor]) -> tuple[float, float]:
    """(success, temperature) of the best global temperature."""
    return max((success(tables, temperature), temperature) for temperature in TEMPERATURES)


def main() -> None:
    torch.manual_seed(0)
    teacher = {name: torch.tensor(logits) for name, (logits, _) in NODES.items()}
    rows = {
        "teacher": teacher,
        f"student, T {TRAIN.temperature} / top-p {TRAIN.top_p}": distil(teacher, TRAIN),
        "placebo, T 1.0 / no truncation": distil(teacher, Decoding(temperature=1.0)),
    }
    base, _ = best(teacher)
    print(f"{'model':36} {'best success':>12} {'at T':>6} {'ratio':>6} {'at T 1.0':>9}")
    for name, tables in rows.items():
        chance, temperature = best(tables)
        row = f"{chance:12.2%} {temperature:6.1f} {chance / base:6.2f} {success(tables, 1.0):9.2%}"
        print(f"{name:36} {row}")


if __name__ == "__main__":
    main()
