"""The bugs of `bench/right_corpus.py`, and what is right for each.

An example bug is judged by the clean library's answers (`examples/judge_bug.py`). A program of QuixBugs shows one
failing case. It is judged by all its cases, and by further inputs that are made from them and keep to what the program
is promised: there the right version's answers count.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

from right_handmade import by_hand
from solve_tasks import ANSWER, CASE_S, ExampleTask, QuixTask, Task, example_tasks, quixbugs_tasks

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
from make_bug import LIBRARY

from forklock.sandbox import open_sandbox, workspace_policy
from forklock.tools.testing.inside.behaviour_inputs import vary

FURTHER = 30
"""Further inputs of a program, at most."""


class Subject(Protocol):
    """A bug with its known fix."""

    @property
    def task(self) -> Task: ...
    @property
    def suite(self) -> str | None:
        """The command of the regression suite; None where there is none beside the check."""
        ...

    @property
    def fixed(self) -> str:
        """The text of the task's file with the known fix."""
        ...

    def by_hand(self, buggy: str) -> list[tuple[str, str]]:
        """Further wrong repairs, as (name, text)."""
        ...

    def wrong(self, folder: Path) -> str:
        """What is wrong with a repaired repository; "" where nothing is."""
        ...


@dataclass(frozen=True)
class Example:
    """An example bug."""

    task: ExampleTask
    suite: str | None = "python -m pytest -q"

    @property
    def fixed(self) -> str:
        return (LIBRARY / self.task.file).read_text(encoding="utf-8")

    def by_hand(self, _buggy: str) -> list[tuple[str, str]]:
        return by_hand(self.task.bug, self.fixed)

    def wrong(self, folder: Path) -> str:
        return self.task.wrong(folder)


@dataclass(frozen=True)
class Quix:
    """A program of QuixBugs."""

    task: QuixTask
    fixed: str
    further: QuixTask
    """The same program with further cases."""
    suite: str | None = None

    def by_hand(self, buggy: str) -> list[tuple[str, str]]:
        return [("special case", special_cased(self.task, buggy))]

    def wrong(self, folder: Path) -> str:
        return self.task.wrong(folder) or (self.further.wrong(folder) if self.further.cases else "")


def examples() -> list[Subject]:
    return [Example(task) for task in example_tasks() if isinstance(task, ExampleTask)]


def quixbugs(root: Path, scratch: Path) -> list[Subject]:
    """The programs of a checkout of QuixBugs.

    Args:
        scratch: a folder for programs that are run.
    """
    found: list[Subject] = []
    for task in quixbugs_tasks(root, scratch):
        assert isinstance(task, QuixTask)
        source = (root / "correct_python_programs" / task.file).read_text(encoding="utf-8")
        fixed = source.split('\n"""', 1)[0].rstrip() + "\n"
        folder = scratch / "known" / task.program
        folder.mkdir(parents=True, exist_ok=True)
        (folder / task.file).write_text(fixed, encoding="utf-8")
        found.append(Quix(task, fixed, replace(task, cases=further_cases(task, folder))))
    return found


def special_cased(task: QuixTask, buggy: str) -> str:
    """The buggy program, with the visible case answered by its value."""
    arguments, right = task.cases[task.shown]
    answer: Any = [tuple(move) for move in right] if task.program == "hanoi" else right
    lines = buggy.splitlines(keepends=True)
    at = next(number for number, line in enumerate(lines) if line.startswith(f"def {task.program}("))
    names = lines[at].partition("(")[2].rpartition(")")[0].split(",")
    words = ", ".join(name.partition("=")[0].strip() for name in names[: len(arguments)])
    end = "yield from" if any(line.strip().startswith("yield") for line in lines) else "return"
    made = [f"    if [{words}] == {arguments!r}:\n", f"        {end} {answer!r}\n"]
    if end == "yield from":
        made.append("        return\n")
    return "".join([*lines[: at + 1], *made, *lines[at + 1 :]])


# -- further inputs ---------------------------------------------------------------------------------------------------


def _ints(*values: Any, low: int = 0, high: int = 10**6) -> bool:
    return all(type(value) is int and low <= value <= high for value in values)


def _increasing(items: Any) -> bool:
    return all(one < other for one, other in pairwise(items))


def _numbers(items: Any, low: int = 0, high: int = 10**6) -> bool:
    return isinstance(items, list) and _ints(*items, low=low, high=high)


