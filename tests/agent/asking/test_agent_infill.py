"""Gaps to fill: the prompt, and a run with a scripted engine that knows the marks."""

from __future__ import annotations

from pathlib import Path

from scripted import ScriptedEngine, begin
from shop import WRONG

from forklock.agent.asking.ways.gap import MAX_TOKENS, hole, infill_text
from forklock.agent.log import ModelAnswered, ModelAsked
from forklock.agent.session import execute
from forklock.models.contract import Decoding, InfillTokens, Request

MARKS = InfillTokens(prefix="<P>", suffix="<S>", middle="<M>")
CODE = "def f(xs):\n    n = 0\n    for x in xs[1:]:\n        n += x\n    return n\n"


def test_every_statement_gets_its_turn_and_is_out_of_sight() -> None:
    holes = [hole(CODE, turn) for turn in range(5)]
    assert holes[4] == holes[0]
    gone = []
    for opening in holes[:4]:
        assert opening is not None
        text = infill_text(MARKS, CODE, opening, task="Wrong\nsum", tests=["def test_f(): ..."])
        head, rest = text.removeprefix("<P>").removesuffix("<M>").split("<S>")
        assert head.startswith("def test_f(): ...\n\n# Wrong\n# sum\n\ndef f(xs):") and head.endswith(" " * 3)
        shown = (head + rest).replace(" ", "")
        gone.append([line for line in CODE.splitlines() if line.replace(" ", "") not in shown])
    assert [lines[0].strip() for lines in gone] == ["n = 0", "for x in xs[1:]:", "n += x", "return n"]
    assert all(len(lines) == 1 for lines in gone)


def test_code_without_statements_has_no_hole() -> None:
    assert hole("LIMIT = 3\n", 0) is None


def test_a_request_may_be_shorter_than_the_decoding() -> None:
    decoding = Decoding(max_tokens=100)
    assert [Request(text="a", max_tokens=n).bound(decoding) for n in (None, 64, 900)] == [100, 64, 100]


class KnowsMarks(ScriptedEngine):
    @property
    def infill(self) -> InfillTokens:
        return MARKS


def test_a_filled_gap_solves(repo: Path) -> None:
    def script(request: Request, number: int) -> str:
        if request.text is None:
            return "```python\n" + WRONG.format(n=100 + number) + "```"
        if request.text.partition("<S>")[0].endswith('def total(prices):\n    """Sum of the prices."""\n   '):
            return " result = prices[0] if prices else 0\n\n    and then some prose"
        return " nothing that parses ("

    engine = KnowsMarks(script)
    prepared = begin(repo, engine, width=8, steps=1, styles=["rewrite", "gap"])
    report = execute(prepared, engine)
    assert report.outcome == "solved"
    assert "+    result = prices[0] if prices else 0" in report.diff
    events = prepared.log.read().events
    gaps = [e for e in events if isinstance(e, ModelAsked) and [m.role for m in e.messages] == ["text"]]
    assert gaps and all(r.max_tokens == MAX_TOKENS for r in engine.requests if r.text is not None)
    assert sum(isinstance(e, ModelAnswered) for e in events) <= 8
