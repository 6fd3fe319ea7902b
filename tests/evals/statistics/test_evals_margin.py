"""Simulations: intervals cover, tests and the gate keep their level, power is what the formula says."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from forklock.evals.statistics.margin import (
    p_not_inferior,
    problems_for_margin,
    problems_needed,
    smallest_effect,
    tilt,
)
from forklock.evals.statistics.stats import difference_interval, holm, mean_interval, paired_test

TRIALS = 300
Differences = Callable[[np.random.Generator, int], list[float]]


def at_least(rate: float, trials: int = TRIALS) -> float:
    """A share that is undercut once in a thousand times where the true rate is `rate`."""
    return float(binom.ppf(0.001, trials, rate)) / trials


def at_most(rate: float, trials: int = TRIALS) -> float:
    return float(binom.ppf(0.999, trials, rate)) / trials


def flips(worse: float, better: float) -> Differences:
    """One sample a problem: a share gets worse, a share gets better."""

    def draw(rng: np.random.Generator, n: int) -> list[float]:
        return [float(d) for d in rng.choice([-1.0, 0.0, 1.0], p=[worse, 1 - worse - better, better], size=n)]

    return draw


def sampled(samples: int, loss: float) -> Differences:
    """Several samples a problem; every problem's pass rate falls by `loss`."""

    def draw(rng: np.random.Generator, n: int) -> list[float]:
        rates = loss + (1 - loss) * rng.beta(0.6, 0.9, size=n)
        return [
            float(d) for d in (rng.binomial(samples, rates - loss) - rng.binomial(samples, rates)) / samples
        ]

    return draw


def as_runs(differences: list[float]) -> tuple[dict[str, float], dict[str, float]]:
    return dict.fromkeys(map(str, range(len(differences))), 0.0), {
        str(i): d for i, d in enumerate(differences)
    }


def test_the_interval_of_pass_at_1_covers() -> None:
    rng = np.random.default_rng(11)
    covered = 0
    for trial in range(TRIALS):
        found = mean_interval(
            list(rng.binomial(1, rng.beta(0.5, 0.9, size=100)) / 1.0), resamples=500, seed=trial
        )
        covered += found.low <= 0.5 / 1.4 <= found.high
    assert at_least(0.94) <= covered / TRIALS <= at_most(0.965)


@pytest.mark.parametrize(
    ("draw", "true"), [(flips(0.1, 0.15), 0.05), (flips(0.12, 0.08), -0.04), (sampled(4, 0.05), -0.05)]
)
def test_the_interval_of_the_difference_covers(draw: Differences, true: float) -> None:
    rng = np.random.default_rng(12)
    intervals = [difference_interval(draw(rng, 120), resamples=1000, seed=t) for t in range(TRIALS)]
    covered = np.mean([low <= true <= high for low, high in intervals])
    assert at_least(0.94) <= covered <= at_most(0.965)


def test_runs_that_never_differ_are_not_proved_equal() -> None:
    low, high = difference_interval([0.0] * 50)
    assert low == pytest.approx(-high) and binom.pmf(0, 50, high) == pytest.approx(0.025)
    assert difference_interval([1.0])[1] == 1.0 and difference_interval([1.0])[0] < -0.9


@pytest.mark.parametrize("draw", [flips(0.1, 0.1), flips(0.3, 0.3), sampled(4, 0.0)])
@pytest.mark.parametrize("n", [10, 80])
def test_the_paired_test_keeps_its_level(draw: Differences, n: int) -> None:
    rng = np.random.default_rng(13)
    found = [paired_test(*as_runs(draw(rng, n)), resamples=500, seed=t) for t in range(TRIALS)]
    for p_values in ([f.p_value for f in found], [f.p_better for f in found], [f.p_worse for f in found]):
        assert np.mean([p <= 0.05 for p in p_values]) <= at_most(0.05)


