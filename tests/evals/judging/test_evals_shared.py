"""Tests of one program, one after the other: what one leaves behind must not reach the next, nor any verdict."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from fastest import FASTEST

from forklock.evals.contract import Problem, TestCase, Verdict
from forklock.evals.judging.judge import Judge
from forklock.evals.judging.limits import JudgeLimits
from forklock.sandbox import SandboxUnavailable


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    try:
        opened = Judge(FASTEST, limits=JudgeLimits(time_scale=0.2, memory_mb=512))
    except SandboxUnavailable as fault:
        pytest.skip(f"no sandbox on this machine: {fault.message}")
    with opened:
        yield opened


def problem(*outputs: str, kind: str = "functional") -> Problem:
    tests = tuple(TestCase.model_validate({"kind": kind, "input": "1", "output": out}) for out in outputs)
    return Problem(question_id="q", title="q", prompt="", entry_point="f", tests=tests)


COUNTERS = {
    "global list": "seen = []\ndef f(n):\n    seen.append(n)\n    return len(seen)",
    "class attribute": "class Solution:\n  k = 0\n  def f(self, n):\n    Solution.k += n\n    return Solution.k",
    "default argument": "def f(n, seen=[]):\n    seen.append(n)\n    return len(seen)",
    "builtins": "import builtins\ndef f(n):\n    builtins.k = getattr(builtins, 'k', 0) + 1\n    return builtins.k",
    "a module": "import math\ndef f(n):\n    math.k = getattr(math, 'k', 0) + 1\n    return math.k",
    "a module under a local name": "def f(n):\n    import math as m\n    m.k = getattr(m, 'k', 0) + 1\n    return m.k",
    "environment": "from os import environ as e\ndef f(n):\n    e['K'] = e.get('K', '') + 'x'\n    return len(e['K'])",
    "a file": "def f(n):\n    with open('k', 'a+') as file:\n        file.write('x')\n        return file.tell()",
    "slow to load": "x = sum(range(300000))\nseen = []\ndef f(n):\n    seen.append(n)\n    return len(seen)",
    "cache": "@cache\ndef g(): return []\ndef f(n):\n    g().append(n)\n    return len(g())",
}


def test_nothing_is_left_for_the_next_test(judge: Judge) -> None:
    """Each counts its own calls: fresh for each test, it answers 1 thrice."""
    found = judge.judge_many([(problem("1", "1", "1"), code) for code in COUNTERS.values()])
    assert not {n: j for n, j in zip(COUNTERS, found, strict=True) if j.verdict != Verdict.PASSED}
    found = judge.judge_many([(problem("1", "2", "3"), code) for code in COUNTERS.values()])
    verdicts = {n: (j.verdict, j.failing_test) for n, j in zip(COUNTERS, found, strict=True)}
    assert set(verdicts.values()) == {(Verdict.WRONG_ANSWER, 1)}, verdicts


def test_scripts_share_nothing_either(judge: Judge) -> None:
    scripts = {
        "plain": "seen = []\nseen.append(input())\nprint(len(seen))",
        "stdin object": "import sys\nsys.stdin.k = getattr(sys.stdin, 'k', 0) + 1\nprint(sys.stdin.k)",
        "exit": "import sys\nprint(int(sys.stdin.readline()))\nsys.exit()",
        "buffers": "import sys\nsys.stdout.buffer.write(sys.stdin.buffer.read())",
        "a stream replaced": "import io, sys\nsys.stdin = io.StringIO(sys.stdin.read())\nprint(input())",
    }
    wanted = problem("1", "1", "1", kind="stdin")
    found = judge.judge_many([(wanted, code) for code in scripts.values()])
    assert not {n: j for n, j in zip(scripts, found, strict=True) if j.verdict != Verdict.PASSED}
    assert judge.judge(problem("1", "1", "2", kind="stdin"), scripts["exit"]).failing_test == 2


@pytest.mark.parametrize(
    "ending", ["1/0", "while True: pass", "x = bytearray(1 << 30)", "import os; os._exit(3)"]
)
def test_how_a_later_test_ends(judge: Judge, ending: str) -> None:
    expected = {
        "1/0": Verdict.EXCEPTION,
        "while True: pass": Verdict.TIMED_OUT,
        "x = bytearray(1 << 30)": Verdict.OUT_OF_MEMORY,
        "import os; os._exit(3)": Verdict.EXCEPTION,
    }[ending]
    tests = tuple(TestCase(kind="functional", input=str(n), output=str(n)) for n in range(4))
    asked = Problem(question_id="q", title="q", prompt="", entry_point="f", tests=tests)
    found = judge.judge(asked, f"def f(n):\n    if n == 2:\n        {ending}\n    return n")
    assert (found.verdict, found.failing_test) == (expected, 2)


def test_drivers_at_once_do_not_meet(judge: Judge) -> None:
    """A program that ends all it can see costs no other driver a verdict, also where commands share a container."""
    killer = "import os, signal\ndef f(n):\n    os.kill(-1, signal.SIGKILL)\n    return 0"
    good = "def f(n):\n    import time\n    time.sleep(0.05)\n    return 1"
    attempts = [(problem("1"), code) for code in [killer, *[good] * 5] * 2]
    found = judge.judge_many(attempts, workers=2)
    assert [j.verdict for j in found][1:6] == [Verdict.PASSED] * 5
    assert [j.verdict for j in found][7:] == [Verdict.PASSED] * 5


def test_a_program_may_take_its_time_on_each_of_many_tests() -> None:
    """Limits are each test's: slow on all of twenty is as right as slow on one."""
    slow = "import time\ndef f(n):\n    time.sleep(0.2)\n    return 1"
    with Judge(
        FASTEST, limits=JudgeLimits(time_scale=0.03)
    ) as judge:  # 0.3 s of processor time, 0.9 s by the clock
        assert judge.judge(problem(*["1"] * 20), slow).verdict is Verdict.PASSED
        stuck = judge.judge(problem("1", "1"), slow.replace("0.2", "2"))
    assert (stuck.verdict, stuck.failing_test) == (Verdict.TIMED_OUT, 0)


SLEEPY = """
import sys, time
n = int(sys.stdin.read())
time.sleep(0.02)
print({said})
"""


def test_a_wrong_output_ends_a_program_that_takes_long(judge: Judge) -> None:
    """And nothing else does: which test failed first does not change, and a right program runs to its end."""
    tests = tuple(TestCase(kind="stdin", input=str(n), output="1") for n in range(100))
    long = Problem(question_id="long", title="", prompt="", tests=tests)
    cases = {"n": 0, "1 if n < 3 else 0": 3, "1": None, "1 if n < 99 else 0": 99, "1 if n < 3 else 1 // 0": 3}
    began = time.monotonic()
    wrong = judge.judge_many([(long, SLEEPY.format(said="n"))] * 8, workers=1)
    assert time.monotonic() - began < 8  # all tests of one take two seconds
    assert {one.verdict for one in wrong} == {Verdict.WRONG_ANSWER}
    found = judge.judge_many([(long, SLEEPY.format(said=said)) for said in cases])
    assert [one.failing_test for one in found] == list(cases.values())
    assert found[-1].verdict is Verdict.EXCEPTION and found[2].verdict is Verdict.PASSED
