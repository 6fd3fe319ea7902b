"""The gate's decision table, and the gauges."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.contract import Decoding
from selfdistill.gate import Health, Paired, decide
from selfdistill.gauges import Place, kept_mass, mean_entropy, support
from selfdistill.probes import PROBES, parses

GOOD = Health(no_end=0.1, code=0.9, followed=6, probes=8)


def paired(effect: float, low: float, high: float, p: float) -> Paired:
    return Paired(
        problems=24,
        samples=2,
        serving=0.3,
        candidate=0.3 + effect,
        effect=effect,
        low=low,
        high=high,
        p_better=p,
        spread=0.4,
    )


@pytest.mark.parametrize(
    ("numbers", "decision", "says"),
    [
        ((0.10, 0.02, 0.18, 0.01), "promote", "better"),
        ((0.10, -0.001, 0.2, 0.05), "promote", "better"),
        ((0.10, -0.03, 0.23, 0.051), "reject", "not enough evidence"),
        ((0.0, -0.1, 0.1, 0.5), "reject", "no gain"),
        ((0.0, 0.0, 0.0, 0.0), "reject", "no gain"),
        ((-0.02, -0.1, 0.06, 0.7), "reject", "not enough evidence"),
        ((-0.10, -0.18, -0.02, 0.99), "reject", "worse"),
    ],
)
def test_the_rule(numbers: tuple[float, float, float, float], decision: str, says: str) -> None:
    verdict = decide(paired(*numbers), GOOD, GOOD, against="base")
    assert verdict.decision == decision
    assert says in " ".join(verdict.reasons)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"no_end": 0.21}, "without an end rose"),
        ({"code": 0.79}, "parsable code fell"),
        ({"followed": 4}, "instructions followed fell"),
    ],
)
def test_damage_beats_any_score(change: dict[str, float], says: str) -> None:
    verdict = decide(paired(0.3, 0.2, 0.4, 0.0001), GOOD, GOOD.model_copy(update=change), against="base")
    assert not verdict.promoted and says in verdict.reasons[0]


@pytest.mark.parametrize("change", [{"no_end": 0.19}, {"code": 0.81}, {"followed": 5}, {"no_end": 0.0}])
def test_small_changes_are_no_damage(change: dict[str, float]) -> None:
    assert decide(paired(0.3, 0.2, 0.4, 0.001), GOOD, GOOD.model_copy(update=change), against="base").promoted


@settings(deadline=None)
@given(
    weights=st.lists(st.floats(0.01, 10), min_size=1, max_size=8),
    temperature=st.floats(0.2, 3),
    top_k=st.integers(0, 10),
    top_p=st.floats(0.05, 1),
)
def test_support_is_what_the_sampler_keeps(
    weights: list[float], temperature: float, top_k: int, top_p: float
) -> None:
    torch = pytest.importorskip("torch", reason="the sampler to compare with needs torch")
    from models.sampling import truncated

    weights = sorted(weights, reverse=True)
    logprobs = [math.log(w / sum(weights)) for w in weights]
    decoding = Decoding(temperature=temperature, top_k=top_k, top_p=top_p)
    kept = support(Place(0.0, tuple(range(len(weights))), tuple(logprobs)), decoding)
    # A token exactly on the nucleus' edge may fall on either side in floating point.
    expected = {i for i, p in enumerate(truncated(torch.tensor([logprobs]).double(), decoding)[0]) if p > 0}
    near_edge = truncated(
        torch.tensor([logprobs]).double(),
        decoding.model_copy(update={"top_p": max(top_p - 1e-6, 1e-9)}),
    )[0]
    assert kept in (expected, {i for i, p in enumerate(near_edge) if p > 0})


def test_kept_mass_and_entropy() -> None:
    half = math.log(0.5)
    places = [Place(0.69, (1, 2), (half, half)), Place(0.0, (3,), (0.0,))]
    assert kept_mass(places, [frozenset({1}), frozenset({3})]) == pytest.approx(0.75)
    assert mean_entropy(places) == pytest.approx(0.345)


GOOD_ANSWERS = [
    "Yes.",
    "```python\ndef add_two(x):\n    return x + 2\n```",
    "Sure:\n```python\ndef area(width, height):\n    return width * height\n```",
    '```json\n{"path": "a.py", "line": 3}\n```',
    "- red\n- green\n- blue",
    "A list is an ordered collection that can change.",
    "forklock",
    "42",
]
BAD_ANSWERS = [
    "Yes, 7 is a prime number.",
    "def add_two(x): return x + 2",
    "```python\ndef f(width, height):\n    return width * height\n```",
    "path: a.py",
    "red, green, blue",
    "```python\n[]\n```",
    "forklock is a word",
    "12 + 30 = 42",
]


def test_each_probe_tells_right_from_wrong() -> None:
    assert len(PROBES) == len(GOOD_ANSWERS) == len(BAD_ANSWERS)
    for probe, good, bad in zip(PROBES, GOOD_ANSWERS, BAD_ANSWERS, strict=True):
        assert probe.followed(good), probe.instruction
        assert not probe.followed(bad), probe.instruction


@settings(deadline=None)
@given(st.text())
def test_probes_never_raise(text: str) -> None:
    for probe in PROBES:
        probe.followed(text)
    parses(text)