@settings(max_examples=30)
@given(up=st.integers(0, 40), down=st.integers(0, 40))
def test_with_one_sample_it_is_mcnemars_exact_test(up: int, down: int) -> None:
    found = paired_test(*as_runs([1.0] * up + [-1.0] * down + [0.0] * 5), resamples=10)
    tail = float(binom.cdf(min(up, down), up + down, 0.5))
    assert found.p_value == pytest.approx(min(1.0, 2 * tail))
    assert found.p_better == pytest.approx(float(binom.sf(up - 1, up + down, 0.5)))


@pytest.mark.parametrize(
    ("draw", "margin", "n"),
    [
        (flips(0.05, 0.0), 0.05, 60),  # the worst case: whoever sees no flip at all knows little
        (flips(0.02, 0.0), 0.02, 140),
        (flips(0.15, 0.05), 0.1, 80),
        (flips(0.12, 0.1), 0.02, 164),
        (sampled(4, 0.05), 0.05, 80),
        (sampled(4, 0.02), 0.02, 30),
    ],
)
def test_the_gate_keeps_its_level(draw: Differences, margin: float, n: int) -> None:
    """Candidates that are worse by exactly the margin pass one time in twenty at most."""
    rng = np.random.default_rng(14)
    passed = [p_not_inferior(draw(rng, n), margin, resamples=1000, seed=t) <= 0.05 for t in range(TRIALS)]
    assert np.mean(passed) <= at_most(0.055)


def test_without_a_flip_the_gate_is_the_exact_binomial() -> None:
    assert p_not_inferior([0.0] * 100, 0.02) == pytest.approx(0.98**100, abs=0.005)
    assert p_not_inferior([0.0] * 148, 0.02) > 0.05 > p_not_inferior([0.0] * 160, 0.02)


@settings(max_examples=60)
@given(
    differences=st.lists(st.integers(-4, 4).map(lambda k: k / 4), min_size=1, max_size=60),
    mean=st.floats(-0.9, 0.9),
)
def test_a_tilted_distribution_is_one_and_has_the_mean(differences: list[float], mean: float) -> None:
    found = tilt(differences, mean)
    assert min(found.weights) >= 0 and sum(found.weights) == pytest.approx(1)
    assert sum(v * w for v, w in zip(found.values, found.weights, strict=True)) == pytest.approx(
        mean, abs=1e-5
    )


def test_power_is_what_the_formula_says() -> None:
    draw, effect = flips(0.08, 0.2), 0.12
    spread = math.sqrt(0.28 - effect**2)
    n = problems_needed(effect, spread, sides=2)
    assert n is not None and smallest_effect(n, spread) == pytest.approx(effect, rel=0.01)
    rng = np.random.default_rng(15)
    seen = np.mean([paired_test(*as_runs(draw(rng, n)), resamples=10).p_value <= 0.05 for _ in range(TRIALS)])
    assert 0.8 - 0.1 <= seen <= 0.8 + 0.07  # McNemar's exact test is a little conservative


def test_an_equal_candidate_passes_with_the_problems_that_the_gate_asks_for() -> None:
    draw, margin = flips(0.06, 0.06), 0.08
    rng = np.random.default_rng(16)
    n = problems_for_margin(draw(rng, 4000), margin)
    assert n is not None
    passed = [p_not_inferior(draw(rng, n), margin, resamples=1000, seed=t) <= 0.05 for t in range(TRIALS)]
    assert np.mean(passed) == pytest.approx(0.8, abs=0.08)
    assert problems_for_margin([0.0], 0.0) is None


def test_problems_needed_known_values() -> None:
    assert problems_needed(0.1, 0.4) == math.ceil((2.4865 * 4) ** 2)
    assert problems_needed(0.0, 0.4) is None and problems_needed(-0.1, 0.4) is None


def test_holm_known_values() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0] and holm([]) == []


@pytest.mark.parametrize("share", [0.0, 0.9])
def test_holm_keeps_the_familywise_error(share: float) -> None:
    """Three strata without a difference, independent or strongly dependent; any rejection is false."""
    rng = np.random.default_rng(17)
    common = rng.random((2000, 1)) < share
    p_values = np.where(common, rng.random((2000, 1)), rng.random((2000, 3)))
    false = np.mean([min(holm([float(p) for p in row])) <= 0.05 for row in p_values])
    assert false <= at_most(0.05, 2000)
