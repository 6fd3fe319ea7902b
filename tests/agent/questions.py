"""Questions about one small function, asked without a workspace."""

from __future__ import annotations

from pathlib import Path

from scripted import ScriptedEngine

from forklock.agent.asking.material import Material
from forklock.agent.asking.protocol import Protocol
from forklock.agent.asking.way import Question
from forklock.agent.asking.ways import WAYS
from forklock.agent.contract import Place
from forklock.models.contract import Request
from forklock.tools.contract import Symbol, TestFailure, TestReport, TestStatus

PLACE = Place("shop.py", Symbol("shop.py", "total", "function", 1, 3))
CODE = 'def total(prices):\n    """Sum."""\n    return 0\n'
REPORT = TestReport(TestStatus.FAILED, failures=(TestFailure("t.py::test_a", "assert 1 == 2 in 0.13s"),))


class Known(Material):
    """Knows a frame and the failing test without a workspace."""

    shown_tests: tuple[str, ...] = ("def test_a():\n    assert total([1]) == 1\n",)

    def frame(self, place: Place) -> str:
        return "frame line\n" * 40

    def tests(self, report: TestReport) -> tuple[str, ...]:
        return self.shown_tests


def asked(
    way: str, *, place: Place = PLACE, code: str = CODE, turn: int = 0, tests: tuple[str, ...] | None = None
) -> Request:
    """The request that a way makes for one place."""
    material = Known(
        ScriptedEngine(lambda *_: ""),
        Protocol("symbol"),
        Path("/nowhere"),
        None,
        "Fix it.",
        "House rules",
        4000,
        768,
    )
    if tests is not None:
        material.shown_tests = tests
    request = WAYS[way].ask(Question(material, place, code, REPORT, turn))
    assert request is not None
    return request.request
