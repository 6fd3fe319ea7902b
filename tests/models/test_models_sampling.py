"""The sampler draws from the truncated distribution that the contract names, and from nothing else."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="the `local` extra is not installed")

from scipy.stats import chisquare  # noqa: E402

from models.contract import Decoding  # noqa: E402
from models.sampling import row_uniforms, sample, top_values, truncated  # noqa: E402

DRAWS = 40_000
SETTINGS = [
    Decoding(temperature=1.0),
    Decoding(temperature=1.6, top_k=20, top_p=0.8),
    Decoding(temperature=0.7, top_p=0.9),
    Decoding(temperature=1.3, top_k=7),
    Decoding(temperature=1.0, min_p=0.05),
    Decoding(temperature=2.0, top_k=30, top_p=0.95, min_p=0.1),
    Decoding(temperature=1.0, top_p=0.9, min_p=0.2),
]


def by_hand(logits: list[float], decoding: Decoding) -> list[float]:
    """The contract's words in plain Python: temperature, top-k, top-p over survivors, min-p."""
    order = sorted(range(len(logits)), key=lambda i: -logits[i])
    order = order[: decoding.top_k or len(order)]
    raw = {i: math.exp(logits[i] / decoding.temperature) for i in order}
    whole = sum(raw.values())
    chances = {i: value / whole for i, value in raw.items()}
    kept, mass = {}, 0.0
    for i in order:
        if mass >= decoding.top_p:
            break
        kept[i] = chances[i]
        mass += chances[i]
    most = max(kept.values())
    kept = {i: chance for i, chance in kept.items() if chance >= decoding.min_p * most}
    total = sum(kept.values())
    return [kept.get(i, 0.0) / total for i in range(len(logits))]


def logits_of(size: int, seed: int = 0, spread: float = 2.0):
    return torch.randn(1, size, generator=torch.Generator().manual_seed(seed)) * spread


@pytest.mark.parametrize("decoding", SETTINGS, ids=str)
@pytest.mark.parametrize("size", [50, 3000])
def test_frequencies_match_the_distribution(decoding: Decoding, size: int) -> None:
    logits = logits_of(size)
    chances = torch.tensor(by_hand(logits[0].tolist(), decoding), dtype=torch.float64)
    uniforms = torch.rand(DRAWS, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    ids, _ = sample(logits, decoding, uniforms)
    counts = torch.bincount(ids, minlength=size).double()
    assert counts[chances == 0].sum() == 0, "a token that is cut off was drawn"
    common = chances * DRAWS >= 5
    seen = [*counts[common].tolist(), counts[~common].sum().item()]
    expected = [*(chances[common] * DRAWS).tolist(), (chances[~common].sum() * DRAWS).item()]
    if expected[-1] < 1e-9:
        seen, expected = seen[:-1], expected[:-1]
    if len(seen) > 1:
        scale = sum(seen) / sum(expected)
        assert chisquare(seen, [e * scale for e in expected]).pvalue > 1e-4


@pytest.mark.parametrize("decoding", SETTINGS, ids=str)
def test_dense_distribution_matches_the_contract(decoding: Decoding) -> None:
    logits = logits_of(300, seed=3)
    expected = torch.tensor([by_hand(logits[0].tolist(), decoding)], dtype=torch.float64)
    torch.testing.assert_close(truncated(logits, decoding), expected, rtol=1e-6, atol=1e-9)


@given(st.integers(0, 10_000), st.floats(0, 0.999999), st.sampled_from(SETTINGS), st.sampled_from([40, 5000]))
@settings(max_examples=60, deadline=None)
def test_one_row_alone_and_in_a_batch_agree(seed: int, number: float, decoding: Decoding, size: int) -> None:
    logits = torch.cat([logits_of(size, seed), logits_of(size, seed + 1, spread=0.1)])
    numbers = torch.tensor([number, 0.5], dtype=torch.float64)
    together, logprobs = sample(logits, decoding, numbers)
    alone, logprob = sample(logits[:1], decoding, numbers[:1])
    assert together[0] == alone[0]
    assert truncated(logits[:1], decoding)[0, alone[0]] > 0
    torch.testing.assert_close(logprobs[:1], logprob)


@pytest.mark.parametrize("number", [0.0, 1 - 2**-53])
@pytest.mark.parametrize("decoding", SETTINGS, ids=str)
def test_extreme_random_numbers_stay_inside(decoding: Decoding, number: float) -> None:
    logits = logits_of(3000)
    logits[:, ::3] = -torch.inf
    ids, logprobs = sample(logits, decoding, torch.tensor([number], dtype=torch.float64))
    assert truncated(logits, decoding)[0, ids[0]] > 0
    assert torch.isfinite(logprobs).all()


def test_log_probabilities_are_at_temperature_one_and_whole() -> None:
    logits = logits_of(500)
    ids, logprobs = sample(logits, Decoding(temperature=0.3, top_k=3), torch.tensor([0.9]).double())
    assert logprobs[0] == pytest.approx(logits.log_softmax(-1)[0, ids[0]].item(), abs=1e-5)


def test_greedy_takes_the_largest() -> None:
    logits = logits_of(500).repeat(3, 1)
    ids, _ = sample(logits, Decoding(temperature=0), None)
    assert ids.tolist() == [int(logits[0].argmax())] * 3


@given(st.integers(1, 64), st.integers(0, 1000), st.sampled_from([100, 20_000, 20_001]))
@settings(max_examples=40, deadline=None)
def test_blocked_top_k_is_top_k(k: int, seed: int, size: int) -> None:
    rows = torch.cat([logits_of(size, seed), logits_of(size, seed + 1)])
    values, ids = top_values(rows, k)
    torch.testing.assert_close(values, rows.topk(min(k, size), dim=-1).values)
    torch.testing.assert_close(rows.gather(-1, ids), values)


def test_random_numbers_belong_to_a_sample() -> None:
    assert row_uniforms(1, 2, 3, 5) == row_uniforms(1, 2, 3, 9)[:5]
    different = {
        row_uniforms(*key, 1)[0] for key in [(1, 2, 3), (1, 3, 2), (2, 2, 3), (12, 3, 3), (1, 23, 3)]
    }
    assert len(different) == 5
    assert row_uniforms(None, 0, 0, 1) != row_uniforms(None, 0, 0, 1)
