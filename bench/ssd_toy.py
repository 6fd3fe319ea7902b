"""The toy model of the SSD paper (arXiv 2604.01193): why training on one's own truncated samples can help.

One root, one fork and three locks over 16 tokens. The root leads on with two of its tokens. The fork has several good
ways on, and this task needs the one that the teacher ranks second. Each lock has one right token and a tail. One
global decoding must serve all five positions: a low temperature loses root and fork, a high one loses the locks.
A student is trained on the teacher's samples (temperature 0.9, top-p 0.85), with no signal of what is right, and then
both are decoded at their best temperature with top-p 0.8. The paper: teacher 8.32 %, student 13.77 %.

Run: python bench/ssd_toy.py
"""

from __future__ import annotations

import torch
from torch import Tensor

from forklock.models.contract import Decoding
from forklock.models.engines.transformers_engine.sampling import truncated

TOKENS = 16
HEADS = {
    # Probabilities of the first tokens; the others are a geometric tail of ratio 1/2. Then: how often the position
    # occurs, and the tokens that lead on.
    "root": ((0.2, 0.19, 0.329, 0.126), 1, (0, 1)),
    "fork": ((0.148, 0.28, 0.14, 0.144), 1, (0,)),
    "lock": ((0.75, 0.055, 0.05, 0.037), 3, (0,)),
}
TRAIN = Decoding(temperature=0.9, top_p=0.85)
EVAL_TOP_P = 0.8
SAMPLES, STEPS = 200_000, 3_000

Tables = dict[str, Tensor]
"""Logits of each position, by name."""


def teacher() -> Tables:
    """Return the logits of the paper's heads."""
    tables = {}
    for name, (first, _, _) in HEADS.items():
        tail = torch.tensor([0.5**rank for rank in range(TOKENS - len(first))], dtype=torch.float64)
        rest = (1 - sum(first)) * tail / tail.sum()
        tables[name] = torch.cat([torch.tensor(first, dtype=torch.float64), rest]).log()
    return tables


def success(tables: Tables, temperature: float) -> float:
    """Return the exact chance that every position's token leads on."""
    chance = 1.0
    decoding = Decoding(temperature=temperature, top_p=EVAL_TOP_P)
    for name, (_, count, good) in HEADS.items():
        chance *= truncated(tables[name][None], decoding)[0, list(good)].sum().item() ** count
    return chance


def best(tables: Tables, *, step: float = 0.01) -> tuple[float, float]:
    """Return (success, temperature) at the best global temperature between 0.2 and 3."""
    return max((success(tables, 0.2 + step * n), 0.2 + step * n) for n in range(round(2.8 / step) + 1))


def ideal(tables: Tables, decoding: Decoding) -> Tables:
    """Return a student that fits the teacher's truncated distribution exactly."""
    return {name: truncated(logits[None], decoding)[0].log() for name, logits in tables.items()}


def trained(tables: Tables, decoding: Decoding, *, seed: int = 0) -> Tables:
    """Return a student that gradient descent fits to raw samples of the teacher by cross-entropy, from the teacher."""
    random = torch.Generator().manual_seed(seed)
    student = {}
    for name, logits in tables.items():
        drawn = torch.multinomial(
            truncated(logits[None], decoding)[0], SAMPLES, replacement=True, generator=random
        )
        share = torch.bincount(drawn, minlength=len(logits)) / SAMPLES
        table = logits.clone().requires_grad_()
        optimizer = torch.optim.Adam([table], lr=0.02)
        for _ in range(STEPS):
            optimizer.zero_grad()
            (-(share * table.log_softmax(-1)).sum()).backward()
            optimizer.step()
        student[name] = table.detach()
    return student


def main() -> None:
    rows = {
        "teacher": teacher(),
        "student, exact fit": ideal(teacher(), TRAIN),
        "student, trained on samples": trained(teacher(), TRAIN),
        "placebo (T 1, nothing cut off)": trained(teacher(), Decoding(temperature=1.0)),
    }
    print(f"{'model':32} {'best success':>12} {'at T':>6}")
    for name, tables in rows.items():
        chance, temperature = best(tables)
        print(f"{name:32} {chance:12.2%} {temperature:6.2f}")


if __name__ == "__main__":
    main()
