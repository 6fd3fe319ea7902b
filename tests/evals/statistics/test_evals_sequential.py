"""The sequential paired test: level and power by simulation, agreement with the fixed test, plans."""

from __future__ import annotations

import math

import pytest

pytest.importorskip("scipy", reason="statistics need the `evals` or the `local` extra")

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from forklock.evals.statistics import sequential
from forklock.evals.statistics.sequential import Finding, plan_looks, predicted, sequential_test, spent
from forklock.evals.statistics.stats import paired_test

BUDGET = 96
PLAN = plan_looks(BUDGET)


@pytest.fixture
def few_flips(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough for a simulation: the flips are part of the test's own randomness, and keep the level at any number."""
    monkeypatch.setattr(sequential, "FLIPS", 999)


def share_better(random: object, effect: float, discordant: float, runs: int) -> float:
    """Share of simulated rounds that end as better; a difference is -1, 0 or 1, as with one sample a problem."""
    up, down = (discordant + effect) / 2, (discordant - effect) / 2
    found = 0
    for run in range(runs):
        drawn = random.choice([1.0, -1.0, 0.0], size=BUDGET, p=[up, down, 1 - up - down])  # type: ignore[attr-defined]
        looks = sequential_test(list(drawn), PLAN, seed=run)
        found += looks[-1].finding is Finding.BETTER
    return found / runs


@pytest.mark.usefixtures("few_flips")
@pytest.mark.parametrize("discordant", [0.1, 0.4])
def test_a_candidate_that_is_no_better_is_rarely_called_so(discordant: float) -> None:
    runs = 1_000
    share = share_better(np.random.default_rng(7), 0.0, discordant, runs)
    assert share <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)


@pytest.mark.usefixtures("few_flips")
def test_peeking_at_a_fixed_test_would_not_keep_the_level() -> None:
    """What the sequential boundary is for: the ordinary test at each of four looks is wrong about twice as often."""
    random, runs, wrong = np.random.default_rng(5), 300, 0
    for _ in range(runs):
        drawn = list(random.choice([1.0, -1.0, 0.0], size=BUDGET, p=[0.2, 0.2, 0.6]))
        for problems in PLAN:
            seen = {str(n): d for n, d in enumerate(drawn[:problems])}
            if paired_test(dict.fromkeys(seen, 0.0), seen, resamples=500).p_better <= 0.05:
                wrong += 1
                break
    assert wrong / runs > 0.06


@pytest.mark.usefixtures("few_flips")
def test_power_is_close_to_that_of_the_fixed_test() -> None:
    """An effect of 15 points at a discordance of 0.3 and 96 problems: the fixed test has about 85 % power."""
    share = share_better(np.random.default_rng(11), 0.15, 0.3, 400)
    assert share > 0.72


@pytest.mark.usefixtures("few_flips")
def test_large_effects_stop_early_and_none_gives_up_early() -> None:
    random = np.random.default_rng(3)
    large = [
        sequential_test(list(random.choice([1.0, 0.0], size=BUDGET, p=[0.5, 0.5])), PLAN) for _ in range(50)
    ]
    assert np.mean([looks[-1].problems for looks in large]) < 0.6 * BUDGET
    harm = [
        sequential_test(list(random.choice([-1.0, 0.0], size=BUDGET, p=[0.5, 0.5])), PLAN) for _ in range(20)
    ]
    assert all(looks[-1].finding is Finding.HOPELESS and looks[-1].problems < BUDGET for looks in harm)


def test_one_look_is_the_fixed_test() -> None:
    differences = [1.0] * 9 + [-1.0] * 2 + [0.0] * 9
    looks = sequential_test(differences, [20])
    seen = {str(n): d for n, d in enumerate(differences)}
    assert paired_test(dict.fromkeys(seen, 0.0), seen).p_better < 0.05
    assert [look.finding for look in looks] == [Finding.BETTER]
    assert sequential_test([1.0] * 7 + [-1.0] * 3 + [0.0] * 10, [20])[-1].finding is Finding.UNCLEAR


def test_earlier_looks_stay_as_they_were_when_problems_are_added() -> None:
    random = np.random.default_rng(1)
    differences = list(random.choice([0.5, -0.5, 0.0], size=BUDGET))
    whole = sequential_test(differences, PLAN, seed=4)
    for count in range(1, len(whole) + 1):
        assert sequential_test(differences[: PLAN[count - 1]], PLAN, seed=4) == whole[:count]


def test_no_difference_at_all_is_never_better() -> None:
    looks = sequential_test([0.0] * BUDGET, PLAN)
    assert all(look.finding is not Finding.BETTER for look in looks)
    assert looks[0].low <= 0 <= looks[0].high


@given(st.integers(1, 2000))
def test_plans_rise_to_the_budget(budget: int) -> None:
    plan = plan_looks(budget)
    assert plan[-1] == budget and list(plan) == sorted(set(plan)) and len(plan) <= sequential.LOOKS


def test_a_plan_needs_a_problem() -> None:
    with pytest.raises(ValueError, match="at least one"):
        plan_looks(0)


def test_the_level_is_spent_late_and_whole() -> None:
    shares = [spent(share, 0.05) for share in (0.25, 0.5, 0.75, 1.0)]
    assert shares == sorted(shares)
    assert shares[0] < 0.001 and shares[-1] == pytest.approx(0.05)


@given(st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0]), min_size=1, max_size=60), st.integers(1, 200))
def test_predictions_are_chances(seen: list[float], left: int) -> None:
    assert 0.0 <= predicted(seen, len(seen) + left) <= 1.0


@given(st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0]), min_size=24, max_size=24))
def test_intervals_hold_the_effect(differences: list[float]) -> None:
    for look in sequential_test(differences, plan_looks(24)):
        assert -1 <= look.low <= look.effect <= look.high <= 1
