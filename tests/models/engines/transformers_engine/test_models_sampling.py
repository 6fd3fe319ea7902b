"""The sampler draws from the truncated distribution that the contract names, and from nothing else."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="the `local` extra is not installed")

from scipy.stats import chisquare  # noqa: E402

from forklock.models.contract import Decoding, FirstStage, Request  # noqa: E402
from forklock.models.engines.transformers_engine.sampling import (  # noqa: E402
    row_uniforms,
    sample,
    survivors,
    top_values,
    truncated,
)

DRAWS = 40_000
SETTINGS = [
    Decoding(temperature=1.0),
    Decoding(temperature=1.6, top_k=20, top_p=0.8),
    Decoding(temperature=0.7, top_p=0.9),
    Decoding(temperature=1.3, top_k=7),
    Decoding(temperature=1.0, min_p=0.05),
    Decoding(temperature=2.0, top_k=30, top_p=0.95, min_p=0.1),
    Decoding(temperature=1.0, top_p=0.9, min_p=0.2),
    # Virtual SSD: first stages with top-k, with top-p alone (head and whole vocabulary), and that cut nothing.
    Decoding(temperature=1.1, top_k=20, top_p=0.8, virtual_ssd=FirstStage.parse("1.6/20/0.8")),
    Decoding(temperature=0.7, top_p=0.9, virtual_ssd=FirstStage.parse("1.2/30/0.95")),
    Decoding(temperature=2.0, top_k=5, min_p=0.05, virtual_ssd=FirstStage.parse("0.8/0/0.9")),
    Decoding(temperature=0.5, virtual_ssd=FirstStage.parse("4/0/0.97")),
    Decoding(temperature=0.6, top_k=9, top_p=0.9, virtual_ssd=FirstStage.parse("1.6/0/1")),
]


def by_hand(logits: list[float], decoding: Decoding) -> list[float]:
    """The contract's words in plain Python. Two stages are one after the other, and the second sees nothing
    of the model but the probabilities that the first gave."""
    train = decoding.virtual_ssd
    if train is not None:
        first = Decoding(temperature=train.temperature, top_k=train.top_k, top_p=train.top_p)
        logits = [math.log(p) if p else -math.inf for p in by_hand(logits, first)]
    return one_stage(logits, decoding)


def one_stage(logits: list[float], decoding: Decoding) -> list[float]:
    """Temperature, top-k, top-p over survivors, min-p."""
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
@settings(max_examples=60)
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
@settings(max_examples=40)
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


@given(
    st.lists(st.floats(-12, 12), min_size=2, max_size=60, unique=True),
    st.builds(FirstStage, temperature=st.floats(0.2, 3), top_k=st.integers(0, 30), top_p=st.floats(0.05, 1)),
    st.builds(
        Decoding,
        temperature=st.floats(0.2, 3),
        top_k=st.integers(0, 30),
        top_p=st.floats(0.05, 1),
        min_p=st.floats(0, 0.5),
    ),
)
@settings(max_examples=150)
def test_virtual_ssd_is_one_stage_after_the_other(
    logits: list[float], train: FirstStage, decoding: Decoding
) -> None:
    """Dense distribution and quantiles of the sampler against the definition in plain Python."""
    both = decoding.model_copy(update={"virtual_ssd": train})
    expected = by_hand(logits, both)
    row = torch.tensor([logits], dtype=torch.float64)
    found = truncated(row, both)[0]
    assert found.sum().item() == pytest.approx(1)
    if _is_near_a_cut(logits, train, decoding):
        return
    assert found.tolist() == pytest.approx(expected, rel=1e-6, abs=1e-9)
    uniforms = (torch.arange(50, dtype=torch.float64) + 0.5) / 50
    drawn, _ = sample(row.expand(50, -1), both, uniforms)
    order = sorted(range(len(logits)), key=lambda i: -logits[i])
    for number, token in zip(uniforms.tolist(), drawn.tolist(), strict=True):
        before = sum(expected[i] for i in order[: order.index(token)])
        assert expected[token] > 0 and before - 1e-4 <= number <= before + expected[token] + 1e-4


@given(
    st.lists(st.floats(0.01, 10), min_size=1, max_size=8),
    st.floats(0.2, 3),
    st.integers(0, 10),
    st.floats(0.05, 1),
)
def test_survivors_are_what_the_sampler_keeps(
    weights: list[float], temperature: float, top_k: int, top_p: float
) -> None:
    logits = torch.tensor([sorted(weights, reverse=True)]).double().log()
    ids, kept = survivors(logits, FirstStage(temperature=temperature, top_k=top_k, top_p=top_p))
    decoding = Decoding(temperature=temperature, top_k=top_k, top_p=top_p)
    # A token exactly on the nucleus' edge may fall on either side in floating point; equal ones change places.
    bounds = (max(top_p - 1e-5, 1e-9), top_p, min(top_p + 1e-5, 1.0))
    counts = [int((truncated(logits, decoding.model_copy(update={"top_p": p})) > 0).sum()) for p in bounds]
    assert int(kept.sum()) in counts
    values = logits[0, ids[0]]
    assert (values[:-1] >= values[1:] - 1e-6).all() and kept[0, : int(kept.sum())].all()


@pytest.mark.parametrize("text", ["1/0/0.5", "1/0/0.999", "2/0/1", "1/7/1"])
def test_survivors_of_a_large_vocabulary(text: str) -> None:
    """Head, whole vocabulary, and nothing cut off."""
    stage = FirstStage.parse(text)
    rows = torch.cat([logits_of(5000, seed) for seed in (1, 2)])
    ids, kept = survivors(rows, stage)
    decoding = Decoding(temperature=stage.temperature, top_k=stage.top_k, top_p=stage.top_p)
    expected = (truncated(rows, decoding) > 0).sum(-1)
    assert ((kept.sum(-1) - expected).abs() <= 1).all(), "only rounding at the nucleus' edge may differ"
    assert (ids[:, 0] == rows.argmax(-1)).all()


def _is_near_a_cut(logits: list[float], train: FirstStage, decoding: Decoding) -> bool:
    """Whether rounding could decide on which side of a bound a token falls."""
    first = Decoding(temperature=train.temperature, top_k=train.top_k, top_p=train.top_p)
    given_on = [math.log(p) if p else -math.inf for p in one_stage(logits, first)]
    return _close(logits, first) or _close(given_on, decoding)


def _close(logits: list[float], decoding: Decoding) -> bool:
    whole = decoding.model_copy(update={"top_p": 1.0, "min_p": 0.0})
    chances = sorted(one_stage(logits, whole), reverse=True)
    ranked = sorted(logits, reverse=True)
    sums = [sum(chances[: i + 1]) for i in range(len(chances))]
    return (
        any(abs(one - decoding.top_p) < 1e-4 for one in sums)
        or any(abs(p / chances[0] - decoding.min_p) < 1e-4 for p in chances[1:])
        or any(one - two < 1e-4 for one, two in pairwise(ranked) if two > -math.inf)
    )


def test_a_first_stage_changes_the_digest_and_its_absence_changes_none() -> None:
    """Digests of decodings without it are those of before there was one: caches and logs stay valid."""
    plain = Decoding(temperature=0.8, top_k=20, top_p=0.9, n=3, seed=5)
    assert plain.digest() == "3048dc06f1171583"
    assert "virtual_ssd" not in plain.model_dump() and "virtual_ssd" not in plain.model_dump_json()
    stages = [
        None,
        FirstStage.parse("1.6/20/0.8"),
        FirstStage.parse("1.6/20/0.9"),
        FirstStage.parse("1.6/0/1"),
    ]
    digests = {plain.model_copy(update={"virtual_ssd": stage}).digest() for stage in stages}
    assert len(digests) == len(stages)
    both = plain.model_copy(update={"virtual_ssd": stages[1]})
    assert Decoding.model_validate_json(both.model_dump_json()) == both
    assert both.effective_temperature == pytest.approx(1.28) and plain.effective_temperature == 0.8


def test_a_request_without_own_stops_is_written_as_before_there_were_any() -> None:
    """The key of a stored sample is a digest of its request's JSON."""
    plain = Request(text="x", seed=3)
    assert plain.model_dump_json() == '{"messages":[],"text":"x","prefill":"","seed":3,"max_tokens":null}'
    stopped = plain.model_copy(update={"stop": ("end",)})
    assert Request.model_validate_json(stopped.model_dump_json()) == stopped != plain


@pytest.mark.parametrize(
    "text", ["", "1.6", "1.6/20", "a/20/0.8", "1.6/2.5/0.8", "0/20/0.8", "1.6/-1/0.8", "1/2/0"]
)
def test_a_first_stage_that_cannot_be_read(text: str) -> None:
    with pytest.raises(ValueError, match="T"):
        FirstStage.parse(text)
