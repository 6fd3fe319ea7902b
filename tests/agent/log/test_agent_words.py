"""Why a candidate fell, in a line: the assertion that failed, in each runner's words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forklock.agent.log.shown.words import fell

TRACE = 'Traceback (most recent call last):\n  File "/x/test_shop.py", line 8, in test_total\n'
SAID = {
    "pytest": ("s.py::Shop::test_total\nassert 7 == 6\n +  where 7 = total([1, 2, 3])\n\ns.py::b\nassert 0",
               "test_total: assert 7 == 6, where 7 = total([1, 2, 3])"),
    "pytest with E": ("t.py::test_a\nE       AssertionError: wrong\nE       assert 7 == 6\n", "test_a: assert 7 == 6"),
    "unittest, bare": (f"test_shop.Shop.test_total\n{TRACE}    assert total([1]) == 6\nAssertionError",
                       "test_total: assert total([1]) == 6"),
    "unittest": (f"test_shop.Shop.test_total\n{TRACE}    self.assertEqual(total([1]), 6)\nAssertionError: 7 != 6",
                 "test_total: AssertionError: 7 != 6"),
    "error": ("t.py::test_a\nTypeError: unsupported operand", "test_a: TypeError: unsupported operand"),
    "node": ("cart > adds\nAssertionError [ERR_ASSERTION]: Expected values to be strictly equal:\n\n7 !== 6\n",
             "adds: AssertionError [ERR_ASSERTION]: Expected values to be strictly equal, 7 !== 6"),
    "cargo": (
        "tests::adds\nthread 'adds' panicked at a.rs:9:\nassertion `left == right` failed\n  left: 7\n right: 6",
              "adds: assertion `left == right` failed, left: 7, right: 6"),
    "go": ("TestTotal\n    shop_test.go:12: got 7, want 6", "TestTotal: shop_test.go:12: got 7, want 6"),
    "make": ("failed\nTraceback:\nKeyError: 'x'\nmake: *** [Makefile:2: test] Error 1", "KeyError: 'x'"),
    "time": ("timed out", "ran out of time (an endless loop?)"),
}  # fmt: skip


@pytest.mark.parametrize("runner", SAID)
def test_the_assertion_is_found(runner: str) -> None:
    reason, words = SAID[runner]
    assert fell("tests", reason) == words


def test_other_hops() -> None:
    assert fell("parse", "no code. One valid answer:\n\n```") == "no code."
    assert fell("regression", "passed before, fails now: a::b") == "passed before, fails now: a::b"
    assert fell("solved", "the task's checks pass") == ""


@given(st.sampled_from(["parse", "edit", "tests", "diagnose", "nonsense"]), st.text(max_size=200))
def test_any_reason_gives_one_line(hop: str, reason: str) -> None:
    assert "\n" not in fell(hop, reason)
