"""evals: a problem as a small repository, for agents that work on repositories. Pure.

Input: a problem with public tests. Output: files: `solution.py` as a stub, a pytest file of the public tests, and the
statement. They contain no hidden test. Not covered: assert problems, whose sets have no public tests.
"""

from __future__ import annotations

import json

from forklock.evals.contract import EvalFault, Problem, TestCase, public_part
from forklock.sandbox.files.reading import parse_python

SOLUTION, TESTS = "solution.py", "test_examples.py"
TEST_COMMAND = f"python -m pytest -q {TESTS}"

_IMPORTS = """\
import math
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict, deque
from functools import cache, lru_cache
from heapq import heapify, heappop, heappush
from itertools import accumulate, combinations, permutations, product
from typing import Dict, List, Optional, Set, Tuple
"""
_SCRIPT = f'''\
{_IMPORTS}

def main() -> None:
    """Read the input from stdin, and print the answer."""
    raise NotImplementedError


if __name__ == "__main__":
    main()
'''
_STDIN_TESTS = '''\
import io

import solution


def printed(monkeypatch, capsys, text):
    """What the program prints when it reads `text`."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    solution.main()
    return [line.split() for line in capsys.readouterr().out.strip().split("\\n")]
'''
_STDIN_TEST = """

def test_example_{number}(monkeypatch, capsys):
    assert printed(monkeypatch, capsys, {given!r}) == {expected!r}
"""
_CALL_TEST = """

def test_example_{number}():
    assert {call}({arguments}) == {expected!r}
"""


def files_of(problem: Problem) -> dict[str, str]:
    """Return the files' texts by path.

    Raises:
        EvalFault: the problem has no public tests, and an agent may see no others.
    """
    public = public_part(problem)
    if public is None or public.tests[0].kind == "assert":
        raise EvalFault(
            f"{problem.question_id} has no public tests for an agent to work with",
            fix="take a LiveCodeBench-style set, or evaluate the model itself (without --agent)",
        )
    stdin = public.tests[0].kind == "stdin"
    return {
        SOLUTION: _SCRIPT if stdin else _stub(problem),
        TESTS: _stdin_tests(public) if stdin else _call_tests(public),
        "STATEMENT.md": problem.prompt.strip() + "\n",
    }


def task_of(problem: Problem) -> str:
    """Return the task that an agent gets."""
    return f"Implement {SOLUTION} so that it solves this problem.\n\n{problem.prompt.strip()}"


def _stdin_tests(public: Problem) -> str:
    tests = (
        _STDIN_TEST.format(number=number, given=test.input, expected=_lines(test.output))
        for number, test in enumerate(public.tests, start=1)
    )
    return _STDIN_TESTS + "".join(tests)


def _lines(text: str) -> list[list[str]]:
    return [line.split() for line in text.strip().split("\n")]


def _call_tests(public: Problem) -> str:
    name = public.entry_point or ""
    call = f"Solution().{name}" if "class Solution" in public.starter_code else name
    source = "Solution" if "class Solution" in public.starter_code else name
    tests = (_call_test(number, call, test) for number, test in enumerate(public.tests, start=1))
    return f"from solution import {source}\n" + "".join(tests)


def _call_test(number: int, call: str, test: TestCase) -> str:
    arguments = ", ".join(repr(json.loads(line)) for line in test.input.split("\n") if line.strip())
    try:
        expected = json.loads(test.output)
    except ValueError:
        expected = test.output
    return _CALL_TEST.format(number=number, call=call, arguments=arguments, expected=expected)


def _stub(problem: Problem) -> str:
    """Return the starter code with a body that raises `NotImplementedError`."""
    starter = problem.starter_code.rstrip()
    last = starter.splitlines()[-1] if starter else ""
    indent = " " * (len(last) - len(last.lstrip()) + 4)
    whole = f"{_IMPORTS}\n\n{starter}\n{indent}raise NotImplementedError\n"
    try:
        parse_python(whole)
    except SyntaxError as error:
        raise EvalFault(
            f"{problem.question_id}: its starter code cannot be completed ({error.msg})",
            fix="leave the problem out",
        ) from error
    return whole
