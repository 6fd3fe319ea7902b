"""No test of a program can tell that another ran before it: programs keep a number somewhere, and need it to pass."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from places_for_state import at_call, at_load, keeping, places, script

from forklock.evals.contract import Problem, TestCase, Verdict
from forklock.evals.judging.judge import Judge
from forklock.evals.judging.limits import JudgeLimits
from forklock.sandbox import BackendName, Policy, SandboxFault, open_sandbox


@pytest.fixture(scope="module", params=["bubblewrap", pytest.param("docker", marks=pytest.mark.slow)])
def judge(request: pytest.FixtureRequest) -> Iterator[Judge]:
    backend: BackendName = request.param
    try:
        opened = Judge(backend, limits=JudgeLimits(time_scale=0.5))
    except SandboxFault as fault:
        pytest.skip(f"no {backend} on this machine: {fault.message}")
    with opened:
        yield opened


def problem(kind: str, *outputs: str) -> Problem:
    tests = tuple(TestCase.model_validate({"kind": kind, "input": "1", "output": out}) for out in outputs)
    return Problem(question_id="q", title="q", prompt="", entry_point="f", tests=tests)


PROGRAMS = {
    **{(place, "script"): ("stdin", script(place)) for place in places()},
    **{(place, "call"): ("functional", at_call(place)) for place in places()},
    **{(place, "load"): ("functional", at_load(place)) for place in places()},
}


def test_the_places_do_keep_a_number(tmp_path: Path) -> None:
    """Else the tests below would prove nothing."""
    try:
        sandbox = open_sandbox(tmp_path, Policy(readable=(Path(sys.base_prefix),)), backend="bubblewrap")
    except SandboxFault as fault:
        pytest.skip(f"no bubblewrap on this machine: {fault.message}")
    with sandbox:
        missing = set(places()) - set(keeping(sandbox))
    assert len(missing) < 15, missing  # what the sandbox itself has not or refuses


@pytest.mark.hostile("answers")
def test_a_program_that_needs_its_earlier_runs_fails(judge: Judge, tried: Callable[[int], None]) -> None:
    tried(len(PROGRAMS))
    found = judge.judge_many([(problem(kind, "1", "2"), code) for kind, code in PROGRAMS.values()])
    passed = [name for name, one in zip(PROGRAMS, found, strict=True) if one.verdict is Verdict.PASSED]
    assert not passed
    early = [name for name, one in zip(PROGRAMS, found, strict=True) if one.failing_test == 0]
    assert len(early) < len(PROGRAMS) / 5, early  # what the sandbox has not or refuses


@pytest.mark.hostile("answers")
def test_what_a_place_holds_is_the_same_for_every_test_and_every_program(
    judge: Judge, tried: Callable[[int], None]
) -> None:
    tried(len(PROGRAMS))
    found = judge.judge_many([(problem(kind, "1", "1"), code) for kind, code in PROGRAMS.values()])
    late = {n: j for n, j in zip(PROGRAMS, found, strict=True) if j.failing_test not in (None, 0)}
    assert not late
