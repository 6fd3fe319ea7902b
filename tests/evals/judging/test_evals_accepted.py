"""The judge on programs as contestants write them: all of them are right."""

from __future__ import annotations

import pytest

from forklock.evals.contract import Problem, TestCase, Verdict
from forklock.evals.judging.judge import Judge


@pytest.fixture
def judge(shared_judge: Judge) -> Judge:
    return shared_judge


def stdin_problem(*pairs: tuple[str, str]) -> Problem:
    tests = tuple(TestCase(kind="stdin", input=i, output=o) for i, o in pairs)
    return Problem(question_id="s", title="s", prompt="", tests=tests)


def functional_problem(*pairs: tuple[str, str]) -> Problem:
    tests = tuple(TestCase(kind="functional", input=i, output=o) for i, o in pairs)
    return Problem(question_id="f", title="f", prompt="", entry_point="f", tests=tests)


SUM = stdin_problem(("3\n1 2\n3 4\n5 6\n", "3\n7\n11\n"), ("1\r\n10 20\r\n", "30\r\n"))
SUMS = "for _ in range(int(input())): print(sum(map(int, input().split())))\n"
FAST_READER = (
    """
import os, sys
from io import BytesIO, IOBase
class FastIO(IOBase):
    newlines = 0
    def __init__(self, file):
        self._fd = file.fileno()
        self.buffer = BytesIO()
        self.writable = "x" in file.mode or "r" not in file.mode
        self.write = self.buffer.write if self.writable else None
    def readline(self):
        while self.newlines == 0:
            b = os.read(self._fd, max(os.fstat(self._fd).st_size, 8192))
            self.newlines = b.count(b"\\n") + (not b)
            ptr = self.buffer.tell()
            self.buffer.seek(0, 2), self.buffer.write(b), self.buffer.seek(ptr)
        self.newlines -= 1
        return self.buffer.readline()
    def flush(self):
        if self.writable:
            os.write(self._fd, self.buffer.getvalue())
            self.buffer.truncate(0), self.buffer.seek(0)
class IOWrapper(IOBase):
    def __init__(self, file):
        self.buffer = FastIO(file)
        self.flush = self.buffer.flush
        self.writable = self.buffer.writable
        self.write = lambda s: self.buffer.write(s.encode("ascii"))
        self.readline = lambda: self.buffer.readline().decode("ascii")
sys.stdin, sys.stdout = IOWrapper(sys.stdin), IOWrapper(sys.stdout)
input = lambda: sys.stdin.readline().rstrip("\\r\\n")
"""
    + SUMS
)
POOL = """
from concurrent.futures import {kind}
def f(line): return sum(map(int, line.split()))
if __name__ == "__main__":
    lines = [input() for _ in range(int(input()))]
    with {kind}({workers}) as pool:
        list(pool.map(f, ["1 2"] * 200))
        print(*pool.map(f, lines), sep="\\n")
"""
CACHED = "from functools import cache\n@cache\ndef deep(n): return 0 if n == 0 else 1 + deep(n - 1)\n"
SCRIPTS = {
    "fast reader": FAST_READER,
    "stdin = open(0)": f"import sys\nsys.stdin = open(0)\n{SUMS}",
    "input = readline": f"import sys\ninput = sys.stdin.buffer.readline\n{SUMS}",
    "stdout in memory": (
        "import atexit, io, os, sys\nsys.stdout = io.StringIO()\n"
        f"atexit.register(lambda: os.write(1, sys.stdout.getvalue().encode()))\n{SUMS}"
    ),
    "deep recursion": f"import sys\nsys.setrecursionlimit(10**7)\n{CACHED}assert deep(10**5) == 10**5\n{SUMS}",
    "512 MiB of stack": (
        f"import sys, threading\nsys.setrecursionlimit(10**7)\nthreading.stack_size(1 << 29)\n{CACHED}"
        f"def main():\n    deep(10**5)\n    {SUMS}\nthreading.Thread(target=main).start()"
    ),
    "32 threads": POOL.format(kind="ThreadPoolExecutor", workers=32),
    "processes": POOL.format(kind="ProcessPoolExecutor", workers=2),
    "asyncio": f"import asyncio\nasync def main():\n    {SUMS}    await asyncio.sleep(0)\nasyncio.run(main())",
    "a child that prints": (
        f"import os, sys\nif os.fork() == 0:\n    {SUMS}    sys.stdout.flush(); os._exit(0)\nos.wait()"
    ),
    "sys.exit(None)": f"{SUMS}import sys; sys.exit(None)",
    "closes stdout": f"{SUMS}import sys; sys.stdout.close()",
    "no newline, spaces": "print(*(sum(map(int, input().split())) for _ in range(int(input()))), sep=' \\n', end=' ')",
    "byte order mark": f"\ufeff# -*- coding: latin-1 -*-\r\n{SUMS}",
    "noise on stderr": f"import sys\nprint('x\\ud800' * 10**6, file=sys.stderr)\n{SUMS}",
    "a class of its own, pickled": f"import pickle\nclass P: a = 1\nassert pickle.loads(pickle.dumps(P())).a\n{SUMS}",
}


def test_scripts(judge: Judge) -> None:
    found = judge.judge_many([(SUM, code) for code in SCRIPTS.values()])
    wrong = {name: j for name, j in zip(SCRIPTS, found, strict=True) if j.verdict != Verdict.PASSED}
    assert not wrong


COUNTED = "\n".join(map(str, range(1_500_000)))
OTHERS = {
    "ten megabytes of output": (stdin_problem(("a", COUNTED), ("b", COUNTED)), "print(*range(1_500_000), sep='\\n')"),
    "input unread": (stdin_problem(("1 2 3\n" * 10**6, "42"), ("", "42")), "print(42)"),
    "half a character as input": (stdin_problem(("\ud83d\n", "4"), ("x", "1")), "print(len(open(0, 'rb').read()))"),
    "ten thousand digits": (stdin_problem(("9" * 10**4, "9" * 10**4)), "print(int(input()))"),
    "recursion as on LeetCode": (
        functional_problem(("100000", "100000")),
        "class Solution:\n    def f(self, n):\n        @cache\n"
        "        def deep(i): return 0 if i == 0 else 1 + deep(i - 1)\n        return deep(n)",
    ),
    "exact numbers": (
        functional_problem(("1", "[0.5, 3, 0.25]")),
        "from decimal import Decimal\nfrom fractions import Fraction\n"
        "def f(n): return [Decimal('0.5'), Decimal(3), Fraction(1, 4)]",
    ),
    "an argument changed in place": (
        functional_problem(("[3, 1, 2]", "[1, 2, 3]"), ("[2, 1]", "[1, 2]")),
        "class Solution:\n    def f(self, a: List[int]) -> None:\n        a.sort()\n        return a",
    ),
    "cache on a method": (
        functional_problem(("5", "120"), ("6", "720")),
        "class Solution:\n    @cache\n    def f(self, n): return n and n * self.f(n - 1) or 1",
    ),
}  # fmt: skip


def test_other_programs(judge: Judge) -> None:
    found = judge.judge_many(list(OTHERS.values()))
    wrong = {name: j for name, j in zip(OTHERS, found, strict=True) if j.verdict != Verdict.PASSED}
    assert not wrong