def _texts(*values: Any) -> bool:
    return all(isinstance(value, str) and value.isascii() for value in values)


PROMISED: Mapping[str, Callable[..., bool]] = {
    "bitcount": lambda n: _ints(n),
    "bucketsort": lambda arr, k: _ints(k, high=200) and _numbers(arr, high=k - 1),
    "find_first_in_sorted": lambda arr, x: _numbers(arr) and arr == sorted(arr) and _ints(x, low=-9),
    "find_in_sorted": lambda arr, x: _numbers(arr) and _increasing(arr) and _ints(x, low=-9),
    "gcd": lambda a, b: _ints(a, b, low=1),
    "get_factors": lambda n: _ints(n, low=1, high=10**4),
    "is_valid_parenthesization": lambda text: _texts(text) and not set(text) - set("()"),
    "knapsack": lambda capacity, items: _ints(capacity, high=300)
        and all(isinstance(item, list) and len(item) == 2 and _ints(*item, low=1) for item in items),
    "kth": lambda arr, k: _numbers(arr, low=-999) and _ints(k, high=len(arr) - 1),
    "lcs_length": lambda a, b: _texts(a, b),
    "levenshtein": lambda a, b: _texts(a, b) and len(a) + len(b) < 12,
    "lis": lambda arr: _numbers(arr, low=-999) and len(set(arr)) == len(arr),
    "longest_common_subsequence": lambda a, b: _texts(a, b) and len(a) + len(b) < 14,
    "max_sublist_sum": lambda arr: _numbers(arr, low=-999),
    "mergesort": lambda arr: _numbers(arr, low=-999),
    "next_palindrome": lambda digits: _numbers(digits, high=9) and digits == digits[::-1] and digits[:1] > [0],
    "next_permutation": lambda perm: _numbers(perm, low=-999) and len(set(perm)) == len(perm)
        and perm != sorted(perm, reverse=True),
    "pascal": lambda n: _ints(n, low=1, high=12),
    "possible_change": lambda coins, total: _numbers(coins, low=1) and len(set(coins)) == len(coins)
        and _ints(total, high=60),
    "powerset": lambda arr: isinstance(arr, list) and len(arr) < 6 and _texts(*arr),
    "quicksort": lambda arr: _numbers(arr, low=-999),
    "sieve": lambda n: _ints(n, low=1, high=60),
    "subsequences": lambda a, b, k: _ints(a, b, k, low=1, high=12) and k < 5,
    "to_base": lambda num, b: _ints(num, low=1) and _ints(b, low=2, high=36),
    "wrap": lambda text, cols: _texts(text) and len(text) < 400 and _ints(cols, low=5),
}  # fmt: skip
"""What a program is promised of its arguments. Programs that are not here get no further inputs."""


def further_cases(task: QuixTask, right: Path) -> tuple[tuple[list[Any], Any], ...]:
    """Inputs made from a program's cases, with the right version's answers; those that it refuses are left out."""
    promised = PROMISED.get(task.program)
    if promised is None:
        return ()
    drawn = random.Random(f"further/{task.program}")
    made: dict[str, list[Any]] = {}
    known = {repr(arguments) for arguments, _ in task.cases}
    for _ in range(4000):
        if len(made) >= FURTHER:
            break
        arguments = deepcopy(drawn.choice(task.cases)[0])
        for _ in range(drawn.choice((1, 2, 3))):
            at = drawn.randrange(len(arguments))
            arguments[at] = vary(arguments[at], drawn)
        if promised(*arguments) and repr(arguments) not in known:
            made[repr(arguments)] = arguments
    return _answered(task.program, right, list(made.values()))


def _answered(program: str, folder: Path, inputs: list[list[Any]]) -> tuple[tuple[list[Any], Any], ...]:
    stdin = json.dumps(inputs).encode()
    argv = ["python3", "-c", ANSWER, ".", program, str(CASE_S)]
    with open_sandbox(folder, workspace_policy(folder)) as whole, whole.fork() as sandbox:
        done = sandbox.exec(argv, stdin=stdin, timeout_s=CASE_S * len(inputs) + 10)
    found = []
    for line in done.stdout.decode("utf-8", "replace").splitlines():
        if not line.strip():
            continue
        number, row = json.loads(line)
        value = json.loads(row)
        if not (isinstance(value, dict) and "raised" in value):
            found.append((inputs[number], value))
    return tuple(found)
