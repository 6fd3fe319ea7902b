# ruff: noqa: E501 - hostile values a line
"""Whatever a program prints or returns, comparing it ends, soon, in right or wrong: never in a fault of the judge."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forklock.evals.contract import Checker, Problem, TestCase, Verdict
from forklock.evals.judging.outputs import checked_mismatch, usual_mismatch
from forklock.evals.judging.procedure import verdict_from

NUMBERS = st.sampled_from(
    [
        "1e999", "-1e999", "NaN", "Infinity", "1" * 5000, "-" + "9" * 400, "1e-999", "0.1", "1.0", "1e308", "1E+9999999999",
        "1e99999999999999999999", "0x10", "1_000", "٣", "1" * 400 + ".5", "--1", "+", ".", "inf", "nan", "sNaN", "true", "null",
    ]
)  # fmt: skip
DEEP = st.sampled_from(["[" * 100_000, "[" * 100_000 + "]" * 100_000, '{"a":' * 50_000, "[[[]]]", "[]", "{}"])
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda one: st.lists(one, max_size=4) | st.dictionaries(st.text(max_size=3), one, max_size=3),
    max_leaves=10,
).map(json.dumps)
OUTPUTS = st.one_of(NUMBERS, DEEP, PLAIN, st.text(), NUMBERS.map(lambda n: f"[{n}, 1]"), st.just("\ud800"))
CHECKERS = [
    None,
    *(Checker(kind=k) for k in ("exact", "tokens", "float", "lines")),
    Checker(kind="any", answers=(("1",),)),
]


@pytest.mark.hostile("damage")
@pytest.mark.parametrize("checker", CHECKERS, ids=lambda c: c.kind if c else "usual")
@pytest.mark.parametrize("kind", ["stdin", "functional"])
@settings(max_examples=250)
@given(given_=OUTPUTS, expected=OUTPUTS)
def test_comparing_never_faults(kind: str, checker: Checker | None, given_: str, expected: str) -> None:
    test = TestCase.model_validate({"kind": kind, "input": "", "output": expected})
    began = time.process_time()
    found = usual_mismatch(test, given_) if checker is None else checked_mismatch(checker, test, 0, given_)
    assert found is None or (isinstance(found, str) and len(found) < 1000)
    assert time.process_time() - began < 5


@pytest.mark.hostile("answers")
@given(given_=OUTPUTS, expected=PLAIN)
def test_what_is_said_right_is_right(given_: str, expected: str) -> None:
    """A returned value that passes the usual comparison is the expected one, within the tolerance of floats."""
    test = TestCase(kind="functional", input="", output=expected)
    if usual_mismatch(test, given_) is not None:
        return
    value, right = json.loads(given_), json.loads(expected)
    assert value == right or _near(value, right)


def _near(value: object, right: object) -> bool:
    if isinstance(value, list) and isinstance(right, list):
        return len(value) == len(right) and all(map(_near, value, right))
    if isinstance(value, dict) and isinstance(right, dict):
        return value.keys() == right.keys() and all(_near(value[k], right[k]) for k in value)
    if isinstance(value, int | float) and isinstance(right, int | float):
        return not (isinstance(value, bool) ^ isinstance(right, bool)) and (
            value == right or abs(value - right) <= 1e-5 * max(1.0, abs(value), abs(right)) * 1.01
        )
    return value == right


@pytest.mark.hostile("answers")
def test_no_results_are_no_pass(tried: Callable[[int], None]) -> None:
    """Fewer results than tests, unknown words and empty lists: each is no verdict, never `passed`."""
    tests = tuple(TestCase(kind="stdin", input="", output="1") for _ in range(3))
    problem = Problem(question_id="q", title="", prompt="", tests=tests)
    cases: list[list[list[str]]] = [
        [],
        [["ok", "1"]],
        [["ok", "1"]] * 2,
        [["passed", "1"]] * 3,
        [["broken", ""]],
    ]
    tried(len(cases))
    assert {verdict_from(problem, case).verdict for case in cases} == {Verdict.INFRASTRUCTURE}
    assert verdict_from(problem, [["ok", "1"]] * 3).verdict is Verdict.PASSED
