"""The paired comparison: exact, symmetric, calibrated."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfdistill import paired
from selfdistill.paired import compare, sign_flip_p

pytest.importorskip("scipy")

SIDES = st.lists(
    st.tuples(
        st.lists(st.booleans(), min_size=2, max_size=2), st.lists(st.booleans(), min_size=2, max_size=2)
    ),
    min_size=1,
    max_size=12,
)


@settings(deadline=None)
@given(SIDES)
def test_swapping_sides_flips_the_sign(sides: list[tuple[list[bool], list[bool]]]) -> None:
    before = {str(i): a for i, (a, _) in enumerate(sides)}
    after = {str(i): b for i, (_, b) in enumerate(sides)}
    there, back = compare(before, after), compare(after, before)
    assert there.effect == pytest.approx(-back.effect)
    assert there.low <= there.effect <= there.high
    assert there.candidate - there.serving == pytest.approx(there.effect)
    if there.effect > 0:
        assert there.p_better <= back.p_better


def test_known_values() -> None:
    assert sign_flip_p([0.5] * 5) == 1 / 32
    assert sign_flip_p([]) == 1.0 and sign_flip_p([0.0, 0.0]) == 1.0
    assert sign_flip_p([1.0, -1.0]) == 0.75
    same = compare({"a": [True], "b": [False]}, {"a": [True], "b": [False]})
    assert (same.effect, same.low, same.high, same.p_better) == (0, 0, 0, 1.0)


def test_monte_carlo_agrees_with_enumeration(monkeypatch: pytest.MonkeyPatch) -> None:
    differences = [0.5, 1.0, -0.5, 0.5, 0.5, -1.0, 0.5, 1.0]
    exact = sign_flip_p(differences)
    monkeypatch.setattr(paired, "EXACT", 0)
    assert sign_flip_p(differences) == pytest.approx(exact, abs=0.01)


def test_false_promotions_stay_under_five_percent() -> None:
    """No difference, 24 problems x 2 samples: the share of p <= 0.05 must not exceed 5 % (plus noise)."""
    draw = random.Random(1)
    hits = 0
    for _ in range(400):
        rates = [draw.random() for _ in range(24)]
        sides = [
            {str(i): [draw.random() < r for _ in range(2)] for i, r in enumerate(rates)} for _ in range(2)
        ]
        differences = [(sum(sides[1][k]) - sum(sides[0][k])) / 2 for k in sides[0]]
        hits += _quick_p(differences) <= 0.05
    assert hits / 400 <= 0.075


def _quick_p(differences: list[float]) -> float:
    """`sign_flip_p` by convolution, exact for any number of problems: an independent check too."""
    sizes = [round(2 * d) for d in differences if d]
    counts = {0: 1}
    for size in sizes:
        fresh: dict[int, int] = {}
        for total, ways in counts.items():
            for signed in (size, -size):
                fresh[total + signed] = fresh.get(total + signed, 0) + ways
        counts = fresh
    seen = sum(sizes)
    exact = sum(ways for total, ways in counts.items() if total >= seen) / 2 ** len(sizes)
    if len(sizes) <= 10:
        assert exact == pytest.approx(sign_flip_p(differences))
    return exact


def test_sides_must_match() -> None:
    with pytest.raises(ValueError, match="same problems"):
        compare({"a": [True]}, {"b": [True]})
