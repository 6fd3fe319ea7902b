"""The gate's decision table, and the gauges."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forklock.evals.statistics.sequential import Finding
from forklock.models.contract import Decoding
from forklock.selfdistill.gate.gauges import cut_of, gauges_of, supports_of
from forklock.selfdistill.gate.probes import PROBES, parses
from forklock.selfdistill.gate.rule import Health, Paired, Verdict, decide

GOOD = Health(no_end=0.1, code=0.9, followed=6, probes=8, solved=0.5, distinct=1.5, entropy=0.3)


def paired(effect: float, low: float, high: float, p: float, finding: Finding = Finding.UNCLEAR) -> Paired:
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
        finding=finding,
        budget=48,
    )


@pytest.mark.parametrize(
    ("numbers", "decision", "says"),
    [
        ((0.10, 0.02, 0.18, 0.01, Finding.BETTER), "promote", "better"),
        ((0.10, -0.001, 0.2, 0.05, Finding.BETTER), "promote", "better"),
        ((0.10, -0.03, 0.23, 0.051), "reject", "not enough evidence"),
        ((-0.01, -0.13, 0.11, 0.6, Finding.HOPELESS), "reject", "no gain in sight"),
        ((-0.20, -0.33, -0.11, 0.99, Finding.HOPELESS), "reject", "worse"),
        ((0.0, -0.1, 0.1, 0.5), "reject", "no gain"),
        ((0.0, 0.0, 0.0, 0.0), "reject", "no gain"),
        ((-0.02, -0.1, 0.06, 0.7), "reject", "not enough evidence"),
        ((-0.10, -0.18, -0.02, 0.99), "reject", "worse"),
    ],
)
def test_the_rule(numbers: tuple[float, float, float, float, Finding], decision: str, says: str) -> None:
    verdict = decide(paired(*numbers), GOOD, GOOD, against="base")
    assert verdict.decision == decision
    assert says in " ".join(verdict.reasons)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"no_end": 0.21}, "without an end rose"),
        ({"code": 0.79}, "parsable code fell"),
        ({"followed": 4}, "instructions followed fell"),
        ({"solved": 0.4}, "solved by at least one sample fell"),
        ({"distinct": 1.0}, "solutions per solved problem fell"),
        ({"entropy": 0.09}, "entropy collapsed"),
    ],
)
def test_damage_beats_any_score(change: dict[str, float], says: str) -> None:
    verdict = decide(
        paired(0.3, 0.2, 0.4, 0.0001, Finding.BETTER), GOOD, GOOD.model_copy(update=change), against="base"
    )
    assert not verdict.promoted and says in verdict.reasons[0]


@pytest.mark.parametrize(
    "change",
    [
        {"no_end": 0.19},
        {"code": 0.81},
        {"followed": 5},
        {"no_end": 0.0},
        {"solved": 0.46},
        {"distinct": 1.1},
        {"entropy": 0.2},
        {"solved": None, "distinct": None, "entropy": None},
    ],
)
def test_small_changes_are_no_damage(change: dict[str, float]) -> None:
    clear = paired(0.3, 0.2, 0.4, 0.001, Finding.BETTER)
    assert decide(clear, GOOD, GOOD.model_copy(update=change), against="base").promoted


@pytest.mark.parametrize(("ahead", "promoted"), [(0.05, True), (0.0, False), (-0.02, False)])
def test_what_another_decoding_gains_alone_is_not_promoted(ahead: float, promoted: bool) -> None:
    clear = paired(0.3, 0.2, 0.4, 0.001, Finding.BETTER)
    control = paired(ahead, ahead - 0.1, ahead + 0.1, 0.3)
    verdict = decide(clear, GOOD, GOOD, against="base", decode_only=control)
    assert verdict.promoted is promoted and verdict.decode_only == control
    assert ("another decoding" in verdict.reasons[0]) is not promoted


def test_verdicts_of_before_the_sequential_test_load() -> None:
    old = decide(paired(0.1, 0.0, 0.2, 0.01), GOOD, GOOD, against="base").model_dump(mode="json")
    for name in ("finding", "budget", "looks"):
        del old["paired"][name]
    for side in ("serving", "candidate"):
        del old[side]["solved"], old[side]["distinct"]
    del old["decode_only"]
    assert Verdict.model_validate(old).paired.finding is None


@pytest.mark.parametrize(
    ("decoding", "cut"),
    [
        (Decoding(temperature=1.6, top_k=20, top_p=0.8), "1.6/20/0.8"),
        (Decoding(temperature=1.0), "1/20/1"),
        (Decoding(temperature=0.9, top_k=50, top_p=0.9), "0.9/20/0.9"),
        (Decoding(temperature=0), "1/1/1"),
    ],
)
def test_a_support_is_never_longer_than_what_is_listed(decoding: Decoding, cut: str) -> None:
    assert str(cut_of(decoding)) == cut


def test_kept_mass_is_of_the_serving_sides_support() -> None:
    """Two answers of two and one tokens: means are over tokens, and the candidate's mass is the watched one."""
    torch = pytest.importorskip("torch", reason="scores are tensors")
    from forklock.models.engines.transformers_engine import TokenScores

    def scores(entropy: list[float], kept: list[float], watched: list[float] | None) -> TokenScores:
        count = len(entropy)
        ids = torch.tensor([[7, 8, 9]] * count)
        return TokenScores(
            torch.zeros(count), torch.tensor(entropy), ids, torch.zeros(count, 3), torch.ones(count).long(),
            survivors=torch.tensor([1, 3][:count]), kept_mass=torch.tensor(kept),
            watched_mass=None if watched is None else torch.tensor(watched),
        )  # fmt: skip

    serving = [scores([1.0, 0.0], [0.5, 1.0], None), scores([2.0], [0.75], None)]
    assert supports_of(serving) == [[[7], [7, 8, 9]], [[7]]]
    assert gauges_of(serving) == pytest.approx({"entropy": 1.0, "kept_mass": 0.75})
    candidate = [scores([1.0, 0.0], [0.5, 1.0], [0.8, 1.0]), scores([0.5], [0.75], [0.9])]
    assert gauges_of(candidate) == pytest.approx({"entropy": 0.5, "kept_mass": 0.9})
    assert gauges_of([]) == {}


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


@given(st.text())
def test_probes_never_raise(text: str) -> None:
    for probe in PROBES:
        probe.followed(text)
    parses(text)
