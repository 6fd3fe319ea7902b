"""Where the code is left: which words are worth forcing, and a run whose engine knows one that is right."""

from __future__ import annotations

from pathlib import Path

import pytest
from scripted import ScriptedEngine, begin

from forklock.agent.asking.ways.fork import MOST, PER_PLACE, forks
from forklock.agent.log import CandidateRuled, ForksFound, ModelAsked
from forklock.agent.repo import inspect_repo
from forklock.agent.session import Prepared, execute, reopen
from forklock.models.contract import Alternative, Decoding, ModelFault, Request

OPENING = 'def total(prices):\n    """Sum of the prices."""\n   '
REST = " result = 0\n    for price in prices[1:]:\n        result += price\n    return result"
CODE = OPENING + REST + "\n"


class Doubtful(ScriptedEngine):
    """Holds some other words possible in the code, and goes on in one way behind each of them."""

    supports_alternatives = True

    def __init__(self, doubts: dict[tuple[str, str], float], goes_on: dict[str, str]) -> None:
        super().__init__(
            lambda request, _: next(v for k, v in goes_on.items() if request.prefill.endswith(k))
        )
        self.doubts = doubts
        self.scored = 0

    def alternatives(self, request: Request, text: str, *, top_k: int = 8) -> list[Alternative]:
        self.scored += 1
        return [
            Alternative(start=text.index(own), replaced=own, text=word, logprob=logprob)
            for (own, word), logprob in self.doubts.items()
            if own in text
        ]


def test_the_likeliest_words_that_change_something_few_of_each_place() -> None:
    doubts = {
        ("[1", "[\n"): -1.0,
        ("[1", " [1"): -0.5,
        (" 0", " # sum"): -0.1,
        (" 0", " 1"): -3.0,
        (" 0", "```"): -0.1,
    }
    doubts |= {(" price in", f" p{n}"): -4.0 - n for n in range(PER_PLACE + 2)}
    found = forks(Doubtful(doubts, {}), Request.chat("?", prefill="```python\n" + OPENING), CODE, OPENING)
    assert [fork.written.splitlines()[-1].strip() for fork in found] == [
        "for price in prices[", "result = 1", *(f"for p{n}" for n in range(PER_PLACE))
    ]  # fmt: skip
    assert all(fork.opening == OPENING for fork in found)
    assert [fork.logprob for fork in found] == sorted((fork.logprob for fork in found), reverse=True)


def test_no_more_than_a_few_dozen() -> None:
    class Everywhere(Doubtful):
        def alternatives(self, request: Request, text: str, *, top_k: int = 8) -> list[Alternative]:
            return [Alternative(start=n, replaced="a", text="b", logprob=-1.0) for n in range(1000)]

    assert len(forks(Everywhere({}, {}), Request.chat("?"), CODE, OPENING)) == MOST


def prepared(
    repo: Path, engine: ScriptedEngine, *, width: int = 4, styles: tuple[str, ...] = ("fork",)
) -> Prepared:
    return begin(repo, engine, width=width, steps=1, styles=list(styles))


def test_a_forced_word_and_the_rest_of_its_statement_solve(repo: Path) -> None:
    """What is written behind the statement is wrong, and costs nothing: the code's own rest is kept."""
    engine = Doubtful({("[1", "[0"): -5.0}, {"prices[0": ":]:\n        pass\n    return None\n```"})
    run = prepared(repo, engine, width=1)
    report = execute(run, engine)
    assert report.outcome == "solved"
    assert "+    for price in prices[0:]:\n" in report.diff and "return None" not in report.diff
    [asked] = [event for event in run.log.read().events if isinstance(event, ModelAsked)]
    assert asked.prefill.endswith("for price in prices[0")
    assert "prices[1:]" in run.log.text(asked.messages[-1].content), "the code is shown"


def test_places_without_more_forks_are_asked_for_their_endings(repo: Path) -> None:
    engine = Doubtful({(" 0", " 1"): -1.0}, {"= 1": "\n```", "": " pass\n```"})
    run = prepared(repo, engine)
    execute(run, engine)
    asked = [
        event
        for event in run.log.read().events
        if isinstance(event, ModelAsked) and event.place.endswith(":total")
    ]
    assert len(asked) > 1
    assert [event.prefill.endswith("result = 1") for event in asked] == [True, *[False] * (len(asked) - 1)]
    assert len({event.prefill for event in asked}) == len(asked), "each ending begins elsewhere"
    bounds = [request.max_tokens for request in engine.requests if request.prefill.endswith("result = 1")]
    assert bounds and all(bound is not None and bound < Decoding().max_tokens for bound in bounds)


def test_forks_of_an_earlier_sitting_are_taken_and_not_looked_for_again(repo: Path) -> None:
    class Killed(Exception):
        pass

    class Dies(Doubtful):
        def complete(self, *args, **kwargs):  # type: ignore[no-untyped-def]
            raise Killed

    dying = Dies({("[1", "[2"): -1.0, (" 0", " 1"): -2.0}, {})
    run = prepared(repo, dying, width=2)
    with pytest.raises(Killed):
        execute(run, dying)
    found = [event for event in run.log.read().events if isinstance(event, ForksFound)]
    assert found and dying.scored == len(found)
    run.log.close()

    other = Doubtful({(" 0", " 7"): -1.0}, {"[2": ":]:\n```", "= 1": "\n```", "": " pass\n```"})
    again = reopen(run.log, inspect_repo(repo))
    execute(again, other)
    assert other.scored == 0
    assert {r.prefill.rsplit("\n", 1)[1].strip() for r in other.requests} >= {"for price in prices[2"}
    assert any(isinstance(event, CandidateRuled) for event in again.log.read().events)


def test_an_engine_that_cannot_tell_is_asked_for_endings(repo: Path) -> None:
    engine = ScriptedEngine(lambda *_: " pass\n```")
    with pytest.raises(ModelFault, match="might have written"):
        engine.alternatives(Request.chat("?"), "x")
    run = prepared(repo, engine, width=1)
    execute(run, engine)
    assert not [event for event in run.log.read().events if isinstance(event, ForksFound)]
    assert all("Write `" in request.messages[-1].content for request in engine.requests)
