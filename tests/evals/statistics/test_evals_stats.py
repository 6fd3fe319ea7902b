"""Statistics: exact identities, and simulations that intervals cover and tests keep their level."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forklock.evals.statistics.stats import mean_interval, paired_test, pass_at_k, wilson


@given(st.integers(1, 12), st.data())
def test_pass_at_k_is_the_share_of_subsets_with_a_pass(n: int, data: st.DataObject) -> None:
    passed, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    subsets = list(combinations(range(n), k))
    share = sum(min(subset) < passed for subset in subsets) / len(subsets)
    assert pass_at_k(n, passed, k) == pytest.approx(share)


def test_pass_at_k_is_stable_for_large_n() -> None:
    exact = 1 - math.comb(9_900, 100) / math.comb(10_000, 100)
    assert pass_at_k(10_000, 100, 100) == pytest.approx(exact, rel=1e-9)
    assert pass_at_k(10_000, 0, 10_000) == 0 and pass_at_k(10_000, 1, 10_000) == 1


@pytest.mark.parametrize(("n", "c", "k"), [(3, 4, 1), (3, 1, 4), (3, 1, 0), (3, -1, 1)])
def test_pass_at_k_refuses_nonsense(n: int, c: int, k: int) -> None:
    with pytest.raises(ValueError):
        pass_at_k(n, c, k)


def test_wilson_known_value() -> None:
    found = wilson(8, 10)
    assert (found.low, found.high) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))
    assert wilson(0, 5).low == 0 and wilson(5, 5).high == 1 and math.isnan(wilson(0, 0).value)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_wilson_covers(share: float) -> None:
    rng = np.random.default_rng(1)
    draws = rng.binomial(60, share, size=2000)
    covered = np.mean([(i := wilson(int(d), 60)).low <= share <= i.high for d in draws])
    assert 0.92 <= covered <= 0.98


def test_bootstrap_over_problems_covers() -> None:
    """Problems differ in difficulty, samples of one problem share it: the interval must still cover."""
    rng = np.random.default_rng(2)
    covered = 0
    for trial in range(300):
        rates = rng.beta(0.5, 0.9, size=80)
        values = rng.binomial(4, rates) / 4
        found = mean_interval(list(values), resamples=600, seed=trial)
        covered += found.low <= 0.5 / 1.4 <= found.high
    assert 0.90 <= covered / 300 <= 0.99


def test_bootstrap_edges() -> None:
    assert math.isnan(mean_interval([]).value)
    assert (mean_interval([0.5]).low, mean_interval([0.5]).high) == (0, 1)
    same = mean_interval([0.5] * 6)  # (1 - s)^6 = 0.025: a share s of 46 % may be otherwise
    assert (same.low, same.high) == (pytest.approx(0.2704, abs=1e-4), pytest.approx(0.7296, abs=1e-4))
    zeros = mean_interval([0.0] * 20)
    assert zeros.low == 0 and 0.1 < zeros.high < 0.25
    assert mean_interval([0.25, 0.5, 1.0]) == mean_interval([0.25, 0.5, 1.0])


def _runs(rng: np.random.Generator, problems: int, gain: float) -> tuple[dict[str, float], dict[str, float]]:
    rates = rng.beta(0.6, 0.9, size=problems)
    better = np.clip(rates + gain, 0, 1)
    a, b = rng.binomial(4, rates) / 4, rng.binomial(4, better) / 4
    return {str(i): float(v) for i, v in enumerate(a)}, {str(i): float(v) for i, v in enumerate(b)}


@pytest.mark.parametrize("problems", [8, 40])
def test_paired_test_keeps_its_level(problems: int) -> None:
    rng = np.random.default_rng(3)
    found = [paired_test(*_runs(rng, problems, 0.0), resamples=400, seed=t) for t in range(400)]
    assert np.mean([f.p_value <= 0.05 for f in found]) <= 0.08
    assert np.mean([f.p_better <= 0.05 for f in found]) <= 0.08


def test_paired_interval_covers_and_the_test_sees_a_gain() -> None:
    rng = np.random.default_rng(4)
    rates = rng.beta(2, 2, size=100_000)
    true = float(np.mean(np.clip(rates + 0.15, 0, 1) - rates))
    covered, seen = 0, 0
    for trial in range(200):
        drawn = rng.beta(2, 2, size=60)
        a = {str(i): float(v) for i, v in enumerate(rng.binomial(4, drawn) / 4)}
        b = {str(i): float(v) for i, v in enumerate(rng.binomial(4, np.clip(drawn + 0.15, 0, 1)) / 4)}
        found = paired_test(a, b, resamples=500, seed=trial)
        covered += found.ci[0] <= true <= found.ci[1]
        seen += found.p_better <= 0.05
    assert 0.89 <= covered / 200 <= 0.99
    assert seen / 200 > 0.9


def test_paired_test_is_exact_and_symmetric() -> None:
    a = {str(i): 0.0 for i in range(5)}
    b = {str(i): 1.0 for i in range(5)}
    found = paired_test(a, b)
    assert found.p_better == 1 / 32 and found.p_value == 2 / 32 and found.effect == 1 and found.n == 5
    assert paired_test(b, a).p_value == found.p_value and paired_test(b, a).p_better == 1
    assert paired_test(a, a).p_value == 1
    assert paired_test(a, b | {"other": 1.0}).n == 5
    with pytest.raises(ValueError):
        paired_test(a, {"z": 1.0})
